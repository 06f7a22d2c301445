// The profile counts what is entered, on every thread, and gives each part only its own time.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "kernels/base/profile.h"

namespace cafx {
namespace {

void wait_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

const ProfileRow& row(const std::vector<ProfileRow>& rows, const std::string& op, const std::string& part) {
  static const ProfileRow none;
  for (const ProfileRow& r : rows) {
    if (r.op == op && r.part == part) return r;
  }
  ADD_FAILURE() << "no row " << op << " " << part;
  return none;
}

TEST(Profile, APartTakesItsTimeFromTheOpAroundIt) {
  profile_start();
  profile_enter("op", "", 0, 0);
  wait_ms(20);
  for (int i = 0; i < 2; ++i) {
    profile_enter(nullptr, "part", 3, 5);
    wait_ms(30);
    profile_leave();
  }
  profile_leave();
  wait_ms(40);  // nobody's
  const auto rows = profile_stop();
  ASSERT_EQ(rows.size(), 2u);
  const ProfileRow &op = row(rows, "op", ""), &part = row(rows, "op", "part");
  EXPECT_EQ(op.calls, 1);
  EXPECT_EQ(part.calls, 2);
  EXPECT_EQ(part.multiply_adds, 6.0);
  EXPECT_EQ(part.bytes, 10.0);
  EXPECT_GE(op.seconds, 0.020);
  EXPECT_GE(part.seconds, 0.060);
  EXPECT_LT(op.seconds, part.seconds);  // it would be 80 ms with its parts
}

TEST(Profile, ThreadsAreSummedAndAStartForgetsWhatWasBefore) {
  profile_start();
  profile_enter("old", "", 0, 0);
  profile_leave();
  profile_start();
  const auto work = [] {
    for (int i = 0; i < 100; ++i) {
      profile_enter("op", "", 1, 1);
      profile_leave();
    }
  };
  std::thread a(work), b(work);
  a.join();
  b.join();
  const auto rows = profile_stop();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(row(rows, "op", "").calls, 200);
  EXPECT_FALSE(profiling);
}

}  // namespace
}  // namespace cafx
