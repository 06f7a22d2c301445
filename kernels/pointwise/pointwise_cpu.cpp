#include "kernels/pointwise/pointwise_cpu.h"

namespace cafx::CAFX_ISA_NS {

void activation_forward(float* y, const float* x, long n, Activation a) {
  with_activation(a, [&]<Activation A>() {
    for_vectors(n, [&](long i, int m) { store_m(y + i, activate<A>(load_m(x + i, m)), m); });
  });
}

void activation_backward(float* dx, const float* dy, const float* y, long n, Activation a) {
  with_activation(a, [&]<Activation A>() {
    for_vectors(n, [&](long i, int m) { store_m(dx + i, load_m(dy + i, m) * slope<A>(load_m(y + i, m)), m); });
  });
}

void abs_forward(float* y, const float* x, long n) {
  for_vectors(n, [&](long i, int m) { store_m(y + i, vabs(load_m(x + i, m)), m); });
}

void abs_backward(float* dx, const float* dy, const float* x, long n) {
  for_vectors(n, [&](long i, int m) {
    const vf v = load_m(x + i, m), d = load_m(dy + i, m);
    store_m(dx + i, v > 0.0f ? d : (v < 0.0f ? -d : vf{}), m);
  });
}

void multiply_forward(float* y, const float* a, const float* b, long n) {
  for_vectors(n, [&](long i, int m) { store_m(y + i, load_m(a + i, m) * load_m(b + i, m), m); });
}

void multiply_backward(float* da, float* db, const float* dy, const float* a, const float* b, long n) {
  for_vectors(n, [&](long i, int m) {
    const vf d = load_m(dy + i, m), va = load_m(a + i, m), vb = load_m(b + i, m);
    store_m(da + i, d * vb, m);
    store_m(db + i, d * va, m);
  });
}

}  // namespace cafx::CAFX_ISA_NS
