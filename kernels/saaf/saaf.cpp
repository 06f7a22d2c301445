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

CAFX_CUDA(std::size_t, saaf_scratch, (const Context&, SaafDims d));
CAFX_CUDA(void, saaf_forward,
          (const Context&, float* y, const float* x, const float* v, const float* w, void* scratch, SaafDims d));
CAFX_CUDA(void, saaf_backward,
          (const Context&, float* dx, float* dv, float* dw, const float* dy, const float* x, const float* v,
           const float* w, void* scratch, SaafDims d));
CAFX_CUDA(void, saaf_project, (const Context&, float* v, float* w, float L, SaafDims d));

static void check(SaafDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.S >= 1, d.B, d.T, d.C, d.S);
  CAFX_CHECK(d.lo < d.hi, d.lo, d.hi);
  CAFX_CHECK(d.order == 1 || d.order == 2, d.order);
}

std::size_t saaf_scratch(const Context& context, SaafDims d) {
  check(d);
  CAFX_CUDA_CALL(context, saaf_scratch, d);
  return saaf_table_bytes(d) + saaf_sums_bytes(d);
}

void saaf_forward(const Context& context, float* y, const float* x, const float* v, const float* w, void* scratch,
                  SaafDims d) {
  check(d);
  CAFX_CUDA_CALL(context, saaf_forward, y, x, v, w, scratch, d);
  CAFX_CALL(context, saaf_forward, y, x, v, w, scratch, d);
}

void saaf_backward(const Context& context, float* dx, float* dv, float* dw, const float* dy, const float* x,
                   const float* v, const float* w, void* scratch, SaafDims d) {
  check(d);
  CAFX_CUDA_CALL(context, saaf_backward, dx, dv, dw, dy, x, v, w, scratch, d);
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

void saaf_project(const Context& context, float* v, float* w, float L, SaafDims d) {
  check(d);
  CAFX_CHECK(L > 0.0f, L);
  CAFX_CUDA_CALL(context, saaf_project, v, w, L, d);
  for (int c = 0; c < d.C; ++c) saaf_project_channel(v, w, L, d, c);
}

}  // namespace cafx
