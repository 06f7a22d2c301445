// kernels/device/slide_cuda.h -- a filter of each lane's own, slid along time in registers.
//
//   A warp takes 32 channels, one per lane: sum[r] += sum_k w[k] x[r + k], r < kRun. Samples and taps are in shared
//   memory as quads [n / 4][32 lanes] of four samples or taps, so that one load of each serves 4 kRun products without
//   bank conflicts. The window of kRun samples is a ring of registers; unrolled loops make its indices constants.
#pragma once

#include <cuda_pipeline.h>

#include "kernels/device/stored_cuda.h"

namespace cafx {

inline constexpr int kRun = 32;  // samples that a thread sums at a time; taps are padded with zeros to a multiple of it

constexpr int padded_taps(int K) { return static_cast<int>(ceil_div(K, kRun)) * kRun; }
inline constexpr int kTapsAtOnce = 128;  // that a block keeps in shared memory

// x at the lane's quad of sample 0, w at that of tap 0; kRun + taps samples are read.
__device__ __forceinline__ void slide(float (&sum)[kRun], const float4* x, const float4* w, int taps) {
  float ring[kRun];
#pragma unroll
  for (int q = 0; q < kRun / 4; ++q) {
    const float4 v = x[q * 32];
    ring[4 * q] = v.x, ring[4 * q + 1] = v.y, ring[4 * q + 2] = v.z, ring[4 * q + 3] = v.w;
  }
  for (int k0 = 0; k0 < taps; k0 += kRun) {
    x += kRun / 4 * 32;
#pragma unroll
    for (int q = 0; q < kRun / 4; ++q) {
      const float4 weight = w[q * 32], next = x[q * 32];
      const float weights[4] = {weight.x, weight.y, weight.z, weight.w}, nexts[4] = {next.x, next.y, next.z, next.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int r = 0; r < kRun; ++r) sum[r] += weights[j] * ring[(4 * q + j + r) % kRun];
        ring[4 * q + j] = nexts[j];
      }
    }
    w += kRun / 4 * 32;
  }
}

// Rows [first, first + n) of x (T,C) as quads of f(x), channel c for this lane; f(0) outside [0, T), and anything in
// lanes beyond C. n in fours. All loads of a round are in flight before the first is used.
template <int kWarps, class S, class F>
__device__ __forceinline__ void load_quads(float4* quads, const S* x, int first, int n, int T, int C, int c, F f) {
  const int at = first + 4 * static_cast<int>(threadIdx.y);
  const long row = C, round = 4l * kWarps * C;
  const S* from = x + at * row + min(c, C - 1);
  unsigned t = static_cast<unsigned>(at);  // huge before sample 0
#pragma unroll 6
  for (int q = threadIdx.y; q < n / 4; q += kWarps, t += 4 * kWarps, from += round) {
    const S* p = from;
    float v[4];
#pragma unroll
    for (unsigned j = 0; j < 4; ++j, p += row) v[j] = f(t + j < static_cast<unsigned>(T) ? read(p) : 0.0f);
    quads[q * 32 + threadIdx.x] = make_float4(v[0], v[1], v[2], v[3]);
  }
}

// Copies the taps of 32 channels as [taps / 4][32] quads; complete after __pipeline_wait_prior(0) and a barrier.
template <int kWarps>
__device__ __forceinline__ void copy_quads(float4* to, const float4* from, int taps) {
#pragma unroll 4
  for (int i = threadIdx.y * 32 + threadIdx.x; i < taps / 4 * 32; i += kWarps * 32) {
    __pipeline_memcpy_async(to + i, from + i, sizeof(float4));
  }
  __pipeline_commit();
}

}  // namespace cafx
