// kernels/device/arena.h -- one block of memory, laid out before the first step.
//
//   A struct of pointers states its layout once, in a function that takes from an Arena; run with an empty one it tells
//   the size, run on the block it sets the pointers. Every part starts on a cache line.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace cafx {

class Arena {
 public:
  template <class T>
  T* take(std::size_t n) {
    T* p = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (n * sizeof(T) + 63) / 64 * 64;
    return p;
  }
  std::size_t used() const { return used_; }

  // Lays out with `layout(arena)`: once for the size, once on memory of that size, which this object then owns.
  template <class Layout>
  void build(Layout layout) {
    base_ = nullptr;
    used_ = 0;
    layout(*this);
    block_.reset(static_cast<unsigned char*>(std::aligned_alloc(64, used_ + 64)));
    if (!block_) throw std::bad_alloc();
    base_ = block_.get();
    used_ = 0;
    layout(*this);
  }

 private:
  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  std::unique_ptr<unsigned char, Free> block_;
  unsigned char* base_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace cafx
