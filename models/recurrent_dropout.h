// models/recurrent_dropout.h -- dropout of an LSTM: recurrent weights that an update of the weights does without.
//
//   Of the hidden-to-hidden weights a share is left out, the same at every step and in every place of the update, and
//   the others are scaled up (DropConnect). What a step hears of the past becomes less sure, the state itself is
//   untouched.
//
// Source   Merity et al. 2018, "Regularizing and optimizing LSTM language models", arXiv:1708.02182, 2.
#pragma once

#include "kernels/dropout/dropout.h"

namespace cafx {

// In place, of a layer's weights or their gradient, (4H, I + H): columns [I, I + H).
inline void drop_recurrent(const Context& context, float* weights, long I, long H, double rate, const DropoutDraw& draw,
                           std::uint32_t layer) {
  dropout(context, weights + I, weights + I, rate, draw, layer, 0, {4 * H, H, I + H});
}

}  // namespace cafx
