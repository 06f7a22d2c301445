// kernels/transpose/transpose.h -- rows become columns, for each of B matrices; or blocks of numbers change their order.
//
//   transpose       y[b,c,r] = x[b,r,c]
//   exchange_outer  y[k,j,i,c] = x[i,j,k,c]
//
//   (B,T) and (T,B), B = 1: ops along time keep a place's samples together, a recurrence keeps the places of a sample
//   together.
//
//   exchange_outer turns latents of (frames, places, steps, channels) into rows of steps that hold all frames of a place.
//
// Shapes   x (B,R,C)   y (B,C,R)      exchange_outer: x (I,J,K,C)   y (K,J,I,C)
// Grads    dx is the transpose of dy: the same op with R and C, or I and K, exchanged.
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

struct ExchangeDims {
  int I, J, K, C;
};

void exchange_outer(const Context&, float* y, const float* x, ExchangeDims);

}  // namespace cafx
