// datasets/find/lag_fine.h -- the lag of a recording to the sample of a high rate.
//
//   find_lag looks at rates over kMostRate at a half of them and less, and where it says a lag, that is a sample or
//   more off at the rate itself. Here the loudest windows are correlated at the rate, near the lag that is known. A
//   filter of the device moves the peak behind the delay, and wet that is moved there would lie before dry, which no
//   model can learn. Of a filter of least phase the magnitudes tell the phase: that is taken out, and where the peak
//   then lies earlier, it is believed.
//
// Cost     at most 24 windows of half a second to a second, seven transforms each.
#pragma once

#include <span>

#include "datasets/find/lag.h"

namespace cafx {

// By how many samples wet lies later than `about` says; 0 where too few windows tell.
double beside_lag(std::span<const float> dry, std::span<const float> wet, int rate, const Lag& about);

}  // namespace cafx
