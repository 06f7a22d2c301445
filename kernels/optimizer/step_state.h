// kernels/optimizer/step_state.h -- the values that change from step to step; the step itself is one fixed CUDA graph.
//
//   A graph freezes its arguments, so what differs from step to step, and from one model to another that takes its
//   steps in the same graph, is in device memory. Before an epoch the host writes the order of the frames and a table
//   of scalars, one row a step; after every few steps it reads the records. index counts steps from the epoch's first.
//
//   step_begin   refs[b] = all[order[index * batch + first + b]] of the step's places that are this rank's, moved by
//                to_input samples, target_refs[b] the same by to_target; dropout = {seed, updates_before + index + 1}
//   step_rows    rows[b] = rows_of_all[order[index * batch + first + b]] of `width` floats each: what a place has
//                beside its samples
//   step_end     scalars = table[index]; records[index] = {mean loss, norm of the gradient}; gradient_scale from
//                clip_norm (0: none); skip is set permanently if one of them is not finite; adam_step then skips the
//                update; ++index, then what step_begin does, so that a graph of a step has no node for it
//
// Bits     sums in a fixed order, in double.
#pragma once

#include <cstdint>

#include "kernels/device/context.h"
#include "kernels/dropout/dropout.h"
#include "kernels/frames/frames.h"

namespace cafx {

struct StepScalars {
  float lr, correction1, correction2;  // corrections: 1 - beta^t
  float average = 0.0f;                // rate of average_step
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, weight_decay = 0.0f, clip_norm = 0.0f;
};
struct StepRecord {
  double loss, norm;
};
// What an epoch is made of, in device memory.
struct StepSources {
  const StepScalars* table = nullptr;
  const std::uint32_t* order = nullptr;
  const FrameRef* all = nullptr;
  const float* rows_of_all = nullptr;
  StepRecord* records = nullptr;
  // From the samples that the graph knows to those of this model, in samples.
  std::int64_t to_input = 0, to_target = 0;
  std::uint64_t seed = 0, updates_before = 0;  // of dropout's masks; updates of the stage before this epoch
  int places = 0, batch = 1, updates = 1;      // of the epoch; of a step; updates of a step, each with its places
  int rank = 0, ranks = 1;                     // which share of a step's places is this GPU's
};
struct StepState {
  std::int64_t index;
  StepScalars scalars;
  float gradient_scale;
  std::int32_t skip;
  std::uint32_t arrived = 0;  // of step_end's blocks; 0 between its calls
  StepSources from = {};
  DropoutKey dropout = {};  // of the update under way
};

}  // namespace cafx
