#include "kernels/conv1x1/conv1x1.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, conv1x1_forward, (float* y, const float* x, const float* w, const float* bias, Conv1x1Dims d));
CAFX_BACKENDS(void, conv1x1_backward,
              (float* dx, float* dw, float* dbias, const float* dy, const float* x, const float* w, void* scratch,
               Conv1x1Dims d));

CAFX_CUDA(void, conv1x1_forward,
          (const Context&, float* y, const float* x, const float* w, const float* bias, Conv1x1Dims d));
CAFX_CUDA(void, conv1x1_backward,
          (const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* x, const float* w,
           void* scratch, Conv1x1Dims d));
CAFX_CUDA(std::size_t, conv1x1_backward_scratch, (const Context&, Conv1x1Dims d));

static void check(Conv1x1Dims d) {
  CAFX_CHECK(d.B >= 1 && d.I >= 1 && d.O >= 1 && d.T >= 1, d.B, d.I, d.O, d.T);
  CAFX_CHECK(d.x_stride >= d.T && d.y_stride >= d.T, d.T, d.x_stride, d.y_stride);
}

void conv1x1_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                     Conv1x1Dims d) {
  check(d);
  CAFX_CUDA_CALL(context, conv1x1_forward, y, x, w, bias, d);
  CAFX_CALL(context, conv1x1_forward, y, x, w, bias, d);
}

std::size_t conv1x1_backward_scratch(const Context& context, Conv1x1Dims d) {
  check(d);
  CAFX_CUDA_CALL(context, conv1x1_backward_scratch, d);
  return sizeof(float) * 16 * (static_cast<std::size_t>(d.O) * static_cast<std::size_t>(d.I + 1));
}

void conv1x1_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* x,
                      const float* w, void* scratch, Conv1x1Dims d) {
  check(d);
  CAFX_CUDA_CALL(context, conv1x1_backward, dx, dw, dbias, dy, x, w, scratch, d);
  CAFX_CALL(context, conv1x1_backward, dx, dw, dbias, dy, x, w, scratch, d);
}

}  // namespace cafx
