// For libFuzzer, as tests/fuzz/fuzz.cpp. Seeds: any audio files, one of each container.
#include "tests/fuzz/audio_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cafx::fuzz_audio(data, size);
  return 0;
}
