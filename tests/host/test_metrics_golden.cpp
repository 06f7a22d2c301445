// Every metric against librosa, scipy and auraloss: tests/golden/make_metrics.py.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "host/metrics/metrics.h"
#include "host/metrics/modulation.h"
#include "host/metrics/spectral.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {
namespace {

constexpr int kRate = 16000;

class MetricsGolden : public testing::TestWithParam<const char*> {};

TEST_P(MetricsGolden, Agrees) {
  const Safetensors file = read_safetensors(CAFX_GOLDEN_DIR "/metrics.safetensors");
  const auto values = [&](const std::string& name) {
    const Tensor& t = file.tensors.at(name);
    const float* p = file.floats(name, t.shape, name);
    return std::vector<float>(p, p + t.bytes.size() / sizeof(float));
  };
  const std::string pair = GetParam();
  const auto target = values(pair + ".target"), output = values(pair + ".output");
  const Metrics m = Measure(target, kRate)(output);
  int compared = 0;
  for (const MetricName& name : kMetricNames) {
    const std::string key = pair + "." + name.key;
    if (!file.tensors.count(key)) continue;
    const double expected = values(key).at(0), found = m.*name.value;
    ++compared;
    if (std::isinf(expected)) {
      EXPECT_EQ(found, expected) << key;
    } else {
      EXPECT_TRUE(std::abs(found - expected) <= 1e-9 + 3e-5 * std::abs(expected))
          << key << " " << found << " " << expected;
    }
  }
  EXPECT_GE(compared, 7);
}

INSTANTIATE_TEST_SUITE_P(All, MetricsGolden,
                         testing::Values("note", "dry", "hiss", "short", "constant", "silent_output", "silent_target",
                                         "silent"),
                         [](const auto& info) { return std::string(info.param); });

std::vector<float> tone(std::size_t n, double gain) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(gain * std::sin(0.1 * static_cast<double>(i)));
  return x;
}

TEST(AllMetrics, EqualSignalsAreZeroAndWorseIsMore) {
  const auto y = tone(8000, 0.3);
  const Measure measure(y, kRate);
  const Metrics same = measure(y), near = measure(tone(8000, 0.29)), far = measure(tone(8000, 0.1));
  for (const MetricName& name : kMetricNames) {
    const std::string key = name.key;
    EXPECT_NEAR(same.*name.value, 0.0, 1e-12) << key;
    if (key == "mae_matched" || key == "mfcc_cosine" || key == "decay_db") continue;  // blind to level; see below
    EXPECT_LT(near.*name.value, far.*name.value) << key;
  }
  EXPECT_NEAR(near.attack_db, 20.0 * std::log10(0.3 / 0.29), 1e-4);
  EXPECT_NEAR(near.decay_db, near.attack_db, 1e-3);
  EXPECT_NEAR(far.mfcc_cosine, 0.0, 1e-6);
}

TEST(AllMetrics, OneBrokenSampleMakesEverythingNan) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const auto y = tone(6000, 0.3);
    auto broken = y;
    broken[3000] = bad;
    const Metrics output = Measure(y, kRate)(broken), target = Measure(broken, kRate)(y);
    for (const MetricName& name : kMetricNames) {
      EXPECT_TRUE(std::isnan(output.*name.value)) << name.key;
      EXPECT_TRUE(std::isnan(target.*name.value)) << name.key;
    }
  }
}

TEST(AllMetrics, AnySignalLengthAndRate) {
  for (const std::size_t n : {1u, 2u, 7u, 511u, 16001u}) {
    for (const int rate : {8000, 16000, 44100}) {
      const auto y = tone(n, 0.5);
      const Metrics m = Measure(y, rate)(tone(n, 0.4));
      for (const MetricName& name : kMetricNames) EXPECT_TRUE(std::isfinite(m.*name.value)) << n << " " << name.key;
    }
  }
  EXPECT_THROW(Measure({}, kRate), CheckError);
  const auto y = tone(100, 0.5);
  const Measure measure(y, kRate);
  EXPECT_THROW(measure(tone(99, 0.5)), CheckError);
}

TEST(AllMetrics, DistinguishesAttackFromDecay) {
  // A note from 0.1 s that dies away; one output misses the beginning, the other lets go too early.
  std::vector<float> y(16000, 0.0f);
  for (std::size_t i = 1600; i < y.size(); ++i)
    y[i] = static_cast<float>(0.5 * std::sin(0.2 * static_cast<double>(i)) *
                              std::exp(-4.0 * static_cast<double>(i - 1600) / kRate));
  auto late = y, short_one = y;
  for (std::size_t i = 1600; i < 2400; ++i) late[i] = 0.0f;
  for (std::size_t i = 8000; i < y.size(); ++i) short_one[i] = 0.0f;
  const Measure measure(y, kRate);
  const Metrics a = measure(late), b = measure(short_one);
  EXPECT_GT(a.attack_db, 10.0);
  EXPECT_EQ(a.decay_db, 0.0);
  EXPECT_EQ(b.attack_db, 0.0);
  EXPECT_GT(b.decay_db, 5.0);
}

}  // namespace
}  // namespace cafx
