// The fitted baseline and a device's answers to sines.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "host/eval/baseline.h"
#include "host/eval/device_traits.h"
#include "host/metrics/error.h"
#include "kernels/base/error.h"

namespace cafx {
namespace {

// A decaying tone with some noise: enough to tell taps apart.
std::vector<float> note(double hz, unsigned seed, std::size_t n = 2500) {
  std::vector<float> x(n);
  unsigned state = seed;
  for (std::size_t i = 0; i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    const double t = static_cast<double>(i) / 16000.0, noise = static_cast<double>(state >> 8) / (1 << 24) - 0.5;
    x[i] = static_cast<float>(std::exp(-2.0 * t) * (0.4 * std::sin(2.0 * M_PI * hz * t) + 0.15 * noise));
  }
  return x;
}

// y[t] = x[t] + 0.6 x[t-1] - 0.3 x[t-4] + 0.2 x[t+2]
std::vector<float> filtered(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  const auto at = [&](long i) {
    return i >= 0 && i < static_cast<long>(x.size()) ? x[static_cast<std::size_t>(i)] : 0.0f;
  };
  for (long t = 0; t < static_cast<long>(x.size()); ++t)
    y[static_cast<std::size_t>(t)] = at(t) + 0.6f * at(t - 1) - 0.3f * at(t - 4) + 0.2f * at(t + 2);
  return y;
}

std::vector<float> shaped(std::vector<float> x) {
  for (float& v : x) v = 0.7f * std::tanh(4.0f * v);
  return x;
}

double esr_of_fit(std::vector<float> (*device)(const std::vector<float>&)) {
  const auto a = note(110, 1), b = note(196, 2), c = note(147, 3);
  const auto wet_a = device(a), wet_b = device(b), wet_c = device(c);
  const Baseline fit({{a, wet_a}, {b, wet_b}});
  return error_metrics(wet_c.data(), fit(c).data(), c.size()).esr;
}

TEST(Baseline, FitsEveryModelOfItsClass) {
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return filtered(x); }), 1e-8);
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return shaped(x); }), 1e-4);
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return shaped(filtered(x)); }), 1e-3);
  EXPECT_LT(esr_of_fit([](const std::vector<float>& x) { return filtered(shaped(x)); }), 1e-3);
}

TEST(Baseline, CannotFitADelayLongerThanItsTaps) {
  EXPECT_GT(esr_of_fit([](const std::vector<float>& x) {
              std::vector<float> y(x.size(), 0.0f);
              for (std::size_t i = 400; i < x.size(); ++i) y[i] = x[i - 400];
              return y;
            }),
            0.1);
}

// A tone that decays, alone or with noise.
std::vector<float> tone(double hz, double peak, double noise, unsigned seed) {
  auto x = note(hz, seed);
  const auto tone_only = [&](std::size_t i) {
    const double t = static_cast<double>(i) / 16000.0;
    return std::exp(-2.0 * t) * 0.4 * std::sin(2.0 * M_PI * hz * t);
  };
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(peak / 0.4 * (tone_only(i) + noise * (x[i] - tone_only(i))));
  return x;
}

double esr_of_other(const std::vector<std::vector<float>>& fitted_to, const std::vector<float>& other,
                    std::vector<float> (*device)(const std::vector<float>&)) {
  std::vector<std::vector<float>> wet;
  for (const auto& x : fitted_to) wet.push_back(device(x));
  std::vector<Baseline::Note> notes;
  for (std::size_t i = 0; i < wet.size(); ++i) notes.push_back({fitted_to[i], wet[i]});
  const auto target = device(other);
  return error_metrics(target.data(), Baseline(notes)(other).data(), target.size()).esr;
}

// What the notes do not tell must not become anything at all: frequencies that they all but lack, levels above theirs.
TEST(Baseline, StaysBoundedOutsideItsNotes) {
  const auto device = [](const std::vector<float>& x) {
    auto y = filtered(shaped(x));
    double slow = 0.0;  // a pole, which its taps do not hold
    for (float& v : y) v = static_cast<float>(slow = 0.985 * slow + 0.1 * v);
    return y;
  };
  std::vector<std::vector<float>> narrow, quiet;
  for (unsigned i = 0; i < 6; ++i) narrow.push_back(tone(80.0 + 20.0 * i, 0.4, 1e-3, i + 1));
  for (unsigned i = 0; i < 6; ++i) quiet.push_back(tone(80.0 + 20.0 * i, 0.1, 1.0, i + 1));
  EXPECT_LT(esr_of_other(narrow, tone(130, 0.4, 1.0, 9), device), 1.0);
  EXPECT_LT(esr_of_other(quiet, tone(130, 0.4, 1.0, 9), [](const std::vector<float>& x) { return shaped(x); }), 1.0);
}

// Two devices in one: a loud note's error must not drown a quiet one's.
TEST(Baseline, QuietAndLoudNotesWeighTheSame) {
  const auto device = [](const std::vector<float>& x) {
    const bool loud = *std::max_element(x.begin(), x.end()) > 0.1f;
    auto y = x;
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = loud ? (i >= 400 ? x[i - 400] : 0.0f) : 0.5f * x[i];
    return y;
  };
  std::vector<std::vector<float>> notes;
  for (unsigned i = 0; i < 6; ++i) notes.push_back(tone(80.0 + 20.0 * i, i % 2 ? 0.4 : 0.01, 1.0, i + 1));
  EXPECT_LT(esr_of_other(notes, tone(130, 0.01, 1.0, 9), device), 0.04);
}

TEST(Baseline, SilenceIsTheIdentity) {
  const std::vector<float> silence(4000, 0.0f), x = note(100, 4);
  const std::vector<Baseline::Note> only = {{silence, silence}};
  const Baseline fit(only);
  const auto y = fit(x);
  EXPECT_LT(error_metrics(x.data(), y.data(), x.size()).esr, 1e-9);
  EXPECT_THROW(Baseline(std::vector<Baseline::Note>()), CheckError);
}

DeviceTraits traits_of(SignalFunction f) { return measure_device(f, nullptr, 16000, {-40.0, -20.0, -6.0}); }

TEST(DeviceTraits, AGainIsFlatAndClean) {
  const auto t = traits_of([](const std::vector<float>& x, void*) {
    auto y = x;
    for (float& v : y) v *= 0.5f;
    return y;
  });
  for (const auto& line : t.response_db) {
    for (const double v : line) EXPECT_NEAR(v, -6.0206, 1e-3);
  }
  for (const double v : t.aliasing_db) EXPECT_LT(v, -100.0);
  for (const Harmonics& h : t.harmonics) EXPECT_LT(h.thd, 1e-4);
  ASSERT_GE(t.hz.size(), 20u);
}

TEST(DeviceTraits, ACubeHasItsThirdHarmonic) {
  // sin^3 = 3/4 sin - 1/4 sin 3: y = x + x^3 at amplitude A has harmonics A + 3/4 A^3 and A^3 / 4.
  const auto t = traits_of([](const std::vector<float>& x, void*) {
    auto y = x;
    for (float& v : y) v += v * v * v;
    return y;
  });
  const Harmonics& h = t.harmonics.back();
  const double a = std::pow(10.0, h.level_db / 20.0);
  EXPECT_NEAR(h.amplitude[0], a + 0.75 * a * a * a, 1e-5);
  EXPECT_NEAR(h.amplitude[2], 0.25 * a * a * a, 1e-5);
  EXPECT_NEAR(h.amplitude[1], 0.0, 1e-5);
  EXPECT_NEAR(h.thd, 0.25 * a * a * a / (a + 0.75 * a * a * a), 1e-4);
  // 3 f folds back above 8/3 kHz and lands between the harmonics, below it there is nothing.
  for (std::size_t i = 0; i < t.hz.size(); ++i) {
    if (t.hz[i] < 2600.0) {
      EXPECT_LT(t.aliasing_db[i], -90.0) << t.hz[i];
    } else if (t.hz[i] > 2700.0 && t.hz[i] < 5200.0) {
      EXPECT_GT(t.aliasing_db[i], -40.0) << t.hz[i];
    }
  }
}

}  // namespace
}  // namespace cafx
