// kernels/conv1d/conv1d_cpu.h -- the weight gradient of a convolution over one padded signal, shared by Conv1D, its
// fused form and the tied deconvolution.
#pragma once

#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

// dw[c,k] += sum_t dy[t,c] x_padded[t + k]. In blocks over t, so that a block of dy stays in L2 for every tile of dw.
inline void add_filter_gradient(float* dw, const float* dy, const float* x_padded, int T, int C, int K) {
  constexpr int kBlock = 128;
  for (int t = 0; t < T; t += kBlock) {
    const int n = T - t < kBlock ? T - t : kBlock;
    gemm(C, K, n, dy + static_cast<long>(t) * C, 1, C, x_padded + t, 1, dw, K, GemmInit::kAdd);
  }
}

}  // namespace cafx::CAFX_ISA_NS
