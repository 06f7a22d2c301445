// Recordings beyond the bound lie in files, hold what was written, and leave nothing behind.
#include "datasets/recording.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <thread>

namespace cafx {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Limits of some MiB, and those of before at its end.
class FewMegabytes {
 public:
  FewMegabytes() {
    recording_limits().in_memory = 8 * kMiB;
    recording_limits().mapped = kMapped;
  }
  ~FewMegabytes() {
    recording_limits().in_memory = before_in_memory_;
    recording_limits().mapped = before_mapped_;
  }
  static constexpr std::size_t kMapped = 24 * kMiB;

 private:
  std::size_t before_in_memory_ = recording_limits().in_memory, before_mapped_ = recording_limits().mapped;
};

std::size_t resident_of_files() {
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  unsigned long size = 0, resident = 0, shared = 0;
  EXPECT_EQ(std::fscanf(f, "%lu %lu %lu", &size, &resident, &shared), 3);
  std::fclose(f);
  return shared * 4096;
}

float value_at(std::size_t recording, std::size_t i) { return static_cast<float>((i * 7919 + recording) % 65521); }

TEST(Recording, BeyondTheBoundLiesInFilesAndHoldsWhatWasWritten) {
  const FewMegabytes limits;
  const std::size_t before = bytes_in_files(), others = resident_of_files();
  {
    std::vector<Recording> all(5);
    for (std::size_t r = 0; r < all.size(); ++r) {
      for (std::size_t i = 0; i < 16 * kMiB; ++i) all[r].push_back(value_at(r, i));  // 64 MiB, grown as by a reader
    }
    EXPECT_GT(bytes_in_files(), before + 300 * kMiB);
    const std::size_t most = others + 2 * FewMegabytes::kMapped;  // of 320 MiB
    for (int k = 0; k < 250 && resident_of_files() > most; ++k)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_LE(resident_of_files(), most);
    for (std::size_t r = 0; r < all.size(); ++r) {
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < all[r].size(); ++i) wrong += all[r][i] != value_at(r, i);
      EXPECT_EQ(wrong, 0u) << r;
    }
  }
  EXPECT_EQ(bytes_in_files(), before);
}

TEST(Recording, ManySmallOnesShareAFile) {
  const FewMegabytes limits;
  const std::size_t before = bytes_in_files();
  {
    std::vector<Recording> all(4000);
    for (std::size_t r = 0; r < all.size(); ++r) all[r].assign(5000, value_at(r, 0));
    EXPECT_GT(bytes_in_files(), before + 60 * kMiB);
    for (std::size_t r = 0; r < all.size(); r += 2) Recording().swap(all[r]);
    for (std::size_t r = 1; r < all.size(); r += 2) {
      ASSERT_EQ(all[r].front(), value_at(r, 0)) << r;
      ASSERT_EQ(all[r].back(), value_at(r, 0)) << r;
    }
  }
  EXPECT_EQ(bytes_in_files(), before);
}

TEST(Recording, WithinTheBoundLiesInMemory) {
  const std::size_t before = bytes_in_files();
  const Recording x(1000, 1.0f);
  EXPECT_EQ(bytes_in_files(), before);
  EXPECT_EQ(std::accumulate(x.begin(), x.end(), 0.0f), 1000.0f);
}

}  // namespace
}  // namespace cafx
