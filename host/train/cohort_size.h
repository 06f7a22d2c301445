// host/train/cohort_size.h -- how many models train side by side where speed decides.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace cafx {

struct CohortSize {
  int members = 1;                               // that are worth it
  std::vector<std::pair<int, double>> measured;  // of each size that was tried: places a second, in sum
};

inline constexpr double kLeastGain = 1.05;  // what the next size must bring, of places a second in sum

// Tries 1, 2, 4, ... and `most` itself, as long as each brings kLeastGain over the size before. `places_per_second` is
// asked once for each size, in that order.
CohortSize choose_cohort_size(int most, const std::function<double(int)>& places_per_second);

}  // namespace cafx
