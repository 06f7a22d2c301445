#include "host/train/events.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace cafx {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// RFC 3720, B.4, and the check value of the catalogue of CRC algorithms.
TEST(Events, Crc32cGivesThePublishedSums) {
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283u);
  std::vector<unsigned char> bytes(32, 0x00);
  EXPECT_EQ(crc32c(bytes.data(), 32), 0x8a9136aau);
  bytes.assign(32, 0xff);
  EXPECT_EQ(crc32c(bytes.data(), 32), 0x62a8ab43u);
  for (int i = 0; i < 32; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<unsigned char>(i);
  EXPECT_EQ(crc32c(bytes.data(), 32), 0x46dd794eu);
}

// The length of the first record of every event file, 24 bytes and "brain.Event:2", as TensorFlow writes it.
TEST(Events, FirstRecordIsTheVersion) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "events";
  EventFile file;
  EXPECT_EQ(file.open(path, 0), 0u);
  file.flush(true);
  const std::string bytes = read(path);
  std::uint64_t n = 0;
  std::memcpy(&n, bytes.data(), 8);
  EXPECT_EQ(bytes.size(), n + 16);
  EXPECT_EQ(bytes.size(), file.size());
  EXPECT_NE(bytes.find("brain.Event:2"), std::string::npos);
}

// Cut anywhere, at whatever size is asked for: it goes on after the last whole record that fits, and whole.
TEST(Events, GoesOnAfterWholeRecordsWhereverItWasCut) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "events";
  std::vector<std::uint64_t> ends;
  {
    EventFile file;
    file.open(path, 0);
    file.flush(false);
    ends.push_back(file.size());
    for (int i = 1; i <= 3; ++i) {
      file.scalar("loss", i, 0.5 * i);
      file.flush(false);
      ends.push_back(file.size());
    }
  }
  const std::string whole = read(path);
  ASSERT_EQ(whole.size(), ends.back());
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    for (const std::uint64_t asked : {ends[1], ends[3]}) {
      write(path, whole.substr(0, cut));
      std::uint64_t expected = 0;
      for (const std::uint64_t end : ends) {
        if (end <= cut && end <= asked) expected = end;
      }
      EventFile file;
      ASSERT_EQ(file.open(path, asked), expected) << cut << " " << asked;
      file.scalar("loss", 9, 1.0);
      file.flush(false);
      const std::string after = read(path);
      ASSERT_EQ(after.size(), file.size());
      ASSERT_EQ(whole_records(path, after.size()), after.size()) << cut << " " << asked;
      ASSERT_EQ(after.substr(0, expected), whole.substr(0, expected));
    }
  }
}

TEST(Events, ADamagedByteEndsTheWholeRecords) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "events";
  EventFile file;
  file.open(path, 0);
  file.flush(false);
  const std::uint64_t first = file.size();
  file.histogram("h", 1, {1.0f, 2.0f, 2.5f});
  file.flush(false);
  const std::string whole = read(path);
  for (std::size_t i = first; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    write(path, damaged);
    ASSERT_EQ(whole_records(path, whole.size()), first) << i;
  }
}

TEST(Events, ValuesThatAreNotFiniteAreNoHistogram) {
  const TemporaryFolder folder;
  EventFile file;
  file.open(folder.path() / "events", 0);
  file.flush(false);
  file.histogram("h", 1, {});
  file.histogram("h", 1, {NAN, INFINITY});
  EXPECT_FALSE(file.pending());
  file.histogram("h", 1, {NAN, 3.0f, 3.0f});
  EXPECT_TRUE(file.pending());
}

// A disk without space: an error that says so, and nothing torn is left behind.
TEST(Events, AFullDiskIsAnErrorThatNamesTheFile) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  EventFile file;
  try {
    file.open("/dev/full", 0);
    file.scalar("loss", 1, 1.0);
    file.flush(false);
    FAIL() << "nothing was thrown";
  } catch (const std::exception& e) {
    EXPECT_NE(std::string(e.what()).find("/dev/full"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace cafx
