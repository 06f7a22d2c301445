// kernels/dense/dense.h -- a dense layer over rows, and the latent dense layer, which acts along time.
//
//   dense         y[n,o] = act(bias[o] + sum_i w[o,i] x[n,i])
//   dense_time    y[b,o,c] = act(bias[o] + sum_i w[o,i] x[b,i,c])       one layer, applied to every channel's row
//
// Source   arXiv:1810.06603: `dense` is a layer of DNN-SAAF (n runs over frames and samples), `dense_time` the shared
//          Dense of the latent DNN.
// Shapes   dense: x, dx (N,I)  y, dy (N,O)      dense_time: x, dx (B,I,C)  y, dy (B,O,C)
//          w, dw (O,I)  bias, dbias (O), or of dense_time (B,O)
// Grads    dx =   dw +=   dbias +=     dy is the gradient of y, after the activation, whose slope is computed from y.
//          dx may be null in `dense_backward` (first layer).
// Scratch  *_scratch bytes for forward and backward.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

struct DenseDims {
  int N, I, O;
  Activation activation = Activation::kIdentity;
};
inline constexpr int kDenseTile = 64;                  // rows whose gradient the CPU keeps at a time
std::size_t dense_scratch(const Context&, DenseDims);  // bytes
void dense_forward(const Context&, float* y, const float* x, const float* w, const float* bias, void* scratch,
                   DenseDims);
void dense_backward(const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x,
                    const float* w, void* scratch, DenseDims);

struct DenseTimeDims {
  int B, I, O, C;
  Activation activation = Activation::kSoftplus;
  bool bias_of_each = false;  // bias, dbias (B,O): every frame has its own
};
std::size_t dense_time_scratch(const Context&, DenseTimeDims);  // bytes
void dense_time_forward(const Context&, float* y, const float* x, const float* w, const float* bias, void* scratch,
                        DenseTimeDims);
void dense_time_backward(const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                         const float* x, const float* w, void* scratch, DenseTimeDims);

}  // namespace cafx
