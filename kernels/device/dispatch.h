// kernels/device/dispatch.h -- one declaration for each backend of an op, and the call that chooses between them.
//
//   An op's `_cpu.cpp` is compiled once for every instruction set, each time in a namespace of its own (CAFX_ISA_NS).
//   These macros keep the list of backends in one place.
#pragma once

#include "kernels/base/error.h"
#include "kernels/base/profile.h"
#include "kernels/device/context.h"

#ifdef CAFX_HAS_AVX2
#define CAFX_IF_AVX2(...) __VA_ARGS__
#else
#define CAFX_IF_AVX2(...)
#endif
#ifdef CAFX_HAS_AVX512
#define CAFX_IF_AVX512(...) __VA_ARGS__
#else
#define CAFX_IF_AVX512(...)
#endif

// CAFX_BACKENDS(void, saaf_forward, (float* y, const float* x, ...)); in namespace cafx
#define CAFX_BACKENDS(result, name, parameters)                \
  namespace portable {                                         \
  result name parameters;                                      \
  }                                                            \
  CAFX_IF_AVX2(namespace avx2 { result name parameters; })     \
  CAFX_IF_AVX512(namespace avx512 { result name parameters; }) \
  static_assert(true)

namespace cafx::detail {
struct ProfiledOp {  // until the end of the full expression
  const bool counted;
  explicit ProfiledOp(const char* name) : counted(profiling) {
    if (counted) profile_enter(name, "", 0.0, 0.0);
  }
  ~ProfiledOp() {
    if (counted) profile_leave();
  }
};
}  // namespace cafx::detail

// return CAFX_CALL(context, saaf_forward, y, x, ...);
// CAFX_NARROWEST_ISA comes from CMake: portable, or the only instruction set of a build for one machine.
#define CAFX_CALL(context, name, ...)                                                                    \
  (void(::cafx::detail::ProfiledOp(#name)),                                                              \
   (context).device == Device::kCpu ? void() : throw Error(#name " has no CUDA twin; use --device cpu"), \
   CAFX_IF_AVX512((context).isa == Isa::kAvx512 ? avx512::name(__VA_ARGS__) :)                           \
       CAFX_IF_AVX2((context).isa == Isa::kAvx2 ? avx2::name(__VA_ARGS__) :) CAFX_NARROWEST_ISA::name(__VA_ARGS__))

// The same for the CUDA twin, whose functions take the context first (its stream and library handles):
// CAFX_CUDA(void, saaf_forward, (const Context&, float* y, ...)); and, first in the op's body,
// CAFX_CUDA_CALL(context, saaf_forward, y, ...);
#ifdef CAFX_HAS_CUDA
#define CAFX_CUDA(result, name, parameters) \
  namespace cuda {                          \
  result name parameters;                   \
  }                                         \
  static_assert(true)
#define CAFX_CUDA_CALL(context, name, ...) \
  if ((context).device == Device::kCuda) return cuda::name(context, __VA_ARGS__)
#else
#define CAFX_CUDA(result, name, parameters) static_assert(true)
#define CAFX_CUDA_CALL(context, name, ...) \
  (CAFX_CHECK((context).device == Device::kCpu), ::cafx::detail::unused((context), ##__VA_ARGS__))
namespace cafx::detail {
template <class... T>
constexpr void unused(const T&...) {}
}  // namespace cafx::detail
#endif
