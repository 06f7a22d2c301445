// kernels/transpose/transpose.h -- rows become columns, for each of B matrices; or blocks of numbers change their
// order.
//
//   transpose       y[b,c,r] = x[b,r,c]
//   exchange_outer  y[k,j,i,c] = x[i,j,k,c]
//   with_constants  y[t,b,0] = x[b,t], y[t,b,1+k] = c[b,k]
//
//   (B,T) and (T,B), B = 1: ops along time keep a place's samples together, a recurrence keeps the places of a sample
//   together.
//
//   with_constants is the transpose that puts beside each sample what is constant over its place: where knobs stand.
//
//   exchange_outer turns latents of (frames, places, steps, channels) into rows of steps that hold all frames of a
//   place.
//
// Shapes   x (B,R,C)   y (B,C,R)      exchange_outer: x (I,J,K,C)   y (K,J,I,C)
//          with_constants: x (B,T)   c (B,K), null: zeros   y (T,B,1+K)
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

struct ConstantsDims {
  int B, T, K;
};

void with_constants(const Context&, float* y, const float* x, const float* c, ConstantsDims);

}  // namespace cafx
