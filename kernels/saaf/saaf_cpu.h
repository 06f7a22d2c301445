// kernels/saaf/saaf_cpu.h -- the SAAF over rows of channels, for the op and for the fused DNN-SAAF.
#pragma once

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/saaf/saaf_math.h"
#include "kernels/simd/transpose.h"

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

// Four floats from each of kW / 4 places, one after the other.
CAFX_INLINE vf load_fours(const float* const (&p)[kW / 4]) {
#if defined(__AVX512F__)
  __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p[0]));
  v = _mm512_insertf32x4(v, _mm_loadu_ps(p[1]), 1);
  v = _mm512_insertf32x4(v, _mm_loadu_ps(p[2]), 2);
  return reinterpret_cast<vf>(_mm512_insertf32x4(v, _mm_loadu_ps(p[3]), 3));
#elif defined(__AVX2__)
  return reinterpret_cast<vf>(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p[0])), _mm_loadu_ps(p[1]), 1));
#else
  return load(p[0]);
#endif
}

// Lane i gets A, B, H of piece at[i]: a piece is one load of four floats, transposed by eight shuffles. A gather
// of each field took three times as long (Zen 4).
struct SaafCurve {
  vf A, B, H;
};
CAFX_INLINE SaafCurve saaf_look_up(const SaafPiece* table, const std::int32_t* at) {
  vf row[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const float* p[kW / 4];
#pragma GCC unroll 4
    for (int i = 0; i < kW / 4; ++i) p[i] = &table[at[4 * i + j]].A;
    row[j] = load_fours(p);
  }
  transpose_fours(row[0], row[1], row[2], row[3]);
  return {row[0], row[1], row[2]};
}

CAFX_INLINE vi lane_channels(long c, int m) {  // lanes past the last channel point at it
  vi v;
  for (int i = 0; i < kW; ++i) v[i] = static_cast<int>(c) + (i < m ? i : m - 1);
  return v;
}

inline void saaf_make_lanes(float* lanes, const SaafPiece* table, SaafDims d) {
  for (int c = 0; c < d.C; ++c) {
    for (int k = 0; k < kSaafLanes; ++k) {
      const SaafPiece piece = k < d.S + 2 ? table[static_cast<long>(k) * d.C + c] : SaafPiece{};
      float* own = lanes + static_cast<long>(c) * 3 * kSaafLanes + k;
      own[0] = piece.A, own[kSaafLanes] = piece.B, own[2 * kSaafLanes] = piece.H;
    }
  }
}

#if defined(__AVX512F__)
// Field 0, 1 or 2 (A, B, H) of one channel's piece at[i].
CAFX_INLINE vf saaf_field(const float* lanes, long channel, int field, vi at) {
  const float* p = lanes + (3 * channel + field) * kSaafLanes;
  return reinterpret_cast<vf>(
      _mm512_permutex2var_ps(_mm512_loadu_ps(p), reinterpret_cast<__m512i>(at), _mm512_loadu_ps(p + kW)));
}

// A tile of rows x[0 .. n) of m channels, transposed: one channel along time in each vector.
CAFX_INLINE void load_turned(vf (&tile)[kW], const float* x, long ld, int n, int m) {
#pragma GCC unroll 16
  for (int i = 0; i < kW; ++i) tile[i] = i < n ? load_m(x + i * ld, m) : vf{};
  transpose_tile(tile);
}
CAFX_INLINE void store_turned(float* y, long ld, vf (&tile)[kW], int n, int m) {
  transpose_tile(tile);
  for (int i = 0; i < n; ++i) store_m(y + i * ld, tile[i], m);
}

// With a channel's curve in registers and kW of its samples side by side: half the time, the same bits.
inline void saaf_rows_forward_turned(float* y, const float* x, int n_rows, const float* lanes, SaafDims d) {
  const auto width = static_cast<float>(saaf_width(d)), per_width = static_cast<float>(1.0 / saaf_width(d));
  for_vectors(d.C, [&](long c0, int m) {
    for (int n = 0; n < n_rows; n += kW) {
      const long at = static_cast<long>(n) * d.C + c0;
      const int n_tile = n_rows - n < kW ? n_rows - n : kW;
      vf tile[kW];
      load_turned(tile, x + at, d.C, n_tile, m);
      for (int c = 0; c < m; ++c) {
        const SaafPlace p = saaf_place(tile[c], d, width, per_width);
        const vf A = saaf_field(lanes, c0 + c, 0, p.region), B = saaf_field(lanes, c0 + c, 1, p.region),
                 H = saaf_field(lanes, c0 + c, 2, p.region);
        tile[c] = A + p.t * (B + p.t * H);
      }
      store_turned(y + at, d.C, tile, n_tile, m);
    }
  });
}

template <Precision kStored>
void saaf_rows_backward_turned(float* dx, SaafSums* sums, const float* dy, const float* x, int n_rows,
                               const float* lanes, SaafDims d) {
  const auto width = static_cast<float>(saaf_width(d)), per_width = static_cast<float>(1.0 / saaf_width(d));
  for_vectors(d.C, [&](long c0, int m) {
    for (int n = 0; n < n_rows; n += kW) {
      const long first = static_cast<long>(n) * d.C + c0;
      const int n_tile = n_rows - n < kW ? n_rows - n : kW;
      vf tile[kW], gradient[kW];
      load_turned(tile, x + first, d.C, n_tile, m);
      load_turned(gradient, dy + first, d.C, n_tile, m);
      std::int32_t at[kW][kW];
      float parts[kW][4 * kW];  // of each channel: g, g t, g t^2, 0 of samples 0, 4, 8, 12, then of 1, 5, ...
      for (int c = 0; c < m; ++c) {
        const SaafPlace p = saaf_place(tile[c], d, width, per_width);
        const vf B = saaf_field(lanes, c0 + c, 1, p.region), H = saaf_field(lanes, c0 + c, 2, p.region);
        const vf g = gradient[c];
        gradient[c] = g * (B + 2.0f * p.t * H);
        *reinterpret_cast<viu*>(at[c]) = p.region * d.C + static_cast<int>(c0 + c);
        const vf t = vrounded(p.t, kStored);
        vf part[4] = {g, g * t, g * t * t, vf{}};
        transpose_fours(part[0], part[1], part[2], part[3]);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) store(parts[c] + j * kW, part[j]);
      }
      store_turned(dx + first, d.C, gradient, n_tile, m);
      // Sample by sample, so that dependent sums are further apart than within a channel.
      const auto add = [&](int i, int c) {
        v4fu* sum = reinterpret_cast<v4fu*>(sums + at[c][i]);
        *sum = *sum + *reinterpret_cast<const v4fu*>(parts[c] + i % 4 * kW + i / 4 * 4);
      };
      for (int i = 0; i < n_tile; ++i) {
        if (m == kW) {
#pragma GCC unroll 16
          for (int c = 0; c < kW; ++c) add(i, c);
        } else {
          for (int c = 0; c < m; ++c) add(i, c);
        }
      }
    }
  });
}
#endif

// y (n_rows,C) = saaf(x); y = x is allowed.
inline void saaf_rows_forward(float* y, const float* x, int n_rows, const SaafPiece* table, SaafDims d) {
  const auto width = static_cast<float>(saaf_width(d)), per_width = static_cast<float>(1.0 / saaf_width(d));
  for_vectors(d.C, [&](long c, int m) {
    const vi channels = lane_channels(c, m);
    for (int n = 0; n < n_rows; ++n) {
      const long i = static_cast<long>(n) * d.C + c;
      const SaafPlace p = saaf_place(load_m(x + i, m), d, width, per_width);
      std::int32_t at[kW];
      *reinterpret_cast<viu*>(at) = p.region * d.C + channels;
      const SaafCurve f = saaf_look_up(table, at);
      store_m(y + i, f.A + p.t * (f.B + p.t * f.H), m);
    }
  });
}

// dx (n_rows,C), and the sums (S+2,C) of each region continued. dx = dy is allowed. t in the sums is rounded
// to kStored (device/precision.h).
template <Precision kStored = Precision::kFp32>
void saaf_rows_backward(float* dx, SaafSums* sums, const float* dy, const float* x, int n_rows, const SaafPiece* table,
                        SaafDims d) {
  const auto width = static_cast<float>(saaf_width(d)), per_width = static_cast<float>(1.0 / saaf_width(d));
  for_vectors(d.C, [&](long c, int m) {
    const vi channels = lane_channels(c, m);
    for (int n = 0; n < n_rows; ++n) {
      const long i = static_cast<long>(n) * d.C + c;
      const vf g = load_m(dy + i, m);
      const SaafPlace p = saaf_place(load_m(x + i, m), d, width, per_width);
      std::int32_t at[kW];
      *reinterpret_cast<viu*>(at) = p.region * d.C + channels;
      const SaafCurve f = saaf_look_up(table, at);
      store_m(dx + i, g * (f.B + 2.0f * p.t * f.H), m);
      // To each lane's sums its g, g t, g t^2: no two lanes have the same.
      const vf t = vrounded(p.t, kStored);
      vf part[4] = {g, g * t, g * t * t, vf{}};
      transpose_fours(part[0], part[1], part[2], part[3]);
      float parts[4 * kW];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) store(parts + j * kW, part[j]);
      const auto add = [&](int lane) {
        v4fu* sum = reinterpret_cast<v4fu*>(sums + at[lane]);
        *sum = *sum + *reinterpret_cast<const v4fu*>(parts + lane % 4 * kW + lane / 4 * 4);
      };
      if (m == kW) {
#pragma GCC unroll 16
        for (int lane = 0; lane < kW; ++lane) add(lane);
      } else {
        for (int lane = 0; lane < m; ++lane) add(lane);
      }
    }
  });
}

}  // namespace cafx::CAFX_ISA_NS
