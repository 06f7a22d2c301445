// kernels/local_conv/local_conv.h -- Conv1D-Local: every channel has one filter of its own, stride 1, 'same'.
//
//   y[b,t,c] = bias[c] + sum_k w[c,k] x[b, t + k - left, c]       left = (K-1)/2, x zero outside [0, T)
//
// Source   arXiv:1810.06603, second layer (without its activation).
// Shapes   x, dx, y, dy (B,T,C)   w, dw (C,K)   bias, dbias (C)     C contiguous
// Grads    dx =   dw +=   dbias +=
// In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits.
// Speed    the plain twin of front_end; training runs front_end, tests compare the two.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct LocalConvDims {
  int B, T, C, K;
};

void local_conv_forward(const Context&, float* y, const float* x, const float* w, const float* bias, LocalConvDims);
void local_conv_backward(const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* x,
                         const float* w, LocalConvDims);

}  // namespace cafx
