// kernels/dropout/dropout.h -- dropout, by masks that nobody stores: what is left out follows from where it stands.
//
//   y[r,i] = x[r,i] m[first + r width + i],   m = 0 with probability `rate`, else 1 / (1 - rate)
//
//   The gradient is the same op: dx = dropout(dy).
//
// Source   Srivastava et al. 2014, JMLR 15, 1929-1958, scaled in training; Salmon et al. 2011 (kernels/base/rng.h).
// Shapes   x, y (rows,width), the rows `stride` numbers apart; what lies between them stays as it is.   In place: yes.
// Errors   sizes >= 0, 0 <= rate < 1: CheckError.
// Bits     m is a function of (seed, update, layer, element) alone: the same for any number of threads, parts of a
//          batch, instruction set and device, and after a resume.
#pragma once

#include <cstdint>

#include "kernels/device/context.h"

namespace cafx {

struct DropoutKey {
  std::uint64_t seed = 0;    // of the run's stage
  std::uint64_t update = 0;  // its number in the stage
};

// One update of the weights in training.
struct DropoutDraw {
  DropoutKey key = {};
  int place = 0;                     // of the first place at hand, in the batch of the update
  const DropoutKey* from = nullptr;  // where the context computes: read in place of `key`, as a CUDA graph needs it
};

struct DropoutDims {
  long rows, width, stride;
};

void dropout(const Context&, float* y, const float* x, double rate, const DropoutDraw&, std::uint32_t layer,
             std::int64_t first, DropoutDims);

}  // namespace cafx
