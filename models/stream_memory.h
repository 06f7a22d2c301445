// models/stream_memory.h -- memory of a stream's model, where it computes.
#pragma once

#include <vector>

#include "kernels/device/memory.h"

namespace cafx {

// Parts of a block that grows to the largest asked for; who asks for the largest first keeps every address.
class StreamMemory {
 public:
  // Lays out parts of these sizes in floats, each on a border of 256 bytes; keeps nothing of what was there.
  std::vector<float*> lay_out(const Context& context, const std::vector<long>& sizes) {
    constexpr std::size_t kBorder = 64;  // floats
    const auto rounded = [](long n) { return (static_cast<std::size_t>(n) + kBorder - 1) / kBorder * kBorder; };
    std::size_t total = kBorder;
    for (const long n : sizes) total += rounded(n);
    if (block_.size() < total || context.device != device_) {
      device_ = context.device;
      block_ = DeviceArray<float>(context, total);
      block_.fill_zero();  // touched now, so that no page is missing later
    }
    float* at = block_.data();
    std::vector<float*> parts;
    for (const long n : sizes) {
      parts.push_back(at);
      at += rounded(n);
    }
    return parts;
  }

 private:
  DeviceArray<float> block_;
  Device device_ = Device::kCpu;
};

constexpr long floats_of(std::size_t bytes) { return static_cast<long>((bytes + sizeof(float) - 1) / sizeof(float)); }

}  // namespace cafx
