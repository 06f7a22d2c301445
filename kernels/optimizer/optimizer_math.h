// kernels/optimizer/optimizer_math.h -- Adam's formula for one number, for every device.
#pragma once

#include <cmath>

#include "kernels/optimizer/optimizer.h"

#if defined(__CUDACC__)
#define CAFX_HOST_DEVICE __host__ __device__
#else
#define CAFX_HOST_DEVICE
#endif

namespace cafx {

// Most blocks of step_end: that add up squares, and parts of the gradient with theirs.
inline constexpr int kStepEndBlocks = 128, kStepEndSumBlocks = 1920;

// Updates the moments; returns the step to subtract from p, before the learning rate.
CAFX_HOST_DEVICE inline float adam_direction(float& m, float& v, float p, float gradient, float mask, AdamStep s,
                                             float correction1, float correction2) {
  const float g = gradient * s.gradient_scale;
  m = s.beta1 * m + (1.0f - s.beta1) * g;
  v = s.beta2 * v + (1.0f - s.beta2) * g * g;
  return (m / correction1) / (sqrtf(v / correction2) + s.epsilon) + s.weight_decay * mask * p;
}

}  // namespace cafx
