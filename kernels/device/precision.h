// kernels/device/precision.h -- what the operands of products are rounded to, and what lies in memory; products' sums are always fp32.
//
//   fp32   as they are (the default)
//   tf32   8 bits of exponent, 10 of mantissa; to nearest, halves away from zero: cvt.rna.tf32.f32, the one rounding to
//          tf32 that every GPU with such units has
//   bf16   8 bits of exponent, 7 of mantissa; to nearest, halves to even: cvt.rn.bf16.f32
//
//   Rounded in: Conv1D, deConv1D (without bf16 units tf32 for bf16 too), the latent Dense and the dense layers of DNN-SAAF, each
//   forward and backward; DNN-SAAF takes an activation's slope from the rounded output, which is what it keeps.
//
//   In bf16 the tensors of all samples and channels, (B,T,C), are bf16 from one op to the next: X1, the output u of DNN-SAAF (in
//   pretraining of unpooling times X1), and their gradients dX1 and du. Each is rounded once where it is laid down; dX1 twice, for
//   Conv1D-Local adds to what DNN-SAAF gave. The ops' headers call them Stored (device/context.h). A GPU keeps two bytes a number
//   for them; a CPU rounds them and keeps floats. Always fp32: weights, moments, gradients of weights, signals, what is pooled
//   (z, the latent code, positions, their gradients: a sixteenth of a tensor each), sums, biases, activation functions, SAAF,
//   Conv1D-Local, Dense-Local, loss, optimiser.
//
//   A GPU of 8.0 or newer has units for this (its convolutions round operands only where cuDNN runs them in tf32; ours multiply
//   in fp32 what is stored), and so have CPUs with AVX512_BF16 (bf16_units in device/context.h; simd/gemm_bf16.h): there the
//   products of DNN-SAAF, Conv1D and deConv1D are bf16 and all else is fp32, the latent Dense as well. Other CPUs, and all for
//   tf32, emulate it (EmulatedPrecision): operands are copied rounded, and the product is the fp32 one. That is slower, and there
//   to measure the error without such units. fp32 takes no copy: its bits are as they were.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace cafx {

enum class Precision { kFp32, kTf32, kBf16 };

const char* to_string(Precision);
Precision parse_precision(const std::string& name);  // Error lists them

constexpr Precision precision_of_convolutions(Precision p) { return p == Precision::kBf16 ? Precision::kTf32 : p; }

// Infinity and NaN stay what they are; what is over the largest number of the format becomes infinity.
inline float round_to(float x, Precision p) {
  if (p == Precision::kFp32) return x;
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  if (p == Precision::kTf32) {
    bits = (bits + 0x1000u) & ~0x1fffu;
  } else {
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & ~0xffffu;
  }
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

// While it lives, products of this thread on the CPU round their operands (kernels/simd/gemm.h).
class EmulatedPrecision {
 public:
  explicit EmulatedPrecision(Precision);
  ~EmulatedPrecision();
  EmulatedPrecision(const EmulatedPrecision&) = delete;
  EmulatedPrecision& operator=(const EmulatedPrecision&) = delete;
  static bool is_on();

 private:
  Precision before_;
};

// from[0 .. n) rounded as this thread emulates it, in the first or second of two buffers of the thread's own, which grow
// at need and hold until the next call.
const float* rounded_copy(int which, const float* from, long n);

}  // namespace cafx
