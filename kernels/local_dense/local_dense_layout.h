// kernels/local_dense/local_dense_layout.h -- the CPU's packed weights of Dense-Local for a few frames at a
// time: read once, from the first byte to the last.
//
//   Sizes are for the widest vector (16 floats), so that they do not depend on the instruction set.
#pragma once

#include "kernels/local_dense/local_dense.h"

namespace cafx {

inline constexpr int kLocalDenseTile = 8;  // outputs of one channel vector that are summed side by side

// Offsets in floats.
struct LocalDensePacked {
  long w, bias, size;
  constexpr explicit LocalDensePacked(LocalDenseDims d)
      : w(0),
        bias(panels(d) * d.I),
        size(bias + panels(d)) {}  // (channels / v)(outputs / 8) tiles of (I, 8, v); (8, v)
  static constexpr long panels(LocalDenseDims d) {
    return (d.C + 15) / 16 * 16 * static_cast<long>((d.O + kLocalDenseTile - 1) / kLocalDenseTile * kLocalDenseTile);
  }
};

}  // namespace cafx
