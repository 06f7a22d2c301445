// kernels/simd/gemm_bf16.h -- products of bf16 operands by the processor's dot products (AVX512_BF16), summed in fp32.
//
//   C(i,j) = init + sum_p A(i,p) . B(p,j),   A(i,p) = a[i rs + p cs],  B(p,j) = b[p ldb + j],  C(i,j) = c[i ldc + j]
//
//   A pair is two neighbours of the summed index as bf16 in one word, the earlier in the low half; where their number
//   is odd, the last one's neighbour is zero. Operands are rounded to nearest, halves to even, as round_to does
//   (device/precision.h); products of two bf16 are exact in fp32.
// Differs  from the fp32 product of rounded operands, which emulates this: sums take two products at a time, and
//          denormal numbers count as zero. Equal within 1e-6 of the sum of magnitudes (tests/ops/test_precision.cpp).
// Speed    twice the multiply-adds a second of fp32 where the units are as wide (Zen 5: 557 against 278 GFLOP/s).
//   The sum is taken in order for every element: bits do not depend on M or on the tile an element falls in. For
//   AVX-512 only; call it only if bf16_units (device/context.h). Included by `_cpu.cpp` files only.
#pragma once

#include "kernels/simd/gemm.h"

#if defined(__AVX512F__)

namespace cafx::CAFX_ISA_NS::bf16 {

#define CAFX_BF16 __attribute__((target("avx512bf16")))

using Pair = std::uint32_t;
constexpr long n_pairs(long n) { return (n + 1) / 2; }

// out[i ld_out + p] = x[i ld + 2p], x[i ld + 2p + 1]: pairs along a row.
CAFX_BF16 inline void pairs_along_rows(Pair* out, long ld_out, const float* x, long ld, int rows, int cols) {
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; j += 2 * kW) {
      const int m = cols - j;
      const float* p = x + i * ld + j;
      const vf low = m >= kW ? load(p) : load_n(p, m);
      const vf high = m >= 2 * kW ? load(p + kW) : (m > kW ? load_n(p + kW, m - kW) : vf{});
      const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low));
      const long n = m >= 2 * kW ? kW : n_pairs(m);
      _mm512_mask_storeu_epi32(out + i * ld_out + j / 2, static_cast<__mmask16>((1u << n) - 1),
                               reinterpret_cast<__m512i>(both));
    }
  }
}

// out[p cols + j] = x[2p ld + j], x[(2p + 1) ld + j]: pairs of rows.
CAFX_BF16 inline void pairs_of_rows(Pair* out, const float* x, long ld, int rows, int cols) {
  alignas(64) std::uint16_t zip[2 * kW];  // the halves of cvtne2ps side by side
  for (int i = 0; i < 2 * kW; ++i) zip[i] = static_cast<std::uint16_t>(i % 2 * kW + i / 2);
  const __m512i order = _mm512_load_si512(zip);
  for (int i = 0; i < rows; i += 2) {
    for (int j = 0; j < cols; j += kW) {
      const int m = cols - j < kW ? cols - j : kW;
      const vf low = load_n(x + i * ld + j, m), high = i + 1 < rows ? load_n(x + (i + 1) * ld + j, m) : vf{};
      const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low));
      _mm512_mask_storeu_epi32(out + i / 2 * static_cast<long>(cols) + j, static_cast<__mmask16>((1u << m) - 1),
                               _mm512_permutexvar_epi16(order, reinterpret_cast<__m512i>(both)));
    }
  }
}

// out[j] = x[j], x[j + 1] for j in [0, n), zero after the last: the pairs of a Toeplitz view. As A with rs = 1,
// cs = 2, as B with ldb = 2.
CAFX_BF16 inline void overlapping_pairs(Pair* out, const float* x, int n) {
  if (n < 1) return;
  pairs_of_rows(out, x, 1, 2, n - 1);
  pairs_of_rows(out + n - 1, x + n - 1, 1, 1, 1);
}

template <int MR, int NV, bool Tail>
CAFX_BF16 inline void tile(int P, const Pair* a, long rs, long cs, const Pair* b, long ldb, float* c, long ldc,
                           GemmInit init, const float* bias, int n_last) {
  __m512 acc[MR][NV];
  const auto mask = static_cast<__mmask16>(Tail ? (1u << n_last) - 1 : 0xffffu);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      const float* from = (init == GemmInit::kBias ? bias : c + r * ldc) + v * kW;
      acc[r][v] = init == GemmInit::kZero ? _mm512_setzero_ps()
                  : Tail                  ? _mm512_maskz_loadu_ps(mask, from)
                                          : _mm512_loadu_ps(from);
    }
  }
  for (int p = 0; p < P; ++p) {
    __m512bh bv[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      bv[v] = reinterpret_cast<__m512bh>(Tail ? _mm512_maskz_loadu_epi32(mask, b + v * kW)
                                              : _mm512_loadu_si512(b + v * kW));
    }
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      const auto av = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[r * rs])));
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], av, bv[v]);
    }
    a += cs;
    b += ldb;
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      if (Tail) {
        _mm512_mask_storeu_ps(c + r * ldc + v * kW, mask, acc[r][v]);
      } else {
        _mm512_storeu_ps(c + r * ldc + v * kW, acc[r][v]);
      }
    }
  }
}

template <int NV, bool Tail>
CAFX_BF16 inline void rows(int M, int P, const Pair* a, long rs, long cs, const Pair* b, long ldb, float* c, long ldc,
                           GemmInit init, const float* bias, int n_last) {
  int i = 0;
  for (; i + 8 <= M; i += 8) {
    tile<8, NV, Tail>(P, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, init, bias, n_last);
  }
  for (; i < M; ++i) tile<1, NV, Tail>(P, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, init, bias, n_last);
}

// bias is read only for GemmInit::kBias.
CAFX_BF16 inline void gemm(int M, int N, int P, const Pair* a, long rs, long cs, const Pair* b, long ldb, float* c,
                           long ldc, GemmInit init, const float* bias = nullptr) {
  const float* base = bias ? bias : c;
  int j = 0;
  for (; j + 2 * kW <= N; j += 2 * kW) rows<2, false>(M, P, a, rs, cs, b + j, ldb, c + j, ldc, init, base + j, 0);
  for (; j + kW <= N; j += kW) rows<1, false>(M, P, a, rs, cs, b + j, ldb, c + j, ldc, init, base + j, 0);
  if (j < N) rows<1, true>(M, P, a, rs, cs, b + j, ldb, c + j, ldc, init, base + j, N - j);
}

#undef CAFX_BF16

}  // namespace cafx::CAFX_ISA_NS::bf16

#endif
