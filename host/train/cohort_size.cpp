#include "host/train/cohort_size.h"

#include <algorithm>

namespace cafx {

CohortSize choose_cohort_size(int most, const std::function<double(int)>& places_per_second) {
  CohortSize chosen;
  double best = 0.0;
  for (int n = 1;;) {
    const double rate = places_per_second(n);
    chosen.measured.emplace_back(n, rate);
    if (n > 1 && !(rate >= kLeastGain * best)) break;
    chosen.members = n;
    best = rate;
    if (n >= most) break;
    n = std::min(2 * n, most);
  }
  return chosen;
}

}  // namespace cafx
