// kernels/conv1d/conv1d_layout.h -- sizes of the scratch of the CPU's convolutions.
#pragma once

namespace cafx {

inline constexpr int kFilterBlock = 128;  // samples whose part of the filters' gradient is added at a time

// Floats of scratch for bf16: a block of dy and of x as pairs.
constexpr long filter_gradient_pairs(int C, int K) {
  return kFilterBlock / 2 * static_cast<long>(C) + kFilterBlock + K - 1;
}

}  // namespace cafx
