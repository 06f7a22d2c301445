// kernels/device/tensor_core_cuda.h -- matrices of bf16 or fp16 in shared memory, and their products by mma.sync.
//
//   A matrix of N columns (32, 64 or 128) has rows of 2 N bytes without padding. Within a row the pieces of 16 bytes
//   are permuted by the row, so that neither rows nor columns of 8 x 8 blocks collide in a bank. `row_at(base, row)` is
//   the address of a row's first number, and `row_at(..) ^ 2 column` that of another: base must be a multiple of 2 N.
//
//   Fragments of m16n8k16 (PTX ISA, "Matrix fragments for mma.m16n8k16"): with g = lane / 4, t = lane % 4 a lane holds
//   of A rows g, g + 8 and columns 2 t, 2 t + 1, 2 t + 8, 2 t + 9; of C rows g, g + 8 and columns 2 t, 2 t + 1.
//   Needs 8.0; for older GPUs the functions compile to nothing and must not be called.
#pragma once

#include <cstdint>

#include "kernels/device/stored_cuda.h"

namespace cafx::cuda::tensor_core {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define CAFX_NO_TENSOR_CORE 1
#endif

using Word = std::uint32_t;
using Fragment = Word[4];  // A of 16 x 16, or B of 16 x 16: two products' worth
using Sums = float[4];     // C of 16 x 8

__device__ __forceinline__ Word shared_address(const void* p) { return static_cast<Word>(__cvta_generic_to_shared(p)); }

template <int N>
__host__ __device__ constexpr Word permutation(int row) {
  return static_cast<Word>(N >= 64 ? row % 8 : row / 2 % 4) << 4;
}
template <int N>
__device__ __forceinline__ Word row_at(Word base, int row) {
  static_assert(N == 32 || N % 64 == 0);
  return base + static_cast<Word>(row) * (2 * N) + permutation<N>(row);
}

// Reads and writes of shared memory by address; volatile, so that they keep their order.
__device__ __forceinline__ Word load_word(Word at) {
  Word v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
  return v;
}
__device__ __forceinline__ uint4 load_words(Word at) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(at)
               : "memory");
  return v;
}
__device__ __forceinline__ void store_word(Word at, Word v) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(v) : "memory");
}
__device__ __forceinline__ void store_words(Word at, uint2 v) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(at), "r"(v.x), "r"(v.y) : "memory");
}
__device__ __forceinline__ void store_words(Word at, uint4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

__device__ __forceinline__ void load_blocks(Fragment& to, Word at) {
#ifndef CAFX_NO_TENSOR_CORE
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
#endif
}
__device__ __forceinline__ void load_blocks_transposed(Fragment& to, Word at) {
#ifndef CAFX_NO_TENSOR_CORE
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
#endif
}

// A warp's 16 x 16 block to shared memory, as load_blocks reads it; transposed: as load_blocks_transposed does. Need
// 9.0.
__device__ __forceinline__ void store_blocks(Word at, const Fragment& v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(v[0]), "r"(v[1]),
               "r"(v[2]), "r"(v[3])
               : "memory");
#endif
}
__device__ __forceinline__ void store_blocks_transposed(Word at, const Fragment& v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(v[0]), "r"(v[1]),
               "r"(v[2]), "r"(v[3])
               : "memory");
#endif
}

// c += a b, of numbers of that format
template <Number S>
__device__ __forceinline__ void multiply(Sums& c, const Fragment& a, Word b0, Word b1) {
#ifndef CAFX_NO_TENSOR_CORE
  if constexpr (std::is_same_v<S, Half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#endif
}
template <Number S>
inline constexpr Word kOnes = std::is_same_v<S, Half> ? 0x3c003c00u : 0x3f803f80u;  // a pair of 1

// Sixteen bytes from global to shared memory, later; wait_copies waits for all that this thread began.
__device__ __forceinline__ void begin_copy(Word to, const void* from) {
#ifndef CAFX_NO_TENSOR_CORE
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
#endif
}
__device__ __forceinline__ void wait_copies() {
#ifndef CAFX_NO_TENSOR_CORE
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Barrier `Id` (1 to 15) of Threads threads: those that only arrive go on at once.
template <int Id, int Threads>
__device__ __forceinline__ void wait_at() {
  asm volatile("bar.sync %0, %1;" ::"n"(Id), "n"(Threads) : "memory");
}
template <int Id, int Threads>
__device__ __forceinline__ void arrive_at() {
  asm volatile("bar.arrive %0, %1;" ::"n"(Id), "n"(Threads) : "memory");
}
__device__ __forceinline__ void wait_at(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void arrive_at(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// 2^x; the error is 2 units in the last place, numbers below 2^-126 are zero.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
inline constexpr float kLog2E = 1.44269504f;
// log(1 + e^x) with a relative error of 1.3e-6, so that bf16 rounds it as it would the exact number but in one of 2000
// cases, fp16 in one of 250: log(1 + u) / u by a polynomial, the smallest error over [0, 1].
__device__ __forceinline__ float softplus_polynomial(float u) {
  float q = fmaf(u, 1.414102145e-2f, -6.640179287e-2f);
  q = fmaf(q, u, 1.492238666e-1f);
  q = fmaf(q, u, -2.350385993e-1f);
  q = fmaf(q, u, 3.310944887e-1f);
  q = fmaf(q, u, -4.998696563e-1f);
  return fmaf(q, u, 9.999987315e-1f);
}
__device__ __forceinline__ float softplus_fast(float x) {
  const float u = exp2_fast(fabsf(x) * -kLog2E);
  return fmaf(softplus_polynomial(u), u, fmaxf(x, 0.0f));
}

}  // namespace cafx::cuda::tensor_core
