// host/train/stepper.h -- training steps, from the order of the frames to the weights, on the device of the context.
//
//   A CPU takes a step when it is asked to. On a GPU a step is one launch of a graph: gather, forward, loss, backward,
//   norm, clip, Adam. `enqueue` returns at once there, and `collect` gives the records of what has been read back since;
//   the newest steps stay under way unless all are asked for.
//
//   Several GPUs take parts of each batch: of its B frames, in their order, rank r of R takes [r B / R, (r+1) B / R),
//   rounded down, which may be none. Gradients are summed with the number of frames as weight (kernels/exchange); every
//   rank then takes the same step on weights of its own, which stay equal to the bit.
//
// Bits     the same steps in whatever portions they are enqueued. Another number of GPUs rounds differently: from the same
//          weights a gradient differs by kGpusGradientBound of its norm at most, what sums over a batch's frames round.
#pragma once

#include <memory>
#include <vector>

#include "host/train/gpu_team.h"
#include "kernels/device/memory.h"
#include "kernels/optimizer/optimizer.h"
#include "models/cafx/cafx.h"

namespace cafx {

// Frames where the context computes: on the CPU a view of the caller's, on a GPU a copy. The vectors must stay.
class DeviceFrames {
 public:
  DeviceFrames(const Context&, const std::vector<float>& input, const std::vector<float>& target,
               const std::vector<FrameRef>& refs);
  DeviceFrames on(const Context& other) const { return {other, *host_input_, *host_target_, *host_refs_}; }
  Batch batch(std::size_t first, int B, int T) const { return {input_, target_, refs_ + first, B, T}; }
  const float* input() const { return input_; }
  const float* target() const { return target_; }
  const FrameRef* refs() const { return refs_; }
  std::size_t size() const { return n_; }

 private:
  DeviceArray<float> own_input_, own_target_;
  DeviceArray<FrameRef> own_refs_;
  const float *input_, *target_;
  const FrameRef* refs_;
  std::size_t n_;
  const std::vector<float>*host_input_, *host_target_;
  const std::vector<FrameRef>* host_refs_;
};

inline constexpr double kGpusGradientBound = 2e-6;

struct StepSettings {
  int batch;
  AdamStep adam;       // betas, epsilon, weight decay
  double clip_norm;    // 0: none
  int accumulate = 1;  // parts that a batch, or a GPU's share of it, is worked through in
  bool lamb = false;
};

class Stepper {
 public:
  virtual ~Stepper() = default;
  // The epoch takes frames order[0], order[1], ...; step i uses rates[i] and is step `steps_before + i + 1` of the
  // optimiser. The first step to be taken is `first`.
  virtual void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long steps_before,
                           long first) = 0;
  // The same in the order permutation(n, rng) of the n frames, made on the device that takes the steps.
  virtual void begin_epoch(Rng rng, const std::vector<float>& rates, long steps_before, long first) = 0;
  virtual void enqueue(long steps) = 0;
  virtual std::vector<StepRecord> collect(bool all) = 0;
  // A good number of steps to enqueue at a time.
  virtual long portion() const = 0;
  // The model's weights on the host, and the moments; all that was enqueued is done.
  virtual void fetch(std::vector<float>& m, std::vector<float>& v) = 0;
  // The weights as every device holds them: one set on a CPU, one for each GPU.
  virtual std::vector<std::vector<float>> replicas() = 0;
  // The gradient of step `step` again, from the weights as they are: to find the tensor that is not finite.
  virtual std::vector<float> gradient_of(long step) = 0;
};

// The model's host block and the moments are where training starts.
std::unique_ptr<Stepper> make_stepper(const Context&, CafxModel&, const DeviceFrames&, const StepSettings&,
                                      const std::vector<float>& decay_mask, const std::vector<float>& m,
                                      const std::vector<float>& v);

// On several GPUs; model and frames are those of rank 0, the others get copies.
std::unique_ptr<Stepper> make_stepper(GpuTeam&, CafxModel&, const DeviceFrames&, const StepSettings&,
                                      const std::vector<float>& decay_mask, const std::vector<float>& m,
                                      const std::vector<float>& v);

// Frames that one GPU has in its memory at a time: a batch of `batch` on `gpus` GPUs in `accumulate` parts.
constexpr int frames_at_once(int batch, int accumulate, int gpus) {
  const int share = (batch + gpus - 1) / gpus;
  return (share + accumulate - 1) / accumulate;
}

}  // namespace cafx
