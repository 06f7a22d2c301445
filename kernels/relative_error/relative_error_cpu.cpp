#include "kernels/relative_error/relative_error.h"

#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

void relative_error_forward_backward(double* loss, float* dy, const float* y, const float* target,
                                     const float* esr_scale, const float* mae_scale, RelativeErrorDims d) {
  const float a = d.pre_emphasis;
  for (int b = 0; b < d.B; ++b) {
    const float* y_b = y + static_cast<long>(b) * d.T;
    const float* target_b = target + b * d.target_stride;
    float* dy_b = dy + static_cast<long>(b) * d.T;
    double squares = 0.0, magnitudes = 0.0;
    float e_before = 0.0f, p_before = 0.0f;
    // d/de[t] of the squares is 2 (p[t] - a p[t+1]): a sample's gradient is known once the next is.
    for (int t = 0; t < d.T; ++t) {
      const float e = y_b[t] - target_b[t], p = e - a * e_before;
      squares += static_cast<double>(p) * static_cast<double>(p);
      magnitudes += e < 0.0f ? -static_cast<double>(e) : static_cast<double>(e);
      if (t > 0) dy_b[t - 1] += 2.0f * esr_scale[b] * (p_before - a * p);
      dy_b[t] = e > 0.0f ? mae_scale[b] : (e < 0.0f ? -mae_scale[b] : 0.0f * e);
      e_before = e;
      p_before = p;
    }
    dy_b[d.T - 1] += 2.0f * esr_scale[b] * p_before;
    loss[b] = squares * static_cast<double>(esr_scale[b]) + magnitudes * static_cast<double>(mae_scale[b]);
  }
}

}  // namespace cafx::CAFX_ISA_NS
