// Dropout's masks: what is left out follows from seed, update, layer and element, however the elements are cut.
#include "kernels/dropout/dropout.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

const DropoutDraw kDraw{7, 11, 0};

std::vector<float> masked(const std::vector<float>& x, double rate, const DropoutDraw& draw, std::uint32_t layer = 3,
                          std::int64_t first = 0) {
  std::vector<float> y(x.size(), kNan);
  dropout({}, y.data(), x.data(), static_cast<long>(x.size()), rate, draw, layer, first);
  return y;
}

TEST(Dropout, LeavesOutWhatTheGeneratorSays) {
  const std::vector<float> ones(10007, 1.0f);
  for (const double rate : {0.1, 0.5}) {
    const std::vector<float> y = masked(ones, rate, kDraw);
    const Rng rng{7, (std::uint64_t{3} << 48) | 11};
    int n_left_out = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const bool out = rng.bits(i / 4)[i % 4] * 0x1p-32 < rate;
      ASSERT_EQ(y[i], out ? 0.0f : static_cast<float>(1.0 / (1.0 - rate))) << i;
      n_left_out += out ? 1 : 0;
    }
    // Four standard deviations of a binomial.
    EXPECT_NEAR(n_left_out, rate * 10007, 4 * std::sqrt(10007 * rate * (1 - rate)));
  }
  EXPECT_EQ(masked(ones, 0.0, kDraw), ones);
}

TEST(Dropout, IsTheSameInPartsAndInPlace) {
  std::vector<float> x;
  for (int i = 0; i < 103; ++i) x.push_back(0.1f * static_cast<float>(i - 50));
  const std::vector<float> whole = masked(x, 0.3, kDraw, 3, 5);
  for (const std::size_t at : {0u, 1u, 2u, 3u, 4u, 50u, 102u, 103u}) {
    std::vector<float> parts = x;
    float* p = parts.data();
    dropout({}, p, p, static_cast<long>(at), 0.3, kDraw, 3, 5);
    dropout({}, p + at, p + at, static_cast<long>(x.size() - at), 0.3, kDraw, 3, 5 + static_cast<std::int64_t>(at));
    EXPECT_EQ(parts, whole) << at;
  }
}

TEST(Dropout, DiffersByEveryKey) {
  const std::vector<float> ones(64, 1.0f);
  const std::vector<float> one = masked(ones, 0.5, kDraw);
  EXPECT_EQ(masked(ones, 0.5, kDraw), one);
  EXPECT_NE(masked(ones, 0.5, {8, 11, 0}), one);
  EXPECT_NE(masked(ones, 0.5, {7, 12, 0}), one);
  EXPECT_NE(masked(ones, 0.5, kDraw, 4), one);
  EXPECT_NE(masked(ones, 0.5, kDraw, 3, 4), one);
}

TEST(Dropout, RefusesWhatItsContractExcludes) {
  float one = 1.0f;
  EXPECT_THROW(dropout({}, &one, &one, -1, 0.1, kDraw, 0, 0), CheckError);
  EXPECT_THROW(dropout({}, &one, &one, 1, 1.0, kDraw, 0, 0), CheckError);
  EXPECT_THROW(dropout({}, &one, &one, 1, -0.1, kDraw, 0, 0), CheckError);
  EXPECT_THROW(dropout({}, &one, &one, 1, 0.1, kDraw, 1u << 16, 0), CheckError);
}

}  // namespace
}  // namespace cafx
