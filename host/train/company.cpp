#include "host/train/company.h"

namespace cafx {

std::shared_ptr<const RunAudio> Company::audio_of(const Dataset& data,
                                                  const std::function<std::shared_ptr<const RunAudio>()>& take) {
  for (const Taken& t : taken_) {
    if (t.data == &data) return t.audio;
  }
  taken_.push_back({&data, take()});
  return taken_.back().audio;
}

const Places& Company::on_device(const Context& context, const Signals& signals) {
  for (const Copied& c : copied_) {
    if (c.data == signals.data) return *c.places;
  }
  copied_.push_back({signals.data, std::make_unique<const Places>(context, signals, std::vector<FrameRef>())});
  return *copied_.back().places;
}

}  // namespace cafx
