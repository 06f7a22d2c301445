// kernels/device/precision.h -- to what operands of products are rounded, and how tensors are stored; sums are fp32.
//
//   fp32   as they are (the default)
//   tf32   8 bits of exponent, 10 of mantissa; to nearest, halves away from zero: cvt.rna.tf32.f32, the one rounding to
//          tf32 that every GPU with such units has
//   bf16   8 bits of exponent, 7 of mantissa; to nearest, halves to even: cvt.rn.bf16.f32
//
//   Rounded in: Conv1D, deConv1D (on a GPU in bf16 where convolutions_round of conv1d.h says so), Conv1D-Local in bf16, the
//   latent Dense, the dense layers of DNN-SAAF; forward and backward. Slopes come from rounded outputs: DNN-SAAF's header.
//
//   In bf16 the tensors of all samples and channels, (B,T,C), are bf16 from one op to the next: X1, the output u of
//   DNN-SAAF (in pretraining of unpooling times X1), and their gradients dX1 and du. Each is rounded once, when it is
//   stored; dX1 twice, since Conv1D-Local adds to the part from DNN-SAAF. The headers of ops call them Stored
//   (device/context.h). A GPU stores two bytes a number; a CPU rounds and stores floats. Always fp32: weights, moments,
//   gradients of weights, signals, the pooled tensors (z, latent code, positions, their gradients: a sixteenth of the
//   size), sums, biases, activation functions, SAAF, Dense-Local, loss, optimiser.
//
//   A GPU of 8.0 or newer has units for this (cuDNN's convolutions round to tf32; in tf32 cafx's multiply in fp32, and the
//   latent Dense is fp32 where it shares a kernel with Dense-Local). A CPU with AVX512_BF16 has units as well (bf16_units in
//   device/context.h, simd/gemm_bf16.h): there the products of DNN-SAAF, Conv1D and deConv1D are bf16, Conv1D-Local's operands
//   are rounded, all else is fp32. Other CPUs, and every CPU in tf32, emulate it (EmulatedPrecision): operands are copied
//   rounded, and the product is fp32: slower, a means to measure the error. In fp32 nothing is copied.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace cafx {

enum class Precision { kFp32, kTf32, kBf16 };

const char* to_string(Precision);
Precision parse_precision(const std::string& name);  // Error lists them

constexpr Precision precision_of_convolutions(Precision p) { return p == Precision::kBf16 ? Precision::kTf32 : p; }

// Infinity and NaN stay as they are; values over the largest number of the format become infinity.
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
