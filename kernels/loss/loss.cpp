#include "kernels/loss/loss.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, mae_forward_backward,
              (double* loss, float* dy_padded, const float* y, const float* target, float gradient_scale, MaeDims d));
CAFX_CUDA(void, mae_forward_backward,
          (const Context&, double* loss, float* dy_padded, const float* y, const float* target, float gradient_scale,
           MaeDims d));

void mae_forward_backward(const Context& context, double* loss, float* dy_padded, const float* y, const float* target,
                          float gradient_scale, MaeDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.K >= 1 && d.pad >= 0 && d.pad < d.K, d.B, d.T, d.K, d.pad);
  CAFX_CUDA_CALL(context, mae_forward_backward, loss, dy_padded, y, target, gradient_scale, d);
  CAFX_CALL(context, mae_forward_backward, loss, dy_padded, y, target, gradient_scale, d);
}

}  // namespace cafx
