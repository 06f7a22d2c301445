// kernels/device/arena.h -- one block of memory, laid out before the first step.
//
//   A struct of pointers states its layout once, in a function that allocates from an Arena. Run on an empty arena, it
//   computes the size; run on the block, it sets the pointers. Every part starts at
//   a multiple of 256 bytes, as GPU libraries require.
#pragma once

#include <cstddef>

#include "kernels/device/memory.h"

namespace cafx {

class Arena {
 public:
  template <class T>
  T* take(std::size_t n) {
    T* p = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (n * sizeof(T) + 255) / 256 * 256;
    return p;
  }
  std::size_t used() const { return used_; }

  // Lays out with `layout(arena)`: once for the size, once on memory of that size, which this object then owns.
  template <class Layout>
  void build(const Context& context, Layout layout) {
    block_ = {};
    base_ = nullptr;
    used_ = 0;
    layout(*this);
    block_ = DeviceArray<unsigned char>(context, used_ + 256);
    base_ = block_.data();
    used_ = 0;
    layout(*this);
  }

 private:
  DeviceArray<unsigned char> block_;
  unsigned char* base_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace cafx
