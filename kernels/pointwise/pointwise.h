// kernels/pointwise/pointwise.h -- element-wise ops: activations, absolute value, product.
//
//   softplus(x) = log(1 + exp(x))   relu(x) = max(x, 0)   tanh(x)   identity(x) = x
//
// Shapes   n numbers each, any layout.
// Grads    activation_backward uses the output y: softplus' = 1 - exp(-y), relu' = [y > 0], tanh' = 1 - y^2.
//          abs' (0) = 0.     dx =   da =   db =
// In place yes, for every pair of equal sizes.
// Errors   n >= 0: CheckError.
// Bits     same input, same device: same bits. softplus and tanh are polynomials, within 4e-7 max(1, |result|).
#pragma once

#include <string>

#include "kernels/device/context.h"

namespace cafx {

enum class Activation { kIdentity, kRelu, kTanh, kSoftplus };
const char* to_string(Activation activation);

void activation_forward(const Context&, float* y, const float* x, long n, Activation);
void activation_backward(const Context&, float* dx, const float* dy, const float* y, long n, Activation);
void abs_forward(const Context&, float* y, const float* x, long n);
void abs_backward(const Context&, float* dx, const float* dy, const float* x, long n);
void multiply_forward(const Context&, float* y, const float* a, const float* b, long n);
void multiply_backward(const Context&, float* da, float* db, const float* dy, const float* a, const float* b, long n);
void add_scaled(const Context&, float* y, float a, const float* x, long n);  // y += a x
void multiply_by(const Context&, float* x, float a, long n);                 // x *= a
// y = a x in `scaled`, 0 elsewhere in [0, n), but that `kept` stays as it is.
struct IndexRange {
  long first = 0, last = 0;  // half open
};
void scaled_within(const Context&, float* y, float a, const float* x, IndexRange scaled, IndexRange kept, long n);

}  // namespace cafx
