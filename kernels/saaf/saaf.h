// kernels/saaf/saaf.h -- Smooth Adaptive Activation Function: one learned curve per channel.
//
//   y = v0 + v1 x + scale sum_s w_s b_s(x),   on S equal segments of [lo, hi], straight outside;  D = (hi - lo) / S
//   order 2   b_s(x) = 0 below segment s;  (x - a_s)^2 / 2 inside;  D^2/2 + D (x - a_{s+1}) above: piecewise quadratic
//   order 1   b_s(x) = 0 below segment s;  x - a_s inside;  D above: piecewise linear
//
// Source   Hou et al. 2017, arXiv:1608.06557, c = 2 (and 1).
// Differs  curves in closed form from prefix sums, O(1) per sample.
// Shapes   x, y, dx, dy (B,T,C)
//          v, dv (2,C): row 0 = v0, row 1 = v1; (1,C): v1 alone, when has_v0 is false
//          w, dw (n_curved(d),C): all segments, or every second one (0, 2, 4, ...) with straight ones between
//          C contiguous
// Grads    dx =   dv +=   dw +=
// Saved    x.  y is not needed by backward.   In place: yes (y = x only where x is not needed again).
// Scratch  saaf_scratch bytes, for forward and backward (the table of prefix sums, the sums per segment).
// Errors   S >= 1, lo < hi, order 1 or 2, sizes >= 1: CheckError with the numbers. NaN in, NaN out; huge x stays on
//          the last ray.
// Bits     same input, same device and instruction set: same bits.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct SaafDims {
  int B, T, C, S;
  float lo, hi, scale;
  bool every_second, has_v0;
  int order = 2;
};

constexpr int n_curved(SaafDims d) { return d.every_second ? (d.S + 1) / 2 : d.S; }
constexpr int n_v(SaafDims d) { return d.has_v0 ? 2 : 1; }

std::size_t saaf_scratch(const Context&, SaafDims);  // bytes
void saaf_forward(const Context&, float* y, const float* x, const float* v, const float* w, void* scratch, SaafDims);
void saaf_backward(const Context&, float* dx, float* dv, float* dw, const float* dy, const float* x, const float* v,
                   const float* w, void* scratch, SaafDims);

// The Lipschitz constant of each channel's curve: max over all break points, the lower end included, of |slope|. (C)
void saaf_lipschitz(float* constant, const float* v, const float* w, SaafDims);
// Clamps the slopes from left to right to at most L (> 0) by changes of v1 and w.
void saaf_project(const Context&, float* v, float* w, float L, SaafDims);

}  // namespace cafx
