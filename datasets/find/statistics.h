// Small figures that the finders of faults share.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace cafx {

// The upper one of the middle two; 0 of nothing.
inline double median(std::vector<double> v) {
  if (v.empty()) return 0.0;
  const auto middle = v.begin() + static_cast<long>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

// Decibels of an amplitude; -240 and less read -240.
inline double db(double x) { return 20.0 * std::log10(std::max(x, 1e-12)); }

}  // namespace cafx
