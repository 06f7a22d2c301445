// kernels/simd/vec.h -- one vector of floats of the instruction set this file is compiled for, and its functions.
//
//   Included by `_cpu.cpp` files only, which are compiled once per instruction set with CAFX_ISA_NS naming it; all code
//   here is inside that namespace, so that code for a wide processor is never linked into a narrow one's path.
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

// The first n (0 .. kW) numbers; the others read as 0, their memory is not accessed.
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
// To bf16, nearest, halves to even; NaN stays NaN.
CAFX_INLINE vf vround_bf16(vf a) {
  const vi bits = reinterpret_cast<vi>(a);
  const vf rounded = reinterpret_cast<vf>((bits + set1i(0x7fff) + ((bits >> 16) & set1i(1))) & set1i(~0xffff));
  return a == a ? rounded : a;
}
// To fp16, nearest, halves to even: multiples of 2^-24 below 2^-14, infinity from 65520 on; NaN stays NaN.
CAFX_INLINE vf vround_fp16(vf a) {
  const vi bits = reinterpret_cast<vi>(a), sign = bits & set1i(static_cast<int>(0x80000000u));
  const vf size = vabs(a);
  const vi half_way = ((bits >> 13) & set1i(1)) + set1i(0xfff);
  const vf normal = reinterpret_cast<vf>((reinterpret_cast<vi>(size) + half_way) & set1i(~0x1fff));
  const vf small = (size + 0.5f) - 0.5f;  // the unit in the last place of [0.5, 1) is 2^-24
  const vf finite = size < 0x1p-14f ? small : normal;
  const vf rounded = size >= 65520.0f ? set1(__builtin_inff()) : finite;
  return a == a ? reinterpret_cast<vf>(reinterpret_cast<vi>(rounded) | sign) : a;
}
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

// log(1 + u) for u in [0, 1]: u - u^2 q(u), q of degree 9 by least squares, 3e-9 before rounding: an error that all
// samples shared would not cancel in their sums. No division, which takes as long as the whole polynomial.
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

#if defined(__AVX512F__)
// log(1 + exp(-a)) around a = 0, 0.5, .. 15.5: polynomials of degree 5, 8e-9 with their rounded coefficients.
alignas(64) inline constexpr float kSoftplus[6][2 * kW] = {
    {6.93147182e-01f, 4.74076986e-01f, 3.13261688e-01f, 2.01413274e-01f, 1.26928017e-01f, 7.88897350e-02f,
     4.85873520e-02f, 2.97504179e-02f, 1.81499273e-02f, 1.10477451e-02f, 6.71534846e-03f, 4.07844316e-03f,
     2.47568521e-03f, 1.50231016e-03f, 9.11466486e-04f, 5.52931509e-04f, 3.35406367e-04f, 2.03447678e-04f,
     1.23402191e-04f, 7.48490274e-05f, 4.53989014e-05f, 2.75360708e-05f, 1.67015623e-05f, 1.01300420e-05f,
     6.14419332e-06f, 3.72664636e-06f, 2.26032694e-06f, 1.37095822e-06f, 8.31528382e-07f, 5.04347554e-07f,
     3.05902290e-07f, 1.85539122e-07f},
    {-5.00000000e-01f, -3.77540678e-01f, -2.68941432e-01f, -1.82425529e-01f, -1.19202919e-01f, -7.58581832e-02f,
     -4.74258736e-02f, -2.93122306e-02f, -1.79862101e-02f, -1.09869428e-02f, -6.69285096e-03f, -4.07013763e-03f,
     -2.47262325e-03f, -1.50118221e-03f, -9.11051175e-04f, -5.52778656e-04f, -3.35350138e-04f, -2.03426986e-04f,
     -1.23394580e-04f, -7.48462262e-05f, -4.53978682e-05f, -2.75356906e-05f, -1.67014223e-05f, -1.01299911e-05f,
     -6.14417468e-06f, -3.72663931e-06f, -2.26032421e-06f, -1.37095719e-06f, -8.31528041e-07f, -5.04347383e-07f,
     -3.05902233e-07f, -1.85539108e-07f},
    {1.24999240e-01f, 1.17501445e-01f, 9.83061194e-02f, 7.45735914e-02f, 5.24970591e-02f, 3.50519679e-02f,
     2.25883462e-02f, 1.42264906e-02f, 8.83132592e-03f, 5.43309189e-03f, 3.32401204e-03f, 2.02677492e-03f,
     1.23324769e-03f, 7.49459956e-04f, 4.55107889e-04f, 2.76234874e-04f, 1.67617822e-04f, 1.01692181e-04f,
     6.16893012e-05f, 3.74200863e-05f, 2.26977645e-05f, 1.37673824e-05f, 8.35052015e-06f, 5.06491324e-06f,
     3.07204959e-06f, 1.86330135e-06f, 1.13015267e-06f, 6.85473481e-07f, 4.15761122e-07f, 2.52172043e-07f,
     1.52950136e-07f, 9.27689641e-08f},
    {-1.79104050e-21f, -9.59262997e-03f, -1.51428347e-02f, -1.57883652e-02f, -1.33271292e-02f, -9.91134346e-03f,
     -6.81527983e-03f, -4.46416857e-03f, -2.83788890e-03f, -1.77124096e-03f, -1.09317619e-03f, -6.70094392e-04f,
     -4.09051048e-04f, -2.49070814e-04f, -1.51426735e-04f, -9.19768136e-05f, -5.58353277e-05f, -3.38837199e-05f,
     -2.05580964e-05f, -1.24715380e-05f, -7.56526106e-06f, -4.58889053e-06f, -2.78342350e-06f, -1.68827614e-06f,
     -1.02400759e-06f, -6.21097968e-07f, -3.76717168e-07f, -2.28491331e-07f, -1.38587296e-07f, -8.40575538e-08f,
     -5.09835232e-08f, -3.09230863e-08f},
    {-5.17595420e-03f, -3.99725372e-03f, -1.47845375e-03f, 6.37705205e-04f, 1.60752190e-03f, 1.68765441e-03f,
     1.37146609e-03f,  9.84045095e-04f,  6.59118465e-04f,  4.24214202e-04f, 2.66651041e-04f, 1.65255973e-04f,
     1.01548212e-04f,  6.20803185e-05f,  3.78341829e-05f,  2.30142359e-05f, 1.39834046e-05f, 8.49041226e-06f,
     5.15302600e-06f,  3.12669431e-06f,  1.89688706e-06f,  1.15068610e-06f, 6.97987502e-07f, 4.23373280e-07f,
     2.56797136e-07f,  1.55758386e-07f,  9.44733500e-08f,  5.73013956e-08f, 3.47552032e-08f, 2.10801527e-08f,
     1.27857795e-08f,  7.75497444e-09f},
    {2.86397231e-20f,  8.65748967e-04f,  1.02396309e-03f,  6.23329834e-04f,  1.75170833e-04f,  -7.70853731e-05f,
     -1.55284928e-04f, -1.46788429e-04f, -1.11835609e-04f, -7.70910774e-05f, -5.03736192e-05f, -3.19320643e-05f,
     -1.98862544e-05f, -1.22549036e-05f, -7.50465142e-06f, -4.57829810e-06f, -2.78665470e-06f, -1.69379462e-06f,
     -1.02866522e-06f, -6.24405516e-07f, -3.78900836e-07f, -2.29881124e-07f, -1.39454286e-07f, -8.45922585e-08f,
     -5.13110940e-08f, -3.11229620e-08f, -1.88774774e-08f, -1.14499326e-08f, -6.94479541e-09f, -4.21225366e-09f,
     -2.55486921e-09f, -1.54960944e-09f},
};
// Coefficients looked up in registers: half the time of exponential and logarithm. Below -15.7 it stays 1.5e-7.
CAFX_INLINE vf vsoftplus(vf x) {
  const vf a = vmin(vabs(x), set1(15.7f)), magic = set1(12582912.0f);
  const vf shifted = 2.0f * a + magic;  // the index in its low bits, which is all that the permutation reads
  const vf t = a - 0.5f * (shifted - magic);
  const auto at = reinterpret_cast<__m512i>(shifted);
  const auto c = [&](int i) {
    return reinterpret_cast<vf>(
        _mm512_permutex2var_ps(_mm512_load_ps(kSoftplus[i]), at, _mm512_load_ps(kSoftplus[i] + kW)));
  };
  vf p = c(5) * t + c(4);
  p = p * t + c(3);
  p = p * t + c(2);
  p = p * t + c(1);
  p = p * t + c(0);
  return (x < 0.0f ? vf{} : x) + p;  // NaN stays NaN
}
#else
CAFX_INLINE vf vsoftplus(vf x) { return (x > 0.0f ? x : vf{}) + vlog1p_unit(vexp(-vabs(x))); }  // NaN stays NaN
#endif
CAFX_INLINE vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }
CAFX_INLINE vf vtanh(vf x) {
  const vf e = vexp(-2.0f * vabs(x));
  const vf t = (1.0f - e) / (1.0f + e);
  return x < 0.0f ? -t : t;
}

}  // namespace cafx::CAFX_ISA_NS
