// host/train/places.h -- the places of an epoch where a model computes: on the CPU views of the caller's memory, on a
// GPU copies.
#pragma once

#include <map>
#include <vector>

#include "kernels/device/memory.h"
#include "kernels/frames/frames.h"
#include "models/model.h"

namespace cafx {

// Audio on the host: the target of sample i is sample i + target.
struct Signals {
  const float* data = nullptr;
  std::size_t size = 0;
  std::int64_t target = 0;  // half of the size; 0: a model that learns to reproduce its input
  // Of each note the controls of its knobs, by where it begins; empty: there are none.
  std::map<std::int64_t, std::vector<float>> controls = {};
  const float* wet = nullptr;  // the second half, where it does not follow the first

  std::size_t half() const { return size / 2; }
  const float* second_half() const { return wet ? wet : data + half(); }
  friend bool operator==(const Signals&, const Signals&) = default;
};

class Places {
 public:
  // The signals must stay; the refs, all within the samples that have a target, must not.
  Places(const Context& context, const Signals& signals, std::vector<FrameRef> refs);
  // None yet: for share(). Copies of the halves where the context computes, which must stay; on a CPU the signals' own.
  Places(const Signals& signals, const float* dry, const float* wet) : signals_(signals), audio_(dry), wet_(wet) {}
  // Other places in the same audio, which must not outlive this.
  Places share(const Context& context, std::vector<FrameRef> refs) const {
    return share(context, std::move(refs), signals_.target);
  }
  // With the target of sample i at i + target.
  Places share(const Context& context, std::vector<FrameRef> refs, std::int64_t target) const {
    return {context, *this, std::move(refs), target};
  }
  Places on(const Context& other) const;
  // Those of another epoch, as many. Nothing that reads the former ones may be under way.
  void set(const std::vector<FrameRef>& refs);

  const float* input() const { return audio_; }
  const float* target() const { return signals_.target == 0 ? audio_ : wet_; }
  const FrameRef* refs() const { return on_device_.size() > 0 ? on_device_.data() : refs_.data(); }
  std::size_t size() const { return refs_.size(); }
  // Controls of place i, where the context computes; null: there are none.
  const float* knobs(std::size_t i) const {
    return n_knobs_ == 0 ? nullptr : (own_knobs_.size() > 0 ? own_knobs_.data() : knobs_.data()) + i * n_knobs_;
  }
  std::size_t n_knobs() const { return n_knobs_; }
  // B of them from the first on, of T samples each.
  Batch batch(std::size_t first, int B, int T) const {
    Batch b{input(), target(), refs() + first, B, T};
    b.knobs = knobs(first);
    return b;
  }

 private:
  Places(const Context& context, const Places& audio, std::vector<FrameRef> refs, std::int64_t target);

  void find_knobs();
  // From samples as they are counted to where the second half lies, and back (`sign` -1).
  void move_refs(int sign);
  void bring_over(const Context& context);

  Signals signals_;
  std::vector<FrameRef> refs_;  // samples from audio_ on
  std::size_t n_knobs_ = 0;
  std::vector<float> knobs_;  // (places, n_knobs_)
  DeviceArray<float> own_audio_, own_knobs_;
  DeviceArray<FrameRef> on_device_;
  const float *audio_, *wet_;  // the halves, where the context computes
};

}  // namespace cafx
