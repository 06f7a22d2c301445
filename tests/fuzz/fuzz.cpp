// For libFuzzer: clang++ -fsanitize=fuzzer,address,undefined -DCAFX_FUZZ=fuzz_toml, with -DCAFX_FUZZERS=ON.
#include "tests/fuzz/entry_points.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cafx::CAFX_FUZZ(data, size);
  return 0;
}
