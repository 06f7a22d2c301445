// kernels/saaf/saaf_cpu.h -- the SAAF over rows of channels, for the op and for the fused DNN-SAAF.
#pragma once

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/saaf/saaf_math.h"
#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

typedef float v4f __attribute__((vector_size(16)));
typedef float v4fu __attribute__((vector_size(16), aligned(4), may_alias));

// The region of each lane (NaN: 0) and the distance t from its left end.
struct SaafPlace {
  vi region;
  vf t;
};
CAFX_INLINE SaafPlace saaf_place(vf x, SaafDims d, float width, float per_width) {
  const vf k = vmin(vmax((x - d.lo) * per_width, set1(-1.0f)), set1(static_cast<float>(d.S)));
  const vi region = __builtin_convertvector(k + 1.0f, vi);
  const vf left = __builtin_convertvector(region - 1, vf);
  return {region, x - (d.lo + vmax(left, vf{}) * width)};
}

// Lane i gets field `f` of piece (region[i], c + i).
CAFX_INLINE vf saaf_gather(const SaafPiece* table, vi index, int f) {
#if defined(__AVX512F__)
  const __m512i at = reinterpret_cast<__m512i>(index * 4);
  return reinterpret_cast<vf>(_mm512_i32gather_ps(at, reinterpret_cast<const float*>(table) + f, 4));
#else
  vf v;
  for (int i = 0; i < kW; ++i) v[i] = reinterpret_cast<const float*>(table)[4 * index[i] + f];
  return v;
#endif
}

CAFX_INLINE vi lane_channels(long c, int m) {  // lanes past the last channel point at it
  vi v;
  for (int i = 0; i < kW; ++i) v[i] = static_cast<int>(c) + (i < m ? i : m - 1);
  return v;
}

// y (n_rows,C) = saaf(x); y = x is allowed.
inline void saaf_rows_forward(float* y, const float* x, int n_rows, const SaafPiece* table, SaafDims d) {
  const auto width = static_cast<float>(saaf_width(d)), per_width = static_cast<float>(1.0 / saaf_width(d));
  for_vectors(d.C, [&](long c, int m) {
    const vi channels = lane_channels(c, m);
    for (int n = 0; n < n_rows; ++n) {
      const long i = static_cast<long>(n) * d.C + c;
      const SaafPlace p = saaf_place(load_m(x + i, m), d, width, per_width);
      const vi index = p.region * d.C + channels;
      const vf A = saaf_gather(table, index, 0), B = saaf_gather(table, index, 1), H = saaf_gather(table, index, 2);
      store_m(y + i, A + p.t * (B + p.t * H), m);
    }
  });
}

// dx (n_rows,C), and the sums (S+2,C) of each region continued. dx = dy is allowed.
inline void saaf_rows_backward(float* dx, SaafSums* sums, const float* dy, const float* x, int n_rows,
                               const SaafPiece* table, SaafDims d) {
  const auto width = static_cast<float>(saaf_width(d)), per_width = static_cast<float>(1.0 / saaf_width(d));
  for_vectors(d.C, [&](long c, int m) {
    const vi channels = lane_channels(c, m);
    for (int n = 0; n < n_rows; ++n) {
      const long i = static_cast<long>(n) * d.C + c;
      const vf g = load_m(dy + i, m);
      const SaafPlace p = saaf_place(load_m(x + i, m), d, width, per_width);
      const vi index = p.region * d.C + channels;
      const vf B = saaf_gather(table, index, 1), H = saaf_gather(table, index, 2);
      store_m(dx + i, g * (B + 2.0f * p.t * H), m);
      const vf gt = g * p.t, gtt = gt * p.t;
      float s0[kW], s1[kW], s2[kW];
      std::int32_t at[kW];
      store(s0, g);
      store(s1, gt);
      store(s2, gtt);
      *reinterpret_cast<viu*>(at) = index;
      for (int lane = 0; lane < m; ++lane) {
        v4fu* sum = reinterpret_cast<v4fu*>(sums + at[lane]);
        *sum = *sum + v4f{s0[lane], s1[lane], s2[lane], 0.0f};
      }
    }
  });
}

}  // namespace cafx::CAFX_ISA_NS
