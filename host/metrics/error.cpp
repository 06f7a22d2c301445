#include "host/metrics/error.h"

#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace cafx {

namespace {
double ratio(double error, double signal) {
  if (signal == 0.0) return error == 0.0 ? 0.0 : error != error ? error : std::numeric_limits<double>::infinity();
  return error / signal;
}
}  // namespace

ErrorMetrics error_metrics(const float* target, const float* output, std::size_t n) {
  CAFX_CHECK(n > 0, n);
  constexpr double kEmphasis = 0.95;
  double absolute = 0.0, level = 0.0, level_output = 0.0, squared = 0.0, energy = 0.0, squared_e = 0.0, energy_e = 0.0;
  double last_y = 0.0, last_o = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    const double y = target[i], o = output[i];
    absolute += std::abs(y - o);
    level += std::abs(y);
    level_output += std::abs(o);
    squared += (y - o) * (y - o);
    energy += y * y;
    const double ye = y - kEmphasis * last_y, oe = o - kEmphasis * last_o;
    squared_e += (ye - oe) * (ye - oe);
    energy_e += ye * ye;
    last_y = y;
    last_o = o;
  }
  const double r = level_output > 0.0 ? level / level_output : 1.0;
  double matched = 0.0;
  for (std::size_t i = 0; i < n; ++i) matched += std::abs(static_cast<double>(target[i]) - r * output[i]);
  const auto count = static_cast<double>(n);
  return {absolute / count, matched / count, ratio(squared, energy), ratio(squared_e, energy_e)};
}

}  // namespace cafx
