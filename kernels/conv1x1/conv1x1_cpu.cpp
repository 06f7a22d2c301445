#include "kernels/conv1x1/conv1x1.h"

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/dots.h"
#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

void conv1x1_forward(float* y, const float* x, const float* w, const float* bias, Conv1x1Dims d) {
  for (int b = 0; b < d.B; ++b, x += d.I * d.x_stride, y += d.O * d.y_stride) {
    for (int o = 0; o < d.O; ++o) {
      float* row = y + o * d.y_stride;
      const vf start = set1(bias ? bias[o] : 0.0f);
      for_vectors(d.T, [&](long t, int m) { store_m(row + t, start, m); });
    }
    gemm(d.O, d.T, d.I, w, d.I, 1, x, d.x_stride, y, d.y_stride, GemmInit::kAdd);
  }
}

void conv1x1_backward(float* dx, float* dw, float* dbias, const float* dy, const float* x, const float* w,
                      void* scratch, Conv1x1Dims d) {
  float* sums = static_cast<float*>(scratch);  // (O,I), then (O)
  float* sums_bias = sums + static_cast<long>(d.O) * d.I * kW;
  for (float* s = sums; s < sums_bias + static_cast<long>(d.O) * kW; ++s) *s = 0.0f;
  for (int b = 0; b < d.B; ++b) {
    const float *x_b = x + b * d.I * d.x_stride, *dy_b = dy + b * d.O * d.y_stride;
    add_dots(sums, d.I, 1, dy_b, d.y_stride, d.O, x_b, d.x_stride, d.I, d.T);
    if (dbias) add_row_sums(sums_bias, dy_b, d.y_stride, d.O, d.T);
    if (dx) {
      gemm(d.I, d.T, d.O, w, 1, d.I, dy_b, d.y_stride, dx + b * d.I * d.x_stride, d.x_stride, GemmInit::kZero);
    }
  }
  finish_sums(dw, sums, static_cast<long>(d.O) * d.I);
  if (dbias) finish_sums(dbias, sums_bias, d.O);
}

}  // namespace cafx::CAFX_ISA_NS
