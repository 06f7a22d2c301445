#include "host/metrics/interval.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/base/error.h"

namespace cafx {

double student_t_975(int degrees) {
  CAFX_CHECK(degrees >= 1, degrees, 1);
  constexpr double kTwoTails = 0.05, kNormal = 1.959963984540054;
  const double n = degrees, half_pi = std::numbers::pi / 2.0;
  if (degrees == 1) return std::cos(kTwoTails * half_pi) / std::sin(kTwoTails * half_pi);
  if (degrees == 2) return std::sqrt(2.0 / (kTwoTails * (2.0 - kTwoTails)) - 2.0);
  const double a = 1.0 / (n - 0.5), b = 48.0 / (a * a);
  double c = ((20700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
  const double d = ((94.5 / (b + c) - 3.0) / b + 1.0) * std::sqrt(a * half_pi) * n;
  double y = std::pow(d * kTwoTails, 2.0 / n);
  if (y > 0.05 + a) {
    const double x = -kNormal;
    y = x * x;
    if (degrees < 5) c += 0.3 * (n - 4.5) * (x + 0.6);
    c = (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b + c;
    y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
    y = std::expm1(a * y * y);
  } else {
    y = ((1.0 / (((n + 6.0) / (n * y) - 0.089 * d - 0.822) * (n + 2.0) * 3.0) + 0.5 / (n + 4.0)) * y - 1.0) *
            (n + 1.0) / (n + 2.0) +
        1.0 / y;
  }
  return std::sqrt(n * y);
}

Interval interval_of(const std::vector<double>& values) {
  CAFX_CHECK(!values.empty(), values.size(), 1);
  const auto n = static_cast<double>(values.size());
  double sum = 0.0, squares = 0.0;
  for (const double v : values) sum += v;
  Interval result{sum / n, std::numeric_limits<double>::infinity()};
  if (values.size() == 1) return result;
  for (const double v : values) squares += (v - result.mean) * (v - result.mean);
  result.half_width = student_t_975(static_cast<int>(values.size()) - 1) * std::sqrt(squares / (n - 1.0) / n);
  return result;
}

}  // namespace cafx
