#include "kernels/loss/loss.h"

#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

void mae_forward_backward(double* loss, float* dy_padded, const float* y, const float* target, float gradient_scale,
                          MaeDims d) {
  const int width = d.T + d.K - 1;
  for (int b = 0; b < d.B; ++b) {
    const float* y_b = y + static_cast<long>(b) * d.T;
    const float* target_b = target + b * d.target_stride;
    float* dy = dy_padded + static_cast<long>(b) * width;
    for (int i = 0; i < d.pad; ++i) dy[i] = 0.0f;
    for (int i = d.pad + d.T; i < width; ++i) dy[i] = 0.0f;
    double total = 0.0;
    for (int t = 0; t < d.T; ++t) {
      const float error = y_b[t] - target_b[t];
      total += error < 0.0f ? -static_cast<double>(error) : static_cast<double>(error);
      dy[d.pad + t] = error > 0.0f ? gradient_scale : (error < 0.0f ? -gradient_scale : 0.0f * error);
    }
    loss[b] = total;
  }
}

}  // namespace cafx::CAFX_ISA_NS
