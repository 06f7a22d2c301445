#include "kernels/saaf/saaf.h"

#include <algorithm>
#include <cmath>

#include "kernels/device/dispatch.h"
#include "kernels/saaf/saaf_math.h"

namespace cafx {

CAFX_BACKENDS(void, saaf_forward,
              (float* y, const float* x, const float* v, const float* w, void* scratch, SaafDims d));
CAFX_BACKENDS(void, saaf_backward,
              (float* dx, float* dv, float* dw, const float* dy, const float* x, const float* v, const float* w,
               void* scratch, SaafDims d));

static void check(SaafDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.S >= 1, d.B, d.T, d.C, d.S);
  CAFX_CHECK(d.lo < d.hi, d.lo, d.hi);
  CAFX_CHECK(d.order == 1 || d.order == 2, d.order);
}

std::size_t saaf_scratch(const Context&, SaafDims d) {
  check(d);
  return saaf_table_bytes(d) + saaf_sums_bytes(d);
}

void saaf_forward(const Context& context, float* y, const float* x, const float* v, const float* w, void* scratch,
                  SaafDims d) {
  check(d);
  CAFX_CALL(context, saaf_forward, y, x, v, w, scratch, d);
}

void saaf_backward(const Context& context, float* dx, float* dv, float* dw, const float* dy, const float* x,
                   const float* v, const float* w, void* scratch, SaafDims d) {
  check(d);
  CAFX_CALL(context, saaf_backward, dx, dv, dw, dy, x, v, w, scratch, d);
}

void saaf_lipschitz(float* constant, const float* v, const float* w, SaafDims d) {
  check(d);
  for (int c = 0; c < d.C; ++c) {
    const double v1 = saaf_v1(v, d, c);
    double slope = v1, largest = std::abs(v1);
    for (int s = 0; s < d.S; ++s) {
      const double step = saaf_slope_step(w, d, s, c);
      slope = d.order == 2 ? slope + step : v1 + step;
      largest = std::max(largest, std::abs(slope));
    }
    constant[c] = static_cast<float>(largest);
  }
}

void saaf_project(float* v, float* w, float L, SaafDims d) {
  check(d);
  CAFX_CHECK(L > 0.0f, L);
  // Aims a rounding step inside L: the slopes that `saaf_lipschitz` sums up again must not round to above it.
  const double bound = static_cast<double>(L) * (1.0 - 1e-6 * (d.S + 1));
  const double unit = saaf_slope_unit(d);
  for (int c = 0; c < d.C; ++c) {
    float& v1_at = v[(d.has_v0 ? d.C : 0) + c];
    const double wanted_v1 = v1_at;
    double slope = wanted_v1, within = std::clamp(wanted_v1, -bound, bound);
    bool changed = within != wanted_v1;
    if (changed) v1_at = static_cast<float>(within);
    const double v1 = v1_at;
    within = v1;
    for (int s = 0; s < d.S; ++s) {
      if (!saaf_is_curved(d, s)) continue;
      float& w_at = w[static_cast<long>(saaf_row(d, s)) * d.C + c];
      const double before = d.order == 2 ? slope : wanted_v1;
      slope = before + unit * w_at;
      const double target = std::clamp(slope, -bound, bound);
      const double base = d.order == 2 ? within : v1;
      changed = changed || target != slope;
      if (changed) w_at = static_cast<float>((target - base) / unit);
      within = base + unit * w_at;
    }
  }
}

}  // namespace cafx
