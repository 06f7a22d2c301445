#include "datasets/shift.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr int kReach = 32;       // samples on either side
constexpr double kKaiser = 8.0;  // beta

// I0, by its series.
double bessel(double x) {
  double sum = 1.0, term = 1.0;
  for (int k = 1; term > 1e-17 * sum; ++k) {
    term *= (x / (2.0 * k)) * (x / (2.0 * k));
    sum += term;
  }
  return sum;
}

double windowed_sinc(double t) {
  const double u = t / (kReach + 1);
  if (std::abs(u) >= 1.0) return 0.0;
  const double a = std::numbers::pi * t;
  return (t == 0.0 ? 1.0 : std::sin(a) / a) * bessel(kKaiser * std::sqrt(1.0 - u * u)) / bessel(kKaiser);
}

}  // namespace

Recording shifted(std::span<const float> x, double by) {
  CAFX_CHECK(std::abs(by) <= 1.0, by);
  std::array<double, 2 * kReach + 1> taps{};
  double sum = 0.0;
  for (int k = -kReach; k <= kReach; ++k) sum += taps[static_cast<std::size_t>(k + kReach)] = windowed_sinc(k - by);
  for (double& tap : taps) tap /= sum;
  const auto n = static_cast<long>(x.size());
  Recording y(x.size());
  for (long t = 0; t < n; ++t) {
    double value = 0.0;
    for (long k = std::max<long>(-kReach, t - n + 1); k <= std::min<long>(kReach, t); ++k) {
      value += taps[static_cast<std::size_t>(k + kReach)] * static_cast<double>(x[static_cast<std::size_t>(t - k)]);
    }
    y[static_cast<std::size_t>(t)] = static_cast<float>(value);
  }
  return y;
}

}  // namespace cafx
