// The parsers, fed with thousands of damaged inputs made by a fixed sequence: each is read or refused by an Error, and
// under the sanitizers nothing else may happen. tests/fuzz has the same entry points for libFuzzer.
#include <gtest/gtest.h>

#include "kernels/base/rng.h"
#include "tests/fuzz/entry_points.h"

namespace cafx {
namespace {

std::string mutated(std::string s, std::uint64_t round) {
  const Rng rng{99, round};
  const std::uint64_t n = 1 + rng.bits64(0) % 6;
  for (std::uint64_t i = 0; i < n && !s.empty(); ++i) {
    const std::uint64_t r = rng.bits64(3 * i + 1), at = rng.bits64(3 * i + 2) % s.size(), b = rng.bits64(3 * i + 3);
    switch (r % 6) {
      case 0:
        s[at] = static_cast<char>(b);
        break;
      case 1:
        s[at] = static_cast<char>(s[at] ^ (1 << b % 8));
        break;
      case 2:
        s.erase(at, 1 + b % 9);
        break;
      case 3:
        s.insert(at, s.substr(b % s.size(), 1 + b % 17));
        break;
      case 4:
        s.resize(at);
        break;
      case 5:
        s.insert(at, 1, "{}[]\",:-0e.=#\n"[b % 14]);
        break;
    }
  }
  return s;
}

void run(int (*entry)(const std::uint8_t*, std::size_t), const std::vector<std::string>& seeds) {
  int read = 0, refused = 0;
  for (std::uint64_t round = 0; round < 6000; ++round) {
    const std::string s = mutated(seeds[round % seeds.size()], round);
    const int result = entry(reinterpret_cast<const std::uint8_t*>(s.data()), s.size());
    (result ? read : refused) += 1;
  }
  EXPECT_GT(read, 0);  // the mutations reach what lies behind the first check
  EXPECT_GT(refused, 1000);
}

TEST(Mutations, Safetensors) {
  const std::string header =
      R"({"__metadata__":{"format":"cafx"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  run(fuzz_safetensors, {file + header + std::string(9, '\2')});
}

TEST(Mutations, Toml) {
  run(fuzz_toml, {"preset = \"paper\"\n[model]\nframe = 1024 # samples\ndnn = [128, 64]\nsaaf.lo = -1.0\n",
                  "[train]\nlr = 1e-3\n[data]\ntest_notes = [\"a\", \"b\"]\nalign = true\n"});
}

TEST(Mutations, ConfigInMetadata) {
  CafxConfig config;
  run(fuzz_config_json, {to_json(describe(config)).dump(), R"({"frame":1024,"dnn":[128,64],"saaf.lo":-1.0})"});
}

TEST(Mutations, IdmtNames) {
  run(fuzz_idmt_name, {"G61-40100-1111-20593", "P64-43310-2421-00001", "b11-39206-4412-17492"});
}

}  // namespace
}  // namespace cafx
