// host/train/memory_plan.h -- the memory of a run on a GPU, computed before it starts.
#pragma once

#include <cstddef>

#include "datasets/dataset.h"
#include "host/train/config.h"
#include "kernels/device/context.h"

namespace cafx {

// In bytes, and what is free there.
struct MemoryPlan {
  std::size_t weights = 0;  // parameters, gradient, moments, mask, average
  std::size_t activations = 0;
  std::size_t workspace = 0;  // of cuDNN's convolutions
  std::size_t audio = 0;      // notes and the places in them
  std::size_t exchange = 0;   // what other GPUs send; NCCL's own buffers are not counted
  std::size_t free = 0;
  std::size_t total() const { return weights + activations + workspace + audio + exchange; }
};
// Samples of a frame, or of a segment as it is asked for; and from one to the next in an epoch, on average.
int place_samples(const RunConfig&);
int samples_between_places(const RunConfig&);
// Samples between two updates of the weights within a segment; 0: all of it, and for frames.
int block_samples(const RunConfig&);
// The data of a run: samples of dry and wet audio, and places of an epoch.
struct RunSize {
  std::size_t samples = 0, places = 0;
};
RunSize size_of_run(const RunConfig&, const Dataset&, const Split&);  // the most of all stages
// `batch`: the places that it works on at a time (places_at_once), `length` samples each; `gpus`: that share a step's.
MemoryPlan plan_memory(const Context&, const RunConfig&, int batch, int length, const RunSize&, int gpus = 1);
// The largest power of two that fits into nine tenths of what is free and is not more than there are places; 0: not
// even one.
int largest_batch(const Context&, const RunConfig&, int length, const RunSize&, int gpus = 1);

// Error that names a batch which fits, where the configured one does not.
void refuse_what_does_not_fit(const Context&, const RunConfig&, int length, const RunSize&, int gpus);

}  // namespace cafx
