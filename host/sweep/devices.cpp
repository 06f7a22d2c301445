// The devices of a sweep, from its config or, with "auto", from what this machine has.
#include <algorithm>

#include "host/sweep/scheduler.h"
#include "host/train/cohort.h"
#include "kernels/device/memory.h"

namespace cafx {

std::vector<DeviceSlots> find_devices(const SweepConfig& c) {
  const auto bytes = static_cast<std::size_t>(c.memory_gb * 1073741824.0);
  const int threads = c.threads > 0 ? c.threads : available_threads();
  std::vector<std::string> names;
  for (std::size_t at = 0; at < c.device.size();) {
    const std::size_t comma = std::min(c.device.find(',', at), c.device.size());
    names.push_back(c.device.substr(at, comma - at));
    at = comma + 1;
  }
  if (c.device == "auto") {
    names.clear();
    for (int i = 0; i < 64; ++i) {
      try {
        Context context;
        use_device(context, "cuda:" + std::to_string(i));
      } catch (const Error&) {
        break;
      }
      names.push_back("cuda:" + std::to_string(i));
    }
    if (names.empty()) names.push_back("cpu");
  }
  std::vector<DeviceSlots> devices;
  for (const std::string& name : names) {
    Context context;
    use_device(context, name);
    const bool cpu = context.device == Device::kCpu;
    DeviceSlots d;
    d.name = name;
    d.bytes = bytes;
    d.slots = cpu ? (c.slots > 0 ? c.slots : threads) : c.slots_per_gpu;
    d.threads = std::max(1, cpu ? threads : threads / static_cast<int>(names.size()));
    if (d.bytes == 0) d.bytes = free_memory(context) / 10 * 9;
    d.cohort = cohort_size(c.cohort, !cpu);
    if (c.cohort == "auto" && !cpu) d.speed_of = device_name(context);
    devices.push_back(d);
  }
  return devices;
}

}  // namespace cafx
