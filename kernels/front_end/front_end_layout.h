// kernels/front_end/front_end_layout.h -- the CPU's layout of packed weights and scratch of the fused front end.
//
//   Sizes are for the widest vector (16 floats), so that they do not depend on the instruction set.
#pragma once

#include "kernels/conv1d/conv1d_layout.h"
#include "kernels/front_end/front_end.h"

namespace cafx {

constexpr long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

// Whether Conv1D-Local is computed by halves (front_end_cpu.cpp): taps and windows must be even.
constexpr bool front_end_is_fast(FrontEndDims d) { return d.K2 % 2 == 0 && d.P % 2 == 0; }

// Offsets in floats.
struct FrontEndPacked {
  long w1, bias1, w2, bias2, fast, pairs, size;
  constexpr explicit FrontEndPacked(FrontEndDims d)
      : w1(0),                                      // (K1,C)
        bias1(w1 + static_cast<long>(d.K1) * d.C),  // (C)
        w2(bias1 + d.C),                            // (C / vector) panels of (K2, vector)
        bias2(w2 + round_up(d.C, 16) * d.K2),       // (C), zero up to a whole vector
        fast(bias2 + round_up(d.C, 16)),  // (C / vector) panels of (3, K2 / 2, vector), where front_end_is_fast
        pairs(fast + (front_end_is_fast(d) ? round_up(d.C, 16) * (3l * d.K2 / 2) : 0)),  // w1 as bf16: (K1 / 2,C)
        size(pairs + (d.K1 + 1l) / 2 * d.C) {}
};

struct FrontEndScratch {
  long panel;  // forward: |x1| of one vector of channels, zeros around it, as it is or by halves
  long row, abs, dabs, g, w, dw, pairs, size;  // backward: rows of one channel along time, its taps, bf16 operands
  constexpr explicit FrontEndScratch(FrontEndDims d)
      : panel(0),
        row(round_up(d.T + round_up(d.K2, 16) + 15, 16)),  // floats in a row, with room for a whole vector past the end
        abs(0),
        dabs(abs + 16 * row),
        g(dabs + 16 * row),
        w(g + 16 * round_up(d.T / d.P, 16)),
        dw(w + round_up(d.K2, 16)),
        pairs(dw + round_up(d.K2, 16)),
        size(0) {
    const long forward = 3 * ((round_up(d.T, 32) + d.K2) / 2 + 1) * 16,
               backward = pairs + filter_gradient_pairs(d.C, d.K1);
    size = forward > backward ? forward : backward;
  }
};

}  // namespace cafx
