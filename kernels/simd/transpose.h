// kernels/simd/transpose.h -- transposes kW x kW tiles in registers, to turn channels-last into time-contiguous rows.
//
//   Included by `_cpu.cpp` files only.
#pragma once

#include <utility>

#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

namespace transpose_detail {
template <int... I>
CAFX_INLINE vf zip_low(vf a, vf b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((I % 2) * kW + I / 2)...);
}
template <int... I>
CAFX_INLINE vf zip_high(vf a, vf b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((I % 2) * kW + kW / 2 + I / 2)...);
}
}  // namespace transpose_detail

// In every group of four lanes, the 4 x 4 numbers of a, b, c, d transposed: lane j of row i becomes lane i of row j.
namespace transpose_detail {
template <int Half, int... I>
CAFX_INLINE vf zip_singles(vf a, vf b, std::integer_sequence<int, I...>) {  // a0 b0 a1 b1, or with Half 2: a2 b2 a3 b3
  return __builtin_shufflevector(a, b, ((I % 2) * kW + I / 4 * 4 + Half + I % 4 / 2)...);
}
template <int Half, int... I>
CAFX_INLINE vf zip_pairs(vf a, vf b, std::integer_sequence<int, I...>) {  // a0 a1 b0 b1, or with Half 2: a2 a3 b2 b3
  return __builtin_shufflevector(a, b, (I % 4 / 2 * kW + I / 4 * 4 + Half + I % 2)...);
}
}  // namespace transpose_detail
CAFX_INLINE void transpose_fours(vf& a, vf& b, vf& c, vf& d) {
  using namespace transpose_detail;
  using Lanes = std::make_integer_sequence<int, kW>;
  const vf ab0 = zip_singles<0>(a, b, Lanes{}), ab2 = zip_singles<2>(a, b, Lanes{}),
           cd0 = zip_singles<0>(c, d, Lanes{}), cd2 = zip_singles<2>(c, d, Lanes{});
  a = zip_pairs<0>(ab0, cd0, Lanes{});
  b = zip_pairs<2>(ab0, cd0, Lanes{});
  c = zip_pairs<0>(ab2, cd2, Lanes{});
  d = zip_pairs<2>(ab2, cd2, Lanes{});
}

// log2(kW) rounds of interleaving row i with row i + kW/2.
CAFX_INLINE void transpose_tile(vf (&r)[kW]) {
  using Lanes = std::make_integer_sequence<int, kW>;
#pragma GCC unroll 4
  for (int stage = 1; stage < kW; stage *= 2) {
    vf next[kW];
#pragma GCC unroll 8
    for (int i = 0; i < kW / 2; ++i) {
      next[2 * i] = transpose_detail::zip_low(r[i], r[i + kW / 2], Lanes{});
      next[2 * i + 1] = transpose_detail::zip_high(r[i], r[i + kW / 2], Lanes{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < kW; ++i) r[i] = next[i];
  }
}

// rows_out[c * ld_out + n] = x[n * ld + c] for n in [0, n_rows), c in [0, n_c), n_c <= kW. ld_out >= n_rows rounded up
// to kW: what lies between is written with zeros.
inline void to_rows(float* rows_out, long ld_out, const float* x, long ld, int n_rows, int n_c) {
  for (int n = 0; n < n_rows; n += kW) {
    vf tile[kW];
    for (int i = 0; i < kW; ++i) {
      tile[i] = n + i < n_rows ? (n_c == kW ? load(x + (n + i) * ld) : load_n(x + (n + i) * ld, n_c)) : vf{};
    }
    transpose_tile(tile);
    for (int c = 0; c < n_c; ++c) store(rows_out + c * ld_out + n, tile[c]);
  }
}

// x[n * ld + c] = rows_in[c * ld_in + n]; ld_in as ld_out above (whole vectors are read).
inline void from_rows(float* x, long ld, const float* rows_in, long ld_in, int n_rows, int n_c) {
  for (int n = 0; n < n_rows; n += kW) {
    vf tile[kW];
    for (int c = 0; c < kW; ++c) tile[c] = c < n_c ? load(rows_in + c * ld_in + n) : vf{};
    transpose_tile(tile);
    const int m = n_rows - n < kW ? n_rows - n : kW;
    for (int i = 0; i < m; ++i) {
      if (n_c == kW) {
        store(x + (n + i) * ld, tile[i]);
      } else {
        store_n(x + (n + i) * ld, tile[i], n_c);
      }
    }
  }
}

}  // namespace cafx::CAFX_ISA_NS
