// host/train/stepper.h -- training steps, from the order of the places to the weights, on the device of the context.
//
//   A step takes a batch of places. Of a model of frames it is one update of the weights; of a stream it goes through
//   the places block by block, and each block is an update. An update is: gradient, norm, check, clip, optimiser,
//   projection, and the average of the weights where one is kept.
//
//   A CPU runs a step in `enqueue`. On a GPU a step is one launch of a graph. `enqueue` returns at once there, and
//   `collect` returns the records read back since; the newest steps stay in flight unless all are requested.
//
//   Several GPUs take parts of each batch: of its B places, in their order, rank r of R takes [r B / R, (r+1) B / R),
//   rounded down, which may be none. Gradients are summed with the number of places as weight (kernels/exchange); every
//   rank then applies the same step to its own weights, which stay equal to the bit.
//
// Bits     the same steps in whatever portions they are enqueued. Another number of GPUs rounds differently: from the
//          same weights a gradient differs by kGpusGradientBound of its norm at most, what sums over a batch's places
//          round.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "host/train/gpu_team.h"
#include "host/train/optimiser.h"
#include "host/train/places.h"
#include "host/train/ranks.h"

namespace cafx {

inline constexpr double kGpusGradientBound = 2e-6;

struct StepSettings {
  int batch = 32;          // places of a step
  int length = 0;          // samples of a place
  int block = 0;           // of a stream: samples between two updates; 0: the whole place
  int warm_up = 0;         // of a stream: warm-up before a place, in samples
  int accumulate = 1;      // parts that a batch, or a GPU's share of it, is worked through in; of one block alone
  double clip_norm = 0.0;  // largest norm of a gradient; 0: not clipped
  AdamStep adam;           // betas, epsilon, weight decay
  std::uint64_t seed = 0;  // of dropout's masks
  int ema = 0;             // horizon of the weights' average, in updates; 0: none is kept
  const Optimiser* optimiser = &optimisers().front();
  Loss loss;

  int block_samples() const { return block > 0 ? std::min(block, length) : length; }
  int updates() const { return (length + block_samples() - 1) / block_samples(); }  // of a step
  // Samples [first, first + size) of update k.
  int block_first(int k) const { return k * block_samples(); }
  int block_size(int k) const { return std::min(block_samples(), length - block_first(k)); }
};

class Stepper {
 public:
  virtual ~Stepper() = default;
  // The epoch takes places order[0], order[1], ...; update i of the epoch uses rates[i] and is number
  // `updates_before + i + 1` of the optimiser. The first step to be taken is `first`.
  virtual void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates,
                           long updates_before, long first) = 0;
  // The same in the order permutation(n, rng) of the n places, computed on the device.
  virtual void begin_epoch(Rng rng, const std::vector<float>& rates, long updates_before, long first) = 0;
  // Other places, as many, for the epoch that begins next.
  virtual void set_places(const std::vector<FrameRef>&) = 0;
  virtual void enqueue(long steps) = 0;
  virtual std::vector<StepRecord> collect(bool all) = 0;  // one of each update
  // A good number of steps to enqueue at a time.
  virtual long portion() const = 0;
  // Members that took the last step in one launch with this one, itself included; and the most of any step.
  virtual int side_by_side() const { return 1; }
  virtual int most_side_by_side() const { return 1; }
  // Between epochs, of a member of a lockstep (lockstep.h): its move into a gap; and that others should not wait for it
  // until it asks for steps again.
  virtual Closing closing(long /*steps_left*/) { return {}; }
  virtual void rest() {}
  // The model's weights on the host, and the moments; all that was enqueued is done.
  virtual void fetch(std::vector<float>& m, std::vector<float>& v) = 0;
  // The average of the weights over the updates so far; empty where none is kept. All that was enqueued is done.
  virtual std::vector<float> average() = 0;
  // The weights as every device holds them: one set on a CPU, one for each GPU.
  virtual std::vector<std::vector<float>> replicas() = 0;
  // The gradient of the update whose record was not finite: to find the tensor. `update` counts from the epoch's first.
  virtual std::vector<float> gradient_of(long update) = 0;
};

// The model's host block and the moments are where training starts, and `average` where the average does; empty: at the
// weights.
std::unique_ptr<Stepper> make_stepper(const Context&, Model&, Places&, const StepSettings&, const std::vector<float>& m,
                                      const std::vector<float>& v, const std::vector<float>& average = {});

class Lockstep;
// Has `build` make a stepper of one GPU, with all that its steps use, as a member of the lockstep. False: it has no
// room.
bool build_member(Lockstep&, const std::function<Stepper&()>& build);
// One step's gradient of a stepper of one GPU, for what it takes; its epoch must have begun.
void rehearse(Stepper&);

// On several GPUs; model and places are those of rank 0, the others get copies.
std::unique_ptr<Stepper> make_stepper(GpuTeam&, Model&, Places&, const StepSettings&, const std::vector<float>& m,
                                      const std::vector<float>& v, const std::vector<float>& average = {});

// Places that one GPU has in its memory at a time: a batch of `batch` on `gpus` GPUs in `accumulate` parts.
constexpr int places_at_once(int batch, int accumulate, int gpus) {
  const int share = (batch + gpus - 1) / gpus;
  return (share + accumulate - 1) / accumulate;
}

}  // namespace cafx
