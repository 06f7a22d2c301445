// kernels/conv1x1/conv1x1.h -- a convolution of one tap: channels mixed, sample by sample.
//
//   y[o,t] = bias[o] + sum_i w[o,i] x[i,t]
//
// Shapes   of B segments, time contiguous:   x, dx (B,I,T), rows x_stride apart   y, dy (B,O,T), rows y_stride apart
//          w, dw (O,I)   bias, dbias (O), may be null: none
// Grads    dx = (may be null)   dw +=   dbias +=
// Scratch  conv1x1_backward_scratch bytes.   In place: no.
// Errors   sizes >= 1, strides >= T: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits; of forward, however T is divided into calls.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct Conv1x1Dims {
  int I, O, T;
  long x_stride, y_stride;
  int B = 1;
};

void conv1x1_forward(const Context&, float* y, const float* x, const float* w, const float* bias, Conv1x1Dims);
std::size_t conv1x1_backward_scratch(const Context&, Conv1x1Dims);  // bytes
void conv1x1_backward(const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* x,
                      const float* w, void* scratch, Conv1x1Dims);

}  // namespace cafx
