// kernels/dropout/dropout.h -- dropout, by masks that nobody stores: what is left out follows from where it stands.
//
//   y[i] = x[i] m[first + i],   m = 0 with probability `rate`, else 1 / (1 - rate)
//
//   The gradient is the same op: dx = dropout(dy).
//
// Source   Srivastava et al. 2014, JMLR 15, 1929-1958, scaled in training; Salmon et al. 2011 (kernels/base/rng.h).
// Shapes   x, y (n).   In place: yes.
// Errors   n >= 0, 0 <= rate < 1: CheckError.
// Bits     m is a function of (seed, update, layer, element) alone: the same for any number of threads, parts of a
//          batch, instruction set, and after a resume.
#pragma once

#include <cstdint>

#include "kernels/device/context.h"

namespace cafx {

// One update of the weights in training.
struct DropoutDraw {
  std::uint64_t seed = 0;    // of the run's stage
  std::uint64_t update = 0;  // its number in the stage
  int place = 0;             // of the first place at hand, in the batch of the update
};

void dropout(const Context&, float* y, const float* x, long n, double rate, const DropoutDraw&, std::uint32_t layer,
             std::int64_t first);

}  // namespace cafx
