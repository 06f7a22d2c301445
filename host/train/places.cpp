#include "host/train/places.h"

#include "kernels/base/error.h"

namespace cafx {

Places::Places(const Context& context, const Signals& signals, std::vector<FrameRef> refs)
    : signals_(signals), refs_(std::move(refs)), audio_(signals.data) {
  if (context.device == Device::kCpu) return;
  own_audio_ = DeviceArray<float>(context, signals.size);
  own_audio_.upload(signals.data, signals.size);
  audio_ = own_audio_.data();
  if (!refs_.empty()) on_device_ = DeviceArray<FrameRef>(context, refs_);
}

Places::Places(const Context& context, const Places& audio, std::vector<FrameRef> refs, std::int64_t target)
    : signals_(audio.signals_), refs_(std::move(refs)), audio_(audio.audio_) {
  signals_.target = target;
  if (context.device != Device::kCpu && !refs_.empty()) on_device_ = DeviceArray<FrameRef>(context, refs_);
}

void Places::set(const std::vector<FrameRef>& refs) {
  CAFX_CHECK(refs.size() == refs_.size(), refs.size(), refs_.size());
  refs_ = refs;
  if (on_device_.size() > 0) on_device_.upload(refs_.data(), refs_.size());
}

}  // namespace cafx
