#include "datasets/find/lag_fine.h"

#include <algorithm>
#include <cmath>

#include "datasets/find/lag_job.h"
#include "datasets/find/take.h"

namespace cafx {

namespace {

constexpr double kFineSeconds = 0.6;  // and more, up to a power of two
constexpr std::size_t kMostWindows = 40, kFewWindows = 4;
constexpr double kQuietFineWindow = 1e-3;   // of the loudest window's energy
constexpr double kReachSeconds = 0.004;     // of wet beside a window,
constexpr double kFineLookSeconds = 0.001;  // and to either side of the lag that is known
constexpr double kLowestBand = 60.0, kBandsPerOctave = 4.0;
constexpr double kCoherence = 0.2;  // of a band whose magnitude is the device's, not noise or another note's overtones
constexpr std::size_t kFewDeviceBands = 8;
constexpr double kLeastOfFall = 4.0;       // bands
constexpr double kSteepestFall = -12.0;    // of a filter, as a power of the frequency
constexpr double kEarlierSeconds = 15e-6;  // by which the phase of a filter moves the peak: less is the measure's error
constexpr double kUnsure = 0.25;  // samples: where that phase is taken out, rather too small a lag than too large a one

// Of all windows, in each bin.
struct FineSums {
  Bins whitened;  // cross-spectrum
  std::vector<std::complex<double>> cross;
  std::vector<double> dry, wet;  // powers
};

std::vector<float> tapered(const Job& job, std::span<const float> x, long from) {
  std::vector<float> y = stretch_of(x, from, static_cast<long>(job.length));
  for (std::size_t k = 0; k < y.size(); ++k) y[k] *= job.taper[k];
  return y;
}

// Moves what a cross-spectrum stands for earlier by so many samples.
std::complex<double> turned(double samples, std::size_t bin, std::size_t size) {
  return std::polar(1.0, 2.0 * M_PI * static_cast<double>(bin) * samples / static_cast<double>(size));
}

Course course_at(const Lag& lag, double t, int rate) {
  Course course{lag.lag, 1e-6 * lag.ppm};
  for (const Step& s : lag.steps) {
    if (s.seconds * rate <= t) course.lag += s.samples;
  }
  return course;
}

void choose_loudest(Job& job, const Lag& about, int rate, long reach) {
  const auto n = static_cast<long>(job.length);
  std::vector<std::pair<double, long>> places;
  for (long at = 0; at + n <= static_cast<long>(job.dry.size()); at += n) {
    const double t = static_cast<double>(at) + 0.5 * static_cast<double>(n);
    const bool beside_step = std::any_of(about.steps.begin(), about.steps.end(), [&](const Step& s) {
      return std::abs(s.seconds * rate - t) < static_cast<double>(n) + s.margin * rate;
    });
    const long there = at + std::lround(course_at(about, t, rate).at(t));
    if (beside_step || there < reach || there + n + reach > static_cast<long>(job.wet.size())) continue;
    places.push_back({energy(job.dry, at, n), at});
  }
  std::stable_sort(places.begin(), places.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [loud, at] : places) {
    if (job.begin.size() == kMostWindows || loud < kQuietFineWindow * places.front().first || !(loud > 0.0)) break;
    job.begin.push_back(static_cast<std::size_t>(at));
  }
}

void add(FineSums& sums, const Job& job, std::size_t window, const Course& course, long reach, std::size_t size) {
  const double there = course.at(job.middle(window)), apart = there - std::round(there);
  const Take take = take_of(job, window, course, 0.0, reach);
  const double late = read_late(job, course, reach);
  const auto begin = static_cast<long>(job.begin[window]);
  const std::vector<float> x = tapered(job, job.dry, begin), y = tapered(job, job.wet, begin + std::lround(there));
  const Bins a = spectrum(x.data(), x.size(), size), b = spectrum(y.data(), y.size(), size);
  const double scale = 1.0 / std::max(1e-30, energy(x, 0, static_cast<long>(x.size())));
  for (std::size_t k = 0; k < a.size(); ++k) {
    const std::complex<double> turn = turned(apart, k, size);
    sums.whitened[k] += std::complex<float>(std::complex<double>(take.cross[k]) * turned(apart - late, k, size));
    sums.cross[k] += scale * turn * std::complex<double>(conjugate_times(a[k], b[k]));
    sums.dry[k] += scale * static_cast<double>(std::norm(a[k]));
    sums.wet[k] += scale * static_cast<double>(std::norm(b[k]));
  }
}

// Above the last band a device's magnitude falls on as over the octave before: flat, it would have less phase.
double fall_of(const std::vector<double>& at, const std::vector<double>& level) {
  double n = 0.0, x = 0.0, y = 0.0, xx = 0.0, xy = 0.0;
  for (std::size_t k = at.size(); k-- > 0 && (n < kLeastOfFall || at[k] > at.back() - std::log(2.0));) {
    const double u = at[k] - at.back();
    n += 1.0;
    x += u;
    y += level[k];
    xx += u * u;
    xy += u * level[k];
  }
  return std::clamp((n * xy - x * y) / (n * xx - x * x), kSteepestFall, 0.0);
}

// Natural logarithms of the device's magnitude in each bin, from bands that dry tells; nothing where they are few.
std::vector<double> log_magnitudes(const FineSums& sums, double peak, int rate, std::size_t size) {
  std::vector<double> at, level;
  const double hertz = static_cast<double>(rate) / static_cast<double>(size), ratio = std::exp2(1.0 / kBandsPerOctave);
  for (double low = kLowestBand; low < 0.5 * rate; low *= ratio) {
    std::complex<double> cross = 0.0;
    double dry = 0.0, wet = 0.0;
    const auto from = static_cast<std::size_t>(std::ceil(low / hertz));
    const auto to = std::min(sums.dry.size(), static_cast<std::size_t>(std::ceil(low * ratio / hertz)));
    for (std::size_t k = from; k < to; ++k) {
      cross += turned(peak, k, size) * sums.cross[k];
      dry += sums.dry[k];
      wet += sums.wet[k];
    }
    if (!(std::norm(cross) > kCoherence * dry * wet)) continue;
    at.push_back(std::log(low) + 0.5 * std::log(ratio));
    level.push_back(std::log(std::abs(cross) / dry));
  }
  if (at.size() < kFewDeviceBands) return {};
  const double falls = fall_of(at, level);
  std::vector<double> all(sums.dry.size());
  for (std::size_t k = 0, band = 0; k < all.size(); ++k) {
    const double f = std::log(std::max(1.0, static_cast<double>(k) * hertz));
    while (band + 2 < at.size() && at[band + 1] < f) ++band;
    const double part = std::clamp((f - at[band]) / (at[band + 1] - at[band]), 0.0, 1.0);
    all[k] = (1.0 - part) * level[band] + part * level[band + 1] + falls * std::max(0.0, f - at.back());
  }
  return all;
}

// The phases of the filter of least phase that has these magnitudes: the cepstrum folded to positive times.
std::vector<float> least_phases(const std::vector<double>& log_magnitude, std::size_t size) {
  Bins even(log_magnitude.size());
  for (std::size_t k = 0; k < even.size(); ++k) even[k] = static_cast<float>(log_magnitude[k]);
  std::vector<float> cepstrum = inverse(even);
  const auto half = cepstrum.begin() + static_cast<long>(size / 2);
  std::for_each(cepstrum.begin() + 1, half, [](float& c) { c *= 2.0f; });
  std::fill(half + 1, cepstrum.end(), 0.0f);
  const Bins folded = spectrum(cepstrum.data(), cepstrum.size(), size);
  std::vector<float> phases(folded.size());
  for (std::size_t k = 0; k < phases.size(); ++k) phases[k] = folded[k].imag() / static_cast<float>(size);
  return phases;
}

// The peak of what a cross-spectrum stands for, at most `look` from `reach`; samples from `reach`.
double place_of_peak(const Bins& cross, long reach, long look) {
  const std::vector<float> r = inverse(cross);
  const std::span near(r.data() + (reach - look), static_cast<std::size_t>(2 * look + 1));
  return between_samples(near, strongest(near)) - static_cast<double>(look);
}

}  // namespace

double beside_lag(std::span<const float> dry, std::span<const float> wet, int rate, const Lag& about) {
  const std::size_t size = fft_size(static_cast<std::size_t>(kFineSeconds * rate));
  const long reach = std::lround(kReachSeconds * rate), look = std::lround(kFineLookSeconds * rate);
  Job job(dry, wet, size - 2 * static_cast<std::size_t>(reach));
  choose_loudest(job, about, rate, reach);
  if (job.begin.size() < kFewWindows) return 0.0;
  const std::size_t bins = size / 2 + 1;
  FineSums sums{Bins(bins), std::vector<std::complex<double>>(bins), std::vector<double>(bins),
                std::vector<double>(bins)};
  for (std::size_t i = 0; i < job.begin.size(); ++i)
    add(sums, job, i, course_at(about, job.middle(i), rate), reach, size);
  const double peak = place_of_peak(sums.whitened, reach, look);
  const std::vector<double> magnitudes = log_magnitudes(sums, peak, rate, size);
  if (magnitudes.empty()) return peak;
  const std::vector<float> phases = least_phases(magnitudes, size);
  for (std::size_t k = 0; k < bins; ++k) sums.whitened[k] *= std::polar(1.0f, -phases[k]);
  const double without = place_of_peak(sums.whitened, reach, look);
  return without < peak - kEarlierSeconds * rate ? without - kUnsure : peak;
}

}  // namespace cafx
