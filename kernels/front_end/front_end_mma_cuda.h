// kernels/front_end/front_end_mma_cuda.h -- abs, Conv1D-Local, softplus and pooling in bf16 or fp16 on tensor cores.
//
//   A block has 16 channels of 512 samples, a warp for each channel. A channel's samples lie in a row of shared memory,
//   with the 64 on either side that taps reach. Runs of 144 neighbours are the left operand, those that begin 0 and 8
//   samples into each of eight groups of 32; the right one is a Toeplitz matrix of the filter, W[j, r] = w2[j - 64 +
//   left - r] for eight outputs r. The same matrix, two blocks further, gives the outputs 16 samples further. A warp
//   keeps its 18 blocks of 8 x 8 in a register each.
//   A pair of operands are samples t and t + 4 of a block of 8, for lane t of a quad, and so is a pair of outputs: the
//   samples that a warp loads at a time are then neighbours.
// Rounding  w2; x1 is rounded as it is stored; sums are fp32, in the order of their terms.
#pragma once

#include <bit>

#include "kernels/device/each_cuda.h"
#include "kernels/device/grid_cuda.h"
#include "kernels/device/halves_cuda.h"
#include "kernels/device/tensor_core_cuda.h"
#include "kernels/front_end/front_end.h"

namespace cafx::front_end_mma {

using namespace cuda::tensor_core;

constexpr int kChannels = 16, kWarps = kChannels, kThreads = 32 * kWarps;  // of a block
constexpr int kSamples = 512, kGroup = 32, kGroups = kSamples / kGroup;    // of a tile
constexpr int kBefore = 64, kAround = 2 * kBefore / kGroup;                // samples before a tile; groups around it
constexpr int kSteps = 10, kBlocks = 2 * (kSteps - 1);  // of a product, for both runs; blocks of the filter

inline bool takes(const Context& context, FrontEndDims d) {
  return is_16_bit(context.precision) && context.cuda->major >= 8 && d.K2 <= 128 && d.C % kChannels == 0 &&
         d.T % 256 == 0 && (d.P == 16 || d.P == 32 || d.P == 64 || d.P == 128 || d.P == 256);
}

// What kernels are told of the sizes. Blocks: (groups of 16 channels, shares of the tiles).
struct Sizes {
  int T, C;
  int pool_bits;              // log2 P
  unsigned per_frame, tiles;  // of a frame, of all; behind a frame's end there are zeros
  explicit Sizes(FrontEndDims d)
      : T(d.T),
        C(d.C),
        pool_bits(std::countr_zero(static_cast<unsigned>(d.P))),
        per_frame(static_cast<unsigned>(ceil_div(d.T, kSamples))),
        tiles(static_cast<unsigned>(d.B) * per_frame) {}
};

// Where a channel's row begins: in other banks than those 4, 8 and 12 channels further. `words`: a multiple of 8.
__device__ __forceinline__ int row_of(int channel, int words) {
  return channel * words + channel / 4 % 2 * 4 + channel / 8 * 16;
}
constexpr int rows_of_all(int words) { return kChannels * words + 20; }

// The filter's blocks as right operands, from a row that has all pairs of taps k and k + 4, at 96 + k, and zeros around
// them, of which the words from First to Last are used. A warp makes its channel's.
template <Number S, int First, int Last, class F>
__device__ __forceinline__ void lay_down_filter(Word row, int lane, F tap) {
  Word pairs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float low = tap(4 * lane + i), high = __shfl_down_sync(0xffffffffu, low, 1);
    pairs[i] = round_pair<S>(low, lane < 31 ? high : 0.0f);
    if (lane == 0) store_word(row + 4 * (92 + i), round_pair<S>(0.0f, low));
  }
  store_words(row + 16 * (lane + 24), uint4{pairs[0], pairs[1], pairs[2], pairs[3]});
  const int zeros = lane < 23 ? 4 * lane : 4 * lane + 132;
  if (zeros >= First && zeros < Last) store_words(row + 4 * zeros, uint4{});
  __syncwarp();
}
__device__ __forceinline__ void load_filter(Word (&w)[kBlocks], Word row, int lane, int left) {
  const Word from = row + 4 * (left + 32 + lane % 4 - lane / 8 - lane / 4 % 2 * 4);
#pragma unroll
  for (int m = 0; m < kBlocks; ++m) w[m] = load_word(from + 32 * m);
}

// Sums of 256 samples: lane 4 g + t has those of group g, c[n] = {s, s + 4, s + 8, s + 12} for s = 16 n + t. `from`:
// the address of the lane's pair of the group's first block; words to the next block and to the next group.
template <Number S, int Block, int Group>
__device__ __forceinline__ void multiply_row(Sums (&c)[2], const Word (&w)[kBlocks], Word from) {
  const auto load = [&](int block) { return load_word(from + 4 * (block / 4 * Group + block % 4 * Block)); };
  Word first = load(0);
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    const bool last = k == kSteps - 1;  // behind it the filter is zero
    const Word second = load(2 * k + 1), third = last ? 0u : load(2 * k + 2);
    const Fragment a = {first, second, last ? 0u : second, third};
    if (!last) multiply<S>(c[0], a, w[2 * k], w[2 * k + 1]);
    if (k > 0) multiply<S>(c[1], a, w[2 * k - 2], w[2 * k - 1]);
    first = third;
  }
}

// A thread's share of a group: four channels of samples s, s + 4, s + 8, s + 12, a pair of each of two blocks.
struct Share {
  int channel, half, t4;
  __device__ explicit Share(int lane) : channel(lane % 4 * 4), half(lane / 4 % 2), t4(lane / 8) {}
  __device__ __forceinline__ int sample() const { return 16 * half + t4; }
};
template <Number S>
__device__ __forceinline__ void load_share(uint2 (&v)[4], const S* from, int C) {
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = *reinterpret_cast<const uint2*>(from + 4 * i * C);
}

// The rows of a tile of x1 on their way to shared memory, as magnitudes: each warp's group, and by the first warps
// those around the tile.
template <Number S>
struct Rows {
  uint2 v[2][4];
  static __device__ __forceinline__ int group(int n, int warp) {
    return n == 0 ? warp : warp < kAround / 2 ? warp - kAround / 2 : warp + kGroups - kAround / 2;
  }
  // x1: of the block's first channel.
  __device__ __forceinline__ void load(const S* x1, unsigned tile, Sizes d, Share share, int warp) {
    const unsigned b = tile / d.per_frame;
    const int s0 = static_cast<int>(tile - b * d.per_frame) * kSamples;
    const S* from = x1 + (static_cast<long>(b) * d.T + s0) * d.C;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int s = group(n, warp) * kGroup;
      if ((n == 0 || warp < kAround) && s0 + s >= 0 && s0 + s < d.T) {
        load_share(v[n], from + static_cast<long>(s + share.sample()) * d.C + share.channel, d.C);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) v[n][i] = {};
      }
    }
  }
  // words: of a channel and of a group.
  __device__ __forceinline__ void store(Word rows, int words, int group_words, Share share, int warp) const {
    const Word to = rows + 4 * (row_of(share.channel, words) + 8 * share.half + share.t4);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      if (n > 0 && warp >= kAround) break;
      const Word at = to + 4 * (group(n, warp) + kAround / 2) * group_words;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int k = i / 2, j = i % 2 * 2;
        store_word(at + 4 * (k * words + 2 * j),
                   __byte_perm((&v[n][j].x)[k / 2], (&v[n][j + 1].x)[k / 2], k % 2 ? 0x7632 : 0x5410) & 0x7fff7fffu);
      }
    }
  }
};

// A channel's largest sums: of each sixteen samples and lane of a quad, (4, 32), and where they are, a byte each, (32).
constexpr int kBestWords = 5 * 32 + 4;
constexpr int kPoolGroup = 20, kPoolWords = (kGroups + kAround) * kPoolGroup;  // eight groups in other banks
constexpr std::size_t pool_shared() { return sizeof(Word) * (rows_of_all(kPoolWords) + kChannels * kBestWords); }

template <Number S>
__global__ void __launch_bounds__(kThreads, 2)
    pool_kernel(Members members, float* z, std::int32_t* positions, const S* x1, const float* w2, const float* bias2,
                Sizes d, int K2) {
  members.enter(z, positions, x1, w2, bias2);
  let_next_kernel_begin();
  extern __shared__ __align__(16) Word rows[];
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32, c0 = blockIdx.x * kChannels;
  const Share share(lane);
  Word* best = rows + rows_of_all(kPoolWords);
  const Word row = shared_address(rows + row_of(own, kPoolWords));
  Word w[kBlocks];
  lay_down_filter<S, 0, 256>(row, lane,
                             [&](int k) { return k < K2 ? w2[static_cast<long>(c0 + own) * K2 + k] : 0.0f; });
  load_filter(w, row, lane, (K2 - 1) / 2);
  wait_for_kernel_before();
  __syncthreads();
  Rows<S> x;
  x.load(x1 + c0, blockIdx.y, d, share, own);
#pragma unroll 1
  for (unsigned tile = blockIdx.y; tile < d.tiles; tile += gridDim.y) {
    const int b = tile / d.per_frame, s0 = (tile - b * d.per_frame) * kSamples;
    x.store(shared_address(rows), kPoolWords, kPoolGroup, share, own);
    __syncthreads();
    Word* to = best + own * kBestWords + lane;
    Word places = 0x01010101u * (lane % 4);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      Sums c[2] = {};
      multiply_row<S, 4, kPoolGroup>(c, w, row + 4 * ((8 * i + lane / 4) * kPoolGroup + lane % 4));
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float a = fmaxf(c[n][0], c[n][1]), b = fmaxf(c[n][2], c[n][3]);
        to[32 * (2 * i + n)] = __float_as_uint(fmaxf(a, b));
        places += (b > a ? c[n][3] > c[n][2] ? 12u : 8u : c[n][1] > c[n][0] ? 4u : 0u) << 8 * (2 * i + n);
      }
    }
    to[4 * 32] = places;
    // Not earlier: the products have no registers left for these.
    if (tile + gridDim.y < d.tiles) x.load(x1 + c0, tile + gridDim.y, d, share, own);
    __syncthreads();
    const int of_window = 1 << d.pool_bits >> 4, windows = min(kSamples, d.T - s0) >> d.pool_bits;
    for (int i = threadIdx.x; i < windows * kChannels; i += kThreads) {
      const int window = i / kChannels, channel = i % kChannels;
      float m = 0.0f;
      int at = 0;
      for (int k = 0; k < of_window; ++k) {
        const int sixteen = window * of_window + k, g = sixteen / 2, which = g / 8 * 2 + sixteen % 2;
        const Word* from = best + channel * kBestWords + g % 8 * 4;
        const float4 v = *reinterpret_cast<const float4*>(from + 32 * which);
        const uint4 places = *reinterpret_cast<const uint4*>(from + 32 * 4);
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float value = (&v.x)[t];
          const int place = k * 16 + static_cast<int>((&places.x)[t] >> 8 * which & 255u);
          if ((k == 0 && t == 0) || value > m || (value == m && place < at)) m = value, at = place;
        }
      }
      const float x = m + bias2[c0 + channel];
      const long to_z = (((static_cast<long>(b) * d.T + s0) >> d.pool_bits) + window) * d.C + c0 + channel;
      z[to_z] = fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
      positions[to_z] = at;
    }
    // The barrier after the next tile's rows also keeps its maxima from overtaking these.
  }
}

inline void pool(const Context& context, float* z, std::int32_t* positions, const Stored* x1, const float* w2,
                 const float* bias2, FrontEndDims d) {
  const Sizes sizes(d);
  const int channel_groups = d.C / kChannels,
            most = std::max(1, 2 * cuda::multiprocessors_each(context) / channel_groups);
  with_number(context, [&]<Number S>() {
    launch_early(context, pool_kernel<S>, dim3(channel_groups, std::min<unsigned>(sizes.tiles, most)), kThreads,
                 pool_shared(), z, positions, static_cast<const S*>(x1), w2, bias2, sizes, d.K2);
  });
}

// Backward. One sample in P carries gradient; as a signal of its own, G, zero elsewhere, it is multiplied like the
// rest:
//   dabs[s]     = sum over s' of G[s'] w2[s - s' + left], by the same products, with the taps reversed
//   dw2[8q + r] = sum over s of |x1|[s + 8q - 64] G[s - r - 1], 16 q by 8 r: one product for 16 samples
// A channel's row of G has the pairs of samples i and i + 4 for all i, of which the former takes every second half.
constexpr int kBackTaps = 128;
inline bool takes_back(const Context& context, FrontEndDims d) { return takes(context, d) && d.K2 == kBackTaps; }

// Words of a channel: x1, whose place dabs takes, the halves of all groups one after the other; G, 36 to a group of 32
// samples, so that eight groups are in other banks, and 4 in front, of an odd number; the filter. Then each thread's
// sums for bias1.
constexpr int kHalf = kGroups * 16 + 8, kSumWords = 2 * kHalf;
constexpr int kGradientGroup = 36, kGradientWords = (kGroups + kAround) * kGradientGroup + 5;
__device__ __forceinline__ int gradient_word(int i) { return i + i / 32 * 4; }
constexpr int kFilterFirst = 88, kFilterLast = 236;
constexpr std::size_t back_shared() {
  return sizeof(Word) * (rows_of_all(kSumWords) + kChannels * (kGradientWords + kFilterLast - kFilterFirst)) +
         sizeof(float4) * kThreads;
}

// Sample t of the tile, of a channel's row.
template <Number S>
__device__ __forceinline__ void set_gradient(S* row, int t, S v) {
  row[2 * gradient_word(t + kBefore + 4)] = v;
  row[2 * gradient_word(t + kBefore) + 1] = v;
}

// dw += a channel's 128 sums over the tile; lane 4 g + t has taps 8 g + 2 t, 8 g + 2 t + 1, then those 64 further.
template <Number S>
__device__ __forceinline__ void add_taps(Sums& dw, Word x_row, Word g_row, int lane) {
  const int g = lane / 4, t4 = lane % 4, first = t4 - g - 1;
  // Pair t of block g + m of x1, the pair at 8 m + t - g - 1 of G: another distance where lanes reach the next group.
  Word x = x_row + 4 * lane, pairs = g_row + 4 * (first + kBefore + 4 + 8),
       pairs_0 = g_row + 4 * gradient_word(first + kBefore + 4);
  const auto pair_of = [&](int m) {
    return load_word(m % 4 == 0 ? pairs_0 + m * 36 : pairs + m / 4 * 144 + m % 4 * 32);
  };
  // The row goes on on both sides of the tile.
  const Word inside = (first >= 0 ? 0xffffu : 0u) | (first + 4 >= 0 ? 0xffff0000u : 0u);
  // Blocks of 64 samples, of which the first are the rows of 64 taps, the next ones those of the other 64; then the
  // latter are the first. They stay in their registers, so that the sums of both halves change places instead.
  Sums sums[2] = {{dw[0], dw[1], dw[2], dw[3]}, {}};
  Fragment a[4];
#pragma unroll
  for (int m = 0; m < 8; ++m) a[m / 2][m % 2 * 2] = load_word(x + 16 * m);
#pragma unroll 1
  for (int t = 0; t < kSamples; t += 128) {
#pragma unroll
    for (int m = 0; m < 16; m += 2) {
      Fragment& own = a[m / 2 % 4];
      own[1 - m / 8] = load_word(x + 16 * (m + 8)), own[3 - m / 8] = load_word(x + 16 * (m + 9));
      Word b0 = pair_of(m);
      const Word b1 = pair_of(m + 1);
      if (m == 0 && t == 0) b0 &= inside;
      multiply<S>(sums[m / 8], own, b0, b1);
    }
    x += 256, pairs += 576, pairs_0 += 576;
  }
  multiply<S>(sums[0], {a[0][0], load_word(x + 128), 0u, 0u}, pair_of(0) & ~inside, 0u);
#pragma unroll
  for (int i = 0; i < 4; ++i) dw[i] = sums[0][i] + sums[1][i ^ 2];
}

// The same number, which the compiler takes for another one.
__device__ __forceinline__ int opaque(int v) {
  asm volatile("mov.b32 %0, %0;" : "+r"(v));
  return v;
}

// dx1 of four channels and samples: `v` plus what comes through the magnitude, rounded; dbias += the result. dabs: of
// the share's first channel.
template <Number S>
__device__ __forceinline__ void add_through_magnitude(uint2 (&v)[4], float4& dbias, const uint2 (&x)[4],
                                                      const float* dabs) {
#pragma unroll
  for (int k = 0; k < 2; ++k) {  // two channels
    const float4 low = *reinterpret_cast<const float4*>(dabs + 2 * k * kSumWords),
                 high = *reinterpret_cast<const float4*>(dabs + (2 * k + 1) * kSumWords);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      Word& stored = (&v[i].x)[k];
      const Word signs = (&x[i].x)[k];
      float2 sum = widen<S>(stored);
      const auto with_sign = [](float of, Word sign) {
        return __uint_as_float(__float_as_uint(of) ^ (sign & 0x80000000u));
      };
      if (signs & 0x7fffu) sum.x += with_sign((&low.x)[i], signs << 16);
      if (signs & 0x7fff0000u) sum.y += with_sign((&high.x)[i], signs);
      stored = round_pair<S>(sum.x, sum.y);
      sum = widen<S>(stored);
      (k ? dbias.z : dbias.x) += sum.x, (k ? dbias.w : dbias.y) += sum.y;
    }
  }
}

// The block's part: of dw2, to[channel K2 + tap], then of bias2 and bias1. The threads' sums for the biases are added
// within a warp, then in order of the warps; `sums`: (2, kWarps, kChannels).
__device__ __forceinline__ void write_part(float* to, float* sums, const Sums& dw, float (&dbias1)[4], float dbias2,
                                           int c0, int C) {
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32;
  auto* taps = reinterpret_cast<float2*>(to + static_cast<long>(c0 + own) * kBackTaps + lane * 2);
  taps[0] = {dw[0], dw[1]}, taps[32] = {dw[2], dw[3]};
  // Eight lanes have the same four channels: halved twice, a lane's sum is of channel `lane / 8` of them.
  cuda::sum_by_halves<16, 8>(dbias1, lane);
  dbias1[0] += __shfl_xor_sync(0xffffffffu, dbias1[0], 4);
  dbias2 += __shfl_xor_sync(0xffffffffu, dbias2, 16);
  if (lane / 4 % 2 == 0) sums[own * kChannels + lane % 4 * 4 + lane / 8] = dbias1[0];
  if (lane < kChannels) sums[(kWarps + own) * kChannels + lane] = dbias2;
  __syncthreads();
  if (threadIdx.x < 2 * kChannels) {
    const int channel = threadIdx.x % kChannels, second = threadIdx.x / kChannels;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) sum += sums[(second * kWarps + i) * kChannels + channel];
    to[static_cast<long>(kBackTaps + (second ? 0 : 1)) * C + c0 + channel] = sum;
  }
}

// partial: of each slice (C, K2), of w2, then (2, C), of bias2 and bias1.
template <Number S>
__global__ void __launch_bounds__(kThreads, 2)
    back_kernel(Members members, S* dx1, float* partial, const float* dz, const S* x1, const float* z,
                const std::int32_t* positions, const float* w2, Sizes d) {
  members.enter(dx1, partial, dz, x1, z, positions, w2);
  let_next_kernel_begin();
  extern __shared__ __align__(16) Word rows[];
  const int lane = threadIdx.x % 32, own = threadIdx.x / 32, c0 = blockIdx.x * kChannels, windows = d.T >> d.pool_bits;
  const Share share(lane);
  Word* gs = rows + rows_of_all(kSumWords);
  const Word own_x = shared_address(rows + row_of(own, kSumWords)), own_g = shared_address(gs + own * kGradientWords),
             filter = shared_address(gs + kChannels * kGradientWords + own * (kFilterLast - kFilterFirst)) -
                      4 * kFilterFirst;
  auto* own_sums =
      reinterpret_cast<float4*>(gs + kChannels * (kGradientWords + kFilterLast - kFilterFirst)) + threadIdx.x;
  auto* own_channel = reinterpret_cast<S*>(gs + static_cast<int>(threadIdx.x) % kChannels * kGradientWords);
  lay_down_filter<S, kFilterFirst, kFilterLast>(filter, lane, [&](int k) {  // the taps reversed
    return w2[static_cast<long>(c0 + own) * kBackTaps + kBackTaps - 1 - k];
  });
  for (int i = threadIdx.x; i < kChannels * kGradientWords / 4; i += kThreads) reinterpret_cast<uint4*>(gs)[i] = {};
  *own_sums = {};
  wait_for_kernel_before();
  Sums dw = {};
  float dbias2 = 0.0f;
#pragma unroll 1
  for (unsigned tile = blockIdx.y; tile < d.tiles; tile += gridDim.y) {
    const int b = tile / d.per_frame, s0 = (tile - b * d.per_frame) * kSamples;
    const long from = (static_cast<long>(b) * d.T + s0) * d.C + c0;
    // Windows that reach the tile's rows.
    constexpr int kMost = 2;
    const int first = max(0, (s0 - kBefore) >> d.pool_bits),
              last = min(windows, ((s0 + kSamples + kBefore - 1) >> d.pool_bits) + 1);
    // All loads before the first use of one.
    Rows<S> x;
    x.load(x1 + c0, tile, d, share, own);
    int at[kMost];
    float dz_at[kMost], z_at[kMost];
#pragma unroll
    for (int n = 0; n < kMost; ++n) {
      const int item = threadIdx.x + n * kThreads, window = first + item / kChannels;
      const long place = (static_cast<long>(b) * windows + window) * d.C + c0 + item % kChannels;
      const bool reaches = window < last;
      at[n] = reaches ? positions[place] : 1 << 20;
      dz_at[n] = reaches ? dz[place] : 0.0f, z_at[n] = reaches ? z[place] : 0.0f;
    }
    __syncthreads();
    x.store(shared_address(rows), kSumWords, 16, share, own);
#pragma unroll
    for (int n = 0; n < kMost; ++n) {
      const int t = at[n] += (first + (threadIdx.x + n * kThreads) / kChannels << d.pool_bits) - s0;
      if (t < -kBefore || t >= kSamples + kBefore) continue;
      S v;
      write(&v, dz_at[n] * -expm1f(-z_at[n]));
      set_gradient(own_channel, t, v);
      if (t >= 0 && t < kSamples) dbias2 += read(&v);
    }
    __syncthreads();
    add_taps<S>(dw, own_x, own_g, lane);
    __syncwarp();
    Word w[kBlocks];
    load_filter(w, filter, lane, kBefore);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      Sums c[2] = {};
      multiply_row<S, 8, kGradientGroup>(c, w, own_g + 4 * ((8 * i + lane / 4) * kGradientGroup + lane % 4 + 4));
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        store_words(own_x + 4 * (n * kHalf + i * 128) + 16 * lane,
                    uint4{__float_as_uint(c[n][0]), __float_as_uint(c[n][1]), __float_as_uint(c[n][2]),
                          __float_as_uint(c[n][3])});
      }
    }
    // Not earlier: the products have no registers left for these, nor for places kept from above.
    __syncwarp();
    const bool there = s0 + own * kGroup < d.T;
    const Share again(opaque(lane));
    const long to = from + static_cast<long>((there ? own * kGroup : 0) + again.sample()) * d.C + again.channel;
    uint2 v[4], signed_x[4];
    load_share(v, dx1 + to, d.C), load_share(signed_x, x1 + to, d.C);
    __syncthreads();
    if (tile + gridDim.y < d.tiles) {
#pragma unroll
      for (int n = 0; n < kMost; ++n) {
        if (at[n] >= -kBefore && at[n] < kSamples + kBefore) set_gradient(own_channel, at[n], S{});
      }
    }
    if (!there) continue;
    float4 sums = *own_sums;  // no registers are left for them during the products
    add_through_magnitude<S>(v, sums, signed_x,
                             reinterpret_cast<const float*>(rows + row_of(again.channel, kSumWords) +
                                                            again.half * kHalf + 16 * own + 4 * again.t4));
#pragma unroll
    for (int i = 0; i < 4; ++i) *reinterpret_cast<uint2*>(dx1 + to + 4 * i * d.C) = v[i];
    *own_sums = sums;
  }
  const float4 sums = *own_sums;
  float dbias1[] = {sums.x, sums.y, sums.z, sums.w};
  __syncthreads();
  write_part(partial + static_cast<long>(blockIdx.y) * (kBackTaps + 2) * d.C, reinterpret_cast<float*>(rows), dw,
             dbias1, dbias2, c0, d.C);
}

// Returns the slices of `partial` that it writes.
inline int back(const Context& context, Stored* dx1, float* partial, const float* dz, const Stored* x1, const float* z,
                const std::int32_t* positions, const float* w2, FrontEndDims d) {
  const Sizes sizes(d);
  const int channel_groups = d.C / kChannels;
  const long rounds = ceil_div(sizes.tiles, std::max(1, 2 * context.cuda->n_sm / channel_groups)),
             slices = ceil_div(sizes.tiles, rounds);  // a slice has its sums to write: no more than those rounds take
  with_number(context, [&]<Number S>() {
    launch_early(context, back_kernel<S>, dim3(channel_groups, static_cast<unsigned>(slices)), kThreads, back_shared(),
                 static_cast<S*>(dx1), partial, dz, static_cast<const S*>(x1), z, positions, w2, sizes);
  });
  return static_cast<int>(slices);
}

}  // namespace cafx::front_end_mma
