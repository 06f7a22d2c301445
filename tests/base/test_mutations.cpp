// The parsers, fed with thousands of damaged inputs made by a fixed sequence: each is read or refused by an Error, and
// under the sanitizers nothing else may happen. tests/fuzz has the same entry points for libFuzzer.
#include <gtest/gtest.h>

#include "tests/fuzz/entry_points.h"
#include "tests/fuzz/mutations.h"

namespace cafx {
namespace {

void run(int (*entry)(const std::uint8_t*, std::size_t), const std::vector<std::string>& seeds) {
  int read = 0, refused = 0;
  for (std::uint64_t round = 0; round < 6000; ++round) {
    const std::string s = mutated(seeds[round % seeds.size()], 99, round);
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
