// The measured response of filters whose response is known.
#include <gtest/gtest.h>

#include <cmath>
#include <complex>

#include "datasets/effects.h"
#include "experiments/eq/filters.h"
#include "experiments/eq/response.h"
#include "kernels/base/error.h"

namespace cafx {
namespace {

constexpr int kRate = 16000;

Response of_taps(const std::vector<double>& h) {
  const auto x = white_noise(128 * kResponseFrame, 0.5, 1);  // so that the estimate is within the tolerances
  std::vector<float> y(x.size());
  for (std::size_t t = 0; t < x.size(); ++t) {
    double sum = 0.0;
    for (std::size_t k = 0; k < h.size() && k <= t; ++k) sum += h[k] * x[t - k];
    y[t] = static_cast<float>(sum);
  }
  return measure_response(x, y, kRate, 100.0, 7000.0, 200);
}

TEST(Response, ADelayHasItsDelayAndNoMagnitude) {
  std::vector<double> h(41, 0.0);
  h[40] = 0.5;
  const Response r = of_taps(h);
  ASSERT_EQ(r.hz.size(), 200u);
  EXPECT_NEAR(r.hz.front(), 100.0, 1e-9);
  EXPECT_NEAR(r.hz.back(), 7000.0, 1e-6);
  for (std::size_t i = 0; i < r.hz.size(); ++i) {
    EXPECT_NEAR(r.magnitude_db[i], -6.02, 0.05) << r.hz[i];
    EXPECT_NEAR(r.delay_ms[i], 2.5, 0.04) << r.hz[i];
    EXPECT_GT(r.coherence[i], 0.99);
  }
}

TEST(Response, AShortFilterIsThatOfItsTaps) {
  const std::vector<double> h{0.5, 0.3, -0.1, 0.05};
  const Response r = of_taps(h);
  for (std::size_t i = 0; i < r.hz.size(); ++i) {
    std::complex<double> sum, ramp;
    for (std::size_t k = 0; k < h.size(); ++k) {
      const auto e = std::polar(h[k], -2.0 * M_PI * r.hz[i] * static_cast<double>(k) / kRate);
      sum += e;
      ramp += static_cast<double>(k) * e;
    }
    EXPECT_NEAR(r.magnitude_db[i], 20.0 * std::log10(std::abs(sum)), 0.05) << r.hz[i];
    EXPECT_NEAR(r.delay_ms[i], 1e3 * (ramp / sum).real() / kRate, 0.01) << r.hz[i];
  }
}

// A filter of zero phase is fitted to the bit; of one sample's delay the cosine's square remains where it is positive.
TEST(Response, ZeroPhaseHasAFloor) {
  const auto x = white_noise(1 << 15, 0.5, 4);
  std::vector<float> symmetric(x.size()), late(x.size()), turned(x.size());
  for (std::size_t t = 1; t + 1 < x.size(); ++t) {
    symmetric[t] = 0.25f * x[t - 1] + 0.5f * x[t] + 0.25f * x[t + 1];  // (1 + cos w) / 2, never negative
    late[t] = x[t - 1];
    turned[t] = -x[t];
  }
  EXPECT_LT(zero_phase_esr(x, symmetric), 1e-4);     // what is cut at the ends
  EXPECT_NEAR(zero_phase_esr(x, late), 0.75, 0.01);  // 1 - the mean of max(0, cos w)^2
  EXPECT_NEAR(zero_phase_esr(x, turned), 1.0, 1e-4);
}

TEST(Filters, LossesAreNamed) {
  LossConfig loss;
  EXPECT_EQ(loss_name(loss), "MAE");
  loss.mr_stft = 0.01;
  EXPECT_EQ(loss_name(loss), "MAE + 0.01 MR-STFT");
}

// SoX's filters are those of the Audio EQ Cookbook: at its frequency a pass of Butterworth's width is 3 dB down, a peak
// has its gain, and far below or above a shelf has its own.
TEST(Response, SoxFiltersAreWhereTheySayTheyAre) {
  const auto x = white_noise(8 * kResponseFrame, 0.1, 2);
  const auto at = [&](const char* chain, double hz) {
    return measure_response(x, apply_chain(chain, x, kRate), kRate, hz, 1.02 * hz, 2).magnitude_db[0];
  };
  EXPECT_NEAR(at("highpass 500", 500.0), -3.01, 0.1);
  EXPECT_NEAR(at("lowpass 2000", 2000.0), -3.01, 0.1);
  EXPECT_NEAR(at("equalizer 1000 1q -12", 1000.0), -12.0, 0.1);
  EXPECT_NEAR(at("bass 9 300", 30.0), 9.0, 0.2);
  EXPECT_NEAR(at("treble -9 2000", 7800.0), -9.0, 0.2);
}

TEST(Response, NoiseOfTheDeviceShowsInTheCoherence) {
  const auto x = white_noise(8 * kResponseFrame, 0.5, 1), own = white_noise(x.size(), 0.5, 2);
  std::vector<float> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] + own[i];
  const Response r = measure_response(x, y, kRate, 1000.0, 6000.0, 5);
  for (const double c : r.coherence) EXPECT_NEAR(c, 0.5, 0.12);
  EXPECT_THROW(measure_response(x, own, kRate, 1000.0, 500.0, 5), CheckError);
}

TEST(Response, ASweepRisesFromEndToEnd) {
  const auto x = sine_sweep(kRate, 0.5, 100.0, 1600.0, kRate);
  const auto crossings = [&](std::size_t from, std::size_t to) {
    int n = 0;
    for (std::size_t i = from + 1; i < to; ++i) n += x[i - 1] < 0.0f && x[i] >= 0.0f;
    return n;
  };
  // 15 / ln 16 x 100 periods in all; a quarter of the time doubles the frequency.
  EXPECT_NEAR(crossings(0, x.size()), 541, 2);
  EXPECT_NEAR(crossings(0, 4000), 36, 2);
  EXPECT_NEAR(crossings(12000, 16000), 288, 3);
}

}  // namespace
}  // namespace cafx
