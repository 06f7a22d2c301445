// host/train/memory_plan.h -- what a run takes of a GPU's memory, known before it starts.
#pragma once

#include <cstddef>

#include "host/train/config.h"
#include "kernels/device/context.h"

namespace cafx {

// In bytes, and what is free there.
struct MemoryPlan {
  std::size_t weights = 0;  // parameters, gradient, moments, mask
  std::size_t activations = 0;
  std::size_t workspace = 0;  // of cuDNN's convolutions
  std::size_t audio = 0;      // notes and the places of their frames
  std::size_t exchange = 0;   // what other GPUs send; NCCL's own buffers are not counted
  std::size_t free = 0;
  std::size_t total() const { return weights + activations + workspace + audio + exchange; }
};
// `batch`: the frames that it works on at a time (frames_at_once); `gpus`: that share a step's.
MemoryPlan plan_memory(const Context&, const CafxConfig&, int batch, std::size_t n_samples, std::size_t n_frames,
                       int gpus = 1);
// The largest power of two that fits into nine tenths of what is free and is not more than n_frames; 0: not even one.
int largest_batch(const Context&, const CafxConfig&, std::size_t n_samples, std::size_t n_frames, int gpus = 1);

// Error that names a batch which fits, where the configured one does not.
void refuse_what_does_not_fit(const Context&, const CafxConfig&, const TrainConfig&, std::size_t n_samples,
                              std::size_t n_frames, int gpus);

}  // namespace cafx
