// kernels/base/flush_denormals.h -- during its lifetime this thread treats denormal numbers as zero (FTZ and DAZ); the
// destructor restores the former mode.
//
//   A filter's tail that falls through 1e-38 would otherwise cost some hundred cycles a product: a real-time effect
//   that stutters in silence. Processors without such a mode: nothing is done.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace cafx {

class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() noexcept : former_(_mm_getcsr()) { _mm_setcsr(former_ | 0x8040u); }
  ~FlushDenormals() { _mm_setcsr(former_); }

 private:
  unsigned former_;

 public:
#elif defined(__aarch64__)
  FlushDenormals() noexcept {
    asm volatile("mrs %0, fpcr" : "=r"(former_));
    asm volatile("msr fpcr, %0" : : "r"(former_ | (std::uint64_t{1} << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(former_)); }

 private:
  std::uint64_t former_;

 public:
#else
  FlushDenormals() noexcept {}
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace cafx
