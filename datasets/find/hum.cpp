#include "datasets/find/hum.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "datasets/find/lag.h"
#include "datasets/find/statistics.h"

namespace cafx {

namespace {

constexpr double kLoud = 1e-3;    // amplitude of a hum that is told, of full scale,
constexpr double kShare = 0.01;   // and of the signal
constexpr double kSteady = 0.5;   // its quietest tenth, of its median: notes come and go
constexpr double kDryHas = 0.25;  // of the same share in dry: it was recorded with it, and the device passes it on

// Amplitudes of the tone in every half second, tapered over a second.
std::vector<double> tone(std::span<const float> x, double hertz, int rate) {
  const auto n = static_cast<std::size_t>(rate);
  std::vector<double> c(n), s(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double turn = 2.0 * M_PI * static_cast<double>(i) / static_cast<double>(n);
    const double taper = (1.0 - std::cos(turn)) * 2.0 / static_cast<double>(n);
    c[i] = taper * std::cos(hertz * turn);
    s[i] = taper * std::sin(hertz * turn);
  }
  std::vector<double> found;
  for (std::size_t at = 0; at + n <= x.size(); at += n / 2) {
    double re = 0.0, im = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      re += c[i] * static_cast<double>(x[at + i]);
      im += s[i] * static_cast<double>(x[at + i]);
    }
    found.push_back(std::hypot(re, im));
  }
  return found;
}

double rms(std::span<const float> x) {
  double sum = 0.0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum / static_cast<double>(std::max<std::size_t>(1, x.size())));
}

double quietest_tenth(std::vector<double> v) {
  const auto k = v.begin() + static_cast<long>(v.size() / 10);
  std::nth_element(v.begin(), k, v.end());
  return *k;
}

// Peaks of every tenth of a second.
std::vector<double> peaks(std::span<const float> x, std::size_t hop) {
  std::vector<double> found;
  for (std::size_t at = 0; at + hop <= x.size(); at += hop) {
    double most = 0.0;
    for (std::size_t i = at; i < at + hop; ++i) most = std::max(most, std::abs(static_cast<double>(x[i])));
    found.push_back(most);
  }
  return found;
}

}  // namespace

void tell_hum(const Pair& p, int rate, std::vector<Finding>& found) {
  if (static_cast<double>(std::min(p.dry.size(), p.wet.size())) < kLongSeconds * rate) return;
  const double wet = rms(p.wet), dry = rms(p.dry);
  for (const double hertz : {50.0, 60.0}) {
    const std::vector<double> own = tone(p.wet, hertz, rate);
    const double level = median(own), least = quietest_tenth(own);
    if (level < kLoud || level < kShare * wet || least < kSteady * level) continue;
    if (quietest_tenth(tone(p.dry, hertz, rate)) * wet > kDryHas * least * dry) continue;
    found.push_back(
        {Severity::kWarning, "hum", file_of(p, true), -1.0,
         fmt::format("holds a hum of {:.0f} Hz at {:.0f} dB of full scale, which dry does not", hertz, db(level)),
         "a ground loop or a lamp: no model can learn what is not made from dry, and its errors count it",
         "record it again without; or take it out of wet, as with 'sox in.wav out.wav highpass 80' on both"});
  }
}

void tell_muted(const Pair& p, long lag, int rate, std::vector<Finding>& found) {
  constexpr double kSilent = 1e-4, kAsLoud = 0.5;  // of dry's peak; of wet's median
  constexpr std::size_t kBlocks = 10;              // a second
  const auto hop = static_cast<std::size_t>(rate / 10);
  const std::vector<double> dry = peaks(p.dry, hop);
  if (static_cast<double>(dry.size()) < 10.0 * kLongSeconds) return;
  const double most = *std::max_element(dry.begin(), dry.end());
  std::vector<double> wet, sounding;
  for (std::size_t k = 0; k < dry.size(); ++k) {
    double peak = 0.0;
    for (long i = 0; i < static_cast<long>(hop); ++i) {
      const long at = static_cast<long>(k * hop) + i + lag;
      if (at >= 0 && at < static_cast<long>(p.wet.size()))
        peak = std::max(peak, std::abs(static_cast<double>(p.wet[static_cast<std::size_t>(at)])));
    }
    wet.push_back(peak);
    if (dry[k] > kSilent * most) sounding.push_back(peak);
  }
  if (sounding.size() < kBlocks) return;
  const double usual = median(sounding);
  double seconds = 0.0, first = -1.0;
  for (std::size_t from = 0; from < dry.size();) {
    std::size_t to = from;
    while (to < dry.size() && dry[to] <= kSilent * most) ++to;
    if (to - from >= kBlocks) {
      std::size_t loud = 0;
      for (std::size_t k = from + 1; k + 1 < to; ++k) {  // the last block may hold what comes next
        loud += wet[k] >= kAsLoud * usual;
      }
      if (loud >= kBlocks) {
        seconds += static_cast<double>(to - from) / 10.0;
        if (first < 0.0) first = static_cast<double>(from) / 10.0;
      }
    }
    from = std::max(to, from + 1);
  }
  if (first < 0.0) return;
  found.push_back({Severity::kWarning, "silence", file_of(p, false), first,
                   fmt::format("is silent for {:.1f} s in which wet plays on", seconds),
                   "dry was muted, or something else was recorded with wet",
                   "cut that out of both, or record it again"});
}

}  // namespace cafx
