// kernels/simd/gemm.h -- small matrix products of operands in cache, without packing.
//
//   C(i,j) = init + sum_k A(i,k) B(k,j),   A(i,k) = a[i rs + k cs],  B(k,j) = b[k ldb + j],  C(i,j) = c[i ldc + j]
//
//   One register tile of MR x NV vectors, A read by broadcast, B by whole rows: so a Toeplitz A (rs = cs = 1: Conv1D
//   over a padded signal) and a Toeplitz B (ldb = 1: its weight gradient) cost what an ordinary matrix costs, with no
//   im2col. The sum over k runs in order for every element: bits do not depend on M or on the tile an element falls
//   in. Included by `_cpu.cpp` files only.
#pragma once

#include "kernels/device/precision.h"
#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

enum class GemmInit { kZero, kBias, kAdd };  // C starts from 0, from bias[j], or from itself

namespace gemm_detail {

// N here is NV whole vectors, or with Tail NV - 1 whole ones and n_last numbers of the last.
template <int MR, int NV, bool Tail, bool UnitRow>
CAFX_INLINE void tile(int K, const float* a, long rs, long cs, const float* b, long ldb, float* c, long ldc,
                      GemmInit init, const float* bias, int n_last) {
  vf acc[MR][NV];
  const auto get = [&](const float* p, int v) {
    return Tail && v == NV - 1 ? load_n(p + v * kW, n_last) : load(p + v * kW);
  };
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      acc[r][v] = init == GemmInit::kZero ? vf{} : (init == GemmInit::kBias ? get(bias, v) : get(c + r * ldc, v));
    }
  }
  const long row = UnitRow ? 1 : rs;
  for (int k = 0; k < K; ++k) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = get(b, v);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const vf av = set1(a[r * row]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[r][v] += av * bv[v];
    }
    a += cs;
    b += ldb;
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      if (Tail && v == NV - 1) {
        store_n(c + r * ldc + v * kW, acc[r][v], n_last);
      } else {
        store(c + r * ldc + v * kW, acc[r][v]);
      }
    }
  }
}

template <int MR, int NV, bool Tail, bool UnitRow>
inline void rows(int M, int K, const float* a, long rs, long cs, const float* b, long ldb, float* c, long ldc,
                 GemmInit init, const float* bias, int n_last) {
  int i = 0;
  for (; i + MR <= M; i += MR) {
    tile<MR, NV, Tail, UnitRow>(K, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, init, bias, n_last);
  }
  if constexpr (MR > 2) {
    for (; i + 2 <= M; i += 2) {
      tile<2, NV, Tail, UnitRow>(K, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, init, bias, n_last);
    }
  }
  for (; i < M; ++i) {
    tile<1, NV, Tail, UnitRow>(K, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, init, bias, n_last);
  }
}

template <bool UnitRow>
inline void gemm(int M, int N, int K, const float* a, long rs, long cs, const float* b, long ldb, float* c, long ldc,
                 GemmInit init, const float* bias) {
  int j = 0;
#if defined(__AVX512F__)
  for (; j + 2 * kW <= N; j += 2 * kW) {
    rows<8, 2, false, UnitRow>(M, K, a, rs, cs, b + j, ldb, c + j, ldc, init, bias + j, 0);
  }
#else
  for (; j + 2 * kW <= N; j += 2 * kW) {
    rows<6, 2, false, UnitRow>(M, K, a, rs, cs, b + j, ldb, c + j, ldc, init, bias + j, 0);
  }
#endif
  for (; j + kW <= N; j += kW) {
    rows<8, 1, false, UnitRow>(M, K, a, rs, cs, b + j, ldb, c + j, ldc, init, bias + j, 0);
  }
  if (j < N) rows<4, 1, true, UnitRow>(M, K, a, rs, cs, b + j, ldb, c + j, ldc, init, bias + j, N - j);
}

}  // namespace gemm_detail

// bias is read only for GemmInit::kBias; pass any valid pointer otherwise (c does).
inline void gemm(int M, int N, int K, const float* a, long rs, long cs, const float* b, long ldb, float* c, long ldc,
                 GemmInit init, const float* bias = nullptr) {
  const float* base = bias ? bias : c;
  if (EmulatedPrecision::is_on()) {  // the operands' spans, rounded
    a = rounded_copy(0, a, (M - 1) * rs + (K - 1) * cs + 1);
    b = rounded_copy(1, b, (K - 1) * ldb + N);
  }
  if (rs == 1) {
    gemm_detail::gemm<true>(M, N, K, a, rs, cs, b, ldb, c, ldc, init, base);
  } else {
    gemm_detail::gemm<false>(M, N, K, a, rs, cs, b, ldb, c, ldc, init, base);
  }
}

// y (cols,rows) = transpose of x (rows,cols), both contiguous.
inline void transpose(float* y, const float* x, int rows, int cols) {
  constexpr int kBlock = 16;
  for (int r0 = 0; r0 < rows; r0 += kBlock) {
    const int r1 = r0 + kBlock < rows ? r0 + kBlock : rows;
    for (int c = 0; c < cols; ++c) {
      for (int r = r0; r < r1; ++r) y[static_cast<long>(c) * rows + r] = x[static_cast<long>(r) * cols + c];
    }
  }
}

// out[j] += sum_i x[i ld + j] for j in [0, n), summed over i in order; four vectors side by side, as each waits for its
// own sum.
inline void add_column_sums(float* out, const float* x, int rows, int n, long ld) {
  int j = 0;
  for (; j + 4 * kW <= n; j += 4 * kW) {
    vf s[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) s[v] = load(out + j + v * kW);
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) s[v] += load(x + i * ld + j + v * kW);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) store(out + j + v * kW, s[v]);
  }
  for (; j < n; j += kW) {
    const int m = n - j < kW ? n - j : kW;
    vf s = load_n(out + j, m);
    for (int i = 0; i < rows; ++i) s += m == kW ? load(x + i * ld + j) : load_n(x + i * ld + j, m);
    store_n(out + j, s, m);
  }
}

}  // namespace cafx::CAFX_ISA_NS
