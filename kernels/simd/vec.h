// kernels/simd/vec.h -- one vector of floats of the instruction set this file is compiled for, and its functions.
//
//   Included by `_cpu.cpp` files only, which are compiled once per instruction set with CAFX_ISA_NS naming it; all that
//   stands here is inside that namespace, so that code for a wide processor is never linked into a narrow one's path.
//   For the same reason no container or algorithm of the standard library is used here.
//
// Error    vexp 2e-7 relative for |x| < 87; vsoftplus, vsigmoid, vtanh 4e-7 max(1, |result|), against double.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace cafx::CAFX_ISA_NS {

#if defined(__AVX512F__)
inline constexpr int kW = 16;  // floats in a vector
#elif defined(__AVX2__)
inline constexpr int kW = 8;
#else
inline constexpr int kW = 4;
#endif

typedef float vf __attribute__((vector_size(kW * 4)));
typedef float vfu __attribute__((vector_size(kW * 4), aligned(4), may_alias));
typedef std::int32_t vi __attribute__((vector_size(kW * 4)));
typedef std::int32_t viu __attribute__((vector_size(kW * 4), aligned(4), may_alias));

#define CAFX_INLINE inline __attribute__((always_inline))

CAFX_INLINE vf load(const float* p) { return *reinterpret_cast<const vfu*>(p); }
CAFX_INLINE void store(float* p, vf v) { *reinterpret_cast<vfu*>(p) = v; }
CAFX_INLINE vf set1(float x) { return x - vf{}; }
CAFX_INLINE vi set1i(int x) { return x - vi{}; }

// The first n (0 .. kW) numbers; the others read as 0 and are not touched.
CAFX_INLINE vf load_n(const float* p, int n) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p));
#else
  vf v = {};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
CAFX_INLINE void store_n(float* p, vf v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), reinterpret_cast<__m512>(v));
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}
CAFX_INLINE void store_n(std::int32_t* p, vi v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}

CAFX_INLINE vf vmax(vf a, vf b) { return a > b ? a : b; }
CAFX_INLINE vf vmin(vf a, vf b) { return a < b ? a : b; }
CAFX_INLINE vf vabs(vf a) { return reinterpret_cast<vf>(reinterpret_cast<vi>(a) & set1i(0x7fffffff)); }
CAFX_INLINE float sum(vf a) {  // pairwise, in one fixed order
  float t[kW];
  store(t, a);
  for (int n = kW / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) t[i] += t[i + n];
  }
  return t[0];
}

// exp(x), 0 below -87, at most exp(88). NaN stays NaN.
CAFX_INLINE vf vexp(vf x) {
  const vf clamped = x < -87.0f ? set1(-87.0f) : (x > 88.0f ? set1(88.0f) : x);
  const vf magic = set1(12582912.0f);  // 1.5 x 2^23: adding it rounds to the nearest integer in the low bits
  const vf shifted = clamped * 1.44269504f + magic;
  const vf n = shifted - magic;
  const vf r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  vf p = r * 1.9875691e-4f + 1.3981999e-3f;
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665795e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000001e-1f;
  p = p * (r * r) + r + 1.0f;
  const vi exponent = (reinterpret_cast<vi>(shifted) - reinterpret_cast<vi>(magic) + 127) << 23;
  return p * reinterpret_cast<vf>(exponent);
}

// log(1 + u) for u in [0, 1]: u - u^2 q(u), q of degree 9 by least squares, 3e-9 before rounding: an error that all samples
// shared would not cancel in their sums. No division, which takes as long as the whole polynomial.
CAFX_INLINE vf vlog1p_unit(vf u) {
  vf q = u * -2.03847514e-3f + 1.35174456e-2f;
  q = q * u - 4.18947973e-2f;
  q = q * u + 8.32063421e-2f;
  q = q * u - 1.24981648e-1f;
  q = q * u + 1.61555834e-1f;
  q = q * u - 1.99094732e-1f;
  q = q * u + 2.49912741e-1f;
  q = q * u - 3.33329867e-1f;
  q = q * u + 4.99999977e-1f;
  return u - (u * u) * q;
}

CAFX_INLINE vf vsoftplus(vf x) { return (x > 0.0f ? x : vf{}) + vlog1p_unit(vexp(-vabs(x))); }  // NaN stays NaN
CAFX_INLINE vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }
CAFX_INLINE vf vtanh(vf x) {
  const vf e = vexp(-2.0f * vabs(x));
  const vf t = (1.0f - e) / (1.0f + e);
  return x < 0.0f ? -t : t;
}

}  // namespace cafx::CAFX_ISA_NS
