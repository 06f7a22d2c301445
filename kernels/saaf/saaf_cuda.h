// kernels/saaf/saaf_cuda.h -- one sample on its curve, for the op and for the fused DNN-SAAF.
#pragma once

#include "kernels/saaf/saaf_math.h"

namespace cafx {

struct SaafPlace {
  int region;
  float t;  // distance from the region's left end
};
// NaN lies in region 0, and stays NaN through t.
__device__ __forceinline__ SaafPlace saaf_place(float x, float lo, float width, float per_width, int S) {
  const float k = fminf(fmaxf((x - lo) * per_width, -1.0f), static_cast<float>(S));
  const int region = static_cast<int>(k + 1.0f);
  return {region, x - (lo + fmaxf(static_cast<float>(region - 1), 0.0f) * width)};
}

inline std::size_t saaf_regions(SaafDims d) { return static_cast<std::size_t>(d.S) + 2; }

// The table of curves (S+2,C), from v and w; a kernel launch.
void saaf_table(const Context&, SaafPiece* table, const float* v, const float* w, SaafDims);
// dv, dw += the gradients from sums (S+2,C).
void saaf_gradients(const Context&, float* dv, float* dw, const SaafSums* sums, SaafDims);
// The same from n_partials blocks of sums, added in order; `sums` (S+2,C) is scratch.
void saaf_finish(const Context&, float* dv, float* dw, SaafSums* sums, const SaafSums* partials, int n_partials,
                 SaafDims);

}  // namespace cafx
