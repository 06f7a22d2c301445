#include "kernels/pointwise/pointwise.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, activation_forward, (float* y, const float* x, long n, Activation a));
CAFX_BACKENDS(void, activation_backward, (float* dx, const float* dy, const float* y, long n, Activation a));
CAFX_BACKENDS(void, abs_forward, (float* y, const float* x, long n));
CAFX_BACKENDS(void, abs_backward, (float* dx, const float* dy, const float* x, long n));
CAFX_BACKENDS(void, multiply_forward, (float* y, const float* a, const float* b, long n));
CAFX_BACKENDS(void, multiply_backward, (float* da, float* db, const float* dy, const float* a, const float* b, long n));
CAFX_CUDA(void, activation_forward, (const Context&, float* y, const float* x, long n, Activation a));
CAFX_CUDA(void, activation_backward,
          (const Context&, float* dx, const float* dy, const float* y, long n, Activation a));
CAFX_CUDA(void, abs_forward, (const Context&, float* y, const float* x, long n));
CAFX_CUDA(void, abs_backward, (const Context&, float* dx, const float* dy, const float* x, long n));
CAFX_CUDA(void, multiply_forward, (const Context&, float* y, const float* a, const float* b, long n));
CAFX_CUDA(void, multiply_backward,
          (const Context&, float* da, float* db, const float* dy, const float* a, const float* b, long n));
CAFX_CUDA(void, add_scaled, (const Context&, float* y, float a, const float* x, long n));
CAFX_CUDA(void, multiply_by, (const Context&, float* x, float a, long n));
CAFX_CUDA(void, scaled_within,
          (const Context&, float* y, float a, const float* x, IndexRange scaled, IndexRange kept, long n));

const char* to_string(Activation activation) {
  switch (activation) {
    case Activation::kIdentity:
      return "identity";
    case Activation::kRelu:
      return "relu";
    case Activation::kTanh:
      return "tanh";
    case Activation::kSoftplus:
      return "softplus";
  }
  return "?";
}

void activation_forward(const Context& context, float* y, const float* x, long n, Activation a) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, activation_forward, y, x, n, a);
  CAFX_CALL(context, activation_forward, y, x, n, a);
}
void activation_backward(const Context& context, float* dx, const float* dy, const float* y, long n, Activation a) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, activation_backward, dx, dy, y, n, a);
  CAFX_CALL(context, activation_backward, dx, dy, y, n, a);
}
void abs_forward(const Context& context, float* y, const float* x, long n) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, abs_forward, y, x, n);
  CAFX_CALL(context, abs_forward, y, x, n);
}
void abs_backward(const Context& context, float* dx, const float* dy, const float* x, long n) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, abs_backward, dx, dy, x, n);
  CAFX_CALL(context, abs_backward, dx, dy, x, n);
}
void multiply_forward(const Context& context, float* y, const float* a, const float* b, long n) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, multiply_forward, y, a, b, n);
  CAFX_CALL(context, multiply_forward, y, a, b, n);
}
void multiply_backward(const Context& context, float* da, float* db, const float* dy, const float* a, const float* b,
                       long n) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, multiply_backward, da, db, dy, a, b, n);
  CAFX_CALL(context, multiply_backward, da, db, dy, a, b, n);
}
void add_scaled(const Context& context, float* y, float a, const float* x, long n) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, add_scaled, y, a, x, n);
  for (long i = 0; i < n; ++i) y[i] += a * x[i];
}
void multiply_by(const Context& context, float* x, float a, long n) {
  CAFX_CHECK(n >= 0, n);
  CAFX_CUDA_CALL(context, multiply_by, x, a, n);
  for (long i = 0; i < n; ++i) x[i] *= a;
}
void scaled_within(const Context& context, float* y, float a, const float* x, IndexRange scaled, IndexRange kept,
                   long n) {
  for (const IndexRange& r : {scaled, kept}) CAFX_CHECK(0 <= r.first && r.first <= r.last && r.last <= n, r.first, n);
  CAFX_CUDA_CALL(context, scaled_within, y, a, x, scaled, kept, n);
  for (long i = 0; i < n; ++i) {
    if (i >= kept.first && i < kept.last) continue;
    y[i] = i >= scaled.first && i < scaled.last ? a * x[i] : 0.0f;
  }
}

}  // namespace cafx
