// kernels/dropout/dropout_math.h -- the mask, where CPU and GPU share it.
#pragma once

#include "kernels/base/rng.h"
#include "kernels/dropout/dropout.h"

namespace cafx {

// One draw of the generator is for four numbers of the mask.
inline constexpr int kDropoutDraw = 4;

struct DropoutMask {
  std::uint32_t layer;
  std::uint64_t below;  // a number of 32 bits that is less is left out
  float kept;

  // Of the layer in the update.
  constexpr Rng draws(DropoutKey key) const { return {key.seed, (std::uint64_t{layer} << 48) | key.update}; }
  constexpr float operator()(float x, std::uint32_t bits) const { return bits < below ? 0.0f : kept * x; }
};

}  // namespace cafx
