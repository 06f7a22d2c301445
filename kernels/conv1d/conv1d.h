// kernels/conv1d/conv1d.h -- Conv1D over one input channel: C filters of K taps, stride 1, 'same'.
//
//   y[b,t,c] = bias[c] + sum_k w[c,k] x_padded[b, t + k]          (cross-correlation)
//
// Source   arXiv:1810.06603, first layer. The input is padded: x_padded[b, (K-1)/2 + t] = x[b,t], zero around it.
// Shapes   x_padded (B,T+K-1)   w, dw (C,K)   bias, dbias (C)   y, dy (B,T,C), Stored     C contiguous
// Grads    dw +=   dbias +=   none for x: it is the input of the network.   dbias may be null.
// Scratch  conv1d_forward_scratch and conv1d_backward_scratch bytes.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct Conv1dDims {
  int B, T, C, K;
};

// Zeros before the first sample of a 'same' convolution with K taps; K - 1 - same_left(K) come after the last.
constexpr int same_left(int K) { return (K - 1) / 2; }

std::size_t conv1d_forward_scratch(const Context&, Conv1dDims);  // bytes
void conv1d_forward(const Context&, Stored* y, const float* x_padded, const float* w, const float* bias, void* scratch,
                    Conv1dDims);
std::size_t conv1d_backward_scratch(const Context&, Conv1dDims);  // bytes
void conv1d_backward(const Context&, float* dw, float* dbias, const Stored* dy, const float* x_padded, void* scratch,
                     Conv1dDims);

// For Conv1D and the tied deconvolution of this shape, where cuDNN runs them: bytes of workspace that its deterministic
// algorithms need beyond what is reserved, up to a share of the GPU's memory; else 0. A reservation lasts until the
// device is closed; an algorithm that needs more is skipped.
std::size_t convolution_workspace(const Context&, Conv1dDims, bool flip);
void reserve_convolutions(const Context&, Conv1dDims, bool flip);

// Whether operands of the convolutions of this shape, deConv1D's too, are rounded to bf16 or fp16: where that is the
// precision, on a CPU all (plain Conv1D only where it is emulated), on a GPU those that its tensor cores multiply.
bool convolutions_round(const Context&, Conv1dDims);

}  // namespace cafx
