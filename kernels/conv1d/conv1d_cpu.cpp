#include "kernels/conv1d/conv1d.h"

#include "kernels/conv1d/conv1d_cpu.h"

namespace cafx::CAFX_ISA_NS {

void conv1d_forward(float* y, const float* x_padded, const float* w, const float* bias, void* scratch, Conv1dDims d) {
  float* w_kc = static_cast<float*>(scratch);  // (K,C)
  transpose(w_kc, w, d.C, d.K);
  for (int b = 0; b < d.B; ++b) {
    gemm(d.T, d.C, d.K, x_padded + static_cast<long>(b) * (d.T + d.K - 1), 1, 1, w_kc, d.C,
         y + static_cast<long>(b) * d.T * d.C, d.C, GemmInit::kBias, bias);
  }
}

void conv1d_backward(float* dw, float* dbias, const float* dy, const float* x_padded, Conv1dDims d) {
  for (int b = 0; b < d.B; ++b) {
    const float* dy_b = dy + static_cast<long>(b) * d.T * d.C;
    add_filter_gradient(dw, dy_b, x_padded + static_cast<long>(b) * (d.T + d.K - 1), d.T, d.C, d.K);
    if (dbias) add_column_sums(dbias, dy_b, d.T, d.C, d.C);
  }
}

}  // namespace cafx::CAFX_ISA_NS
