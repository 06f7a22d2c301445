// kernels/front_end/front_end_mma_cuda.h -- abs, Conv1D-Local, softplus and pooling in bf16 on tensor cores.
//
//   A channel's filter is a Toeplitz matrix, W[r, j] = w2[j - 64 + left - r]: 16 neighbouring samples r by the 144
//   samples j that their taps reach, which begin 64 before the first. Times 144 samples of eight such groups it gives
//   their 128 sums, a group to a column, by nine products. Samples are counted so that a lane's share of the right
//   operand is 8 neighbouring bytes.
//   A warp keeps one channel's matrix for all of its frames; a block has 16 channels and their |x1|, a row each.
// Rounding  w2 to bf16; x1 is bf16 as it is stored; sums are fp32, each over two interleaved halves of its terms.
#pragma once

#include "kernels/device/each_cuda.h"
#include "kernels/device/tensor_core_cuda.h"
#include "kernels/front_end/front_end.h"

namespace cafx::front_end_mma {

using namespace cuda::tensor_core;

constexpr int kChannels = 16, kThreads = 32 * kChannels;  // of a block: a warp for each channel
constexpr int kGroup = 16, kBefore = 64, kReach = 144, kSteps = kReach / 16;
constexpr int kMostSamples = 1024;                                           // of a tile
constexpr int row_words(int samples) { return (samples + kReach) / 2 + 2; }  // 2 of 4: eight rows are half the banks

inline bool takes(const Context& context, FrontEndDims d) {
  return context.precision == Precision::kBf16 && context.cuda->major >= 8 && d.K2 <= 128 && d.C % kChannels == 0 &&
         d.T % 256 == 0 && (d.P == 16 || d.P == 32 || d.P == 64 || d.P == 128 || d.P == 256);
}

// Samples of a tile: the most that leave a tile for each multiprocessor. A window's bits do not depend on it.
inline int tile_samples(const Context& context, FrontEndDims d) {
  int samples = kMostSamples;
  while (samples > 256 &&
         (d.T % samples != 0 || static_cast<long>(d.B) * (d.T / samples) * (d.C / kChannels) < context.cuda->n_sm)) {
    samples /= 2;
  }
  return samples;
}
inline std::size_t shared_bytes(int samples) {
  const int groups = samples / kGroup;
  return sizeof(Word) * kChannels * row_words(samples) + (sizeof(float) + 1) * groups * (kChannels + 1);
}

// Two neighbouring samples of eight channels.
struct SamplePair {
  uint4 first, second;
  __device__ __forceinline__ Word magnitudes(int channel) const {  // of both
    const Word a = (&first.x)[channel / 2], b = (&second.x)[channel / 2];
    return __byte_perm(a, b, channel % 2 ? 0x7632 : 0x5410) & 0x7fff7fffu;
  }
};

__global__ void __launch_bounds__(kThreads, 2)
    pool_kernel(float* z, std::int32_t* positions, const Bfloat* x1, const float* w2, const float* bias2,
                FrontEndDims d, int samples) {
  extern __shared__ __align__(16) Word rows[];
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32, g = lane / 4, t4 = lane % 4,
            channel_groups = d.C / kChannels, c0 = static_cast<int>(blockIdx.x) % channel_groups * kChannels,
            per_frame = d.T / samples, tiles = d.B * per_frame, words = row_words(samples), groups = samples / kGroup,
            pairs = (samples + kReach) / 2, left = (d.K2 - 1) / 2;
  auto* best = reinterpret_cast<float*>(rows + kChannels * words);  // (groups, 16 + 1): before the bias
  auto* best_at = reinterpret_cast<std::uint8_t*>(best + groups * (kChannels + 1));  // and where in its group
  Fragment a[kSteps];
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int tap = 16 * k + 4 * t4 + i / 2 * 2 - kBefore + left - g - i % 2 * 8;
      const float* w = w2 + static_cast<long>(c0 + own) * d.K2 + tap;
      a[k][i] = round_pair(tap >= 0 && tap < d.K2 ? w[0] : 0.0f, tap + 1 >= 0 && tap + 1 < d.K2 ? w[1] : 0.0f);
    }
  }
#pragma unroll 1
  for (int tile = blockIdx.x / channel_groups; tile < tiles; tile += gridDim.x / channel_groups) {
    const int b = tile / per_frame, s0 = (tile - b * per_frame) * samples;
    const Bfloat* frame = x1 + static_cast<long>(b) * d.T * d.C + c0;
#pragma unroll 1
    for (int item = threadIdx.x; item / 32 * 16 < pairs; item += kThreads) {
      // Lanes: 16 pairs of samples by two halves of the channels.
      const int i = item / 32 * 16 + item % 16, s = s0 - kBefore + 2 * i, half = item / 16 % 2;
      if (i >= pairs) continue;
      SamplePair pair{};
      if (s >= 0 && s < d.T) {
        const auto* from = reinterpret_cast<const uint4*>(frame + static_cast<long>(s) * d.C) + half;
        pair.first = from[0], pair.second = from[d.C / 8];
      }
      Word* to = rows + half * 8 * words + i;
#pragma unroll
      for (int channel = 0; channel < 8; ++channel) to[channel * words] = pair.magnitudes(channel);
    }
    __syncthreads();
    Word from = shared_address(rows + own * words) + 32 * g + 8 * t4;
#pragma unroll 1
    for (int group = 0; group < groups; group += 8, from += 256) {
      Sums c[2] = {};
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
        Word b0, b1;
        asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(b0), "=r"(b1) : "r"(from + 32 * k) : "memory");
        multiply(c[k % 2], a[k], b0, b1);
      }
      float largest[2];
      int at[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {  // a column's 16 sums are in the eight lanes of equal t4
        const float low = c[0][i] + c[1][i], high = c[0][i + 2] + c[1][i + 2];
        float m = fmaxf(low, high);
#pragma unroll
        for (int mask = 4; mask <= 16; mask *= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, mask));
        const Word mine = 0x11111111u << t4, lows = __ballot_sync(0xffffffffu, low == m) & mine,
                   highs = __ballot_sync(0xffffffffu, high == m) & mine;
        largest[i] = m;
        at[i] = lows    ? (__ffs(static_cast<int>(lows)) - 1) / 4
                : highs ? 8 + (__ffs(static_cast<int>(highs)) - 1) / 4
                        : 0;
      }
      if (g < 2) {
        const int place = (group + 2 * t4 + g) * (kChannels + 1) + own;
        best[place] = g ? largest[1] : largest[0];
        best_at[place] = static_cast<std::uint8_t>(g ? at[1] : at[0]);
      }
    }
    __syncthreads();
    const int of_window = d.P / kGroup;
    for (int i = threadIdx.x; i < groups / of_window * kChannels; i += kThreads) {
      const int window = i / kChannels, channel = i % kChannels;
      float m = best[window * of_window * (kChannels + 1) + channel];
      int at = best_at[window * of_window * (kChannels + 1) + channel];
      for (int k = 1; k < of_window; ++k) {
        const int place = (window * of_window + k) * (kChannels + 1) + channel;
        if (best[place] > m) m = best[place], at = k * kGroup + best_at[place];
      }
      const float x = m + bias2[c0 + channel];
      const long to = (static_cast<long>(b) * (d.T / d.P) + s0 / d.P + window) * d.C + c0 + channel;
      z[to] = fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
      positions[to] = at;
    }
    // The barrier after the next tile's rows also keeps its maxima from overtaking these.
  }
}

inline void pool(const Context& context, float* z, std::int32_t* positions, const Stored* x1, const float* w2,
                 const float* bias2, FrontEndDims d) {
  const int samples = tile_samples(context, d), channel_groups = d.C / kChannels;
  const long tiles = static_cast<long>(d.B) * (d.T / samples),
             shares = std::min<long>(tiles, std::max(1, 2 * context.cuda->n_sm / channel_groups));
  launch(context, pool_kernel, static_cast<unsigned>(shares * channel_groups), kThreads, shared_bytes(samples), z,
         positions, static_cast<const Bfloat*>(x1), w2, bias2, d, samples);
}

}  // namespace cafx::front_end_mma
