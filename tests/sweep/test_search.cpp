// Searchers on results that are known.
#include <gtest/gtest.h>

#include <cmath>

#include "host/sweep/search.h"
#include "kernels/base/rng.h"

namespace cafx {
namespace {

Trial paused(int task, std::vector<std::pair<int, double>> rungs) {
  return {task, State::kPaused, std::move(rungs), std::nan(""), 9, ""};
}

TEST(Asha, PromotesTheBestThirdOfEachRungAndKeepsTheOthers) {
  const auto asha = make_asha(1, 3);
  EXPECT_EQ(asha->next_rung(0, 9), 1);
  EXPECT_EQ(asha->next_rung(1, 9), 3);
  EXPECT_EQ(asha->next_rung(2, 9), 0);  // to the end
  EXPECT_EQ(asha->next_rung(2, 10), 9);
  EXPECT_EQ(asha->next_rung(0, 1), 0);
  std::vector<Trial> trials;
  for (int i = 0; i < 6; ++i) trials.push_back(paused(i, {{1, 1.0 + i}}));
  trials[0].rungs.emplace_back(3, 0.5);  // gone on already
  const auto v = asha->judge(trials);
  EXPECT_EQ(v[0], Pruner::Verdict::kStay);  // alone at its rung
  EXPECT_EQ(v[1], Pruner::Verdict::kContinue);
  for (std::size_t i = 2; i < 6; ++i) EXPECT_EQ(v[i], Pruner::Verdict::kStay);
}

TEST(Asha, OneOfAFewRunsReachesTheEnd) {
  const auto v = make_asha(1, 3)->judge({paused(0, {{1, 2.0}}), paused(1, {{1, 1.0}})});
  EXPECT_EQ(v[0], Pruner::Verdict::kStay);
  EXPECT_EQ(v[1], Pruner::Verdict::kContinue);
}

TEST(Median, StopsWhatIsWorseThanTheMedianOfEnoughOthers) {
  const auto median = make_median(1, 2);
  std::vector<Trial> trials;
  for (int i = 0; i < 5; ++i) trials.push_back(paused(i, {{1, 1.0 + i}}));
  auto v = median->judge(trials);
  EXPECT_EQ(v[0], Pruner::Verdict::kContinue);
  EXPECT_EQ(v[4], Pruner::Verdict::kStop);
  trials[4].rungs[0].second = std::nan("");
  EXPECT_EQ(median->judge(trials)[4], Pruner::Verdict::kStop);
  trials.resize(3);
  for (const auto x : median->judge(trials)) EXPECT_EQ(x, Pruner::Verdict::kContinue);  // too few to tell
}

// Six runs of an easy effect beside six of a hard one: each has its own best third.
TEST(Asha, ComparesOnlyRunsOfTheSameRecordings) {
  std::vector<Trial> trials;
  for (int i = 0; i < 12; ++i) {
    trials.push_back(paused(i, {{1, i < 6 ? 0.1 + 0.01 * i : 10.0 + i}}));
    trials.back().group = i < 6 ? "easy" : "hard";
  }
  const auto v = make_asha(1, 3)->judge(trials);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(v[i], i % 6 < 2 ? Pruner::Verdict::kContinue : Pruner::Verdict::kStay) << i;
  }
  const auto m = make_median(1, 3)->judge(trials);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(m[i], i % 6 < 3 ? Pruner::Verdict::kContinue : Pruner::Verdict::kStop) << i;
  }
}

// 40 points of a bowl: those that TPE proposes lie nearer to its bottom than as many random ones.
TEST(Tpe, FindsTheBottomOfABowlBetterThanChance) {
  const auto f = [](const std::vector<double>& u) { return (u[0] - 0.3) * (u[0] - 0.3) + (u[1] - 0.7) * (u[1] - 0.7); };
  double tpe = 0.0, chance = 0.0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<std::vector<double>> points;
    std::vector<double> values;
    for (int i = 0; i < 50; ++i) {
      const std::vector<double> random{Rng{seed, 1}.uniform(static_cast<std::uint64_t>(2 * i)),
                                       Rng{seed, 1}.uniform(static_cast<std::uint64_t>(2 * i + 1))};
      const auto u = i < 10 ? random : tpe_suggest(points, values, 2, seed, i);
      ASSERT_GE(u[0], 0.0);
      ASSERT_LT(u[0], 1.0);
      points.push_back(u);
      values.push_back(f(u));
      if (i >= 10) tpe += f(u) / 400.0, chance += f(random) / 400.0;
    }
    EXPECT_EQ(tpe_suggest(points, values, 2, seed, 50), tpe_suggest(points, values, 2, seed, 50));
  }
  EXPECT_LT(tpe, 0.4 * chance);
}

// Where the first points lie on one side of the best, proposals go on to the other side.
TEST(Tpe, GoesBeyondItsFirstPoints) {
  const auto f = [](double u) { return (u - 0.85) * (u - 0.85); };
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<std::vector<double>> points;
    std::vector<double> values;
    double nearest = 1.0;
    for (int i = 0; i < 34; ++i) {
      const double u = i < 10 ? 0.6 * (i + 0.5) / 10.0 : tpe_suggest(points, values, 1, seed, i)[0];
      points.push_back({u});
      values.push_back(f(u));
      nearest = std::min(nearest, std::abs(u - 0.85));
    }
    EXPECT_LT(nearest, 0.05) << "seed " << seed;
  }
}

}  // namespace
}  // namespace cafx
