#include "rt/resampler.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace cafx {

namespace {

constexpr double kPass = 0.9, kAttenuation_db = 110.0;

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Modified Bessel function of order 0, by its series; the standard library's is twenty times slower.
double bessel_i0(double x) {
  double sum = 1.0, term = 1.0;
  for (int k = 1; term > 1e-17 * sum; ++k) sum += term *= 0.25 * x * x / (static_cast<double>(k) * k);
  return sum;
}

// Eight partial sums in a fixed order, which the compiler keeps in one or two registers. n is a multiple of 8.
float dot(const float* a, const float* b, int n) {
  float sum[8] = {};
  for (int i = 0; i < n; i += 8) {
    for (int k = 0; k < 8; ++k) sum[k] += a[i + k] * b[i + k];
  }
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

}  // namespace

int RtResampler::reach(int from_hz, int to_hz) {
  // Kaiser's length for a transition of (1 - kPass) of the lower rate's half, in cycles per input sample.
  const double transition = (1.0 - kPass) * 0.5 * std::min(from_hz, to_hz) / from_hz;
  const int half = static_cast<int>(std::ceil(0.5 * (kAttenuation_db - 7.95) / (14.36 * transition)));
  return (half + 3) / 4 * 4;
}

RtResampler::RtResampler(int from_hz, int to_hz, std::size_t max_in, std::int64_t offset)
    : L_(to_hz / std::gcd(from_hz, to_hz)),
      M_(from_hz / std::gcd(from_hz, to_hz)),
      offset_(offset),
      half_(reach(from_hz, to_hz)),
      n_phases_(static_cast<int>(std::min<std::int64_t>(L_, kMaxPhases))) {
  const double cutoff = (0.5 + 0.5 * kPass) * 0.5 * std::min(from_hz, to_hz) / from_hz;  // cycles per input sample
  const double beta = 0.1102 * (kAttenuation_db - 8.7), scale = bessel_i0(beta);
  const int taps = 2 * half_;
  std::vector<double> row(static_cast<std::size_t>(taps));
  for (int p = 0; p <= n_phases_; ++p) {
    double sum = 0.0;
    for (int m = 0; m < taps; ++m) {
      const double t = static_cast<double>(p) / n_phases_ + half_ - 1 - m, u = t / half_;
      const double x = 2.0 * std::numbers::pi * cutoff * t;
      const double window = u * u < 1.0 ? bessel_i0(beta * std::sqrt(1.0 - u * u)) / scale : 0.0;
      sum += row[static_cast<std::size_t>(m)] = (t == 0.0 ? 1.0 : std::sin(x) / x) * window;
    }
    for (const double h : row) filters_.push_back(static_cast<float>(h / sum));
  }
  const std::int64_t before = half_ - 1 - floor_div(-offset_, L_);  // zeros ahead of sample 0
  history_.resize(static_cast<std::size_t>(before + 4 * taps) + 2 * max_in);
  reset();
}

void RtResampler::reset() noexcept {
  std::fill(history_.begin(), history_.end(), 0.0f);
  position_ = -offset_;
  first_ = floor_div(position_, L_) - half_ + 1;
  filled_ = static_cast<std::size_t>(-first_);
}

void RtResampler::feed(const float* x, std::size_t n) noexcept {
  if (filled_ + n > history_.size()) {
    const auto gone = static_cast<std::size_t>(floor_div(position_, L_) - half_ + 1 - first_);
    std::copy(history_.begin() + static_cast<std::ptrdiff_t>(gone),
              history_.begin() + static_cast<std::ptrdiff_t>(filled_), history_.begin());
    filled_ -= gone;
    first_ += static_cast<std::int64_t>(gone);
  }
  std::copy_n(x, n, history_.begin() + static_cast<std::ptrdiff_t>(filled_));
  filled_ += n;
}

std::size_t RtResampler::make(float* y, std::size_t room) noexcept {
  const int taps = 2 * half_;
  for (std::size_t made = 0; made < room; ++made) {
    const std::int64_t index = floor_div(position_, L_), phase = position_ - index * L_;
    const std::int64_t at = index - half_ + 1 - first_;
    if (at + taps > static_cast<std::int64_t>(filled_)) return made;
    const float* x = history_.data() + at;
    if (n_phases_ == L_) {
      y[made] = dot(x, filters_.data() + phase * taps, taps);
    } else {
      const std::int64_t p = phase * n_phases_ / L_;
      const auto part = static_cast<float>(static_cast<double>(phase * n_phases_ - p * L_) / static_cast<double>(L_));
      const float a = dot(x, filters_.data() + p * taps, taps), b = dot(x, filters_.data() + (p + 1) * taps, taps);
      y[made] = a + part * (b - a);
    }
    position_ += M_;
  }
  return room;
}

}  // namespace cafx
