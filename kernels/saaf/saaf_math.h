// kernels/saaf/saaf_math.h -- the SAAF's formulas, once, for every device.
//
//   Region k of S + 2: 0 lies below lo, 1 .. S are the segments, S + 1 lies above hi. With a_k its left end (lo for
//   region 0) and t = x - a_k, the curve is
//       f = A_k + t (B_k + t H_k),   f' = B_k + 2 t H_k,   H_k = scale w / 2 inside a curved segment (order 2), else 0
//   where A_k, B_k run from region to region:  A += D (B + D H),  B += 2 D H.
//   For the gradient of w, with s0, s1, s2 the sums over a region's samples of dy, dy t, dy t^2:
//       order 2   dw_s = scale (s2_s / 2 + sum over samples above of dy (D^2/2 + D (x - a_{s+1})))
//       order 1   dw_s = scale (s1_s + D sum over samples above of dy)
#pragma once

#include <cstddef>

#include "kernels/saaf/saaf.h"

#if defined(__CUDACC__)
#define CAFX_HOST_DEVICE __host__ __device__
#else
#define CAFX_HOST_DEVICE
#endif

namespace cafx {

CAFX_HOST_DEVICE constexpr bool saaf_is_curved(SaafDims d, int s) { return !d.every_second || s % 2 == 0; }
CAFX_HOST_DEVICE constexpr int saaf_row(SaafDims d, int s) { return d.every_second ? s / 2 : s; }
CAFX_HOST_DEVICE constexpr double saaf_width(SaafDims d) {
  return (static_cast<double>(d.hi) - static_cast<double>(d.lo)) / d.S;
}
CAFX_HOST_DEVICE inline double saaf_v1(const float* v, SaafDims d, int c) { return v[(d.has_v0 ? d.C : 0) + c]; }
// What one unit of w adds to the slope: over the segment (order 2), inside the segment (order 1).
CAFX_HOST_DEVICE constexpr double saaf_slope_unit(SaafDims d) {
  return static_cast<double>(d.scale) * (d.order == 2 ? saaf_width(d) : 1.0);
}
CAFX_HOST_DEVICE inline double saaf_slope_step(const float* w, SaafDims d, int s, int c) {
  return saaf_is_curved(d, s) ? saaf_slope_unit(d) * w[static_cast<long>(saaf_row(d, s)) * d.C + c] : 0.0;
}

struct SaafPiece {
  float A, B, H, a;
};
struct SaafSums {
  float s0, s1, s2, unused;
};

// Table and sums are (S+2,C) of the structs above.
constexpr std::size_t saaf_table_bytes(SaafDims d) { return sizeof(SaafPiece) * (d.S + 2) * d.C; }
constexpr std::size_t saaf_sums_bytes(SaafDims d) { return sizeof(SaafSums) * (d.S + 2) * d.C; }

// The same table by channel, (C,3,kSaafLanes): A, B, H of as many pieces as fit a processor's registers
// (saaf_cpu.h).
inline constexpr int kSaafLanes = 32;
constexpr bool saaf_fits_lanes(SaafDims d) { return d.S + 2 <= kSaafLanes; }
constexpr std::size_t saaf_lanes_bytes(SaafDims d) {
  return saaf_fits_lanes(d) ? sizeof(float) * 3 * kSaafLanes * d.C : 0;
}

// put(k, piece) for each region k of channel c.
template <class Put>
CAFX_HOST_DEVICE inline void saaf_make_pieces(const float* v, const float* w, SaafDims d, int c, Put put) {
  const double D = saaf_width(d), v1 = saaf_v1(v, d, c);
  double A = (d.has_v0 ? v[c] : 0.0) + v1 * d.lo, B = v1;
  put(0, SaafPiece{static_cast<float>(A), static_cast<float>(B), 0.0f, d.lo});
  for (int s = 0; s < d.S; ++s) {
    const double step = saaf_slope_step(w, d, s, c);
    const double H = d.order == 2 ? step / (2.0 * D) : 0.0, slope = d.order == 2 ? B : v1 + step;
    put(s + 1, SaafPiece{static_cast<float>(A), static_cast<float>(slope), static_cast<float>(H),
                         static_cast<float>(d.lo + s * D)});
    A += D * (slope + D * H);
    if (d.order == 2) B += 2.0 * D * H;
  }
  put(d.S + 1, SaafPiece{static_cast<float>(A), static_cast<float>(B), 0.0f, d.hi});
}
CAFX_HOST_DEVICE inline void saaf_make_table(SaafPiece* table, const float* v, const float* w, SaafDims d, int c) {
  saaf_make_pieces(v, w, d, c, [=](int k, const SaafPiece& piece) { table[static_cast<long>(k) * d.C + c] = piece; });
}

// Adds the gradient from the sums of channel c; at(k): those of region k.
template <class At>
CAFX_HOST_DEVICE inline void saaf_finish_gradient(float* dv, float* dw, SaafDims d, int c, At at) {
  const double D = saaf_width(d);
  const SaafSums top = at(d.S + 1);
  double n0 = top.s0, n1 = top.s1;  // over the samples above the segment: dy, dy (x - its upper end)
  for (int s = d.S - 1; s >= 0; --s) {
    const SaafSums own = at(s + 1);
    if (saaf_is_curved(d, s)) {
      const double g = d.order == 2 ? 0.5 * own.s2 + D * (0.5 * D * n0 + n1) : own.s1 + D * n0;
      dw[static_cast<long>(saaf_row(d, s)) * d.C + c] += static_cast<float>(d.scale * g);
    }
    n1 += D * n0 + own.s1;
    n0 += own.s0;
  }
  const SaafSums low = at(0);  // its t counts from lo, as n1 does here
  n0 += low.s0;
  n1 += low.s1;
  if (d.has_v0) dv[c] += static_cast<float>(n0);
  dv[(d.has_v0 ? d.C : 0) + c] += static_cast<float>(n1 + d.lo * n0);
}

CAFX_HOST_DEVICE inline void saaf_finish_gradient(float* dv, float* dw, const SaafSums* sums, SaafDims d, int c) {
  saaf_finish_gradient(dv, dw, d, c, [&](int k) { return sums[static_cast<long>(k) * d.C + c]; });
}

// Clamps the slopes of channel c from the left to the right.
CAFX_HOST_DEVICE inline void saaf_project_channel(float* v, float* w, float L, SaafDims d, int c) {
  // The target is a rounding step below L: `saaf_lipschitz` sums the slopes again, and they must not round above L.
  const double bound = static_cast<double>(L) * (1.0 - 1e-6 * (d.S + 1)), unit = saaf_slope_unit(d);
  const auto clamped = [bound](double slope) { return slope > bound ? bound : slope < -bound ? -bound : slope; };
  float& v1_at = v[(d.has_v0 ? d.C : 0) + c];
  const double wanted_v1 = v1_at;
  double slope = wanted_v1, within = clamped(wanted_v1);
  bool changed = within != wanted_v1;
  if (changed) v1_at = static_cast<float>(within);
  const double v1 = v1_at;
  within = v1;
  for (int s = 0; s < d.S; ++s) {
    if (!saaf_is_curved(d, s)) continue;
    float& w_at = w[static_cast<long>(saaf_row(d, s)) * d.C + c];
    const double before = d.order == 2 ? slope : wanted_v1;
    slope = before + unit * w_at;
    const double target = clamped(slope), base = d.order == 2 ? within : v1;
    changed = changed || target != slope;
    if (changed) w_at = static_cast<float>((target - base) / unit);
    within = base + unit * w_at;
  }
}

}  // namespace cafx
