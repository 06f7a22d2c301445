// kernels/device/precision.h -- to what operands of products are rounded, and how tensors are stored; sums are fp32.
//
//   fp32   as they are (the default)
//   tf32   8 bits of exponent, 10 of mantissa; to nearest, halves away from zero: cvt.rna.tf32.f32, the one rounding to
//          tf32 that every GPU with such units has
//   bf16   8 bits of exponent, 7 of mantissa; to nearest, halves to even: cvt.rn.bf16.f32
//   fp16   5 bits of exponent, 10 of mantissa; the same: cvt.rn.f16.f32. Multiples of 2^-24 below 2^-14, infinity from
//          65520 on: gradients are computed times a power of two, gradient_scale
//
//   Rounded in: Conv1D, deConv1D (on a GPU in bf16 and fp16 where convolutions_round of conv1d.h says so), Conv1D-Local
//   and Dense-Local in bf16 and fp16 (the latter on a GPU where latent_rounds of latent.h says so), the latent Dense,
//   the dense layers of DNN-SAAF; forward and backward. Slopes come from rounded outputs in DNN-SAAF alone: its header.
//
//   In bf16 and fp16 the tensors of all samples and channels, (B,T,C), have that format between ops: X1, the output u
//   of DNN-SAAF (in pretraining of unpooling times X1), and their gradients dX1 and du. Each is rounded once, when it
//   is stored; dX1 twice, since Conv1D-Local adds to the part from DNN-SAAF. The headers of ops call them Stored
//   (device/context.h). A GPU stores two bytes a number; a CPU rounds and stores floats. Always fp32: weights, moments,
//   gradients of weights, signals, the pooled tensors (z, latent code, positions, their gradients: a sixteenth of the
//   size), sums, biases, activation functions, SAAF, loss, optimiser.
//
//   A GPU of 8.0 or newer has units for this (cuDNN's convolutions round to tf32; in tf32 cafx's multiply in fp32, and
//   the latent Dense is fp32 where it shares a kernel that does not round). A CPU with AVX512_BF16 has units as well
//   (bf16_units in device/context.h, simd/gemm_bf16.h): there the products of DNN-SAAF, Conv1D and deConv1D are bf16,
//   Conv1D-Local's operands are rounded, all else is fp32. Other CPUs, and every CPU in tf32 and fp16, emulate it
//   (EmulatedPrecision): operands are copied rounded, and the product is fp32: slower, a means to measure the error. In
//   fp32 nothing is copied.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace cafx {

enum class Precision { kFp32, kTf32, kBf16, kFp16 };

const char* to_string(Precision);
Precision parse_precision(const std::string& name);  // Error lists them

// Whether large tensors are stored in two bytes a number.
constexpr bool is_16_bit(Precision p) { return p == Precision::kBf16 || p == Precision::kFp16; }
constexpr Precision precision_of_convolutions(Precision p) { return is_16_bit(p) ? Precision::kTf32 : p; }

// Infinity and NaN stay as they are; values over the largest number of the format become infinity.
inline float round_to(float x, Precision p) {
  if (p == Precision::kFp32) return x;
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  if (p == Precision::kTf32) {
    bits = (bits + 0x1000u) & ~0x1fffu;
  } else if (p == Precision::kBf16) {
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & ~0xffffu;
  } else {
    const std::uint32_t sign = bits & 0x80000000u;
    float size;
    std::memcpy(&size, &(bits ^= sign), sizeof size);
    if (size < 0x1p-14f) {  // subnormal: the unit in the last place of [0.5, 1) is 2^-24
      size = (size + 0.5f) - 0.5f;
      std::memcpy(&bits, &size, sizeof bits);
    } else {
      bits = size < 65520.0f ? (bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu : 0x7f800000u;
    }
    bits |= sign;
  }
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

// The number that fp16 stores as these bits.
inline float value_of_fp16(std::uint16_t bits) {
  const std::uint32_t exponent = bits >> 10 & 0x1fu, mantissa = bits & 0x3ffu;
  std::uint32_t wide = mantissa << 13 | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23);
  float x;
  std::memcpy(&x, &wide, sizeof x);
  if (exponent == 0) x = static_cast<float>(mantissa) * 0x1p-24f;
  return bits & 0x8000u ? -x : x;
}

// During its lifetime, products of this thread on the CPU round their operands (kernels/simd/gemm.h).
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

// from[0 .. n) rounded as this thread emulates it, in the first or second of two buffers of the thread's own, which
// grow at need and hold until the next call.
const float* rounded_copy(int which, const float* from, long n);

}  // namespace cafx
