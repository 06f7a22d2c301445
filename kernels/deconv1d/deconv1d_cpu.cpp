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

void deconv1d_forward(float* y, const float* u, const float* w, const float* bias, void* scratch, bool bf16_units,
                      Deconv1dDims d) {
  float* taps = static_cast<float*>(scratch);                    // (C,K)
  float* products = taps + static_cast<long>(d.C) * d.K;         // (tile,K)
  float* sum = products + static_cast<long>(kDeconvTile) * d.K;  // (T+K-1)
  if (d.form == Deconv::kCorrelate) {
    reverse_taps(taps, w, d.C, d.K, false);
    w = taps;
  }
  const int n_sum = d.T + d.K - 1, pad = deconv1d_pad(d);
#if defined(__AVX512F__)
  const int n_pairs = static_cast<int>(bf16::n_pairs(d.C));
  auto* w_pairs = reinterpret_cast<bf16::Pair*>(sum + n_sum);  // (C/2,K)
  auto* u_pairs = w_pairs + static_cast<long>(n_pairs) * d.K;  // (tile,C/2)
  if (bf16_units) bf16::pairs_of_rows(w_pairs, w, d.K, d.C, d.K);
#endif
  // products (n,K) = u w
  const auto multiply = [&](const float* u_t, int n) {
#if defined(__AVX512F__)
    if (bf16_units) {
      bf16::pairs_along_rows(u_pairs, n_pairs, u_t, d.C, n, d.C);
      return bf16::gemm(n, d.K, n_pairs, u_pairs, n_pairs, 1, w_pairs, d.K, products, d.K, GemmInit::kZero);
    }
#else
    (void)bf16_units;
#endif
    gemm(n, d.K, d.C, u_t, d.C, 1, w, d.K, products, d.K, GemmInit::kZero);
  };
  for (int b = 0; b < d.B; ++b) {
    const float* u_b = u + static_cast<long>(b) * d.T * d.C;
    for (int i = 0; i < n_sum; ++i) sum[i] = 0.0f;
    for (int t0 = 0; t0 < d.T; t0 += kDeconvTile) {
      const int n = d.T - t0 < kDeconvTile ? d.T - t0 : kDeconvTile;
      {
        const Part part("products", static_cast<double>(n) * d.K * d.C,
                        4.0 * (static_cast<double>(n) * (d.C + 1) + d.C * d.K));
        multiply(u_b + static_cast<long>(t0) * d.C, n);
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
                       void* scratch, bool bf16_units, Precision stored, Deconv1dDims d) {
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
  float* pairs = dtaps + n_w;  // of bf16: x and y of the filters' gradient, then the filters (K/2,C), then dy
#if defined(__AVX512F__)
  auto* w_pairs = reinterpret_cast<bf16::Pair*>(pairs + filter_gradient_pairs(d.C, d.K));
  auto* dy_pairs = w_pairs + bf16::n_pairs(d.K) * d.C;
  if (bf16_units) bf16::pairs_of_rows(w_pairs, w_kc, d.C, d.K, d.C);
#endif
  // du (T,C) from the padded dy
  const auto multiply = [&](float* du_b, const float* dy) {
#if defined(__AVX512F__)
    if (bf16_units) {
      bf16::overlapping_pairs(dy_pairs, dy, d.T + d.K - 1);
      return bf16::gemm(d.T, d.C, static_cast<int>(bf16::n_pairs(d.K)), dy_pairs, 1, 2, w_pairs, d.C, du_b, d.C,
                        GemmInit::kZero);
    }
#endif
    gemm(d.T, d.C, d.K, dy, 1, 1, w_kc, d.C, du_b, d.C, GemmInit::kZero);
  };
  for (int b = 0; b < d.B; ++b) {
    const float* dy = dy_padded + static_cast<long>(b) * (d.T + d.K - 1);
    const long at = static_cast<long>(b) * d.T * d.C;
    const double n = static_cast<double>(d.T) * d.C, bytes = 4.0 * (n + d.T + n_w);
    {
      const Part part("products for u", n * d.K, bytes);
      multiply(du + at, dy);
      round_all(du + at, static_cast<long>(d.T) * d.C, stored);
    }
    {
      const Part part("products for weights", n * d.K, bytes);
      add_filter_gradient(reversed ? dtaps : dw, u + at, dy, d.T, d.C, d.K, bf16_units, pairs);
    }
    vf total = {};
    for_vectors(d.T, [&](long t, int m) { total += load_m(dy + pad + t, m); });
    dbias[0] += sum(total);
  }
  if (reversed) reverse_taps(dw, dtaps, d.C, d.K, true);
}

}  // namespace cafx::CAFX_ISA_NS
