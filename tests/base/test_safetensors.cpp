#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {
namespace {

namespace fs = std::filesystem;

std::string bytes_of(const std::string& header, std::size_t n_data) {
  std::string s(8, '\0');
  for (int i = 0; i < 8; ++i) s[static_cast<std::size_t>(i)] = static_cast<char>(header.size() >> (8 * i));
  return s + header + std::string(n_data, '\1');
}

std::string refusal(const std::string& bytes) {
  try {
    parse_safetensors(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "file.safetensors");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

Safetensors sample() {
  Safetensors s;
  const float values[] = {1.0f, -2.5f, 0.0f, 3e-30f, 5.0f, 6.0f};
  s.tensors["b.weight"] = Safetensors::from_floats(values, {2, 3});
  s.tensors["a.bias"] = Safetensors::from_floats(values, {6});
  s.tensors["scalar"] = Safetensors::from_floats(values, {});
  s.tensors["empty"] = Safetensors::from_floats(values, {0, 4});
  s.tensors["counter"] = {"U64", {1}, std::vector<unsigned char>(8, 7)};
  s.metadata = {{"format", "x"}, {"text", "line\nbreak \"quoted\" \xc3\xa9"}};
  return s;
}

std::string read_all(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Safetensors, RoundTripIsByteIdentical) {
  const fs::path a = fs::path(testing::TempDir()) / "a.safetensors", b = fs::path(testing::TempDir()) / "b.safetensors";
  write_safetensors(a, sample());
  const Safetensors read = read_safetensors(a);
  EXPECT_EQ(read.metadata, sample().metadata);
  ASSERT_EQ(read.tensors.size(), 5u);
  EXPECT_EQ(read.floats("b.weight", {2, 3}, "a")[1], -2.5f);
  write_safetensors(b, read);
  EXPECT_EQ(read_all(a), read_all(b));
  EXPECT_EQ(read_all(a).find("{"), 8u);
  std::uint64_t n = 0;
  std::memcpy(&n, read_all(a).data(), 8);
  EXPECT_EQ(n % 8, 0u);
}

TEST(Safetensors, RefusesWhatTheReferenceReaderRefuses) {
  const std::string one = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(refusal(bytes_of(one, 8)), "");
  EXPECT_NE(refusal(bytes_of(one, 7)), "");                                                            // too short
  EXPECT_NE(refusal(bytes_of(one, 9)), "");                                                            // too long
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)), "");    // size
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12)), "");  // hole
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)), "");    // backwards
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8)), "");    // dtype
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)), "");   // negative
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8)), "");
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0)), "");
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8)), "");
  EXPECT_NE(refusal(bytes_of(R"({"__metadata__":{"k":3},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8)),
            "");
  EXPECT_NE(refusal(bytes_of("[1]", 0)), "");
  EXPECT_NE(refusal(bytes_of("{oops", 0)), "");
  EXPECT_NE(refusal("short"), "");
  EXPECT_NE(refusal(std::string(8, '\xff') + "{}"), "");  // header length far over the file
  EXPECT_NE(refusal(bytes_of(std::string(5000, '{'), 0)), "");
  const std::string twice =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_NE(refusal(bytes_of(twice, 8)).find("twice"), std::string::npos);
  const std::string overlap =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
  EXPECT_NE(refusal(bytes_of(overlap, 12)), "");
}

TEST(Safetensors, MissingOrOtherTensorsAreNamed) {
  const Safetensors s = sample();
  EXPECT_THROW(s.floats("nothing", {1}, "f"), Error);
  EXPECT_THROW(s.floats("b.weight", {3, 2}, "f"), Error);
  EXPECT_THROW(s.floats("counter", {1}, "f"), Error);
}

TEST(Safetensors, AWriteThatFailsLeavesTheFormerFile) {
  const fs::path path = fs::path(testing::TempDir()) / "kept.safetensors";
  write_safetensors(path, sample());
  const std::string before = read_all(path);
  Safetensors bad = sample();
  bad.metadata["text"] = "\xff\xfe";  // not UTF-8
  EXPECT_THROW(write_safetensors(path, bad), Error);
  EXPECT_EQ(read_all(path), before);
  EXPECT_THROW(write_file_atomically("/proc/none/file", "x", 1), Error);
}

}  // namespace
}  // namespace cafx
