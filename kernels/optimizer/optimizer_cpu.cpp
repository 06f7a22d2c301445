#include "kernels/optimizer/optimizer.h"

#include "kernels/pointwise/pointwise_cpu.h"

namespace cafx::CAFX_ISA_NS {

namespace {
vf root(vf x) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(_mm512_sqrt_ps(reinterpret_cast<__m512>(x)));
#else
  vf y{};
  for (int i = 0; i < kW; ++i) y[i] = __builtin_sqrtf(x[i]);
  return y;
#endif
}
}  // namespace

void adam_block(float* params, float* m, float* v, const float* grads, const float* decay_mask, long n, AdamStep s,
                float correction1, float correction2) {
  for_vectors(n, [&](long i, int k) {
    const vf g = load_m(grads + i, k) * s.gradient_scale;
    const vf m1 = s.beta1 * load_m(m + i, k) + (1.0f - s.beta1) * g;
    const vf v1 = s.beta2 * load_m(v + i, k) + (1.0f - s.beta2) * g * g;
    const vf p = load_m(params + i, k);
    const vf decay = s.weight_decay * (decay_mask ? load_m(decay_mask + i, k) : set1(1.0f));
    store_m(m + i, m1, k);
    store_m(v + i, v1, k);
    store_m(params + i, p - s.lr * ((m1 / correction1) / (root(v1 / correction2) + s.epsilon) + decay * p), k);
  });
}

void average_block(float* average, const float* params, long n, float rate) {
  for_vectors(n, [&](long i, int k) {
    const vf a = load_m(average + i, k);
    store_m(average + i, a + rate * (load_m(params + i, k) - a), k);
  });
}

double squared_norm_block(const float* x, long n) {
  double total = 0.0;
  for (long i = 0; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

// Pairs of neighbours, then pairs of pairs: the tree depends on the number of slots alone.
void reduce_block(float* total, float* const* slots, int n_slots, long at, long n) {
  for_vectors(n, [&](long i, int k) {
    vf part[kGradientSlots];
    part[0] = load_m(slots[0] + at + i, k);  // there is one at least
    for (int s = 1; s < n_slots; ++s) part[s] = load_m(slots[s] + at + i, k);
    for (int count = n_slots; count > 1; count = (count + 1) / 2) {
      for (int s = 0; s < count / 2; ++s) part[s] = part[2 * s] + part[2 * s + 1];
      if (count % 2) part[count / 2] = part[count - 1];
    }
    store_m(total + at + i, part[0], k);
  });
}

}  // namespace cafx::CAFX_ISA_NS
