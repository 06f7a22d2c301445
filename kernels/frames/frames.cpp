#include "kernels/frames/frames.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_CUDA(void, gather_frames,
          (const Context&, float* x_padded, const float* audio, const FrameRef* refs, GatherDims d));
CAFX_CUDA(void, pad_frames, (const Context&, float* x_padded, const float* x, GatherDims d));
CAFX_CUDA(void, overlap_add,
          (const Context&, double* sum, double* weight, const float* frames, const float* window, OverlapAddDims d));

CAFX_CUDA(std::size_t, shuffle_scratch, (const Context&, std::uint32_t n));
CAFX_CUDA(void, shuffle, (const Context&, std::uint32_t* order, std::uint32_t n, Rng rng, void* scratch));

std::size_t shuffle_scratch(const Context& context, std::uint32_t n) {
  CAFX_CHECK(n >= 1, n);
  CAFX_CUDA_CALL(context, shuffle_scratch, n);
  return 0;
}

void shuffle(const Context& context, std::uint32_t* order, std::uint32_t n, Rng rng, void* scratch) {
  CAFX_CHECK(n >= 1, n);
  CAFX_CUDA_CALL(context, shuffle, order, n, rng, scratch);
  const std::vector<std::uint32_t> made = permutation(n, rng);
  std::copy(made.begin(), made.end(), order);
}

void gather_frames(const Context& context, float* x_padded, const float* audio, const FrameRef* refs, GatherDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.K >= 1 && d.left >= 0 && d.left < d.K, d.B, d.T, d.K, d.left);
  CAFX_CUDA_CALL(context, gather_frames, x_padded, audio, refs, d);
  const std::int64_t width = d.T + d.K - 1;
  for (int b = 0; b < d.B; ++b) {
    float* x = x_padded + b * width;
    std::fill(x, x + width, 0.0f);
    const std::int64_t start = refs[b].start + d.offset;
    const std::int64_t from = std::max(start, refs[b].begin), to = std::min(start + d.T, refs[b].end);
    if (from < to) std::memcpy(x + d.left + (from - start), audio + from, sizeof(float) * (to - from));
  }
}

void pad_frames(const Context& context, float* x_padded, const float* x, GatherDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.K >= 1 && d.left >= 0 && d.left < d.K, d.B, d.T, d.K, d.left);
  CAFX_CUDA_CALL(context, pad_frames, x_padded, x, d);
  const std::int64_t width = d.T + d.K - 1;
  for (int b = 0; b < d.B; ++b) {
    float* to = x_padded + b * width;
    std::fill(to, to + width, 0.0f);
    std::memcpy(to + d.left, x + b * (d.row > 0 ? d.row : d.T) + d.offset, sizeof(float) * d.T);
  }
}

void overlap_add(const Context& context, double* sum, double* weight, const float* frames, const float* window,
                 OverlapAddDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.hop >= 1, d.B, d.T, d.hop);
  CAFX_CUDA_CALL(context, overlap_add, sum, weight, frames, window, d);
  for (int b = 0; b < d.B; ++b) {
    const long start = static_cast<long>(b) * d.hop;
    for (int t = 0; t < d.T; ++t) {
      const double w = window[t];
      sum[start + t] += w * frames[static_cast<long>(b) * d.T + t];
      weight[start + t] += w;
    }
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
