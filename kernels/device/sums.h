// kernels/device/sums.h -- sums of partial gradients that ops leave to a later kernel.
//
//   A gradient that the blocks of a kernel share is a sum of their parts. On a GPU an op launches a kernel for it, or,
//   where Context::sums is given, names the parts there; whoever gave it then adds all of them up in one kernel
//   (add_left_parts), or in the one that ends the step (step_end). Until then the parts stay where they are, and the
//   gradients are not whole. A model whose ops add to anything but the gradient itself gives them no Context::sums.
//
// Shapes   partial (parts, n) of each sum; number i goes to out[i - first] of the last piece whose first is <= i: +=.
// Bits     those of the sum at once, but that two sums to the same pieces, whose parts are neighbours, are one.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct PartialSums {
  static constexpr int kMost = 4, kPieces = 4;
  struct Piece {
    long first = 0;
    float* out = nullptr;
  };
  struct Sum {
    const float* partial = nullptr;
    int parts = 0;
    long n = 0;
    Piece pieces[kPieces];
    int n_pieces = 0;
  };
  Sum sums[kMost];
  int n = 0;

  // False, and nothing is taken, where there is no room, or where another sum goes to the same first piece and its
  // parts are no neighbours.
  bool take(const Sum&);
};

// GPU only. The sum now, beside what follows where the context allows it; or later, where Context::sums takes it and
// there is little to add up. Either way with the same bits.
void add_parts(const Context&, const PartialSums::Sum&);
// All of them now, in one kernel; then there are none.
void add_left_parts(const Context&, PartialSums&);

}  // namespace cafx
