#include "kernels/dense/dense.h"

#include <algorithm>

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, dense_forward,
              (float* y, const float* x, const float* w, const float* bias, void* scratch, DenseDims d));
CAFX_BACKENDS(void, dense_backward,
              (float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x, const float* w,
               void* scratch, DenseDims d));
CAFX_BACKENDS(void, dense_time_forward, (float* y, const float* x, const float* w, const float* bias, DenseTimeDims d));
CAFX_BACKENDS(void, dense_time_backward,
              (float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x, const float* w,
               void* scratch, DenseTimeDims d));
CAFX_CUDA(void, dense_forward,
          (const Context&, float* y, const float* x, const float* w, const float* bias, void* scratch, DenseDims d));
CAFX_CUDA(void, dense_backward,
          (const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x,
           const float* w, void* scratch, DenseDims d));
CAFX_CUDA(void, dense_time_forward,
          (const Context&, float* y, const float* x, const float* w, const float* bias, DenseTimeDims d));
CAFX_CUDA(void, dense_time_backward,
          (const Context&, float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x,
           const float* w, void* scratch, DenseTimeDims d));
CAFX_CUDA(std::size_t, dense_scratch, (const Context&, DenseDims d));
CAFX_CUDA(std::size_t, dense_time_scratch, (const Context&, DenseTimeDims d));

static void check(DenseDims d) { CAFX_CHECK(d.N >= 1 && d.I >= 1 && d.O >= 1, d.N, d.I, d.O); }
static void check(DenseTimeDims d) { CAFX_CHECK(d.B >= 1 && d.I >= 1 && d.O >= 1 && d.C >= 1, d.B, d.I, d.O, d.C); }

std::size_t dense_scratch(const Context& context, DenseDims d) {
  check(d);
  CAFX_CUDA_CALL(context, dense_scratch, d);
  return sizeof(float) * std::max(static_cast<std::size_t>(d.I) * d.O, static_cast<std::size_t>(kDenseTile) * d.O);
}

void dense_forward(const Context& context, float* y, const float* x, const float* w, const float* bias, void* scratch,
                   DenseDims d) {
  check(d);
  CAFX_CUDA_CALL(context, dense_forward, y, x, w, bias, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dense_forward, y, x, w, bias, scratch, d);
}

void dense_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                    const float* x, const float* w, void* scratch, DenseDims d) {
  check(d);
  CAFX_CUDA_CALL(context, dense_backward, dx, dw, dbias, dy, y, x, w, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dense_backward, dx, dw, dbias, dy, y, x, w, scratch, d);
}

std::size_t dense_time_scratch(const Context& context, DenseTimeDims d) {
  check(d);
  CAFX_CUDA_CALL(context, dense_time_scratch, d);
  return sizeof(float) * static_cast<std::size_t>(d.I + d.O) * d.C;
}

void dense_time_forward(const Context& context, float* y, const float* x, const float* w, const float* bias, void*,
                        DenseTimeDims d) {
  check(d);
  CAFX_CUDA_CALL(context, dense_time_forward, y, x, w, bias, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dense_time_forward, y, x, w, bias, d);
}

void dense_time_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                         const float* x, const float* w, void* scratch, DenseTimeDims d) {
  check(d);
  CAFX_CUDA_CALL(context, dense_time_backward, dx, dw, dbias, dy, y, x, w, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, dense_time_backward, dx, dw, dbias, dy, y, x, w, scratch, d);
}

}  // namespace cafx
