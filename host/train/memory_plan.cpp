#include "host/train/memory_plan.h"

#include <algorithm>

#include "host/train/stepper.h"
#include "kernels/base/error.h"

namespace cafx {

MemoryPlan plan_memory(const Context& context, const CafxConfig& config, int batch, std::size_t n_samples,
                       std::size_t n_frames, int gpus) {
  const CafxModel model(config);
  MemoryPlan plan;
  if (gpus > 1) plan.exchange = exchange_scratch(model.n_floats(), gpus);
  plan.weights = 5 * sizeof(float) * static_cast<std::size_t>(model.n_floats());
  plan.activations = model.training_bytes(context, batch, config.frame, Loss());
  plan.workspace = model.library_bytes(context, batch, config.frame);
  plan.audio = sizeof(float) * n_samples + n_frames * (sizeof(FrameRef) + sizeof(std::uint32_t));
  plan.free = free_memory(context);
  return plan;
}

int largest_batch(const Context& context, const CafxConfig& config, std::size_t n_samples, std::size_t n_frames,
                  int gpus) {
  int most = 0;
  for (int batch = 1; static_cast<std::size_t>(batch) <= std::max<std::size_t>(1, n_frames); batch *= 2) {
    const MemoryPlan plan = plan_memory(context, config, batch, n_samples, n_frames, gpus);
    if (plan.total() > plan.free / 10 * 9) break;
    most = batch;
  }
  return most;
}

void refuse_what_does_not_fit(const Context& context, const CafxConfig& model, const TrainConfig& t,
                              std::size_t n_samples, std::size_t n_frames, int gpus) {
  if (context.device == Device::kCpu) return;
  const MemoryPlan plan =
      plan_memory(context, model, frames_at_once(t.batch, t.accumulate, gpus), n_samples, n_frames, gpus);
  if (plan.total() <= plan.free) return;
  const int most = largest_batch(context, model, n_samples, n_frames, gpus);
  throw Error("train.batch = {}: needs {:.1f} MiB of the GPU's memory, {:.1f} are free; {}", t.batch,
              static_cast<double>(plan.total()) / 1048576.0, static_cast<double>(plan.free) / 1048576.0,
              most > 0 ? fmt::format("set train.batch = {}, or train.accumulate to take it in parts",
                                     most * t.accumulate * gpus)
                       : "not even one frame fits; use --device cpu");
}

}  // namespace cafx
