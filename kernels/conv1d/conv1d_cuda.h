// kernels/conv1d/conv1d_cuda.h -- the three convolutions of CAFx, by cafx's own kernels or by cuDNN.
//
//   One input channel, C filters of K taps, no padding: x (B,T+K-1) against y (B,T,C).
//     forward          y[b,t,c] = bias[c] + sum_k w[c,k] x[b, t + k]            bias may be null
//     backward_filter  dw[c,k] += sum_{b,t} dy[b,t,c] x[b, t + k]
//     backward_data    dx[b,j]  = sum_c sum_k w[c,k] dy[b, j - k, c]
//   flip: w[c,K-1-k] stands for w[c,k] (the journal version's deconvolution).
//
//   Context::use_cudnn or the environment's CAFX_CONVOLUTIONS chooses (kernels/README.md). Once per kind and shape,
//   cuDNN lists its deterministic algorithms, fastest first by its own guess, and the first one that runs is kept
//   (CudaDevice::conv_plans). Where cuDNN refuses all, cafx's exact fp32 kernels run: conv1d_fp32_cuda.h. In bf16 and
//   fp16, y is of that format in memory beside x and w in fp32, since signal, output and gradients of weights must not
//   be laid down with 8 bits; cafx rounds the operands of its products and multiplies them on tensor cores
//   (conv1d_mma_cuda.h), for the shapes that it takes.
#pragma once

#include "kernels/conv1d/conv1d.h"
#include "kernels/deconv1d/deconv1d.h"

namespace cafx {

void conv_forward(const Context&, Stored* y, const float* x, const float* w, const float* bias, bool flip, Conv1dDims);
// The same from the frames of `source`, which x then holds behind `left` zeros each. False, and nothing is done, where
// no kernel of tensor cores does (cuda::convolutions_round).
bool conv_forward_from(const Context&, Stored* y, float* x, FrameSource source, int left, const float* w,
                       const float* bias, Conv1dDims);
void conv_backward_filter(const Context&, float* dw, const Stored* dy, const float* x, bool flip, Conv1dDims);
void conv_backward_data(const Context&, float* dx, const Stored* dy, const float* w, bool flip, Conv1dDims);
// What each 128 samples add to dx, (B,ceil(T/128),192), of up to 64 taps: sums of two such rows are dx. False, and
// nothing is done, where other kernels run.
inline constexpr int kConvRowSamples = 128, kConvRow = kConvRowSamples + 64;
bool conv_has_rows(const Context&, Conv1dDims);
bool conv_backward_rows(const Context&, float* rows, const Stored* dy, const float* w, bool flip, Conv1dDims);
// y (B,T) = *bias + what conv_backward_data gives of u at [pad, pad + T), where one kernel can; else false, undone.
// Where y is null, its error and gradient of `mae` instead.
bool deconv_whole(const Context&, float* y, const DeconvMae& mae, const Stored* u, const float* w, const float* bias,
                  bool flip, int pad, Conv1dDims);

}  // namespace cafx
