#include "host/train/places.h"

#include <cstdint>

#include "kernels/base/error.h"
#include "kernels/device/members.h"

namespace cafx {

Places::Places(const Context& context, const Signals& signals, std::vector<FrameRef> refs)
    : signals_(signals), refs_(std::move(refs)), audio_(signals.data), wet_(signals.second_half()) {
  CAFX_CHECK(signals.target == 0 || static_cast<std::size_t>(signals.target) == signals.half(), signals.target,
             signals.size);
  find_knobs();
  if (context.device == Device::kCpu) {
    move_refs(1);
    return;
  }
  own_audio_ = DeviceArray<float>(context, signals.size);
  own_audio_.upload(signals.data, signals.half());
  own_audio_.upload(signals.second_half(), signals.size - signals.half(), signals.half());
  audio_ = own_audio_.data();
  wet_ = audio_ + signals.half();
  bring_over(context);
}

Places::Places(const Context& context, const Places& audio, std::vector<FrameRef> refs, std::int64_t target)
    : signals_(audio.signals_), refs_(std::move(refs)), audio_(audio.audio_), wet_(audio.wet_) {
  signals_.target = target;
  find_knobs();
  move_refs(1);
  bring_over(context);
}

Places Places::on(const Context& other) const {
  Places as_given(signals_, audio_, wet_);
  as_given.refs_ = refs_;
  as_given.move_refs(-1);
  return {other, signals_, std::move(as_given.refs_)};
}

void Places::move_refs(int sign) {
  const auto address = [](const float* p) { return reinterpret_cast<std::intptr_t>(p); };
  const auto half = static_cast<std::int64_t>(signals_.half());
  const std::int64_t by = (address(wet_) - address(audio_)) / static_cast<std::intptr_t>(sizeof(float)) - half;
  if (by == 0) return;
  for (FrameRef& r : refs_) {
    if (r.begin >= 0 && r.begin < half) continue;
    r.start += sign * by;
    r.begin += sign * by;
    r.end += sign * by;
  }
}

void Places::bring_over(const Context& context) {
  if (context.device == Device::kCpu) return;
  allocate_apart(context, [&] {  // members may have places of another number
    if (!refs_.empty()) on_device_ = DeviceArray<FrameRef>(context, refs_);
    if (!knobs_.empty()) own_knobs_ = DeviceArray<float>(context, knobs_);
  });
}

void Places::find_knobs() {
  knobs_.clear();
  n_knobs_ = signals_.controls.empty() ? 0 : signals_.controls.begin()->second.size();
  if (n_knobs_ == 0) return;
  for (const FrameRef& ref : refs_) {
    const std::vector<float>& controls = signals_.controls.at(ref.begin);
    CAFX_CHECK(controls.size() == n_knobs_, controls.size(), n_knobs_);
    knobs_.insert(knobs_.end(), controls.begin(), controls.end());
  }
}

void Places::set(const std::vector<FrameRef>& refs) {
  CAFX_CHECK(refs.size() == refs_.size(), refs.size(), refs_.size());
  refs_ = refs;
  find_knobs();
  move_refs(1);
  if (on_device_.size() > 0) on_device_.upload(refs_.data(), refs_.size());
  if (own_knobs_.size() > 0) own_knobs_.upload(knobs_.data(), knobs_.size());
}

}  // namespace cafx
