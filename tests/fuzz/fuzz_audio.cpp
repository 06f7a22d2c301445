// For libFuzzer, as tests/fuzz/fuzz.cpp; a folder of the seeds: test_audio_files writes none, sox and flac make good ones.
#include "tests/fuzz/audio_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cafx::fuzz_audio(data, size);
  return 0;
}
