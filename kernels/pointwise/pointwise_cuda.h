// kernels/pointwise/pointwise_cuda.h -- the activations for one number, on the GPU.
//
// Error    softplus and its slope 2e-7 max(1, |result|), against double.
#pragma once

#include "kernels/device/cuda.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

// log(1 + u) for u in [0, 1], the CPU's polynomial (kernels/simd/vec.h): half the instructions of log1pf.
__device__ __forceinline__ float log1p_unit(float u) {
  float q = fmaf(u, -2.03847514e-3f, 1.35174456e-2f);
  q = fmaf(q, u, -4.18947973e-2f);
  q = fmaf(q, u, 8.32063421e-2f);
  q = fmaf(q, u, -1.24981648e-1f);
  q = fmaf(q, u, 1.61555834e-1f);
  q = fmaf(q, u, -1.99094732e-1f);
  q = fmaf(q, u, 2.49912741e-1f);
  q = fmaf(q, u, -3.33329867e-1f);
  q = fmaf(q, u, 4.99999977e-1f);
  return fmaf(-(u * u), q, u);
}

// __expf's error grows with |x|, but below zero less than exp(x) falls.
template <Activation A>
__device__ __forceinline__ float activate(float x) {
  if constexpr (A == Activation::kRelu) return fmaxf(x, 0.0f) + (x != x ? x : 0.0f);  // NaN stays
  if constexpr (A == Activation::kTanh) return tanhf(x);
  if constexpr (A == Activation::kSoftplus) return fmaxf(x, 0.0f) + log1p_unit(__expf(-fabsf(x)));
  return x;
}

// The slope, from the output.
template <Activation A>
__device__ __forceinline__ float activation_slope(float y) {
  if constexpr (A == Activation::kRelu) return y > 0.0f ? 1.0f : 0.0f;
  if constexpr (A == Activation::kTanh) return 1.0f - y * y;
  if constexpr (A == Activation::kSoftplus) return 1.0f - __expf(-y);
  return 1.0f;
}

template <Activation A>
struct ActivationForward {
  float* y;
  const float* x;
  __device__ auto operator()(Members members) const {
    return [y = members.of(y), x = members.of(x)](long i) { y[i] = activate<A>(x[i]); };
  }
};
template <Activation A>
struct ActivationBackward {
  float* dx;
  const float *dy, *y;
  __device__ auto operator()(Members members) const {
    return [dx = members.of(dx), dy = members.of(dy), y = members.of(y)](long i) {
      dx[i] = dy[i] * activation_slope<A>(y[i]);
    };
  }
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
