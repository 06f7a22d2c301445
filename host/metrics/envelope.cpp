#include "host/metrics/envelope.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace cafx {

std::vector<double> level_of(const std::vector<float>& x, int sample_rate) {
  const auto n = static_cast<long>(x.size()), half = std::max(1L, std::lround(0.005 * sample_rate));
  std::vector<double> level;
  for (long i = 0;; ++i) {
    const long centre = std::lround(static_cast<double>(i) * kLevelStepSeconds * sample_rate);
    if (centre >= n) break;
    const long from = std::max(0L, centre - half), to = std::min(n, centre + half);
    double sum = 0.0;
    for (long k = from; k < to; ++k)
      sum += static_cast<double>(x[static_cast<std::size_t>(k)]) * x[static_cast<std::size_t>(k)];
    level.push_back(std::sqrt(sum / static_cast<double>(to - from)));
  }
  return level;
}

EnvelopeError envelope_error(const std::vector<float>& target, const std::vector<float>& output, int sample_rate) {
  CAFX_CHECK(target.size() == output.size() && !target.empty() && sample_rate > 0, target.size(), output.size(),
             sample_rate);
  const auto y = level_of(target, sample_rate), o = level_of(output, sample_rate);
  const double peak = *std::max_element(y.begin(), y.end());
  if (peak == 0.0) {
    const bool silent = *std::max_element(o.begin(), o.end()) == 0.0;
    const double e = silent ? 0.0 : std::numeric_limits<double>::infinity();
    return {e, e};
  }
  const auto db = [&](double v) { return std::max(-60.0, 20.0 * std::log10(v / peak)); };
  const auto n = static_cast<long>(y.size());
  const auto at = [](long i) { return static_cast<std::size_t>(i); };
  long onset = 0, last = n - 1;
  while (db(y[at(onset)]) < -20.0) ++onset;
  while (db(y[at(last)]) <= -50.0) --last;
  const auto mean = [&](long from, long to) {
    double sum = 0.0;
    for (long i = from; i < to; ++i) sum += std::abs(db(o[at(i)]) - db(y[at(i)]));
    return to > from ? sum / static_cast<double>(to - from) : 0.0;
  };
  const long end = std::min(n, onset + 41);
  return {mean(std::max(0L, onset - 4), end), mean(end, last + 1)};
}

}  // namespace cafx
