#include "kernels/conv1d/conv1d.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, conv1d_forward,
              (float* y, const float* x_padded, const float* w, const float* bias, void* scratch, Conv1dDims d));
CAFX_BACKENDS(void, conv1d_backward, (float* dw, float* dbias, const float* dy, const float* x_padded, Conv1dDims d));
CAFX_CUDA(void, conv1d_forward,
          (const Context&, Stored* y, const float* x_padded, const float* w, const float* bias, void* scratch,
           Conv1dDims d));
CAFX_CUDA(void, conv1d_backward,
          (const Context&, float* dw, float* dbias, const Stored* dy, const float* x_padded, void* scratch,
           Conv1dDims d));
CAFX_CUDA(std::size_t, conv1d_backward_scratch, (const Context&, Conv1dDims d));

CAFX_CUDA(std::size_t, convolution_workspace, (const Context&, Conv1dDims d, bool flip));
CAFX_CUDA(void, reserve_convolutions, (const Context&, Conv1dDims d, bool flip));
CAFX_CUDA(bool, convolutions_round, (const Context&, Conv1dDims d));

static void check(Conv1dDims d) { CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.K >= 1, d.B, d.T, d.C, d.K); }

std::size_t conv1d_forward_scratch(const Context&, Conv1dDims d) {
  check(d);
  return sizeof(float) * d.K * d.C;
}

void conv1d_forward(const Context& context, Stored* y, const float* x_padded, const float* w, const float* bias,
                    void* scratch, Conv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, conv1d_forward, y, x_padded, w, bias, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  float* values = static_cast<float*>(y);
  CAFX_CALL(context, conv1d_forward, values, x_padded, w, bias, scratch, d);
  const Precision stored = stored_precision(context);
  if (stored == Precision::kFp32) return;
  for (long i = 0; i < static_cast<long>(d.B) * d.T * d.C; ++i) values[i] = round_to(values[i], stored);
}

std::size_t conv1d_backward_scratch(const Context& context, Conv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, conv1d_backward_scratch, d);
  return 0;
}

void conv1d_backward(const Context& context, float* dw, float* dbias, const Stored* dy, const float* x_padded,
                     void* scratch, Conv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, conv1d_backward, dw, dbias, dy, x_padded, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, conv1d_backward, dw, dbias, static_cast<const float*>(dy), x_padded, d);
}

std::size_t convolution_workspace(const Context& context, Conv1dDims d, bool flip) {
  check(d);
  CAFX_CUDA_CALL(context, convolution_workspace, d, flip);
  (void)flip;
  return 0;
}

void reserve_convolutions(const Context& context, Conv1dDims d, bool flip) {
  check(d);
  CAFX_CUDA_CALL(context, reserve_convolutions, d, flip);
  (void)context, (void)flip;
}

bool convolutions_round(const Context& context, Conv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, convolutions_round, d);
  return is_16_bit(context.precision);
}

}  // namespace cafx
