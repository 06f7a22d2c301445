#include "host/train/memory_plan.h"

#include <algorithm>

#include "host/train/corpus.h"
#include "host/train/stepper.h"
#include "kernels/base/error.h"
#include "models/registry.h"

namespace cafx {

int place_samples(const RunConfig& config) {
  const Geometry g = config.model->geometry();
  return g.frame > 0 ? g.frame : std::max(1, static_cast<int>(config.train.segment_seconds * g.sample_rate));
}

int samples_between_places(const RunConfig& config) {
  const Geometry g = config.model->geometry();
  if (g.frame == 0) return place_samples(config);
  return config.train.hop > 0 ? config.train.hop : g.hop;
}

int block_samples(const RunConfig& config) {
  const Geometry g = config.model->geometry();
  if (g.frame > 0) return 0;
  return config.train.block > 0 ? config.train.block : g.block;
}

RunSize size_of_run(const RunConfig& config, const Dataset& data, const Split& split) {
  const Geometry g = config.model->geometry();
  RunSize size;
  const auto add = [&](const std::vector<int>& which, int hop, std::size_t times) {
    const GridSize s = g.frame > 0 ? grid_size(data, which, g.frame, hop, config.train.silence_db)
                                   : grid_size(data, which, hop, hop, -400.0);
    size.samples += s.samples;
    size.places += times * s.places;
  };
  const int validation_hop = config.train.validation_hop > 0 ? config.train.validation_hop : g.hop;
  add(split.train, samples_between_places(config), 2);
  add(split.validation, g.frame > 0 ? validation_hop : place_samples(config), 1);
  return size;
}

MemoryPlan plan_memory(const Context& context, const RunConfig& config, int batch, int length, const RunSize& size,
                       int gpus) {
  const std::unique_ptr<Model> model = make_model(*config.model);
  const long n = model->params().n_floats();
  MemoryPlan plan;
  if (gpus > 1) plan.exchange = exchange_scratch(n, gpus);
  plan.weights = (config.train.ema > 0 ? 6 : 5) * sizeof(float) * static_cast<std::size_t>(n);
  // A CPU holds the activations of a block, a GPU room for those of a whole place.
  const int block = block_samples(config);
  const int held = context.device == Device::kCpu && block > 0 ? std::min(block, length) : length;
  plan.activations = model->training_bytes(context, batch, held, Loss(config.train.loss));
  plan.workspace = model->library_bytes(context, batch, length);
  plan.audio = sizeof(float) * size.samples + size.places * (sizeof(FrameRef) + sizeof(std::uint32_t));
  plan.free = free_memory(context);
  return plan;
}

int largest_batch(const Context& context, const RunConfig& config, int length, const RunSize& size, int gpus) {
  int most = 0;
  for (int batch = 1; static_cast<std::size_t>(batch) <= std::max<std::size_t>(1, size.places); batch *= 2) {
    const MemoryPlan plan = plan_memory(context, config, batch, length, size, gpus);
    if (plan.total() > plan.free / 10 * 9) break;
    most = batch;
  }
  return most;
}

void refuse_what_does_not_fit(const Context& context, const RunConfig& config, int length, const RunSize& size,
                              int gpus) {
  if (context.device == Device::kCpu) return;
  const TrainConfig& t = config.train;
  const MemoryPlan plan = plan_memory(context, config, places_at_once(t.batch, t.accumulate, gpus), length, size, gpus);
  if (plan.total() <= plan.free) return;
  const int most = largest_batch(context, config, length, size, gpus);
  throw Error("train.batch = {}: needs {:.1f} MiB of the GPU's memory, {:.1f} are free; {}", t.batch,
              static_cast<double>(plan.total()) / 1048576.0, static_cast<double>(plan.free) / 1048576.0,
              most > 0 ? fmt::format("set train.batch = {}, or train.accumulate to take it in parts",
                                     most * t.accumulate * gpus)
                       : "not even one frame fits; use --device cpu");
}

}  // namespace cafx
