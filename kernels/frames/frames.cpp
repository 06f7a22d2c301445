#include "kernels/frames/frames.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/base/error.h"

namespace cafx {

void gather_frames(const Context& context, float* x_padded, const float* audio, const FrameRef* refs, GatherDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.K >= 1 && d.left >= 0 && d.left < d.K, d.B, d.T, d.K, d.left);
  CAFX_CHECK(context.device == Device::kCpu);
  const std::int64_t width = d.T + d.K - 1;
  for (int b = 0; b < d.B; ++b) {
    float* x = x_padded + b * width;
    std::fill(x, x + width, 0.0f);
    const std::int64_t from = std::max(refs[b].start, refs[b].begin);
    const std::int64_t to = std::min(refs[b].start + d.T, refs[b].end);
    if (from < to) std::memcpy(x + d.left + (from - refs[b].start), audio + from, sizeof(float) * (to - from));
  }
}

std::int64_t n_frames(std::int64_t n_samples, int frame, int hop) {
  CAFX_CHECK(n_samples >= 0 && hop >= 1 && hop <= frame / 2, n_samples, frame, hop);
  if (n_samples == 0) return 0;
  return (n_samples - 1 + frame - hop) / hop + 1;
}

std::int64_t frame_start(std::int64_t i, int frame, int hop) {
  return -static_cast<std::int64_t>(frame - hop) + i * hop;
}

std::vector<float> hann_window(int frame) {
  CAFX_CHECK(frame >= 1, frame);
  std::vector<float> window(static_cast<std::size_t>(frame));
  for (int i = 0; i < frame; ++i) {
    window[static_cast<std::size_t>(i)] = static_cast<float>(0.5 - 0.5 * std::cos(2.0 * 3.141592653589793 * i / frame));
  }
  return window;
}

}  // namespace cafx
