// Leases: one owner at a time, dead ones noticed, old ones kept out.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "host/sweep/lease.h"

namespace cafx {
namespace {

namespace fs = std::filesystem;

class LeaseTest : public testing::Test {
 protected:
  LeaseTest() {
    static std::atomic<int> n{0};
    run_ = fs::temp_directory_path() / ("cafx-lease-" + std::to_string(getpid()) + "-" + std::to_string(++n)) / "run";
    fs::create_directories(run_);
  }
  ~LeaseTest() override { fs::remove_all(run_.parent_path()); }

  // A lease as an owner on another host would have made it.
  void foreign(int generation, long progress = 0) {
    std::ofstream(run_ / ("lease." + std::to_string(generation))) << nlohmann::json{
        {"owner", "elsewhere.1"}, {"host", "elsewhere"}, {"pid", 1}, {"realm", "another"}, {"progress", progress}};
  }
  void silent_for(int generation, int seconds) {
    timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    ASSERT_EQ(utimensat(AT_FDCWD, (run_ / ("lease." + std::to_string(generation))).c_str(), times, 0), 0);
  }
  fs::path run_;
};

TEST_F(LeaseTest, OneOwnerAtATimeUntilGivenBack) {
  const auto first = Lease::claim(run_, 60, 0);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->generation(), 1);
  EXPECT_FALSE(Lease::claim(run_, 60, 0));
  EXPECT_TRUE(inspect_lease(run_, 60).held);
  EXPECT_NO_THROW(first->check());
  first->give_back();
  EXPECT_FALSE(inspect_lease(run_, 60).held);
  const auto second = Lease::claim(run_, 60, 0);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->generation(), 2);
  EXPECT_THROW(first->check(), LeaseLost);
  EXPECT_NO_THROW(second->check());
}

TEST_F(LeaseTest, OfManyClaimantsAtOnceOneWins) {
  for (int round = 0; round < 20; ++round) {
    foreign(2 * round + 1);
    silent_for(2 * round + 1, 1000);
    std::atomic<int> won{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    std::vector<std::optional<Lease>> leases(8);
    for (std::size_t i = 0; i < leases.size(); ++i) {
      threads.emplace_back([&, i] {
        while (!go) std::this_thread::yield();
        leases[i] = Lease::claim(run_, 60, 0);
        won += leases[i].has_value();
      });
    }
    go = true;
    for (auto& t : threads) t.join();
    EXPECT_EQ(won, 1);
  }
}

TEST_F(LeaseTest, ADeadProcessOfThisHostIsNoticedAtOnce) {
  const pid_t child = fork();
  if (child == 0) _exit(Lease::claim(run_, 3600, 0) ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  const LeaseState state = inspect_lease(run_, 3600);
  EXPECT_TRUE(state.died);
  EXPECT_FALSE(state.held);
  EXPECT_TRUE(Lease::claim(run_, 3600, 0));
}

TEST_F(LeaseTest, ASilentOwnerElsewhereLosesTheRunAndALivelyOneKeepsIt) {
  foreign(1);
  EXPECT_TRUE(inspect_lease(run_, 60).held);
  EXPECT_FALSE(Lease::claim(run_, 60, 0));
  silent_for(1, 61);
  EXPECT_TRUE(inspect_lease(run_, 60).died);
  const auto taken = Lease::claim(run_, 60, 0);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->generation(), 2);
}

// A frozen owner of this host that wakes up after its run was taken is killed by the one who takes it.
TEST_F(LeaseTest, AFrozenOwnerOfThisHostIsEnded) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto lease = Lease::claim(run_, 60, 0);
    const char c = lease ? 'y' : 'n';
    if (write(ready[1], &c, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char c = 0;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  ASSERT_EQ(c, 'y');
  EXPECT_FALSE(Lease::claim(run_, 60, 0));
  silent_for(1, 100);
  EXPECT_TRUE(Lease::claim(run_, 60, 0));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F(LeaseTest, DeathsCountOnlyInARowWithoutProgress) {
  EXPECT_EQ(deaths_without_progress(run_), 0);
  foreign(1, 0);
  EXPECT_EQ(deaths_without_progress(run_), 1);
  foreign(2, 0);
  foreign(3, 0);
  EXPECT_EQ(deaths_without_progress(run_), 3);
  foreign(4, 10);  // it had come further
  EXPECT_EQ(deaths_without_progress(run_), 1);
  foreign(5, 10);
  std::ofstream(run_ / "lease.5.free") << "";
  EXPECT_EQ(deaths_without_progress(run_), 1);
}

}  // namespace
}  // namespace cafx
