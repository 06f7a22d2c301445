#include "kernels/deconv1d/deconv1d.h"

#include "kernels/conv1d/conv1d_layout.h"
#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, deconv1d_forward,
              (float* y, const float* u, const float* w, const float* bias, void* scratch, bool bf16_units,
               Deconv1dDims d));
CAFX_BACKENDS(void, deconv1d_backward,
              (float* du, float* dw, float* dbias, const float* dy_padded, const float* u, const float* w,
               void* scratch, bool bf16_units, Precision stored, Deconv1dDims d));
CAFX_CUDA(void, deconv1d_forward,
          (const Context&, float* y, const Stored* u, const float* w, const float* bias, void* scratch,
           Deconv1dDims d));
CAFX_CUDA(bool, deconv1d_has_mae, (const Context&, Deconv1dDims d));
CAFX_CUDA(bool, deconv1d_mae,
          (const Context&, const DeconvMae& mae, const Stored* u, const float* w, const float* bias, void* scratch,
           Deconv1dDims d));
CAFX_CUDA(void, deconv1d_mae_of_rows,
          (const Context&, const DeconvMae& mae, const float* rows, const float* bias, Deconv1dDims d));
CAFX_CUDA(void, deconv1d_backward,
          (const Context&, Stored* du, float* dw, float* dbias, const float* dy_padded, const Stored* u, const float* w,
           void* scratch, Deconv1dDims d));
CAFX_CUDA(std::size_t, deconv1d_scratch, (const Context&, Deconv1dDims d));

static void check(Deconv1dDims d) { CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.K >= 1, d.B, d.T, d.C, d.K); }

std::size_t deconv1d_scratch(const Context& context, Deconv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, deconv1d_scratch, d);
  const std::size_t weights = static_cast<std::size_t>(d.C) * d.K;
  // Each includes bf16 operands as pairs: the filters, and a tile of u or the signal.
  const std::size_t C = static_cast<std::size_t>(d.C), K = static_cast<std::size_t>(d.K), padded = d.T + K - 1;
  const std::size_t forward = weights + kDeconvTile * K + padded + (C + 1) / 2 * (K + kDeconvTile);
  const std::size_t backward =
      3 * weights + (K + 1) / 2 * C + padded + static_cast<std::size_t>(filter_gradient_pairs(d.C, d.K));
  return sizeof(float) * (forward > backward ? forward : backward);
}

void deconv1d_forward(const Context& context, float* y, const Stored* u, const float* w, const float* bias,
                      void* scratch, Deconv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, deconv1d_forward, y, u, w, bias, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, deconv1d_forward, y, static_cast<const float*>(u), w, bias, scratch, bf16_units(context), d);
}

bool deconv1d_has_mae(const Context& context, Deconv1dDims d) {
  check(d);
  CAFX_CUDA_CALL(context, deconv1d_has_mae, d);
  return false;
}

bool deconv1d_mae(const Context& context, const DeconvMae& mae, const Stored* u, const float* w, const float* bias,
                  void* scratch, Deconv1dDims d) {
  check(d);
  CAFX_CHECK(mae.frames.refs || mae.target_stride >= d.T, mae.target_stride, d.T);
  CAFX_CUDA_CALL(context, deconv1d_mae, mae, u, w, bias, scratch, d);
  return false;
}

void deconv1d_mae_of_rows(const Context& context, const DeconvMae& mae, const float* rows, const float* bias,
                          Deconv1dDims d) {
  check(d);
  CAFX_CHECK(mae.frames.refs || mae.target_stride >= d.T, mae.target_stride, d.T);
  CAFX_CHECK(d.T % kDeconvRowSamples == 0 && d.K <= kDeconvRowTaps, d.T, d.K);
  CAFX_CUDA_CALL(context, deconv1d_mae_of_rows, mae, rows, bias, d);
  CAFX_CHECK(context.device == Device::kCuda);
}

void deconv1d_backward(const Context& context, Stored* du, float* dw, float* dbias, const float* dy_padded,
                       const Stored* u, const float* w, void* scratch, Deconv1dDims d) {
  check(d);
  CAFX_CHECK((du && dbias) || context.device == Device::kCuda);
  CAFX_CUDA_CALL(context, deconv1d_backward, du, dw, dbias, dy_padded, u, w, scratch, d);
  const EmulatedPrecision emulated(emulated_precision(context));
  CAFX_CALL(context, deconv1d_backward, static_cast<float*>(du), dw, dbias, dy_padded, static_cast<const float*>(u), w,
            scratch, bf16_units(context), stored_precision(context), d);
}

}  // namespace cafx
