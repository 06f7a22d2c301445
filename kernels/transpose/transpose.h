// kernels/transpose/transpose.h -- rows become columns, for each of B matrices.
//
//   y[b,c,r] = x[b,r,c]
//
//   (B,T) and (T,B), B = 1: ops along time keep a place's samples together, a recurrence keeps the places of a sample
//   together.
//
// Shapes   x (B,R,C)   y (B,C,R)
// Grads    dx is the transpose of dy: the same op with R and C exchanged.
// In place: no.   Scratch: none.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     a copy.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct TransposeDims {
  int B, R, C;
};

void transpose(const Context&, float* y, const float* x, TransposeDims);

}  // namespace cafx
