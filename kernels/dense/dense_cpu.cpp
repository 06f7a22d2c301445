#include "kernels/dense/dense.h"

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

void dense_forward(float* y, const float* x, const float* w, const float* bias, void* scratch, DenseDims d) {
  float* w_io = static_cast<float*>(scratch);  // (I,O)
  transpose(w_io, w, d.O, d.I);
  gemm(d.N, d.O, d.I, x, d.I, 1, w_io, d.O, y, d.O, GemmInit::kBias, bias);
  with_activation(d.activation, [&]<Activation A>() {
    for_vectors(static_cast<long>(d.N) * d.O, [&](long i, int m) { store_m(y + i, activate<A>(load_m(y + i, m)), m); });
  });
}

void dense_backward(float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x, const float* w,
                    void* scratch, DenseDims d) {
  float* g = static_cast<float*>(scratch);  // (tile,O): the gradient before the activation
  for (int n0 = 0; n0 < d.N; n0 += kDenseTile) {
    const int n = d.N - n0 < kDenseTile ? d.N - n0 : kDenseTile;
    const long at = static_cast<long>(n0) * d.O, at_x = static_cast<long>(n0) * d.I;
    with_activation(d.activation, [&]<Activation A>() {
      for_vectors(static_cast<long>(n) * d.O,
                  [&](long i, int m) { store_m(g + i, load_m(dy + at + i, m) * slope<A>(load_m(y + at + i, m)), m); });
    });
    gemm(d.O, d.I, n, g, 1, d.O, x + at_x, d.I, dw, d.I, GemmInit::kAdd);
    add_column_sums(dbias, g, n, d.O, d.O);
    if (dx) gemm(n, d.I, d.O, g, d.O, 1, w, d.I, dx + at_x, d.I, GemmInit::kZero);
  }
}

void dense_time_forward(float* y, const float* x, const float* w, const float* bias, DenseTimeDims d) {
  for (int b = 0; b < d.B; ++b) {
    float* y_b = y + static_cast<long>(b) * d.O * d.C;
    const float* bias_b = bias + (d.bias_of_each ? static_cast<long>(b) * d.O : 0);
    gemm(d.O, d.C, d.I, w, d.I, 1, x + static_cast<long>(b) * d.I * d.C, d.C, y_b, d.C, GemmInit::kZero);
    with_activation(d.activation, [&]<Activation A>() {
      for (int o = 0; o < d.O; ++o) {
        float* row = y_b + static_cast<long>(o) * d.C;
        for_vectors(d.C, [&](long i, int m) { store_m(row + i, activate<A>(load_m(row + i, m) + bias_b[o]), m); });
      }
    });
  }
}

void dense_time_backward(float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x,
                         const float* w, void* scratch, DenseTimeDims d) {
  float* g = static_cast<float*>(scratch);         // (O,C): the gradient before the activation
  float* x_ci = g + static_cast<long>(d.O) * d.C;  // (C,I)
  for (int b = 0; b < d.B; ++b) {
    const long at_y = static_cast<long>(b) * d.O * d.C, at_x = static_cast<long>(b) * d.I * d.C;
    float* dbias_b = dbias + (d.bias_of_each ? static_cast<long>(b) * d.O : 0);
    with_activation(d.activation, [&]<Activation A>() {
      for (int o = 0; o < d.O; ++o) {
        const long row = static_cast<long>(o) * d.C;
        vf total = {};
        for_vectors(d.C, [&](long i, int m) {
          const vf v = load_m(dy + at_y + row + i, m) * slope<A>(load_m(y + at_y + row + i, m));
          total += v;
          store_m(g + row + i, v, m);
        });
        dbias_b[o] += sum(total);
      }
    });
    transpose(x_ci, x + at_x, d.I, d.C);
    gemm(d.O, d.I, d.C, g, d.C, 1, x_ci, d.I, dw, d.I, GemmInit::kAdd);
    gemm(d.I, d.C, d.O, w, 1, d.I, g, d.C, dx + at_x, d.C, GemmInit::kZero);
  }
}

}  // namespace cafx::CAFX_ISA_NS
