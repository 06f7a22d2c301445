// models/stream_places.h -- what training has of a place of a stream: its samples, its loss, what that is relative to.
#pragma once

#include "kernels/base/error.h"
#include "kernels/optimizer/optimizer.h"
#include "models/gradient_scale.h"
#include "models/model.h"
#include "models/stream_memory.h"

namespace cafx {

// x (n,T): samples [t, t + T) of the input of places [b, b + n), or of their targets, counted from their segments'
// starts; silence outside their notes.
inline void gather_inputs(const Context& context, float* x, const Batch& batch, int b, int n, int t, int T) {
  gather_frames(context, x, batch.input, batch.refs + b, {n, T, 1, 0, t});
}
inline void gather_targets(const Context& context, float* x, const Batch& batch, int b, int n, int t, int T) {
  gather_frames(context, x, batch.target, batch.target_refs() + b, {n, T, 1, 0, t});
}

class StreamLosses {
 public:
  // Room for B places on the context's device. A smaller batch keeps every address: a graph may hold it.
  void reserve(const Context& context, int B, const Loss& loss) {
    const bool other_device = context.device != device_;
    const auto n = static_cast<std::size_t>(B);
    if (losses_.size() < n || other_device) {
      losses_ = DeviceArray<double>(context, n);
      reference_ = DeviceArray<float>(context, n * Loss::kReferences);
    }
    if (constants_.size() == 0 || !(loss == loss_) || other_device) {
      constants_ = DeviceArray<float>(context, Loss::kConstants);
      constants_.upload(loss.constants().data(), Loss::kConstants);
    }
    loss_ = loss;
    device_ = context.device;
  }

  // What the relative terms of places [b, b + n) are held against: the targets of whole segments of batch.T samples.
  void refer(const Context& context, StreamMemory& memory, const Batch& batch, int b, int n) {
    if (!loss_.relative()) return;
    float* target = memory.lay_out(context, {static_cast<long>(n) * batch.T})[0];
    gather_targets(context, target, batch, b, n, 0, batch.T);
    loss_.reference(context, reference(b), target, constants_.data(), {n, batch.T, batch.T});
  }

  // Losses of places [b, b + n) of a block of batch.T samples; y, target (n,T). dy: the gradient of the mean over the
  // batch, where wanted, times its scale: finish() takes that out of the weights' gradients.
  void operator()(const Context& context, const Loss& loss, float* dy, const float* y, const float* target, bool wanted,
                  const Batch& batch, int b, int n, void* scratch) {
    const float scale = wanted ? GradientScale(context, batch.B, batch.T).scale() *
                                     static_cast<float>(1.0 / (static_cast<double>(batch.B) * batch.T))
                               : 0.0f;
    loss(context, losses_.data() + b, dy, y, target, reference(b), constants_.data(), scale, {n, batch.T, batch.T},
         scratch);
  }

  // The weights' gradient of the whole batch, (n): on a CPU the sum of S slots, slot(i) each; a GPU has added to it.
  template <class Slot>
  static void finish(const Context& context, float* gradient, long n, const Batch& batch, int S, Slot slot) {
    if (context.device == Device::kCpu) {
      float* parts[kGradientSlots];
      for (int i = 0; i < S; ++i) parts[i] = slot(static_cast<std::size_t>(i));
      reduce_slots(context, gradient, parts, S, n);
    }
    GradientScale(context, batch.B, batch.T).undo(context, gradient, n);
  }

  const double* data() const { return losses_.data(); }
  int places() const { return static_cast<int>(losses_.size()); }

 private:
  float* reference(int b) { return reference_.data() + static_cast<std::ptrdiff_t>(b) * Loss::kReferences; }

  Device device_ = Device::kCpu;
  Loss loss_;
  DeviceArray<float> reference_, constants_;
  DeviceArray<double> losses_;
};

}  // namespace cafx
