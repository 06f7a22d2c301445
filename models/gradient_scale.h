// models/gradient_scale.h -- fp16 computes gradients times a power of two, and divides by it in the end.
//
//   fp16 ends at 65504, its full accuracy at 2^-14, and the gradient of a mean over B T samples is some 1 / (B T) at
//   each of them. The loss hands down S times it, S the smallest power of two that is 2^kHeadroom B T or more: the
//   gradient of a mean absolute error of weight 1 is then 2^kHeadroom to 2^(kHeadroom + 1) at each sample. The
//   gradients of the weights, sums in fp32, are divided by S. Both are exact, so that S shows in no bit but where a
//   number falls under 2^-14 or over 65504: infinity, which the trainer finds in the gradient's norm and stops at.
//
//   S follows from the sizes alone. One that followed the gradients would be state of a run: of checkpoints, of graphs,
//   of every GPU.
#pragma once

#include <cmath>

#include "kernels/device/context.h"
#include "kernels/pointwise/pointwise.h"

namespace cafx {

class GradientScale {
 public:
  static constexpr int kHeadroom = 2;

  GradientScale(const Context& context, int B, int T) {
    if (context.precision != Precision::kFp16) return;
    const double samples = static_cast<double>(B) * T;
    scale_ = static_cast<float>(std::exp2(std::ceil(std::log2(samples)) + kHeadroom));
  }

  float scale() const { return scale_; }
  // The n numbers of a gradient that was computed S times too large.
  void undo(const Context& context, float* gradient, long n) const {
    if (scale_ != 1.0f) multiply_by(context, gradient, 1.0f / scale_, n);
  }

 private:
  float scale_ = 1.0f;
};

}  // namespace cafx
