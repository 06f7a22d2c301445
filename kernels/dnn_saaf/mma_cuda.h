// kernels/dnn_saaf/mma_cuda.h -- products on tensor cores for dnn_saaf_mma_cuda.cu, in tf32, bf16 and fp16.
//
//   Tf32 and Bits16 round (device/precision.h), pack and multiply: `multiply` is 16 samples by 16 features of one group
//   into another's, `outer` the 16 x 32 of a weight gradient over kRowsOfStep samples. `packed` and outer_row,
//   outer_column map a lane's register to its number. Sums are fp32. PTX ISA, "Matrix fragments for mma.m16n8k8".
#pragma once

#include "kernels/device/stored_cuda.h"

namespace cafx::cuda::dnn_mma {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define CAFX_NO_MMA 1  // `takes` is false on such a GPU
#endif

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// m16n8k8. A k-tile is half a group: of each lane's four features two, kStep = 0 or 1.
struct Tf32 {
  using Element = float;
  using Storage = float;                        // of the tensors around it
  static constexpr int kWords = 4, kSteps = 2;  // registers of 4 features; k-tiles of a group
  static constexpr int kMostWarps = 8;          // backward: 255 registers a thread
  static constexpr int kForwardBlocks = 3;      // blocks of a multiprocessor
  static constexpr int kRowsOfStep = 8;         // samples of an outer product's k-tile
  static __device__ std::uint32_t round(float x) {
    std::uint32_t y = 0;
#ifndef CAFX_NO_MMA
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
#endif
    return y;
  }
  static __device__ void pack(std::uint32_t (&to)[4], const float (&v)[4]) {
#pragma unroll
    for (int k = 0; k < 4; ++k) to[k] = round(v[k]);
  }
  static __device__ void keep_rounded(float (&)[4], const std::uint32_t (&)[4]) {}
  static __device__ void store(Element* to, const std::uint32_t (&a)[4]) {
    *reinterpret_cast<uint4*>(to) = {a[0], a[1], a[2], a[3]};
  }
  static __device__ void load(float (&v)[4], const Element* from) {
    const float4 x = *reinterpret_cast<const float4*>(from);
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
  }
  static __device__ void mma(float& c0, float& c1, float& c2, float& c3, std::uint32_t a0, std::uint32_t a1,
                             std::uint32_t a2, std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
#ifndef CAFX_NO_MMA
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
  }
  template <int Step>
  static __device__ void multiply(float (&c)[2][4], const std::uint32_t (&a)[2][4], const uint4& b) {
    constexpr int s = 2 * Step;
    mma(c[0][0], c[0][1], c[1][0], c[1][1], a[0][s], a[1][s], a[0][s + 1], a[1][s + 1], b.x, b.y);
    mma(c[0][2], c[0][3], c[1][2], c[1][3], a[0][s], a[1][s], a[0][s + 1], a[1][s + 1], b.z, b.w);
  }
  // Register `word` of lane's B: what `value(k, n)` gives for features k and n of the two groups.
  template <class F>
  static __device__ std::uint32_t packed(int step, int lane, int word, F value) {
    const int g = lane / 4, t = lane % 4;
    return round(value(4 * t + 2 * step + word % 2, g / 2 * 4 + word / 2 * 2 + g % 2));
  }
  // The outer product of 16 x 32: lanes read pairs of neighbouring features, so rows and columns are two apart.
  static __device__ void outer(float (&c)[4][4], const Element* g, int g_stride, const Element* h, int h_stride,
                               int lane) {
    const int n = lane / 4 * 2, t = lane % 4;
    const auto pair = [](const Element* p) { return *reinterpret_cast<const uint2*>(p); };
    const uint2 a0 = pair(g + t * g_stride + n), a1 = pair(g + (t + 4) * g_stride + n);
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      const uint2 b0 = pair(h + t * h_stride + n + 16 * q), b1 = pair(h + (t + 4) * h_stride + n + 16 * q);
      mma(c[2 * q][0], c[2 * q][1], c[2 * q][2], c[2 * q][3], a0.x, a0.y, a1.x, a1.y, b0.x, b1.x);
      mma(c[2 * q + 1][0], c[2 * q + 1][1], c[2 * q + 1][2], c[2 * q + 1][3], a0.x, a0.y, a1.x, a1.y, b0.y, b1.y);
    }
  }
  static __device__ int outer_row(int lane, int e) { return lane / 4 * 2 + e / 2; }
  static __device__ int outer_column(int q, int lane, int e) { return q / 2 * 16 + (lane % 4 * 2 + e % 2) * 2 + q % 2; }
};

// m16n8k16: a k-tile is a group. S: Bfloat or Half.
template <Number S>
struct Bits16 {
  using Element = std::uint16_t;
  using Storage = S;
  static constexpr int kWords = 2, kSteps = 1;
  static constexpr int kMostWarps = 12, kForwardBlocks = 3;  // four forward would spill
  static constexpr int kRowsOfStep = 16;
  static __device__ void pack(std::uint32_t (&to)[2], const float (&v)[4]) {
    to[0] = round_pair<S>(v[0], v[1]), to[1] = round_pair<S>(v[2], v[3]);
  }
  // For the biases' sums, which are of the rounded gradients here and not in tf32 (device/precision.h).
  static __device__ void keep_rounded(float (&v)[4], const std::uint32_t (&a)[2]) {
    const float4 x = widen<S>(uint2{a[0], a[1]});
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
  }
  static __device__ void store(Element* to, const std::uint32_t (&a)[2]) {
    *reinterpret_cast<uint2*>(to) = {a[0], a[1]};
  }
  static __device__ void load(float (&v)[4], const Element* from) {
    const float4 x = widen<S>(*reinterpret_cast<const uint2*>(from));
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
  }
  static __device__ void mma(float& c0, float& c1, float& c2, float& c3, std::uint32_t a0, std::uint32_t a1,
                             std::uint32_t a2, std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
#ifndef CAFX_NO_MMA
    if constexpr (std::is_same_v<S, Half>) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
          : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
          : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
          : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    }
#endif
  }
  template <int Step>
  static __device__ void multiply(float (&c)[2][4], const std::uint32_t (&a)[2][2], const uint4& b) {
    mma(c[0][0], c[0][1], c[1][0], c[1][1], a[0][0], a[1][0], a[0][1], a[1][1], b.x, b.y);
    mma(c[0][2], c[0][3], c[1][2], c[1][3], a[0][0], a[1][0], a[0][1], a[1][1], b.z, b.w);
  }
  template <class F>
  static __device__ std::uint32_t packed(int, int lane, int word, F value) {
    const int g = lane / 4, t = lane % 4, k = 4 * t + word % 2 * 2, n = g / 2 * 4 + word / 2 * 2 + g % 2;
    return round_pair<S>(value(k, n), value(k + 1, n));
  }
  static __device__ void transposed(std::uint32_t (&to)[4], const Element* from) {
#ifndef CAFX_NO_MMA
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(from))
                 : "memory");
#endif
  }
  static __device__ void outer(float (&c)[4][4], const Element* g, int g_stride, const Element* h, int h_stride,
                               int lane) {
    const int low = lane % 8, eighth = lane / 8;
    std::uint32_t a[4], b[4];
    transposed(a, g + (low + eighth / 2 * 8) * g_stride + eighth % 2 * 8);
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      transposed(b, h + (low + eighth % 2 * 8) * h_stride + eighth / 2 * 8 + 16 * q);
      mma(c[2 * q][0], c[2 * q][1], c[2 * q][2], c[2 * q][3], a[0], a[1], a[2], a[3], b[0], b[1]);
      mma(c[2 * q + 1][0], c[2 * q + 1][1], c[2 * q + 1][2], c[2 * q + 1][3], a[0], a[1], a[2], a[3], b[2], b[3]);
    }
  }
  static __device__ int outer_row(int lane, int e) { return lane / 4 + e / 2 * 8; }
  static __device__ int outer_column(int q, int lane, int e) { return 8 * q + lane % 4 * 2 + e % 2; }
};

}  // namespace cafx::cuda::dnn_mma
