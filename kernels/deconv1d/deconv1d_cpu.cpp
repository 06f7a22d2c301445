#include "kernels/deconv1d/deconv1d.h"

#include "kernels/conv1d/conv1d_cpu.h"
#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/part.h"

namespace cafx::CAFX_ISA_NS {

namespace {
// `correlate` is the adjoint with the taps reversed and the two sides of the padding exchanged.
void reverse_taps(float* out, const float* w, int C, int K, bool add) {
  for (int c = 0; c < C; ++c) {
    for (int k = 0; k < K; ++k) {
      const float x = w[c * K + K - 1 - k];
      out[c * K + k] = add ? out[c * K + k] + x : x;
    }
  }
}
}  // namespace

void deconv1d_forward(float* y, const float* u, const float* w, const float* bias, void* scratch, Deconv1dDims d) {
  float* taps = static_cast<float*>(scratch);                    // (C,K)
  float* products = taps + static_cast<long>(d.C) * d.K;         // (tile,K)
  float* sum = products + static_cast<long>(kDeconvTile) * d.K;  // (T+K-1)
  if (d.form == Deconv::kCorrelate) {
    reverse_taps(taps, w, d.C, d.K, false);
    w = taps;
  }
  const int n_sum = d.T + d.K - 1, pad = deconv1d_pad(d);
  for (int b = 0; b < d.B; ++b) {
    const float* u_b = u + static_cast<long>(b) * d.T * d.C;
    for (int i = 0; i < n_sum; ++i) sum[i] = 0.0f;
    for (int t0 = 0; t0 < d.T; t0 += kDeconvTile) {
      const int n = d.T - t0 < kDeconvTile ? d.T - t0 : kDeconvTile;
      {
        const Part part("products", static_cast<double>(n) * d.K * d.C,
                        4.0 * (static_cast<double>(n) * (d.C + 1) + d.C * d.K));
        gemm(n, d.K, d.C, u_b + static_cast<long>(t0) * d.C, d.C, 1, w, d.K, products, d.K, GemmInit::kZero);
      }
      // sum[t + k] += products[t,k]: the anti-diagonals of the tile, each summed in order of t.
      for (int i = 0; i < n; ++i) {
        const float* p = products + static_cast<long>(i) * d.K;
        float* s = sum + t0 + i;
        for_vectors(d.K, [&](long k, int m) { store_m(s + k, load_m(s + k, m) + load_m(p + k, m), m); });
      }
    }
    float* y_b = y + static_cast<long>(b) * d.T;
    for (int t = 0; t < d.T; ++t) y_b[t] = sum[pad + t] + bias[0];
  }
}

void deconv1d_backward(float* du, float* dw, float* dbias, const float* dy_padded, const float* u, const float* w,
                       void* scratch, Deconv1dDims d) {
  const long n_w = static_cast<long>(d.C) * d.K;
  const bool reversed = d.form == Deconv::kCorrelate;
  float* w_kc = static_cast<float*>(scratch);  // (K,C)
  float* taps = w_kc + n_w;                    // (C,K)
  float* dtaps = taps + n_w;                   // (C,K)
  if (reversed) {
    reverse_taps(taps, w, d.C, d.K, false);
    w = taps;
    for (long i = 0; i < n_w; ++i) dtaps[i] = 0.0f;
  }
  transpose(w_kc, w, d.C, d.K);
  const int pad = deconv1d_pad(d);
  for (int b = 0; b < d.B; ++b) {
    const float* dy = dy_padded + static_cast<long>(b) * (d.T + d.K - 1);
    const long at = static_cast<long>(b) * d.T * d.C;
    const double n = static_cast<double>(d.T) * d.C, bytes = 4.0 * (n + d.T + n_w);
    {
      const Part part("products for u", n * d.K, bytes);
      gemm(d.T, d.C, d.K, dy, 1, 1, w_kc, d.C, du + at, d.C, GemmInit::kZero);
    }
    {
      const Part part("products for weights", n * d.K, bytes);
      add_filter_gradient(reversed ? dtaps : dw, u + at, dy, d.T, d.C, d.K);
    }
    vf total = {};
    for_vectors(d.T, [&](long t, int m) { total += load_m(dy + pad + t, m); });
    dbias[0] += sum(total);
  }
  if (reversed) reverse_taps(dw, dtaps, d.C, d.K, true);
}

}  // namespace cafx::CAFX_ISA_NS
