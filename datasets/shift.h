// datasets/shift.h -- audio between its samples, for copies of training notes (data.shift_copies).
#pragma once

#include <span>

#include "datasets/recording.h"

namespace cafx {

// y[n] = x(n - by), |by| <= 1: the band-limited signal through the samples, later by a part of a sample; as long as x,
// silence around it. A windowed sinc that reaches 32 samples to either side (Kaiser, beta 8; Laakso et al. 1996,
// "Splitting the unit delay", doi:10.1109/79.482137): up to 0.92 of half the rate off by 2e-4 at most.
Recording shifted(std::span<const float> x, double by);

}  // namespace cafx
