// kernels/pointwise/pointwise_cpu.h -- the activations on one vector, for `_cpu.cpp` files that fuse them.
#pragma once

#include "kernels/pointwise/pointwise.h"
#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

template <Activation A>
CAFX_INLINE vf activate(vf x) {
  if constexpr (A == Activation::kRelu) return x < 0.0f ? vf{} : x;  // NaN stays NaN
  if constexpr (A == Activation::kTanh) return vtanh(x);
  if constexpr (A == Activation::kSoftplus) return vsoftplus(x);
  return x;
}

// The slope at the input, from the output y.
template <Activation A>
CAFX_INLINE vf slope(vf y) {
  if constexpr (A == Activation::kRelu) return y > 0.0f ? set1(1.0f) : vf{};
  if constexpr (A == Activation::kTanh) return 1.0f - y * y;
  if constexpr (A == Activation::kSoftplus) return 1.0f - vexp(-y);
  return set1(1.0f);
}

// f.template operator()<A>() for the activation known only at run time.
template <class F>
CAFX_INLINE void with_activation(Activation a, F f) {
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

// out[i] = f(vector i of inputs), with the tail masked.
template <class F>
CAFX_INLINE void for_vectors(long n, F f) {
  long i = 0;
  for (; i + kW <= n; i += kW) f(i, kW);
  if (i < n) f(i, static_cast<int>(n - i));
}
CAFX_INLINE vf load_m(const float* p, int m) { return m == kW ? load(p) : load_n(p, m); }
CAFX_INLINE void store_m(float* p, vf v, int m) {
  if (m == kW) {
    store(p, v);
  } else {
    store_n(p, v, m);
  }
}
// To the format that large tensors are stored in: bf16, fp16, or as it is.
CAFX_INLINE vf vrounded(vf a, Precision stored) {
  if (stored == Precision::kBf16) return vround_bf16(a);
  if (stored == Precision::kFp16) return vround_fp16(a);
  return a;
}
inline void round_all(float* x, long n, Precision stored) {
  if (stored == Precision::kBf16) {
    for_vectors(n, [&](long i, int m) { store_m(x + i, vround_bf16(load_m(x + i, m)), m); });
  } else if (stored == Precision::kFp16) {
    for_vectors(n, [&](long i, int m) { store_m(x + i, vround_fp16(load_m(x + i, m)), m); });
  }
}

}  // namespace cafx::CAFX_ISA_NS
