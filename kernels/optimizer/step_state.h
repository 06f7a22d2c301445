// kernels/optimizer/step_state.h -- the values that change from step to step; the step itself is one fixed CUDA graph.
//
//   A graph freezes its arguments, so learning rate, position in the epoch and clip factor are in device memory.
//   Before an epoch the host writes the order of the frames and a table of scalars, one row a step; after every few
//   steps it reads the records. index counts steps from the epoch's first.
//
//   step_begin   refs[b] = all[order[index * batch + b]] for b < B, scalars = table[index]; B may be 0
//   step_rows    rows[b] = all[order[index * batch + b]] of `width` floats each: what a place has beside its samples
//   step_end     records[index] = {mean loss, norm of the gradient}; gradient_scale from clip_norm (0: none); skip is
//                set permanently if one of them is not finite; adam_step then skips the update; ++index
//
// Bits     sums in a fixed order, in double.
#pragma once

#include <cstdint>

#include "kernels/device/context.h"
#include "kernels/frames/frames.h"

namespace cafx {

struct StepScalars {
  float lr, correction1, correction2;  // corrections: 1 - beta^t
  float average = 0.0f;                // rate of average_step
};
struct StepState {
  std::int64_t index;
  StepScalars scalars;
  float gradient_scale;
  std::int32_t skip;
  std::uint32_t arrived = 0;  // of step_end's blocks; 0 between its calls
};
struct StepRecord {
  double loss, norm;
};

}  // namespace cafx
