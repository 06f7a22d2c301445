#include "kernels/device/cuda.h"
#include "kernels/loss/loss.h"

namespace cafx::cuda {

namespace {

// One block for each frame. The sum is a fixed tree over threads, each of which adds its own samples in order.
__global__ void mae_kernel(double* loss, float* dy_padded, const float* y, const float* target, float scale,
                           MaeDims d) {
  __shared__ double sums[kThreads];
  const int b = blockIdx.x, width = d.T + d.K - 1;
  y += static_cast<long>(b) * d.T;
  target += b * d.target_stride;
  dy_padded += static_cast<long>(b) * width;
  double sum = 0.0;
  for (int i = threadIdx.x; i < width; i += kThreads) {
    const int t = i - d.pad;
    float g = 0.0f;
    if (t >= 0 && t < d.T) {
      const float error = y[t] - target[t];
      sum += fabs(static_cast<double>(error));
      g = error > 0.0f ? scale : error < 0.0f ? -scale : error == 0.0f ? 0.0f : error;  // NaN stays
    }
    dy_padded[i] = g;
  }
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) loss[b] = sums[0];
}

}  // namespace

void mae_forward_backward(const Context& context, double* loss, float* dy_padded, const float* y, const float* target,
                          float gradient_scale, MaeDims d) {
  launch(context, mae_kernel, d.B, kThreads, 0, loss, dy_padded, y, target, gradient_scale, d);
}

}  // namespace cafx::cuda
