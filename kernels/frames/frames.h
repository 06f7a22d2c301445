// kernels/frames/frames.h -- frames of an audio signal: cut, zero-padded, and recombined by overlap-add.
//
//   gather       x_padded[b, left + t] = audio[start_b + offset + t], zero around it and outside [begin_b, end_b)
//   overlap-add  out[n] = sum_i window[n - start_i] frame_i[n - start_i] / sum_i window[n - start_i]
//
//   Frames of a signal of n samples start at -(frame - hop) + i hop, i in [0, n_frames(n)): the first still holds
//   sample 0, the last sample n - 1. The window is a periodic Hann; the sum is divided by the actual sum of windows, so
//   the identity as a model renders its input unchanged, for every length and every hop <= frame / 2.
//
// Shapes   x_padded (B, T + K - 1)   T = frame   K = taps of the convolution that reads it (1: no padding)
// Errors   1 <= hop <= frame / 2, sizes >= 1: CheckError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/rng.h"
#include "kernels/device/context.h"

namespace cafx {

struct FrameRef {           // one frame of a concatenated data set
  std::int64_t start;       // of its first sample in `audio`; may lie outside [begin, end)
  std::int64_t begin, end;  // the note that it belongs to, half open
};

// Frames where they lie, for ops that gather what they read by themselves.
struct FrameSource {
  const float* audio = nullptr;
  const FrameRef* refs = nullptr;  // one for each frame; null: there is no source
};

struct GatherDims {
  int B, T, K;
  int left;         // zeros before the first sample: same_left(K) for conv1d
  long offset = 0;  // of that sample, from start_b: what is read begins there
  long row = 0;     // of pad_frames: samples from one place's first to the next one's; 0: T
};

void gather_frames(const Context&, float* x_padded, const float* audio, const FrameRef* refs, GatherDims);
// The same of B rows of samples: x (B,row), of each the T from `offset` on.
void pad_frames(const Context&, float* x_padded, const float* x, GatherDims);

// order = permutation(n, rng), in the device's memory; scratch of shuffle_scratch bytes.
std::size_t shuffle_scratch(const Context&, std::uint32_t n);
void shuffle(const Context&, std::uint32_t* order, std::uint32_t n, Rng rng, void* scratch);

// B windowed frames, hop samples apart, added to `sum` and `weight`: sum[i] += sum_b window[i - b hop] frames[b, i - b
// hop], weight[i] the same of the window alone; both from the first sample of the first frame.
struct OverlapAddDims {
  int B, T, hop;
};
constexpr long overlap_add_samples(OverlapAddDims d) { return static_cast<long>(d.B - 1) * d.hop + d.T; }
void overlap_add(const Context&, double* sum, double* weight, const float* frames, const float* window, OverlapAddDims);
inline float overlap_added(double sum, double weight) { return weight > 0.0 ? static_cast<float>(sum / weight) : 0.0f; }

std::int64_t n_frames(std::int64_t n_samples, int frame, int hop);
std::int64_t frame_start(std::int64_t i, int frame, int hop);  // in samples, may be negative
std::vector<float> hann_window(int frame);                     // periodic

}  // namespace cafx
