#include "datasets/find/lag_job.h"

#include <algorithm>
#include <cmath>

#include "datasets/audio_file.h"

namespace cafx {

std::vector<float> taper_of(std::size_t n) {
  std::vector<float> taper(n);
  for (std::size_t k = 0; k < n; ++k) {
    const double turn = (static_cast<double>(k) + 0.5) / static_cast<double>(n);
    taper[k] = static_cast<float>(0.5 - 0.5 * std::cos(2.0 * M_PI * turn));
  }
  return taper;
}

std::vector<float> stretch_of(std::span<const float> x, long from, long n) {
  std::vector<float> y(static_cast<std::size_t>(n), 0.0f);
  const long a = std::max(0L, from), b = std::min(static_cast<long>(x.size()), from + n);
  if (a < b) std::copy(x.begin() + a, x.begin() + b, y.begin() + (a - from));
  return y;
}

double energy(std::span<const float> x, long from, long n) {
  double sum = 0.0;
  const long a = std::max(0L, from), b = std::min(static_cast<long>(x.size()), from + n);
  for (long i = a; i < b; ++i) {
    const auto v = static_cast<double>(x[static_cast<std::size_t>(i)]);
    sum += v * v;
  }
  return sum;
}

Job::Job(std::span<const float> a, std::span<const float> b, std::size_t n)
    : dry(a), wet(b), length(n), taper(taper_of(n)) {}

namespace {

// By how many samples a window of m lies apart at its beginning, where it is warped about its middle; 0: it is not.
double warp_of(const Course& course, long n, long m) {
  constexpr double kLeast = 0.25;  // samples over a window
  return std::abs(course.slope) * static_cast<double>(n) > kLeast ? 0.5 * static_cast<double>(m) * course.slope : 0.0;
}

}  // namespace

double read_late(const Job& job, const Course& course, long reach) {
  const auto n = static_cast<long>(job.length);
  const double warp = warp_of(course, n, n + 2 * reach);
  return warp - std::round(warp);
}

Take take_of(const Job& job, std::size_t window, const Course& course, double offset, long reach) {
  const auto n = static_cast<long>(job.length), m = n + 2 * reach;
  std::vector<float> dry = stretch_of(job.dry, static_cast<long>(job.begin[window]), n);
  double mean = 0.0;  // an offset would correlate with itself at every lag
  for (const float v : dry) mean += static_cast<double>(v);
  mean /= static_cast<double>(n);
  for (std::size_t k = 0; k < dry.size(); ++k) dry[k] = job.taper[k] * (dry[k] - static_cast<float>(mean));
  const long from = static_cast<long>(job.begin[window]) + std::lround(course.at(job.middle(window)) + offset) - reach;
  Recording wet;
  if (const double warp = warp_of(course, n, m); warp != 0.0) {
    const double ratio = 1.0 + course.slope;
    const long span = static_cast<long>(std::ceil(static_cast<double>(m) * ratio)) + 2;
    wet = resample(stretch_of(job.wet, from - std::lround(warp), span), ratio, 1.0);
    wet.resize(static_cast<std::size_t>(m), 0.0f);
  } else {
    const std::vector<float> there = stretch_of(job.wet, from, m);
    wet.assign(there.begin(), there.end());
  }
  return make_take(dry.data(), dry.size(), wet.data(), wet.size(), fft_size(static_cast<std::size_t>(m)));
}

}  // namespace cafx
