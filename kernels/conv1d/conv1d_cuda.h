// kernels/conv1d/conv1d_cuda.h -- the three convolutions that CAFx needs, by our own kernels or by cuDNN.
//
//   One input channel, C filters of K taps, no padding: x (B,T+K-1) against y (B,T,C).
//     forward          y[b,t,c] = bias[c] + sum_k w[c,k] x[b, t + k]            bias may be null
//     backward_filter  dw[c,k] += sum_{b,t} dy[b,t,c] x[b, t + k]
//     backward_data    dx[b,j]  = sum_c sum_k w[c,k] dy[b, j - k, c]
//   flip: w[c,K-1-k] stands for w[c,k] (the journal version's deconvolution).
//
//   Context::use_cudnn or the environment's CAFX_CONVOLUTIONS chooses (kernels/README.md). cuDNN is asked once per kind and
//   shape for its deterministic algorithms, in the order that it thinks fastest, and the first one that it then really runs
//   is kept (CudaDevice::conv_plans); where it refuses all, ours take over, in exact fp32: conv1d_fp32_cuda.h. In bf16 it is
//   asked for y in bf16 beside x and w in fp32, since signal, output and gradients of weights must not be rounded to 8 bits.
#pragma once

#include "kernels/conv1d/conv1d.h"

namespace cafx {

void conv_forward(const Context&, Stored* y, const float* x, const float* w, const float* bias, bool flip, Conv1dDims);
void conv_backward_filter(const Context&, float* dw, const Stored* dy, const float* x, bool flip, Conv1dDims);
void conv_backward_data(const Context&, float* dx, const Stored* dy, const float* w, bool flip, Conv1dDims);

}  // namespace cafx
