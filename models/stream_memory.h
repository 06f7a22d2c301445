// models/stream_memory.h -- shared by models of streams on a CPU: memory of one worker, audio gathered from places.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/frames/frames.h"

namespace cafx {

// Parts of a block that grows to the largest asked for.
class StreamMemory {
 public:
  // Lays out parts of these sizes in floats, each on a border of 64 bytes; keeps nothing of what was there.
  std::vector<float*> lay_out(const std::vector<long>& sizes) {
    constexpr std::size_t kBorder = 16;  // floats
    std::size_t total = kBorder;
    for (const long n : sizes) total += (static_cast<std::size_t>(n) + kBorder - 1) / kBorder * kBorder;
    if (block_.size() < total) block_.resize(total);
    const auto address = reinterpret_cast<std::uintptr_t>(block_.data());
    float* at = block_.data() + (64 - address % 64) % 64 / sizeof(float);
    std::vector<float*> parts;
    for (const long n : sizes) {
      parts.push_back(at);
      at += (static_cast<std::size_t>(n) + kBorder - 1) / kBorder * kBorder;
    }
    return parts;
  }

 private:
  std::vector<float> block_;
};

// x[i] = audio[ref.start + from + i] for i in [0, n), each `stride` behind the one before; 0 outside of the note.
inline void gather_place(float* x, const float* audio, const FrameRef& ref, std::int64_t from, int n, long stride = 1) {
  for (int i = 0; i < n; ++i) {
    const std::int64_t at = ref.start + from + i;
    x[i * stride] = at >= ref.begin && at < ref.end ? audio[at] : 0.0f;
  }
}

}  // namespace cafx
