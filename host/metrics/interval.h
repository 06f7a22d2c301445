// host/metrics/interval.h -- mean and 95 % interval of the mean over a few repetitions, such as the seeds of a
// training.
//
//   half width = t s / sqrt(n), s the standard deviation with n - 1, t Student's quantile of .975 with n - 1 degrees of
//   freedom (Hill 1970, Communications of the ACM 13(10), algorithm 396).
#pragma once

#include <vector>

namespace cafx {

struct Interval {
  double mean = 0.0, half_width = 0.0;  // half_width: infinite for one value
};
// Values that are not finite make the mean NaN. n >= 1.
Interval interval_of(const std::vector<double>& values);

// The quantile of .975; degrees >= 1.
double student_t_975(int degrees);

}  // namespace cafx
