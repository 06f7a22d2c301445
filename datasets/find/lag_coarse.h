// datasets/find/lag_coarse.h -- where to look for the lag of a long recording: found on 4 kHz, over all lags it allows.
#pragma once

#include <span>

#include "datasets/recording.h"

namespace cafx {

struct CoarseLag {
  double lag = 0.0, slope = 0.0;  // samples of the given rate; lag(t) = lag + slope t
  double support = 0.0;           // share of the excerpts that agree, by the heights of their peaks, 0 .. 1
};

// Excerpts of dry are looked for in wet: near by first, then further and further away, until most of them agree.
CoarseLag find_coarse_lag(std::span<const float> dry, std::span<const float> wet, int rate);

// Every q-th sample behind a low pass.
Recording decimate(std::span<const float> x, int q);

}  // namespace cafx
