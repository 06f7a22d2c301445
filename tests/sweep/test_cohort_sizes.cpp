// How many runs share a process where speed decides, by speeds that are only numbers.
#include <gtest/gtest.h>

#include <fstream>

#include "host/sweep/cohort_sizes.h"
#include "host/sweep/scheduler.h"
#include "kernels/base/error.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

// Places a second of n models whose step takes a launch and so much for each of them.
double rate_of(int n, double launch_us, double member_us) { return 1e6 * n / (launch_us + n * member_us); }

TEST(CohortSize, DoublesAsLongAsItPays) {
  std::vector<int> asked;
  const auto sizes = [&](double launch_us, double member_us, int most) {
    asked.clear();
    return choose_cohort_size(most, [&](int n) {
      asked.push_back(n);
      return rate_of(n, launch_us, member_us);
    });
  };
  EXPECT_EQ(sizes(100.0, 100.0, 256).members, 16);  // of 32: 4 % more
  EXPECT_EQ(asked, (std::vector<int>{1, 2, 4, 8, 16, 32}));
  EXPECT_EQ(sizes(1000.0, 1.0, 12).members, 12);  // the memory ends
  EXPECT_EQ(asked, (std::vector<int>{1, 2, 4, 8, 12}));
  EXPECT_EQ(sizes(0.0, 100.0, 256).members, 1);  // company brings nothing
  EXPECT_EQ(asked, (std::vector<int>{1, 2}));
  EXPECT_EQ(sizes(1000.0, 1.0, 1).members, 1);
  EXPECT_EQ(choose_cohort_size(8, [](int n) { return n < 2 ? 1.0 : std::nan(""); }).members, 1);
}

Task run_of(int frame, const char* precision = "fp32") {
  Task t;
  t.config = {{"model.type", "cafx"}, {"model.frame", frame}, {"train.batch", 8}, {"train.precision", precision}};
  return t;
}

TEST(CohortSizes, AreMeasuredOnceForEachKindAndKept) {
  TemporaryFolder folder;
  const auto file = folder / "cohorts.json";
  int measured = 0;
  std::vector<std::string> said;
  const auto measure = [&](const Json& config, const std::string& device) {
    EXPECT_EQ(device, "cuda:1");
    ++measured;
    return CohortSize{config["model.frame"] == 64 ? 8 : 2, {{1, 100.0}, {2, 190.0}}};
  };
  const auto say = [&](const std::string& text) { said.push_back(text); };
  {
    CohortSizes sizes(file, measure, say);
    EXPECT_FALSE(sizes.of(run_of(64), "cuda:1", "H100", false));  // others at work would be measured as well
    EXPECT_EQ(measured, 0);
    EXPECT_EQ(sizes.of(run_of(64), "cuda:1", "H100", true), 8);
    EXPECT_EQ(sizes.of(run_of(64), "cuda:0", "H100", false), 8);  // of the same kind
    EXPECT_EQ(measured, 1);
    EXPECT_EQ(said,
              (std::vector<std::string>{"H100: places a second by models side by side: 100 with 1, 190 with 2; up "
                                        "to 8 share a process"}));
    EXPECT_EQ(sizes.of(run_of(32), "cuda:1", "H100", true), 2);
    EXPECT_EQ(sizes.of(run_of(64, "bf16"), "cuda:1", "H100", true), 8);
    EXPECT_EQ(sizes.of(run_of(64), "cuda:1", "H200", true), 8);
    EXPECT_EQ(measured, 4);
  }
  CohortSizes later(file, CohortSizes::Measure(), nullptr);
  EXPECT_EQ(later.of(run_of(32), "cuda:0", "H100", true), 2);
  EXPECT_FALSE(later.of(run_of(16), "cuda:0", "H100", true));  // nothing measures
  std::ofstream(file) << "[ damaged";
  EXPECT_FALSE(CohortSizes(file, CohortSizes::Measure(), nullptr).of(run_of(32), "cuda:0", "H100", true));
}

TEST(CohortSizes, SayOnceThatTheyCouldNotBeMeasured) {
  TemporaryFolder folder;
  int tried = 0;
  std::vector<std::string> said;
  CohortSizes sizes(
      folder / "cohorts.json",
      [&](const Json&, const std::string&) -> CohortSize {
        ++tried;
        throw Error("the GPU is gone");
      },
      [&](const std::string& text) { said.push_back(text); });
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(sizes.of(run_of(64), "cuda:0", "H100", true));
  EXPECT_EQ(tried, 1);
  EXPECT_EQ(
      said,
      (std::vector<std::string>{"how many runs should share a process of H100 was not measured: the GPU is gone"}));
}

}  // namespace
}  // namespace cafx
