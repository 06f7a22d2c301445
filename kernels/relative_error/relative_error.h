// kernels/relative_error/relative_error.h -- error to signal ratio and relative absolute error of a block, with gradient.
//
//   e = y - target     p[t] = e[t] - a e[t-1], e[-1] = 0      (a: pre-emphasis, 0 for none)
//   loss[b] = sum_t p[t]^2 esr_scale[b] + |e[t]| mae_scale[b]
//
//   The scales carry the weights of the two terms, the energy and the mean magnitude of the target that they are relative
//   to, and the mean over the batch: what a block is measured against is more than the block.
//
// Source   Wright et al. 2020, "Real-time guitar amplifier emulation with deep learning" (ESR, pre-emphasis).
// Shapes   y, dy (B,T)   target (B,T) with row stride target_stride   esr_scale, mae_scale, loss (B)
// Grads    dy =      sign(0) = 0.
// Errors   sizes >= 1, target_stride >= T: CheckError.
// Bits     each loss is summed in order, in double.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct RelativeErrorDims {
  int B, T;
  long target_stride;
  float pre_emphasis = 0.0f;
};

void relative_error_forward_backward(const Context&, double* loss, float* dy, const float* y, const float* target,
                                     const float* esr_scale, const float* mae_scale, RelativeErrorDims);

}  // namespace cafx
