// kernels/device/stored_cuda.h -- the numbers of a Stored tensor (context.h): float or bf16 in memory, float in use.
//
//   bf16 is rounded to nearest, halves to even (cvt.rn.bf16x2.f32). Four neighbours are one access where rows start at
//   multiples of four: 16 bytes, or 8. Streaming variants hint that the numbers are read or written once.
#pragma once

#include <cuda_pipeline.h>

#include <cstdint>

#include "kernels/device/cuda.h"

namespace cafx {

struct Bfloat {
  std::uint16_t bits;
};

// f.operator()<S>() for the type that the context's tensors are stored in.
template <class F>
void with_stored(const Context& context, F f) {
  if (stored_bytes(context) == sizeof(Bfloat)) return f.template operator()<Bfloat>();
  return f.template operator()<float>();
}

// Two as bf16, the first in the lower half.
__device__ __forceinline__ std::uint32_t round_pair(float low, float high) {
  std::uint32_t y = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800  // older ones refuse bf16
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
#endif
  return y;
}
__device__ __forceinline__ float2 widen(std::uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}
__device__ __forceinline__ float4 widen(uint2 v) {
  const float2 a = widen(v.x), b = widen(v.y);
  return {a.x, a.y, b.x, b.y};
}
__device__ __forceinline__ uint2 narrow(float4 v) { return {round_pair(v.x, v.y), round_pair(v.z, v.w)}; }

// v as a later load will return it.
template <class S>
__device__ __forceinline__ float as_stored(float v) {
  if constexpr (sizeof(S) == 4) return v;
  return widen(round_pair(v, 0.0f)).x;
}

__device__ __forceinline__ float read(const float* p) { return *p; }
__device__ __forceinline__ float read(const Bfloat* p) { return __uint_as_float(std::uint32_t{p->bits} << 16); }
__device__ __forceinline__ void write(float* p, float v) { *p = v; }
__device__ __forceinline__ void write(Bfloat* p, float v) { p->bits = static_cast<std::uint16_t>(round_pair(v, 0.0f)); }
__device__ __forceinline__ float read_stream(const float* p) { return __ldcs(p); }
__device__ __forceinline__ float read_stream(const Bfloat* p) {
  return __uint_as_float(std::uint32_t{__ldcs(&p->bits)} << 16);
}

__device__ __forceinline__ float2 read2(const float* p) { return *reinterpret_cast<const float2*>(p); }
__device__ __forceinline__ float2 read2(const Bfloat* p) { return widen(*reinterpret_cast<const std::uint32_t*>(p)); }
__device__ __forceinline__ float4 read4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ float4 read4(const Bfloat* p) { return widen(*reinterpret_cast<const uint2*>(p)); }
__device__ __forceinline__ void write4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
__device__ __forceinline__ void write4(Bfloat* p, float4 v) { *reinterpret_cast<uint2*>(p) = narrow(v); }
__device__ __forceinline__ float4 read4_stream(const float* p) { return __ldcs(reinterpret_cast<const float4*>(p)); }
__device__ __forceinline__ float4 read4_stream(const Bfloat* p) {
  return widen(__ldcs(reinterpret_cast<const uint2*>(p)));
}
__device__ __forceinline__ void write4_stream(float* p, float4 v) { __stcs(reinterpret_cast<float4*>(p), v); }
__device__ __forceinline__ void write4_stream(Bfloat* p, float4 v) { __stcs(reinterpret_cast<uint2*>(p), narrow(v)); }

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
