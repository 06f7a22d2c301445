// host/train/stepper.h -- training steps, from the order of the frames to the weights, on the device of the context.
//
//   A CPU takes a step when it is asked to. On a GPU a step is one launch of a graph: gather, forward, loss, backward,
//   norm, clip, Adam. `enqueue` returns at once there, and `collect` gives the records of what has been read back since;
//   the newest steps stay under way unless all are asked for.
//
// Bits     the same steps in whatever portions they are enqueued.
#pragma once

#include <memory>
#include <vector>

#include "kernels/device/memory.h"
#include "kernels/optimizer/optimizer.h"
#include "models/cafx/cafx.h"

namespace cafx {

// Frames where the context computes: on the CPU a view of the caller's, on a GPU a copy.
class DeviceFrames {
 public:
  DeviceFrames(const Context&, const std::vector<float>& input, const std::vector<float>& target,
               const std::vector<FrameRef>& refs);
  CafxBatch batch(std::size_t first, int B) const { return {input_, target_, refs_ + first, B}; }
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
};

struct StepSettings {
  int batch;
  AdamStep adam;       // betas, epsilon, weight decay
  double clip_norm;    // 0: none
  int accumulate = 1;  // parts that a batch is worked through in
  bool lamb = false;
};

class Stepper {
 public:
  virtual ~Stepper() = default;
  // The epoch takes frames order[0], order[1], ...; step i uses rates[i] and is step `steps_before + i + 1` of the
  // optimiser. The first step to be taken is `first`.
  virtual void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long steps_before,
                           long first) = 0;
  virtual void enqueue(long steps) = 0;
  virtual std::vector<StepRecord> collect(bool all) = 0;
  // A good number of steps to enqueue at a time.
  virtual long portion() const = 0;
  // The model's weights on the host, and the moments; all that was enqueued is done.
  virtual void fetch(std::vector<float>& m, std::vector<float>& v) = 0;
  // The gradient of step `step` again, from the weights as they are: to find the tensor that is not finite.
  virtual std::vector<float> gradient_of(long step) = 0;
};

// The model's host block and the moments are where training starts.
std::unique_ptr<Stepper> make_stepper(const Context&, CafxModel&, const DeviceFrames&, const StepSettings&,
                                      const std::vector<float>& decay_mask, const std::vector<float>& m,
                                      const std::vector<float>& v);

}  // namespace cafx
