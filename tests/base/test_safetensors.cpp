#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "kernels/base/seal.h"
#include "tests/temporary_folder.h"

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
  const TemporaryFolder dir;
  const fs::path a = dir / "a.safetensors", b = dir / "b.safetensors";
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
  EXPECT_NE(refusal(bytes_of(one + std::string("\0", 1), 8)), "");  // what follows a NUL must be seen
  EXPECT_NE(refusal(bytes_of(one + std::string("\0{\"b\":1}", 8), 8)), "");
  EXPECT_NE(refusal(bytes_of(one + "x", 8)), "");
  EXPECT_EQ(refusal(bytes_of(one + " ", 8)), "");
  EXPECT_NE(refusal(bytes_of(" " + one, 8)), "");
  EXPECT_NE(refusal(bytes_of("\xef\xbb\xbf" + one, 8)), "");
  EXPECT_NE(refusal(bytes_of("{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8)),
            "");  // not UTF-8
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8)), "");
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8)), "");
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8)), "");
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8)), "");
  EXPECT_NE(refusal(bytes_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", 1)), "");
  EXPECT_NE(refusal(bytes_of(
                R"({"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}})", 8)),
            "");
  EXPECT_NE(refusal(bytes_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0)), "");
  EXPECT_NE(refusal(bytes_of(R"({"__metadata__":[]})", 0)), "");
  EXPECT_NE(refusal(bytes_of("", 0)), "");
  EXPECT_EQ(refusal(bytes_of("{}", 0)), "");
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

TEST(Safetensors, AFileCutOffAnywhereIsRefusedWithBothSizes) {
  const TemporaryFolder dir;
  const fs::path path = dir / "whole.safetensors", cut = dir / "cut";
  write_safetensors(path, sample());
  const std::string whole = read_all(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const std::string by_memory = refusal(whole.substr(0, n));
    ASSERT_NE(by_memory.find("cut off"), std::string::npos) << n << " " << by_memory;
    ASSERT_NE(by_memory.find(fmt::format("{} bytes", n)), std::string::npos) << by_memory;
    std::ofstream(cut, std::ios::binary) << whole.substr(0, n);
    try {
      read_safetensors(cut);
      FAIL() << n;
    } catch (const Error& e) {
      ASSERT_EQ(std::string(e.what()).substr(cut.string().size()), by_memory.substr(16));  // after the file's name
    }
  }
  const std::string half = refusal(whole.substr(0, whole.size() - 10));
  EXPECT_NE(half.find(fmt::format("expected {}", whole.size())), std::string::npos) << half;
  std::ofstream(cut, std::ios::binary) << whole << "x";
  EXPECT_THROW(read_safetensors(cut), Error);
}

TEST(Safetensors, WhatIsNotAFileIsRefusedAtOnce) {
  const TemporaryFolder dir;
  fs::create_directories(dir / "folder");
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(read_safetensors(dir / "none"), Error);
  EXPECT_THROW(read_safetensors(dir / "folder"), Error);
  EXPECT_THROW(read_safetensors(dir / "pipe"), Error);
  EXPECT_THROW(read_safetensors("/dev/zero"), Error);
  EXPECT_THROW(write_file_atomically(dir / "folder", "x", 1), Error);
  EXPECT_THROW(write_file_atomically(dir / "pipe", "x", 1), Error);
  EXPECT_THROW(write_file_atomically("/dev/null", "x", 1), Error);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  // A sparse file that promises more than any memory: the header is read, the rest is not.
  const std::string header = R"({"a":{"dtype":"U8","shape":[8796093022208],"data_offsets":[0,8796093022208]}})";
  std::ofstream(dir / "huge", std::ios::binary) << bytes_of(header, 0);
  if (truncate((dir / "huge").c_str(), static_cast<off_t>(8 + header.size() + 1000)) != 0) FAIL();
  try {
    read_safetensors(dir / "huge");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("cut off"), std::string::npos) << e.what();
  }
  // Through a link: the link stays.
  write_file_atomically(dir / "real", "1", 1);
  fs::create_symlink("real", dir / "link");
  write_file_atomically(dir / "link", "2", 1);
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_EQ(read_all(dir / "real"), "2");
}

TEST(Safetensors, ADiskThatIsFullIsNamedAndLeavesNothing) {
  const TemporaryFolder dir;
  write_file_atomically(dir / "f", "before", 6);
  const std::string much(200000, 'x');
  const pid_t child = fork();
  if (child == 0) {  // the limit would stay with this process
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100000, 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomically(dir / "f", much.data(), much.size());
    } catch (const Error& e) {
      _exit(std::string(e.what()).find("free some space") != std::string::npos ? 2 : 1);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << status;
  EXPECT_EQ(read_all(dir / "f"), "before");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(Safetensors, AKilledOrASecondWriterNeverLeavesAMixture) {
  const TemporaryFolder dir;
  const fs::path file = dir / "f";
  const auto content = [](int i) {
    return std::string(static_cast<std::size_t>(300000 + 7000 * (i % 9)), char('a' + i % 9));
  };
  write_file_atomically(file, content(0).data(), content(0).size());
  const auto is_whole = [&] {
    const std::string s = read_all(file);
    return !s.empty() && s == content(s[0] - 'a');
  };
  for (int round = 0; round < 15; ++round) {
    pid_t writers[2];
    for (pid_t& writer : writers) {
      writer = fork();
      if (writer == 0) {
        const int first = &writer == writers ? 0 : 4;
        for (int i = first;; ++i) write_file_atomically(file, content(i).data(), content(i).size());
      }
    }
    for (int look = 0; look < 4; ++look) {
      usleep(static_cast<useconds_t>(1000 + 700 * round));
      EXPECT_TRUE(is_whole());
    }
    for (const pid_t writer : writers) {
      int status = 0;
      kill(writer, SIGKILL);
      waitpid(writer, &status, 0);
      EXPECT_TRUE(WIFSIGNALED(status)) << "a writer failed";
    }
    EXPECT_TRUE(is_whole());
  }
  write_file_atomically(file, "end", 3);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);  // no litter
}

TEST(Safetensors, MissingOrOtherTensorsAreNamed) {
  const Safetensors s = sample();
  EXPECT_THROW(s.floats("nothing", {1}, "f"), Error);
  EXPECT_THROW(s.floats("b.weight", {3, 2}, "f"), Error);
  EXPECT_THROW(s.floats("counter", {1}, "f"), Error);
}

TEST(Safetensors, AWriteThatFailsLeavesTheFormerFile) {
  const TemporaryFolder dir;
  const fs::path path = dir / "kept.safetensors";
  write_safetensors(path, sample());
  const std::string before = read_all(path);
  Safetensors bad = sample();
  bad.metadata["text"] = "\xff\xfe";  // not UTF-8
  EXPECT_THROW(write_safetensors(path, bad), Error);
  EXPECT_EQ(read_all(path), before);
  EXPECT_THROW(write_file_atomically("/proc/none/file", "x", 1), Error);
}

TEST(Safetensors, FilesOfOtherKindsAreCalledWhatTheyAre) {
  const auto refused = [](const std::string& bytes) {
    try {
      parse_safetensors(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "x");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto says = [&](const std::string& bytes, const char* words) {
    EXPECT_NE(refused(bytes).find(words), std::string::npos) << words << ": " << refused(bytes);
  };
  says("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 600000\n", "pointer of Git LFS");
  says("\n<!DOCTYPE HTML><html><body>Sign in</body></html>", "web page");
  says("<html lang=en>", "web page");
  says(std::string("\x80\x04\x95\0\0\0\0\0\0\0\0", 11), "pickle");
  says(std::string("PK\x03\x04\0\0archive/data.pkl", 22), "pickle");
  says("{\"version\": \"0.5.4\", \"architecture\": \"LSTM\"}", ".nam");
  says("{\"weights\": []}", "JSON");
  // Lengths of headers that begin like those: 0x280 and 0x7b bytes.
  for (const std::size_t n : {0x280u, 0x27bu, 0x7bu}) {
    std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
    header.resize(n, ' ');
    std::string file(8, '\0');
    file[0] = static_cast<char>(n & 255);
    file[1] = static_cast<char>(n >> 8);
    EXPECT_EQ(refused(file + header + "x"), "") << n;
  }
}

TEST(Safetensors, ASealShowsEveryBitThatTurned) {
  Safetensors file;
  file.metadata = {{"a", "1"}};
  const float x[] = {1.0f, 2.0f};
  file.tensors["t"] = Safetensors::from_floats(x, {2});
  check_seal(file, "x");  // none: an older file
  seal(file);
  check_seal(file, "x");
  Safetensors turned = file;
  turned.tensors["t"].bytes[6] ^= 1;
  EXPECT_THROW(check_seal(turned, "x"), Error);
  turned = file;
  turned.metadata["a"] = "2";
  EXPECT_THROW(check_seal(turned, "x"), Error);
  turned = file;
  turned.tensors["t"].shape = {1, 2};
  EXPECT_THROW(check_seal(turned, "x"), Error);
  turned = file;
  turned.tensors["u"] = turned.tensors["t"];
  EXPECT_THROW(check_seal(turned, "x"), Error);
}

}  // namespace
}  // namespace cafx
