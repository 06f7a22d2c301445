// host/cli/fma_peak.h -- the most fp32 multiply-adds this machine does in a second, measured.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

// In FLOP/s (a multiply-add is two), on all threads of the context, over about `seconds`.
double measure_fma_peak(const Context&, double seconds);

}  // namespace cafx
