#include "kernels/squeeze_excite/squeeze_excite.h"

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

namespace {

constexpr int kSumRows = 64;  // samples whose sum is taken by itself: a long one in float would lose digits

// sums[c] = sum over t of value(t C + c, m), by vectors of channels.
template <class F>
CAFX_INLINE void sum_over_time(float* sums, SqueezeExciteDims d, F value) {
  for_vectors(d.C, [&](long c, int m) {
    vf total = {};
    for (long t0 = 0; t0 < d.T; t0 += kSumRows) {
      const long end = t0 + kSumRows < d.T ? t0 + kSumRows : d.T;
      vf part = {};
      for (long t = t0; t < end; ++t) part += value(t * d.C + c, m);
      total += part;
    }
    store_m(sums + c, total, m);
  });
}

// What forward keeps of a frame, and the gradients of it.
template <class F>
struct SqueezeParts {
  F *a, *s, *h;
  SqueezeParts(F* at, SqueezeExciteDims d) : a(at), s(at + d.C), h(at + 2L * d.C) {}
};

}  // namespace

void squeeze_excite_forward(float* y, float* saved, const float* x, const SqueezeExciteTensors<const float*>& p,
                            Precision stored, SqueezeExciteDims d) {
  const long n = static_cast<long>(d.T) * d.C;
  for (int b = 0; b < d.B; ++b, x += n, y += n, saved += 2L * d.C + d.H) {
    const SqueezeParts of(saved, d);
    sum_over_time(of.a, d, [&](long i, int m) { return vabs(load_m(x + i, m)); });
    const float per_sample = 1.0f / static_cast<float>(d.T);
    for (int c = 0; c < d.C; ++c) of.a[c] *= per_sample;
    for (int j = 0; j < d.H; ++j) of.h[j] = p.b1[j];
    gemm(d.H, 1, d.C, p.w1, d.C, 1, of.a, 1, of.h, 1, GemmInit::kAdd);
    for_vectors(d.H, [&](long j, int m) { store_m(of.h + j, activate<Activation::kRelu>(load_m(of.h + j, m)), m); });
    for (int c = 0; c < d.C; ++c) of.s[c] = p.b2[c];
    gemm(d.C, 1, d.H, p.w2, d.H, 1, of.h, 1, of.s, 1, GemmInit::kAdd);
    for_vectors(d.C, [&](long c, int m) { store_m(of.s + c, vsigmoid(load_m(of.s + c, m)), m); });
    for (long t = 0; t < d.T; ++t) {
      for_vectors(d.C, [&](long c, int m) {
        const long i = t * d.C + c;
        const vf v = load_m(y + i, m) + load_m(of.s + c, m) * load_m(x + i, m);
        store_m(y + i, vrounded(v, stored), m);
      });
    }
  }
}

void squeeze_excite_backward(float* dx, const SqueezeExciteTensors<float*>& g, const float* dy, const float* x,
                             const float* saved, const SqueezeExciteTensors<const float*>& p, float* scratch,
                             Precision stored, SqueezeExciteDims d) {
  const long n = static_cast<long>(d.T) * d.C;
  const SqueezeParts to(scratch, d);
  for (int b = 0; b < d.B; ++b, x += n, dx += n, dy += n, saved += 2L * d.C + d.H) {
    const SqueezeParts of(saved, d);
    sum_over_time(to.s, d, [&](long i, int m) { return load_m(dy + i, m) * load_m(x + i, m); });
    for (int c = 0; c < d.C; ++c) to.s[c] *= of.s[c] * (1.0f - of.s[c]);
    gemm(1, d.H, d.C, to.s, 0, 1, p.w2, d.H, to.h, d.H, GemmInit::kZero);
    for (int j = 0; j < d.H; ++j) to.h[j] = of.h[j] > 0.0f ? to.h[j] : 0.0f;
    gemm(1, d.C, d.H, to.h, 0, 1, p.w1, d.C, to.a, d.C, GemmInit::kZero);
    gemm(d.C, d.H, 1, to.s, 1, 0, of.h, d.H, g.w2, d.H, GemmInit::kAdd);
    gemm(d.H, d.C, 1, to.h, 1, 0, of.a, d.C, g.w1, d.C, GemmInit::kAdd);
    for (int c = 0; c < d.C; ++c) g.b2[c] += to.s[c];
    for (int j = 0; j < d.H; ++j) g.b1[j] += to.h[j];
    const float per_sample = 1.0f / static_cast<float>(d.T);
    for (int c = 0; c < d.C; ++c) to.a[c] *= per_sample;
    for (long t = 0; t < d.T; ++t) {
      for_vectors(d.C, [&](long c, int m) {
        const long i = t * d.C + c;
        const vf value = load_m(x + i, m), of_a = load_m(to.a + c, m);
        const vf v = load_m(of.s + c, m) * load_m(dy + i, m) + (value > 0.0f ? of_a : (value < 0.0f ? -of_a : vf{}));
        store_m(dx + i, vrounded(v, stored), m);
      });
    }
  }
}

}  // namespace cafx::CAFX_ISA_NS
