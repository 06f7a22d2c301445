#include "kernels/local_conv/local_conv.h"

#include "kernels/pointwise/pointwise_cpu.h"

namespace cafx::CAFX_ISA_NS {

namespace {
// Lane i holds w[(c + i) K + k].
vf load_taps(const float* w, int c, int K, int k, int m) {
  vf v = {};
  for (int i = 0; i < m; ++i) v[i] = w[static_cast<long>(c + i) * K + k];
  return v;
}
}  // namespace

void local_conv_forward(float* y, const float* x, const float* w, const float* bias, LocalConvDims d) {
  const int left = (d.K - 1) / 2;
  for (int b = 0; b < d.B; ++b) {
    const long at = static_cast<long>(b) * d.T * d.C;
    for_vectors(d.C, [&](long c, int m) {
      for (int t = 0; t < d.T; ++t) store_m(y + at + static_cast<long>(t) * d.C + c, load_m(bias + c, m), m);
      for (int k = 0; k < d.K; ++k) {
        const vf tap = load_taps(w, static_cast<int>(c), d.K, k, m);
        const int shift = k - left, t0 = shift < 0 ? -shift : 0, t1 = shift > 0 ? d.T - shift : d.T;
        for (int t = t0; t < t1; ++t) {
          float* out = y + at + static_cast<long>(t) * d.C + c;
          store_m(out, load_m(out, m) + tap * load_m(x + at + static_cast<long>(t + shift) * d.C + c, m), m);
        }
      }
    });
  }
}

void local_conv_backward(float* dx, float* dw, float* dbias, const float* dy, const float* x, const float* w,
                         LocalConvDims d) {
  const int left = (d.K - 1) / 2;
  for (int b = 0; b < d.B; ++b) {
    const long at = static_cast<long>(b) * d.T * d.C;
    for_vectors(d.C, [&](long c, int m) {
      vf total = load_m(dbias + c, m);
      for (int t = 0; t < d.T; ++t) {
        const long i = at + static_cast<long>(t) * d.C + c;
        total += load_m(dy + i, m);
        store_m(dx + i, vf{}, m);
      }
      store_m(dbias + c, total, m);
      for (int k = 0; k < d.K; ++k) {
        const vf tap = load_taps(w, static_cast<int>(c), d.K, k, m);
        vf dtap = load_taps(dw, static_cast<int>(c), d.K, k, m);
        const int shift = k - left, t0 = shift < 0 ? -shift : 0, t1 = shift > 0 ? d.T - shift : d.T;
        for (int t = t0; t < t1; ++t) {
          const vf g = load_m(dy + at + static_cast<long>(t) * d.C + c, m);
          const long i = at + static_cast<long>(t + shift) * d.C + c;
          dtap += g * load_m(x + i, m);
          store_m(dx + i, load_m(dx + i, m) + g * tap, m);
        }
        for (int i = 0; i < m; ++i) dw[(c + i) * d.K + k] = dtap[i];
      }
    });
  }
}

}  // namespace cafx::CAFX_ISA_NS
