// host/metrics/error.h -- how far an output is from its target, over whole waveforms.
//
//   mae            mean |y - y^|                       full scale = 1
//   mae_matched    mean |y - r y^|, r = mean|y| / mean|y^|       level-matched
//   esr            sum (y - y^)^2 / sum y^2            error to signal; 0 is perfect, 1 is as bad as silence
//   esr_emphasis   esr after the pre-emphasis y[n] - 0.95 y[n-1]
//
// Cases    a silent target: esr is 0 where the output is silent too, else infinite. A silent output: mae_matched = mae.
//          NaN in either: NaN. No samples: CheckError.
#pragma once

#include <cstddef>

namespace cafx {

struct ErrorMetrics {
  double mae = 0.0, mae_matched = 0.0, esr = 0.0, esr_emphasis = 0.0;
};

ErrorMetrics error_metrics(const float* target, const float* output, std::size_t n);

}  // namespace cafx
