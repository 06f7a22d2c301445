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

}  // namespace

bool tell_hum(const Pair& p, int rate, std::vector<Finding>& found) {
  if (static_cast<double>(std::min(p.dry.size(), p.wet.size())) < kLongSeconds * rate) return false;
  bool told = false;
  const double wet = rms(p.wet), dry = rms(p.dry);
  for (const double hertz : {50.0, 60.0}) {
    const std::vector<double> own = tone(p.wet, hertz, rate);
    const double level = median(own), least = quietest_tenth(own);
    if (level < kLoud || level < kShare * wet || least < kSteady * level) continue;
    if (quietest_tenth(tone(p.dry, hertz, rate)) * wet > kDryHas * least * dry) continue;
    told = true;
    found.push_back(
        {Severity::kWarning, "hum", file_of(p, true), -1.0,
         fmt::format("holds a hum of {:.0f} Hz at {:.0f} dB of full scale, which dry does not", hertz, db(level)),
         "a ground loop or a lamp: no model can learn what is not made from dry, and its errors count it",
         "record it again without; or take it out of wet, as with 'sox in.wav out.wav highpass 80' on both"});
  }
  return told;
}

}  // namespace cafx
