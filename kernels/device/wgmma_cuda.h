// kernels/device/wgmma_cuda.h -- products of a warp group (four warps, 64 rows) by Hopper's wgmma.
//
//   A matrix of 16-bit numbers in shared memory lies in blocks of 64, 32 or 16 columns; a block's row is 128, 64 or 32
//   bytes, whose pieces of 16 bytes are permuted by the row ("128-byte", "64-byte" and "32-byte swizzle"), so that
//   neither rows nor columns of 8 x 8 numbers collide in a bank. Blocks begin at multiples of 1024 bytes. Such a matrix
//   serves as an operand whose rows lie along the product's sum or across it: PTX ISA, "Asynchronous Warpgroup Level
//   Matrix Shared Memory Layout".
//
//   A warp has 16 rows of the sums, of eight columns after eight what a fragment C of tensor_core_cuda.h has. Products
//   are asynchronous. `begin_products` comes after the last write to registers that they take, `end_products` after the
//   last of them; their results, and what they read, may be touched after `wait_products`. Shared memory that threads
//   wrote is seen by products behind `show_to_products` of the writer and a barrier. Needs code of sm_90a: elsewhere
//   the functions compile to nothing and must not be called (`kHere`).
#pragma once

#include "kernels/device/tensor_core_cuda.h"

namespace cafx::cuda::wgmma {

using tensor_core::Fragment;
using tensor_core::Sums;
using tensor_core::Word;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr bool kHere = true;
#define CAFX_ON_WGMMA(...) __VA_ARGS__
#else
constexpr bool kHere = false;
#define CAFX_ON_WGMMA(...)
#endif

// Blocks of Columns columns and `rows` rows.
template <int Columns>
struct Blocks {
  static_assert(Columns == 64 || Columns == 32 || Columns == 16);
  static constexpr int kRow = 2 * Columns, kPieces = Columns / 8;  // bytes; of 16 bytes
  __host__ __device__ static constexpr int bytes(int rows) { return rows * kRow; }
  __host__ __device__ static constexpr int permutation(int row) { return row * Columns / 64 % kPieces; }
  // The offset of a row's piece, and of a number in it; `^ 2 c` moves by c columns within a block, from a multiple of
  // c.
  __host__ __device__ static constexpr Word piece_at(int row, int piece) {
    return static_cast<Word>(row * kRow + 16 * (piece ^ permutation(row)));
  }
};

using Operand = std::uint64_t;
__device__ __forceinline__ Operand operand(Word low, Word high) { return static_cast<Operand>(high) << 32 | low; }
// `low` counts 16 bytes, and so do its sums.
__device__ __forceinline__ Word units_of(Word address) { return address >> 4; }
template <int Columns>
__device__ __forceinline__ Operand of_blocks(Word units) {
  constexpr Word kSwizzle = Columns == 64 ? 1 : Columns == 32 ? 2 : 3;
  return operand(units, static_cast<Word>(Blocks<Columns>::bytes(8)) >> 4 | kSwizzle << 30);
}
// Step k of a product's sum, 16 at a time: along the rows of blocks of `rows` rows, or down their rows.
template <int Columns>
__device__ __forceinline__ Operand along(Word units, int rows, int k) {
  constexpr int kSteps = Columns / 16;
  return of_blocks<Columns>(units + k / kSteps * (Blocks<Columns>::bytes(rows) >> 4) + k % kSteps * 2);
}
template <int Columns>
__device__ __forceinline__ Operand down(Word units, int k) {
  return of_blocks<Columns>(units + k * (Blocks<Columns>::bytes(16) >> 4));
}
// The same of two blocks of 64 columns, `apart` bytes from one to the other.
__device__ __forceinline__ Operand down_two(Word units, Word apart, int k) {
  return down<64>(units | units_of(apart) << 16, k);
}
// Eight rows of 16 bytes, and eight more `apart` bytes further, without swizzle: 8 columns of a product over 16. For
// more columns, eight after eight are `apart` bytes further too: blocks that hang on the sum of their indices.
__device__ __forceinline__ Operand of_eight(Word address, Word apart) {
  return operand(units_of(address) | units_of(apart) << 16, units_of(apart));
}

__device__ __forceinline__ void begin_products() {
  CAFX_ON_WGMMA(asm volatile("wgmma.fence.sync.aligned;" ::: "memory");)
}
__device__ __forceinline__ void end_products() {
  CAFX_ON_WGMMA(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");)
}
__device__ __forceinline__ void wait_products() {
  CAFX_ON_WGMMA(asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");)
}
__device__ __forceinline__ void show_to_products() {
  CAFX_ON_WGMMA(asm volatile("fence.proxy.async.shared::cta;" ::: "memory");)
}

#define CAFX_SUMS_4(how, c) how(c[0]), how(c[1]), how(c[2]), how(c[3])
#define CAFX_SUMS_8(how, c, i) \
  how(c[i]), how(c[i + 1]), how(c[i + 2]), how(c[i + 3]), how(c[i + 4]), how(c[i + 5]), how(c[i + 6]), how(c[i + 7])
#define CAFX_SUMS_16(how, c) CAFX_SUMS_8(how, c, 0), CAFX_SUMS_8(how, c, 8)
#define CAFX_SUMS_32(how, c) CAFX_SUMS_16(how, c), CAFX_SUMS_8(how, c, 16), CAFX_SUMS_8(how, c, 24)
#define CAFX_SUMS_64(how, c)                                                                       \
  CAFX_SUMS_32(how, c), CAFX_SUMS_8(how, c, 32), CAFX_SUMS_8(how, c, 40), CAFX_SUMS_8(how, c, 48), \
      CAFX_SUMS_8(how, c, 56)
#define CAFX_NAMES_16 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}"
#define CAFX_NAMES_32                                                                                           \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28," \
  "%29,%30,%31}"
#define CAFX_NAMES_64                                                                                           \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28," \
  "%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,"    \
  "%55,%56,%57,%58,%59,%60,%61,%62,%63}"
#define CAFX_PRODUCT(shape, type, names, sums, at_a, at_b, at_add, at_down_a, at_down_b, add)                  \
  asm volatile("{.reg .pred p; setp.ne.b32 p, " at_add ", 0; wgmma.mma_async.sync.aligned." shape ".f32." type \
               " " names ", " at_a ", " at_b ", p, 1, 1, " at_down_a ", " at_down_b ";}"                       \
               : sums                                                                                          \
               : "l"(a), "l"(b), "n"(add), "n"(kDownA), "n"(kDownB))
#define CAFX_PRODUCT_128(type, how, add) \
  CAFX_PRODUCT("m64n128k16", type, CAFX_NAMES_64, CAFX_SUMS_64(how, c), "%64", "%65", "%66", "%67", "%68", add)
#define CAFX_PRODUCT_64(type, how, add) \
  CAFX_PRODUCT("m64n64k16", type, CAFX_NAMES_32, CAFX_SUMS_32(how, c), "%32", "%33", "%34", "%35", "%36", add)
#define CAFX_PRODUCT_32(type, how, add) \
  CAFX_PRODUCT("m64n32k16", type, CAFX_NAMES_16, CAFX_SUMS_16(how, c), "%16", "%17", "%18", "%19", "%20", add)
#define CAFX_PRODUCT_8(type, how, add) \
  CAFX_PRODUCT("m64n8k16", type, "{%0,%1,%2,%3}", CAFX_SUMS_4(how, c), "%4", "%5", "%6", "%7", "%8", add)

// c = a b over 16, or += where it goes on: two columns for each of a lane's sums, [4 j + e] of columns 8 j ... kDownA,
// kDownB: the operand's rows lie along the sum (`down`), else across it (`along`). What c was before does not matter to
// a new one, and the compiler need not keep it.
template <Number F, bool kDownA, bool kDownB, bool kGoesOn, int N>
__device__ __forceinline__ void multiply(float (&c)[N], Operand a, Operand b) {
  static_assert(N == 32 || N == 16 || ((N == 64 || N == 4) && kGoesOn));
#define CAFX_EITHER(product, how, add)             \
  if constexpr (std::is_same_v<F, Half>) {         \
    CAFX_ON_WGMMA(product("f16.f16", how, add);)   \
  } else {                                         \
    CAFX_ON_WGMMA(product("bf16.bf16", how, add);) \
  }
  if constexpr (N == 64) {
    CAFX_EITHER(CAFX_PRODUCT_128, "+f", 1)
  } else if constexpr (N == 32 && kGoesOn) {
    CAFX_EITHER(CAFX_PRODUCT_64, "+f", 1)
  } else if constexpr (N == 32) {
    CAFX_EITHER(CAFX_PRODUCT_64, "=f", 0)
  } else if constexpr (N == 16 && kGoesOn) {
    CAFX_EITHER(CAFX_PRODUCT_32, "+f", 1)
  } else if constexpr (N == 16) {
    CAFX_EITHER(CAFX_PRODUCT_32, "=f", 0)
  } else {
    CAFX_EITHER(CAFX_PRODUCT_8, "+f", 1)
  }
}

// The same for 64 or 32 columns with a in registers, a fragment of a warp's 16 rows (tensor_core_cuda.h), which may not
// change before `wait_products`. kDownB as above.
#define CAFX_PRODUCT_ROWS_64(type, how, add)                                                            \
  asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32." type \
               " " CAFX_NAMES_32 ", {%32,%33,%34,%35}, %36, p, 1, 1, %38;}"                             \
               : CAFX_SUMS_32(how, c)                                                                   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(add), "n"(kDownB))
#define CAFX_PRODUCT_ROWS_32(type, how, add)                                                            \
  asm volatile("{.reg .pred p; setp.ne.b32 p, %21, 0; wgmma.mma_async.sync.aligned.m64n32k16.f32." type \
               " " CAFX_NAMES_16 ", {%16,%17,%18,%19}, %20, p, 1, 1, %22;}"                             \
               : CAFX_SUMS_16(how, c)                                                                   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(add), "n"(kDownB))
// The fragment is in its registers from here on: what computes it does not move behind `begin_products`.
__device__ __forceinline__ void settle(Fragment& a) {
  asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3]));
}
template <Number F, bool kGoesOn, bool kDownB = false, int N>
__device__ __forceinline__ void multiply_rows(float (&c)[N], const Fragment& a, Operand b) {
  static_assert(N == 32 || N == 16);
  if constexpr (N == 32 && kGoesOn) {
    CAFX_EITHER(CAFX_PRODUCT_ROWS_64, "+f", 1)
  } else if constexpr (N == 32) {
    CAFX_EITHER(CAFX_PRODUCT_ROWS_64, "=f", 0)
  } else if constexpr (kGoesOn) {
    CAFX_EITHER(CAFX_PRODUCT_ROWS_32, "+f", 1)
  } else {
    CAFX_EITHER(CAFX_PRODUCT_ROWS_32, "=f", 0)
  }
}

// Registers of a thread, from here on: all warps of a group ask, and what one group takes another has given.
template <int N>
__device__ __forceinline__ void take_registers() {
  CAFX_ON_WGMMA(asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));)
}
template <int N>
__device__ __forceinline__ void give_registers() {
  CAFX_ON_WGMMA(asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));)
}

}  // namespace cafx::cuda::wgmma
