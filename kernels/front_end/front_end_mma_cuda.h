// kernels/front_end/front_end_mma_cuda.h -- abs, Conv1D-Local, softplus and pooling in bf16 or fp16 on tensor cores.
//
//   A channel's filter is a Toeplitz matrix, W[r, j] = w2[j - 64 + left - r]: 16 neighbouring samples r by the 144
//   samples j that their taps reach, which begin 64 before the first. Times 144 samples of eight such groups it gives
//   their 128 sums, a group to a column, by nine products. Samples are counted so that a lane's share of the right
//   operand is 8 neighbouring bytes.
//   A warp keeps one channel's matrix for all of its frames; a block has 16 channels and their |x1|, a row each.
// Rounding  w2; x1 is rounded as it is stored; sums are fp32, each over two interleaved halves of its terms.
#pragma once

#include "kernels/device/each_cuda.h"
#include "kernels/device/grid_cuda.h"
#include "kernels/device/halves_cuda.h"
#include "kernels/device/tensor_core_cuda.h"
#include "kernels/front_end/front_end.h"

namespace cafx::front_end_mma {

using namespace cuda::tensor_core;

constexpr int kChannels = 16, kThreads = 32 * kChannels;  // of a block: a warp for each channel
constexpr int kGroup = 16, kBefore = 64, kReach = 144, kSteps = kReach / 16;
constexpr int kMostSamples = 1024;                                           // of a tile
constexpr int row_words(int samples) { return (samples + kReach) / 2 + 2; }  // 2 of 4: eight rows are half the banks

inline bool takes(const Context& context, FrontEndDims d) {
  return is_16_bit(context.precision) && context.cuda->major >= 8 && d.K2 <= 128 && d.C % kChannels == 0 &&
         d.T % 256 == 0 && (d.P == 16 || d.P == 32 || d.P == 64 || d.P == 128 || d.P == 256);
}

// Samples of a tile: the most that leave so many tiles.
inline int tile_samples(FrontEndDims d, int wanted) {
  int samples = kMostSamples;
  while (samples > 256 &&
         (d.T % samples != 0 || static_cast<long>(d.B) * (d.T / samples) * (d.C / kChannels) < wanted)) {
    samples /= 2;
  }
  return samples;
}
inline std::size_t shared_bytes(int samples) {
  const int groups = samples / kGroup;
  return sizeof(Word) * kChannels * row_words(samples) + (sizeof(float) + 1) * groups * (kChannels + 1);
}

// A channel's Toeplitz matrix as a warp's left operand. All of it are kDiagonals pairs of neighbouring taps, pair(u) of
// diagonal u from the right end on; they go through `row`, which has room for them and which no other warp uses.
constexpr int kDiagonals = kReach + kGroup - 2;
template <class F>
__device__ __forceinline__ void load_matrix(Fragment (&a)[kSteps], Word* row, int lane, F pair) {
#pragma unroll 1
  for (int u = lane; u < kDiagonals; u += 32) row[u] = pair(u);
  __syncwarp();
  const Word from = shared_address(row + kGroup - 1 + lane % 4 * 4 - lane / 4);
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[k][i] = load_word(from + 4 * (16 * k + i / 2 * 2 - i % 2 * 8));
  }
}

// c += the Toeplitz matrix times the samples of eight groups, from this lane's place in a row on, in two halves.
template <Number S>
__device__ __forceinline__ void multiply_groups(Sums (&c)[2], const Fragment (&a)[kSteps], Word from) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    Word b0, b1;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(b0), "=r"(b1) : "r"(from + 32 * k) : "memory");
    multiply<S>(c[k % 2], a[k], b0, b1);
  }
}

// Two neighbouring samples of eight channels.
struct SamplePair {
  uint4 first, second;
  __device__ __forceinline__ Word samples(int channel) const {  // both of a channel
    const Word a = (&first.x)[channel / 2], b = (&second.x)[channel / 2];
    return __byte_perm(a, b, channel % 2 ? 0x7632 : 0x5410);
  }
};

template <Number S>
__global__ void __launch_bounds__(kThreads, 2)
    pool_kernel(Members members, float* z, std::int32_t* positions, const S* x1, const float* w2, const float* bias2,
                FrontEndDims d, int samples) {
  members.enter(z, positions, x1, w2, bias2);
  extern __shared__ __align__(16) Word rows[];
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32, g = lane / 4, t4 = lane % 4,
            channel_groups = d.C / kChannels, c0 = static_cast<int>(blockIdx.x) % channel_groups * kChannels,
            per_frame = d.T / samples, tiles = d.B * per_frame, words = row_words(samples), groups = samples / kGroup,
            pairs = (samples + kReach) / 2, left = (d.K2 - 1) / 2;
  auto* best = reinterpret_cast<float*>(rows + kChannels * words);  // (groups, 16 + 1): before the bias
  auto* best_at = reinterpret_cast<std::uint8_t*>(best + groups * (kChannels + 1));  // and where in its group
  Fragment a[kSteps];
  load_matrix(a, rows + own * words, lane, [&](int u) {
    const int tap = u - (kGroup - 1) - kBefore + left;
    const float* w = w2 + static_cast<long>(c0 + own) * d.K2;
    return round_pair<S>(tap >= 0 && tap < d.K2 ? w[tap] : 0.0f, tap + 1 >= 0 && tap + 1 < d.K2 ? w[tap + 1] : 0.0f);
  });
  __syncthreads();
#pragma unroll 1
  for (int tile = blockIdx.x / channel_groups; tile < tiles; tile += gridDim.x / channel_groups) {
    const int b = tile / per_frame, s0 = (tile - b * per_frame) * samples;
    const S* frame = x1 + static_cast<long>(b) * d.T * d.C + c0;
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
      for (int channel = 0; channel < 8; ++channel) to[channel * words] = pair.samples(channel) & 0x7fff7fffu;
    }
    __syncthreads();
    Word from = shared_address(rows + own * words) + 32 * g + 8 * t4;
#pragma unroll 1
    for (int group = 0; group < groups; group += 8, from += 256) {
      Sums c[2] = {};
      multiply_groups<S>(c, a, from);
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
  // A window's bits depend on neither.
  const int n_sm = cuda::multiprocessors_each(context), samples = tile_samples(d, n_sm),
            channel_groups = d.C / kChannels;
  const long tiles = static_cast<long>(d.B) * (d.T / samples),
             shares = std::min<long>(tiles, std::max(1, 2 * n_sm / channel_groups));
  with_number(context, [&]<Number S>() {
    launch(context, pool_kernel<S>, static_cast<unsigned>(shares * channel_groups), kThreads, shared_bytes(samples), z,
           positions, static_cast<const S*>(x1), w2, bias2, d, samples);
  });
}

// Backward. One sample in P carries gradient; as a signal of its own, G, zero elsewhere, it is multiplied like the rest:
//   dabs[s]     = sum over s' of G[s'] w2[s - s' + left], by the same nine products, with the taps reversed
//   dw2[8q + r] = sum over s of |x1|[s + 8q - 64] G[s - r - 1], 16 q by 8 r: one product for 16 samples
// A tile's own part of G lies there twice, the second time one sample later, since pairs begin at any sample.
constexpr int kBackTaps = 128;
inline bool takes_back(const Context& context, FrontEndDims d) { return takes(context, d) && d.K2 == kBackTaps; }

struct BackRows {  // words of a channel's rows
  int x, g, own, local;
  __host__ __device__ explicit BackRows(int samples)
      : x(row_words(samples)), g(row_words(samples)), own(samples / 2 + 35), local(samples / 32 * 40 + 2) {}
  __host__ __device__ int all() const { return x + g + 2 * own + local; }
};
constexpr int kOwnBefore = 8;  // samples before the tile's first
inline std::size_t back_shared(int samples) { return sizeof(Word) * kChannels * BackRows(samples).all(); }

__device__ __forceinline__ float sign_of(float v) { return (v > 0.0f ? 1.0f : 0.0f) - (v < 0.0f ? 1.0f : 0.0f); }

// dw += one channel's 128 sums over the tile; x: its row of samples; pairs: where this lane's pairs of G begin.
template <Number S>
__device__ __forceinline__ void add_taps(Sums& dw, const Word* x_row, Word pairs, int samples, int lane) {
  const Word from = shared_address(x_row + lane % 4 + lane / 4 * 4);
  const auto magnitudes = [&](int j) { return load_word(from + 16 * j) & 0x7fff7fffu; };
  const auto add = [&](int step, Word a0, Word a1, Word a2, Word a3) {
    const Word at = pairs + 32 * step;
    multiply<S>(dw, {a0, a1, a2, a3}, load_word(at), load_word(at + 16));
  };
  Word x[16];
#pragma unroll
  for (int j = 0; j < 8; ++j) x[j] = magnitudes(j);
#pragma unroll 1
  for (int step = 0; step < samples / 16; step += 4) {
#pragma unroll
    for (int j = 8; j < 16; ++j) x[j] = magnitudes(2 * step + j);
#pragma unroll
    for (int j = 0; j < 4; ++j) add(step + j, x[2 * j], x[2 * j + 8], x[2 * j + 1], x[2 * j + 9]);
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] = x[j + 8];
  }
  const int step = samples / 16;
  add(step, x[0], magnitudes(2 * step + 8), x[1], magnitudes(2 * step + 9));
}

// A channel's gradient of |x1| over the tile; sample s of it at s + s / 32 * 8, so that no two lanes write to a bank.
template <Number S>
__device__ __forceinline__ void spread(float* local_row, const Fragment (&a)[kSteps], const Word* g_row, int samples,
                                       int lane) {
  Word from = shared_address(g_row) + 8 * lane;
  float* to = local_row + 40 * (lane % 4) + lane / 4;
#pragma unroll 1
  for (int group = 0; group < samples / kGroup; group += 8, from += 256, to += 160) {
    Sums c[2] = {};
    multiply_groups<S>(c, a, from);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i % 2 * 16 + i / 2 * 8] = c[0][i] + c[1][i];
  }
}

// Two samples of eight channels of dx1: `rows` plus what comes through the magnitude, rounded; dbias += the result.
template <Number S>
__device__ __forceinline__ void add_through_magnitude(uint4 (&rows)[2], float (&dbias)[8], const Word* xs,
                                                      const float* local, const BackRows& words, int i) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {  // two channels
    float2 v[2] = {widen<S>((&rows[0].x)[k]), widen<S>((&rows[1].x)[k])};
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int channel = 2 * k + j;
      const float2 x = widen<S>(xs[channel * words.x + kBefore / 2 + i]),
                   l = *reinterpret_cast<const float2*>(local + channel * words.local + 2 * i + i / 16 * 8);
      (j ? v[0].y : v[0].x) += sign_of(x.x) * l.x;
      (j ? v[1].y : v[1].x) += sign_of(x.y) * l.y;
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const Word stored = round_pair<S>(v[j].x, v[j].y);
      (&rows[j].x)[k] = stored;
      const float2 sum = widen<S>(stored);
      dbias[2 * k] += sum.x, dbias[2 * k + 1] += sum.y;
    }
  }
}

// The block's part: to[k C + channel] for taps k of w2, then bias2 and bias1. The threads' sums for the biases are added
// within a warp, then in order of the warps; `sums`: (2, kThreads / 32, kChannels).
__device__ __forceinline__ void write_part(float* to, float* sums, const Sums& dw, float (&dbias1)[8], float dbias2,
                                           int C) {
  constexpr int kWarps = kThreads / 32;
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32;
  // Sixteen lanes have the same eight channels: halved three times, a lane's sum is of channel `lane / 2 % 8` of them.
  cuda::sum_by_halves<8, 2>(dbias1, lane);
  dbias1[0] += __shfl_xor_sync(0xffffffffu, dbias1[0], 1);
  dbias2 += __shfl_xor_sync(0xffffffffu, dbias2, 16);
  if (lane % 2 == 0) sums[own * kChannels + lane / 16 * 8 + lane / 2 % 8] = dbias1[0];
  if (lane < kChannels) sums[(kWarps + own) * kChannels + lane] = dbias2;
  __syncthreads();
  if (threadIdx.x < 2 * kChannels) {
    const int channel = threadIdx.x % kChannels, second = threadIdx.x / kChannels;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) sum += sums[(second * kWarps + i) * kChannels + channel];
    to[static_cast<long>(second ? kBackTaps : kBackTaps + 1) * C + channel] = sum;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[static_cast<long>(8 * (lane / 4 + i / 2 * 8) + lane % 4 * 2 + i % 2) * C + own] = dw[i];
  }
}

// partial (slices, K2 + 2, C): of w2, then of bias2 and bias1.
template <Number S>
__global__ void __launch_bounds__(kThreads, 1)
    back_kernel(Members members, S* dx1, float* partial, const float* dz, const S* x1, const float* z,
                const std::int32_t* positions, const float* w2, FrontEndDims d, int samples) {
  members.enter(dx1, partial, dz, x1, z, positions, w2);
  extern __shared__ __align__(16) Word rows[];
  constexpr int kLoads = (kMostSamples + kReach + kThreads - 1) / kThreads, kStores = kMostSamples / kThreads;
  const BackRows words(samples);
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32, g = lane / 4, t4 = lane % 4,
            channel_groups = d.C / kChannels, c0 = static_cast<int>(blockIdx.x) % channel_groups * kChannels,
            slice = blockIdx.x / channel_groups, per_frame = d.T / samples, tiles = d.B * per_frame,
            windows = d.T / d.P, pairs = (samples + kReach) / 2, left = (kBackTaps - 1) / 2;
  Word *xs = rows, *gs = xs + kChannels * words.x, *even = gs + kChannels * words.g,
       *odd = even + kChannels * words.own;
  auto* local = reinterpret_cast<float*>(odd + kChannels * words.own);
  Fragment a[kSteps];
  load_matrix(a, xs + own * words.x, lane, [&](int u) {  // the taps reversed
    const int tap = kGroup - 1 + kBefore + left - u;
    const float* w = w2 + static_cast<long>(c0 + own) * kBackTaps;
    return round_pair<S>(tap >= 0 && tap < kBackTaps ? w[tap] : 0.0f, tap >= 1 && tap <= kBackTaps ? w[tap - 1] : 0.0f);
  });
  Sums dw = {};
  float dbias1[8] = {}, dbias2 = 0.0f;
#pragma unroll 1
  for (int tile = slice; tile < tiles; tile += gridDim.x / channel_groups) {
    const int b = tile / per_frame, s0 = (tile - b * per_frame) * samples;
    const S* frame = x1 + static_cast<long>(b) * d.T * d.C + c0;
    // All loads of the tile but those of dx1, then what they wait for.
    SamplePair loaded[kLoads];
    const int first = max(0, (s0 - kBefore) / d.P), last = min(windows, (s0 + samples + kReach - kBefore) / d.P + 1);
    int at[kLoads];
    float dz_at[kLoads], z_at[kLoads];
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      const int item = threadIdx.x + n * kThreads, window = first + item / kChannels;
      const long from = (static_cast<long>(b) * windows + window) * d.C + c0 + item % kChannels;
      const bool there = window < last;
      at[n] = there ? window * d.P + positions[from] - s0 : samples + kReach;
      dz_at[n] = there ? dz[from] : 0.0f, z_at[n] = there ? z[from] : 0.0f;
    }
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      const int item = threadIdx.x + n * kThreads, i = item / 32 * 16 + item % 16, s = s0 - kBefore + 2 * i;
      const bool there = i < pairs && s >= 0 && s < d.T;
      const auto* from = reinterpret_cast<const uint4*>(frame + static_cast<long>(there ? s : 0) * d.C) + item / 16 % 2;
      loaded[n].first = there ? from[0] : uint4{}, loaded[n].second = there ? from[d.C / 8] : uint4{};
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kChannels * (words.g + 2 * words.own) / 4; i += kThreads) {
      reinterpret_cast<uint4*>(gs)[i] = {};
    }
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      const int item = threadIdx.x + n * kThreads, i = item / 32 * 16 + item % 16, half = item / 16 % 2;
      if (i >= pairs) continue;
#pragma unroll
      for (int channel = 0; channel < 8; ++channel) {
        xs[(half * 8 + channel) * words.x + i] = loaded[n].samples(channel);
      }
    }
    __syncthreads();
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      const int channel = threadIdx.x % kChannels, t = at[n];
      if (t < -kBefore || t >= samples + kReach - kBefore) continue;
      S v;
      write(&v, dz_at[n] * -expm1f(-z_at[n]));
      reinterpret_cast<S*>(gs + channel * words.g)[t + kBefore] = v;
      if (t < 0 || t >= samples) continue;
      reinterpret_cast<S*>(even + channel * words.own)[t + kOwnBefore] = v;
      reinterpret_cast<S*>(odd + channel * words.own)[t + kOwnBefore + 1] = v;
      dbias2 += read(&v);
    }
    uint4 before[kStores][2];
#pragma unroll
    for (int n = 0; n < kStores; ++n) {
      const int item = threadIdx.x + n * kThreads, i = item / 32 * 16 + item % 16;
      if (item >= samples) continue;
      const auto* from =
          reinterpret_cast<const uint4*>(dx1 + (static_cast<long>(b) * d.T + s0 + 2 * i) * d.C + c0) + item / 16 % 2;
      before[n][0] = from[0], before[n][1] = from[d.C / 8];
    }
    __syncthreads();
    // Pairs of G at s - g - 1 + 2 t4: of the copy whose pairs begin there.
    add_taps<S>(dw, xs + own * words.x,
                shared_address((g % 2 ? even : odd) + own * words.own + kOwnBefore / 2 + t4 - (g + 1) / 2), samples,
                lane);
    spread<S>(local + own * words.local, a, gs + own * words.g, samples, lane);
    __syncthreads();
#pragma unroll
    for (int n = 0; n < kStores; ++n) {
      const int item = threadIdx.x + n * kThreads, i = item / 32 * 16 + item % 16, half = item / 16 % 2;
      if (item >= samples) continue;
      add_through_magnitude<S>(before[n], dbias1, xs + half * 8 * words.x, local + half * 8 * words.local, words, i);
      auto* to = reinterpret_cast<uint4*>(dx1 + (static_cast<long>(b) * d.T + s0 + 2 * i) * d.C + c0) + half;
      to[0] = before[n][0], to[d.C / 8] = before[n][1];
    }
  }
  __syncthreads();
  write_part(partial + static_cast<long>(slice) * (kBackTaps + 2) * d.C + c0, reinterpret_cast<float*>(rows), dw,
             dbias1, dbias2, d.C);
}

// Returns the slices of `partial` that it writes.
inline int back(const Context& context, Stored* dx1, float* partial, const float* dz, const Stored* x1, const float* z,
                const std::int32_t* positions, const float* w2, FrontEndDims d) {
  // A block has its sums to write, so that it takes more samples than would fill a GPU evenly.
  int samples = tile_samples(d, context.cuda->n_sm / 3);
  while (back_shared(samples) > context.cuda->shared_max) samples /= 2;
  const int channel_groups = d.C / kChannels;
  const long slices =
      std::min<long>(static_cast<long>(d.B) * (d.T / samples), std::max(1, context.cuda->n_sm / channel_groups));
  with_number(context, [&]<Number S>() {
    launch(context, back_kernel<S>, static_cast<unsigned>(slices * channel_groups), kThreads, back_shared(samples),
           static_cast<S*>(dx1), partial, dz, static_cast<const S*>(x1), z, positions, w2, d, samples);
  });
  return static_cast<int>(slices);
}

}  // namespace cafx::front_end_mma
