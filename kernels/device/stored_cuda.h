// kernels/device/stored_cuda.h -- the numbers of a Stored tensor (context.h): float, bf16 or fp16 in memory, float in
// use.
//
//   bf16 and fp16 are rounded to nearest, halves to even (cvt.rn.bf16x2.f32, cvt.rn.f16x2.f32). Four neighbours are one
//   access where rows start at multiples of four: 16 bytes, or 8. Streaming variants hint that the numbers are read or
//   written once. Number: either of the two formats.
#pragma once

#include <cuda_pipeline.h>

#include <cstdint>
#include <type_traits>

#include "kernels/device/cuda.h"

namespace cafx {

struct Bfloat {
  std::uint16_t bits;
};
struct Half {
  std::uint16_t bits;
};
template <class S>
concept Number = sizeof(S) == 2;

// f.operator()<Number>() for a format of two bytes.
template <class F>
void with_number(const Context& context, F f) {
  if (context.precision == Precision::kFp16) return f.template operator()<Half>();
  return f.template operator()<Bfloat>();
}
// f.operator()<S>() for the type that the context's tensors are stored in.
template <class F>
void with_stored(const Context& context, F f) {
  if (is_16_bit(context.precision)) return with_number(context, f);
  return f.template operator()<float>();
}

// Two as Number, the first in the lower half.
template <Number S>
__device__ __forceinline__ std::uint32_t round_pair(float low, float high) {
  std::uint32_t y = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800  // older ones refuse bf16
  if constexpr (std::is_same_v<S, Half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  }
#endif
  return y;
}
template <Number S>
__device__ __forceinline__ float2 widen(std::uint32_t pair) {
  if constexpr (std::is_same_v<S, Half>) {
    float2 v;
    asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
        : "=f"(v.x), "=f"(v.y)
        : "r"(pair));
    return v;
  }
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}
template <Number S>
__device__ __forceinline__ float4 widen(uint2 v) {
  const float2 a = widen<S>(v.x), b = widen<S>(v.y);
  return {a.x, a.y, b.x, b.y};
}
template <Number S>
__device__ __forceinline__ float widen(S v) {
  return widen<S>(std::uint32_t{v.bits}).x;
}
template <Number S>
__device__ __forceinline__ S narrow(float v) {
  return {static_cast<std::uint16_t>(round_pair<S>(v, 0.0f))};
}
template <Number S>
__device__ __forceinline__ uint2 narrow(float4 v) {
  return {round_pair<S>(v.x, v.y), round_pair<S>(v.z, v.w)};
}

// v as a later load will return it.
template <class S>
__device__ __forceinline__ float as_stored(float v) {
  if constexpr (sizeof(S) == 4) {
    return v;
  } else {
    return widen(narrow<S>(v));
  }
}

__device__ __forceinline__ float read(const float* p) { return *p; }
__device__ __forceinline__ float read(const Number auto* p) { return widen(*p); }
__device__ __forceinline__ void write(float* p, float v) { *p = v; }
template <Number S>
__device__ __forceinline__ void write(S* p, float v) {
  *p = narrow<S>(v);
}
__device__ __forceinline__ float read_stream(const float* p) { return __ldcs(p); }
template <Number S>
__device__ __forceinline__ float read_stream(const S* p) {
  return widen(S{__ldcs(&p->bits)});
}

__device__ __forceinline__ float2 read2(const float* p) { return *reinterpret_cast<const float2*>(p); }
template <Number S>
__device__ __forceinline__ float2 read2(const S* p) {
  return widen<S>(*reinterpret_cast<const std::uint32_t*>(p));
}
__device__ __forceinline__ float4 read4(const float* p) { return *reinterpret_cast<const float4*>(p); }
template <Number S>
__device__ __forceinline__ float4 read4(const S* p) {
  return widen<S>(*reinterpret_cast<const uint2*>(p));
}
__device__ __forceinline__ void write4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
template <Number S>
__device__ __forceinline__ void write4(S* p, float4 v) {
  *reinterpret_cast<uint2*>(p) = narrow<S>(v);
}
__device__ __forceinline__ float4 read4_stream(const float* p) { return __ldcs(reinterpret_cast<const float4*>(p)); }
template <Number S>
__device__ __forceinline__ float4 read4_stream(const S* p) {
  return widen<S>(__ldcs(reinterpret_cast<const uint2*>(p)));
}
__device__ __forceinline__ void write4_stream(float* p, float4 v) { __stcs(reinterpret_cast<float4*>(p), v); }
template <Number S>
__device__ __forceinline__ void write4_stream(S* p, float4 v) {
  __stcs(reinterpret_cast<uint2*>(p), narrow<S>(v));
}

// Copies N numbers from global to shared memory asynchronously; complete after the pipeline's wait and a barrier. Zeros
// where there is nothing to read.
template <int N, class S>
__device__ __forceinline__ void copy_async(S* to, const S* from, bool inside) {
  if (!inside) {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = {};
  } else if constexpr (N * sizeof(S) >= 4) {
    __pipeline_memcpy_async(to, from, N * sizeof(S));
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = from[i];
  }
}

}  // namespace cafx
