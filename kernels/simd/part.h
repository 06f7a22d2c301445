// kernels/simd/part.h -- a part of an op, for the profile (base/profile.h): from here to the end of the block.
//
//   const Part part("products", M * N * K multiply-adds, bytes);
//
//   Included by `_cpu.cpp` files only; in their namespace, like all that they include.
#pragma once

#include "kernels/base/profile.h"
#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

class Part {
 public:
  CAFX_INLINE Part(const char* name, double multiply_adds, double bytes) : counted_(__builtin_expect(profiling, 0)) {
    if (counted_) profile_enter(nullptr, name, multiply_adds, bytes);
  }
  CAFX_INLINE ~Part() {
    if (counted_) profile_leave();
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

 private:
  bool counted_;
};

}  // namespace cafx::CAFX_ISA_NS
