#include "kernels/pointwise/pointwise_cuda.h"

#include "kernels/device/each_cuda.h"

namespace cafx::cuda {

void activation_forward(const Context& context, float* y, const float* x, long n, Activation a) {
  with_activation(a, [&]<Activation A>() { for_each(context, n, ActivationForward<A>{y, x}); });
}
void activation_backward(const Context& context, float* dx, const float* dy, const float* y, long n, Activation a) {
  with_activation(a, [&]<Activation A>() { for_each(context, n, ActivationBackward<A>{dx, dy, y}); });
}
void abs_forward(const Context& context, float* y, const float* x, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(y, x);
    return [=](long i) { y[i] = fabsf(x[i]); };
  });
}
void abs_backward(const Context& context, float* dx, const float* dy, const float* x, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(dx, x, dy);
    return [=](long i) { dx[i] = x[i] > 0.0f ? dy[i] : x[i] < 0.0f ? -dy[i] : 0.0f; };
  });
}
void multiply_forward(const Context& context, float* y, const float* a, const float* b, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(y, a, b);
    return [=](long i) { y[i] = a[i] * b[i]; };
  });
}
void multiply_backward(const Context& context, float* da, float* db, const float* dy, const float* a, const float* b,
                       long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(dy, a, b, da, db);
    return [=](long i) {
      const float g = dy[i], left = a[i], right = b[i];
      da[i] = g * right;
      db[i] = g * left;
    };
  });
}
void add_scaled(const Context& context, float* y, float a, const float* x, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(y, x);
    return [=](long i) { y[i] += a * x[i]; };
  });
}
void multiply_by(const Context& context, float* x, float a, long n) {
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(x);
    return [=](long i) { x[i] *= a; };
  });
}
void scaled_within(const Context& context, float* y, float a, const float* x, IndexRange scaled, IndexRange kept,
                   long n) {
  for_each(context, n - (kept.last - kept.first), [=] __device__(Members members) mutable {
    members.enter(y, x);
    return [=](long k) {
      const long i = k < kept.first ? k : k + (kept.last - kept.first);
      y[i] = i >= scaled.first && i < scaled.last ? a * x[i] : 0.0f;
    };
  });
}

}  // namespace cafx::cuda
