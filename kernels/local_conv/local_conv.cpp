#include "kernels/local_conv/local_conv.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, local_conv_forward, (float* y, const float* x, const float* w, const float* bias, LocalConvDims d));
CAFX_BACKENDS(void, local_conv_backward,
              (float* dx, float* dw, float* dbias, const float* dy, const float* x, const float* w, LocalConvDims d));
CAFX_CUDA(void, local_conv_forward,
          (const Context&, float* y, const float* x, const float* w, const float* bias, LocalConvDims d));
CAFX_CUDA(void, local_conv_backward,
          (const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* x, const float* w,
           LocalConvDims d));

static void check(LocalConvDims d) { CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.K >= 1, d.B, d.T, d.C, d.K); }

void local_conv_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                        LocalConvDims d) {
  check(d);
  CAFX_CUDA_CALL(context, local_conv_forward, y, x, w, bias, d);
  CAFX_CALL(context, local_conv_forward, y, x, w, bias, d);
}

void local_conv_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* x,
                         const float* w, LocalConvDims d) {
  check(d);
  CAFX_CUDA_CALL(context, local_conv_backward, dx, dw, dbias, dy, x, w, d);
  CAFX_CALL(context, local_conv_backward, dx, dw, dbias, dy, x, w, d);
}

}  // namespace cafx
