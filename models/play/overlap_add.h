// models/play/overlap_add.h -- frames of one signal, put together again: the only place that knows which frame starts
// where and when a sample is final.
//
//   Frame i starts at -(frame - hop) + i hop, so that the first still holds sample 0. Once frame i is there, the
//   samples before the start of frame i + 1 are final, as no later frame reaches them. Window and sum:
//   kernels/frames/frames.h.
//
// Memory   allocated by the constructor; add and take allocate nothing.
// Bits     on a CPU the same however frames are divided over calls of add.
// Errors   hop below 1 or over half a frame: Error.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/device/memory.h"

namespace cafx {

// Resolves a requested hop: 0 is the model's own, at most half a frame. Error as above.
int checked_hop(int asked, int own, int frame);

class OverlapAdd {
 public:
  // For up to `most` frames at a call, which lie where the context computes.
  OverlapAdd(const Context&, int frame, int hop, int most);
  ~OverlapAdd();

  void reset() noexcept;
  // Adds the next B frames (B,frame). What became final by them must have been taken before the next call.
  void add(const Context&, const float* frames, int B);
  // How many samples that is, and the samples, from sample 0 of the signal on.
  std::int64_t n_final() const { return std::max<std::int64_t>(0, next_start() - std::max<std::int64_t>(start_, 0)); }
  void take(float* y) noexcept;
  // The n samples that follow those taken, with no further frame to come.
  void take_rest(float* y, std::int64_t n) noexcept;

  std::int64_t n_frames() const { return n_frames_; }  // that were added
  // Of the next frame's first sample; may be negative.
  std::int64_t next_start() const { return static_cast<std::int64_t>(hop_ - frame_) + n_frames_ * hop_; }

 private:
  struct OnDevice;
  int frame_, hop_, most_;
  std::vector<float> window_;
  std::vector<double> sum_, weight_;  // from sample start_ on
  std::unique_ptr<OnDevice> on_device_;
  std::int64_t start_ = 0, n_frames_ = 0;
};

}  // namespace cafx
