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
