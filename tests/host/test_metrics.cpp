#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "host/metrics/error.h"
#include "kernels/base/error.h"

namespace cafx {
namespace {

ErrorMetrics of(const std::vector<float>& target, const std::vector<float>& output) {
  return error_metrics(target.data(), output.data(), target.size());
}

TEST(Metrics, HandNumbers) {
  const ErrorMetrics m = of({1.0f, -2.0f, 0.5f, 0.0f}, {0.5f, -1.0f, 0.25f, 0.0f});
  EXPECT_DOUBLE_EQ(m.mae, 1.75 / 4.0);
  EXPECT_NEAR(m.mae_matched, 0.0, 1e-12);  // the output is the target at half its level
  EXPECT_DOUBLE_EQ(m.esr, 0.25);
  EXPECT_NEAR(m.esr_emphasis, 0.25, 1e-12);
}

TEST(Metrics, EmphasisWeighsHighFrequencies) {
  // A constant error weighs less after the pre-emphasis than one that alternates.
  std::vector<float> target(256), slow(256), fast(256);
  for (int i = 0; i < 256; ++i) {
    target[i] = std::sin(0.3f * static_cast<float>(i));
    slow[i] = target[i] + 0.1f;
    fast[i] = target[i] + (i % 2 ? 0.1f : -0.1f);
  }
  EXPECT_NEAR(of(target, slow).esr, of(target, fast).esr, 1e-6);
  EXPECT_LT(of(target, slow).esr_emphasis, 0.1 * of(target, fast).esr_emphasis);
}

TEST(Metrics, SilenceAndNan) {
  EXPECT_EQ(of({0.0f, 0.0f}, {0.0f, 0.0f}).esr, 0.0);
  EXPECT_TRUE(std::isinf(of({0.0f, 0.0f}, {0.0f, 1.0f}).esr));
  const ErrorMetrics quiet = of({1.0f, 1.0f}, {0.0f, 0.0f});
  EXPECT_EQ(quiet.esr, 1.0);
  EXPECT_EQ(quiet.mae_matched, quiet.mae);
  EXPECT_TRUE(std::isnan(of({1.0f, 1.0f}, {0.0f, std::numeric_limits<float>::quiet_NaN()}).mae));
  EXPECT_TRUE(std::isnan(of({0.0f, 0.0f}, {0.0f, std::numeric_limits<float>::quiet_NaN()}).esr));
  EXPECT_THROW(error_metrics(nullptr, nullptr, 0), CheckError);
}

}  // namespace
}  // namespace cafx
