// kernels/loss/loss.h -- mean absolute error over frames, with its gradient.
//
//   loss_b = sum_t |y[b,t] - target[b,t]|
//   dy_padded[b, pad + t] = sign(y - target) * gradient_scale, zero around it
//
// Shapes   y (B,T)   target (B,T) with row stride target_stride   dy_padded (B, T + K - 1)   loss (B)
//          The gradient is written where deconv1d_backward reads it.
// Grads    sign(0) = 0.   gradient_scale is 1 / (frames in the whole batch x T) for the mean.
// Bits     each loss_b is summed in order, in double.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct MaeDims {
  int B, T, K, pad;
  long target_stride;
};

void mae_forward_backward(const Context&, double* loss, float* dy_padded, const float* y, const float* target,
                          float gradient_scale, MaeDims);

}  // namespace cafx
