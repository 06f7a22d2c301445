// tests/reference/reference_loss.h -- the loss as plain double-precision loops.
#pragma once

#include "kernels/loss/loss.h"
#include "tests/reference/reference.h"

namespace cafx::reference {

// losses (B). reference as the op's; empty: none.
Vec loss_forward(const Vec& y, const Vec& target, const Vec& reference, const LossWeights& w, LossDims d);
// scale times the gradient of the sum of losses, (B,T).
Vec loss_backward(const Vec& y, const Vec& target, const Vec& reference, double scale, const LossWeights& w,
                  LossDims d);
Vec loss_reference(const Vec& target, const Vec& floors, double pre_emphasis, LossDims d);  // (B,3)

}  // namespace cafx::reference
