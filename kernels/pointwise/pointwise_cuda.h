// kernels/pointwise/pointwise_cuda.h -- the activations for one number, on the GPU; exact ones, no fast-math.
#pragma once

#include "kernels/pointwise/pointwise.h"

namespace cafx {

template <Activation A>
__device__ __forceinline__ float activate(float x) {
  if constexpr (A == Activation::kRelu) return fmaxf(x, 0.0f) + (x != x ? x : 0.0f);  // NaN stays
  if constexpr (A == Activation::kTanh) return tanhf(x);
  if constexpr (A == Activation::kSoftplus) return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
  return x;
}

// The slope, from the output.
template <Activation A>
__device__ __forceinline__ float activation_slope(float y) {
  if constexpr (A == Activation::kRelu) return y > 0.0f ? 1.0f : 0.0f;
  if constexpr (A == Activation::kTanh) return 1.0f - y * y;
  if constexpr (A == Activation::kSoftplus) return -expm1f(-y);
  return 1.0f;
}

template <Activation A>
struct ActivationForward {
  float* y;
  const float* x;
  __device__ void operator()(long i) const { y[i] = activate<A>(x[i]); }
};
template <Activation A>
struct ActivationBackward {
  float* dx;
  const float *dy, *y;
  __device__ void operator()(long i) const { dx[i] = dy[i] * activation_slope<A>(y[i]); }
};

// f.operator()<A>() for the activation known only at run time.
template <class F>
void with_activation(Activation a, F f) {
  switch (a) {
    case Activation::kIdentity:
      return f.template operator()<Activation::kIdentity>();
    case Activation::kRelu:
      return f.template operator()<Activation::kRelu>();
    case Activation::kTanh:
      return f.template operator()<Activation::kTanh>();
    case Activation::kSoftplus:
      return f.template operator()<Activation::kSoftplus>();
  }
}

}  // namespace cafx
