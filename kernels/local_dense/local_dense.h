// kernels/local_dense/local_dense.h -- Dense-Local: every channel has a dense layer of its own over its time steps.
//
//   y[b,o,c] = act(bias[c,o] + sum_i w[c,o,i] x[b,i,c])
//
// Source   arXiv:1810.06603, first layer of the latent DNN.
// Shapes   x, dx (B,I,C)   y, dy (B,O,C)   w, dw (C,O,I)   bias, dbias (C,O)     C contiguous in activations
// Grads    dx =   dw +=   dbias +=     dy is the gradient of y, after the activation; the activation's slope is
//          computed from y.
// Rounds   operands of products in bf16 and fp16, where a CPU emulates them; on a GPU by latent.h alone.
// Scratch  local_dense_scratch bytes for forward and backward.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     the sum over B is taken in order within each channel, so the bits do not depend on the number of threads.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

struct LocalDenseDims {
  int B, I, O, C;
  Activation activation = Activation::kSoftplus;
};

std::size_t local_dense_scratch(const Context&, LocalDenseDims);  // bytes
void local_dense_forward(const Context&, float* y, const float* x, const float* w, const float* bias, void* scratch,
                         LocalDenseDims);
void local_dense_backward(const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                          const float* x, const float* w, void* scratch, LocalDenseDims);

// The same bits for a few frames at a time, from weights that are packed once and read once for all B frames. CPU only,
// no scratch, no threads. packed: local_dense_packed bytes, whatever B is.
std::size_t local_dense_packed(const Context&, LocalDenseDims);
void local_dense_prepare(const Context&, void* packed, const float* w, const float* bias, LocalDenseDims);
void local_dense_forward_packed(const Context&, float* y, const float* x, const void* packed, LocalDenseDims);

}  // namespace cafx
