#include "kernels/wavenet_layer/wavenet_layer.h"

#include "kernels/base/elements.h"
#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, wavenet_layer_forward,
              (float* y, float* head, float* saved, const float* x, const float* condition,
               const WavenetLayerTensors<const float*>& p, void* scratch, WavenetLayerDims d));
CAFX_BACKENDS(void, wavenet_layer_backward,
              (float* dx, const WavenetLayerTensors<float*>& g, const float* dy, const float* dhead, const float* x,
               const float* condition, const float* saved, const WavenetLayerTensors<const float*>& p, void* scratch,
               WavenetLayerDims d));

CAFX_CUDA(void, wavenet_layer_forward,
          (const Context&, float* y, float* head, float* saved, const float* x, const float* condition,
           const WavenetLayerTensors<const float*>& p, void* scratch, WavenetLayerDims d));
CAFX_CUDA(void, wavenet_layer_backward,
          (const Context&, float* dx, const WavenetLayerTensors<float*>& g, const float* dy, const float* dhead,
           const float* x, const float* condition, const float* saved, const WavenetLayerTensors<const float*>& p,
           void* scratch, WavenetLayerDims d));
CAFX_CUDA(std::size_t, wavenet_layer_forward_scratch, (const Context&, WavenetLayerDims));
CAFX_CUDA(std::size_t, wavenet_layer_backward_scratch, (const Context&, WavenetLayerDims));

static void check(WavenetLayerDims d) {
  CAFX_CHECK(d.C >= 1 && d.K >= 1 && d.dilation >= 1 && d.T >= 1 && d.H >= 0 && d.H <= d.T, d.C, d.K, d.dilation, d.T,
             d.H);
  CAFX_CHECK(d.B == 1 || (d.B >= 1 && d.condition_stride >= d.T), d.B, d.condition_stride);
  CAFX_CHECK(d.x_stride >= d.T + static_cast<long>(d.K - 1) * d.dilation && d.y_stride >= d.T && d.head_stride >= d.H,
             d.x_stride, d.y_stride, d.head_stride);
}

// z of a tile, for a caller that keeps none, and the product of its halves.
std::size_t wavenet_layer_forward_scratch(const Context& context, WavenetLayerDims d) {
  check(d);
  CAFX_CUDA_CALL(context, wavenet_layer_forward_scratch, d);
  return sizeof(float) * elements(n_z(d) + d.C, kWavenetTile);
}

void wavenet_layer_forward(const Context& context, float* y, float* head, float* saved, const float* x,
                           const float* condition, const WavenetLayerTensors<const float*>& p, void* scratch,
                           WavenetLayerDims d) {
  check(d);
  CAFX_CUDA_CALL(context, wavenet_layer_forward, y, head, saved, x, condition, p, scratch, d);
  CAFX_CALL(context, wavenet_layer_forward, y, head, saved, x, condition, p, scratch, d);
}

// a, its gradient and that of z over a tile; sums over time as vectors, of up to 16 floats.
std::size_t wavenet_layer_backward_scratch(const Context& context, WavenetLayerDims d) {
  check(d);
  CAFX_CUDA_CALL(context, wavenet_layer_backward_scratch, d);
  const std::size_t sums = elements(n_z(d), d.C * d.K) + elements(d.C, d.C) + 2 * static_cast<std::size_t>(n_z(d)) +
                           static_cast<std::size_t>(d.C);
  return sizeof(float) * (elements(2 * d.C + n_z(d), kWavenetTile) + 16 * sums);
}

void wavenet_layer_backward(const Context& context, float* dx, const WavenetLayerTensors<float*>& gradients,
                            const float* dy, const float* dhead, const float* x, const float* condition,
                            const float* saved, const WavenetLayerTensors<const float*>& p, void* scratch,
                            WavenetLayerDims d) {
  check(d);
  CAFX_CUDA_CALL(context, wavenet_layer_backward, dx, gradients, dy, dhead, x, condition, saved, p, scratch, d);
  CAFX_CALL(context, wavenet_layer_backward, dx, gradients, dy, dhead, x, condition, saved, p, scratch, d);
}

}  // namespace cafx
