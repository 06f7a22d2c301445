#include "kernels/relative_error/relative_error.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, relative_error_forward_backward,
              (double* loss, float* dy, const float* y, const float* target, const float* esr_scale,
               const float* mae_scale, RelativeErrorDims d));

void relative_error_forward_backward(const Context& context, double* loss, float* dy, const float* y,
                                     const float* target, const float* esr_scale, const float* mae_scale,
                                     RelativeErrorDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.target_stride >= d.T, d.B, d.T, d.target_stride);
  CAFX_CALL(context, relative_error_forward_backward, loss, dy, y, target, esr_scale, mae_scale, d);
}

}  // namespace cafx
