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
    if (c.signals == signals) return *c.places;
  }
  const float* const dry = copy_of(context, signals.data, signals.half());
  const float* const wet = copy_of(context, signals.second_half(), signals.half());
  copied_.push_back({signals, std::make_unique<const Places>(signals, dry, wet)});
  return *copied_.back().places;
}

const float* Company::copy_of(const Context& context, const float* samples, std::size_t n) {
  const auto known = on_device_.find(samples);
  if (known != on_device_.end()) return known->second.data();
  if (context.device == Device::kCpu) return samples;
  DeviceArray<float> copy(context, n);
  copy.upload(samples, n);
  return on_device_.emplace(samples, std::move(copy)).first->second.data();
}

std::size_t Company::not_on_device(const Signals& signals) const {
  return (on_device_.count(signals.data) ? 0 : signals.half()) +
         (on_device_.count(signals.second_half()) ? 0 : signals.half());
}

void Company::use_device(Context& context, const std::string& name) {
  const auto open = devices_.find(name);
  if (open == devices_.end()) {
    cafx::use_device(context, name);
    devices_.emplace(name, context);
    return;
  }
  context.device = open->second.device;
  context.cuda = open->second.cuda;
  if (context.cuda) make_current(context);
}

Lockstep* Company::lockstep(const Context& context, const std::string& kind, const std::string& stage,
                            const std::function<MemberSize()>& measure) {
  const std::string key = kind + " " + stage;
  const auto known = locksteps_.find(key);
  if (known != locksteps_.end()) return known->second.get();
  const int n = expected_[kind];
  if (n < 2 || context.device == Device::kCpu) return nullptr;
  std::unique_ptr<Lockstep>& made = locksteps_[key];
  const MemberSize size = measure();
  if (static_cast<double>(size.bytes + size.scratch) * n < 0.9 * static_cast<double>(free_memory(context))) {
    made = std::make_unique<Lockstep>(context, n, size);
  }
  return made.get();
}

void Company::release_idle_locksteps() {
  std::erase_if(locksteps_, [](const auto& entry) { return entry.second && entry.second->idle(); });
}

}  // namespace cafx
