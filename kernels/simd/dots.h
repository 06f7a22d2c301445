// kernels/simd/dots.h -- sums over time of products of rows: the gradient of a weight between two channels.
//
//   sums(i,j) += sum_t a[i lda + t] b[j ldb + t]      kept as vectors of kW partial sums, at sums + (i si + j sj) kW
//
//   Partial sums stay separate over many calls; `finish_sums` reduces each vector once, at the end. Every sum runs in
//   one fixed order. Included by `_cpu.cpp` files only.
#pragma once

#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

namespace dots_detail {

template <int MR, int NR>
CAFX_INLINE void tile(float* sums, long si, long sj, const float* a, long lda, const float* b, long ldb, int n) {
  vf acc[MR][NR];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) acc[i][j] = load(sums + (i * si + j * sj) * kW);
  }
  const auto add = [&](int t, int m) {
    vf bv[NR];
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) bv[j] = m == kW ? load(b + j * ldb + t) : load_n(b + j * ldb + t, m);
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const vf av = m == kW ? load(a + i * lda + t) : load_n(a + i * lda + t, m);
#pragma GCC unroll 4
      for (int j = 0; j < NR; ++j) acc[i][j] += av * bv[j];
    }
  };
  int t = 0;
  for (; t + kW <= n; t += kW) add(t, kW);
  if (t < n) add(t, n - t);
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) store(sums + (i * si + j * sj) * kW, acc[i][j]);
  }
}

template <int MR>
inline void rows(float* sums, long si, long sj, const float* a, long lda, const float* b, long ldb, int N, int n) {
  constexpr int kCols = 4;
  int j = 0;
  for (; j + kCols <= N; j += kCols) tile<MR, kCols>(sums + j * sj * kW, si, sj, a, lda, b + j * ldb, ldb, n);
  for (; j + 2 <= N; j += 2) tile<MR, 2>(sums + j * sj * kW, si, sj, a, lda, b + j * ldb, ldb, n);
  for (; j < N; ++j) tile<MR, 1>(sums + j * sj * kW, si, sj, a, lda, b + j * ldb, ldb, n);
}

}  // namespace dots_detail

// Rows [0, M) of a with rows [0, N) of b, over n samples.
inline void add_dots(float* sums, long si, long sj, const float* a, long lda, int M, const float* b, long ldb, int N,
                     int n) {
#if defined(__AVX512F__)
  constexpr int kRows = 4;
#else
  constexpr int kRows = 2;  // sixteen registers
#endif
  int i = 0;
  for (; i + kRows <= M; i += kRows) {
    dots_detail::rows<kRows>(sums + i * si * kW, si, sj, a + i * lda, lda, b, ldb, N, n);
  }
  for (; i < M; ++i) dots_detail::rows<1>(sums + i * si * kW, si, sj, a + i * lda, lda, b, ldb, N, n);
}

// sums(i) += sum_t a[i lda + t]
inline void add_row_sums(float* sums, const float* a, long lda, int M, int n) {
  for (int i = 0; i < M; ++i) {
    vf acc = load(sums + i * kW);
    const float* row = a + i * lda;
    int t = 0;
    for (; t + kW <= n; t += kW) acc += load(row + t);
    if (t < n) acc += load_n(row + t, n - t);
    store(sums + i * kW, acc);
  }
}

// out[i] += the i-th sum, for n of them.
inline void finish_sums(float* out, const float* sums, long n) {
  for (long i = 0; i < n; ++i) out[i] += sum(load(sums + i * kW));
}

}  // namespace cafx::CAFX_ISA_NS
