// kernels/conv1d/conv1d_cpu.h -- the products of a convolution over one padded signal, shared by Conv1D, its fused form
// and the tied deconvolution.
#pragma once

#include "kernels/conv1d/conv1d_layout.h"
#include "kernels/simd/gemm.h"
#include "kernels/simd/gemm_bf16.h"

namespace cafx::CAFX_ISA_NS {

// dw[c,k] += sum_t dy[t,c] x_padded[t + k]. In blocks over t, so that a block of dy stays in L2 for every tile of dw.
inline void add_filter_gradient(float* dw, const float* dy, const float* x_padded, int T, int C, int K) {
  for (int t = 0; t < T; t += kFilterBlock) {
    const int n = T - t < kFilterBlock ? T - t : kFilterBlock;
    gemm(C, K, n, dy + static_cast<long>(t) * C, 1, C, x_padded + t, 1, dw, K, GemmInit::kAdd);
  }
}
// The same on bf16 units if `bf16`; scratch of filter_gradient_pairs floats.
inline void add_filter_gradient(float* dw, const float* dy, const float* x_padded, int T, int C, int K, bool bf16,
                                float* scratch) {
#if defined(__AVX512F__)
  if (bf16) {
    auto* a = reinterpret_cast<bf16::Pair*>(scratch);
    auto* b = a + kFilterBlock / 2 * static_cast<long>(C);
    for (int t = 0; t < T; t += kFilterBlock) {
      const int n = T - t < kFilterBlock ? T - t : kFilterBlock;
      bf16::pairs_of_rows(a, dy + static_cast<long>(t) * C, C, n, C);
      bf16::overlapping_pairs(b, x_padded + t, n + K - 1);
      bf16::gemm(C, K, static_cast<int>(bf16::n_pairs(n)), a, 1, C, b, 2, dw, K, GemmInit::kAdd);
    }
    return;
  }
#else
  (void)bf16, (void)scratch;
#endif
  add_filter_gradient(dw, dy, x_padded, T, C, K);
}

}  // namespace cafx::CAFX_ISA_NS
