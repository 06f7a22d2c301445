// kernels/conv1d/conv1d_mma_cuda.h -- the convolutions of conv1d_cuda.h in bf16 or fp16 on tensor cores.
//
//   Operands are rounded, sums are fp32. Each kernel reads or writes the tensor of all channels once, between
//   global memory and the registers of the products, and stays below the time that this takes.
//   The signal is a Hankel matrix, H[t, k] = x[t + k]: its 8 x 8 blocks depend on the sum of their indices alone, so
//   that nine registers hold 16 samples by 64 taps. A pair of neighbours that starts at an odd sample is a word of a
//   second copy, shifted by one.
//   Channels are numbered so that a lane's share of a fragment is neighbours in memory.
//     forward   samples x taps times taps x channels; the filters stay in registers
//     filters   taps x samples times samples x channels; a warp keeps 64 taps by 32 channels of sums
//     deconv    P[t, k] = sum_c u[t, c] w[c, k], samples x channels times channels x taps, then sums along j = t + k.
//               Blocks of 8 x 8 on one diagonal share their accumulator, which moves on by a block as t does.
// Bits     sums in a fixed order; of the filters' gradient, in one that depends on the sizes and the number of
//          multiprocessors.
#pragma once

#include <cuda_pipeline.h>

#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/filter_parts_cuda.h"
#include "kernels/deconv1d/deconv1d_mae_cuda.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/grid_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/device/tensor_core_cuda.h"

namespace cafx::conv_mma {

using namespace cuda::tensor_core;

constexpr int kTaps = 64;                    // multiplied; filters of fewer are filled up with zeros
constexpr int kTile = 256;                   // samples of a frame
constexpr int kWords = (kTile + kTaps) / 2;  // pairs of neighbours in a tile's signal
constexpr int kOdd = kWords + 16;            // word where the shifted copy begins: half the banks further
constexpr int kSignal = kOdd + kWords;
constexpr int kForwardThreads = 256, kDataThreads = 256, kSegments = kDataThreads / 16;

inline bool takes(const Context& context, Conv1dDims d) {
  return is_16_bit(context.precision) && context.cuda->major >= 8 && d.K <= kTaps && d.T % kTile == 0 &&
         (d.C == 32 || d.C == 64 || d.C == 128 || d.C == 256);
}

// Taps k and k + 1 of channel c, k even.
template <Number S>
__device__ __forceinline__ Word round_weights(const float* w, int c, int k, bool flip, int K) {
  const float* row = w + static_cast<long>(c) * K;
  const auto tap = [&](int i) { return i < K ? row[flip ? K - 1 - i : i] : 0.0f; };
  return round_pair<S>(tap(k), tap(k + 1));
}

// A thread's word of each copy of a tile's signal: samples 2 i, 2 i + 1, 2 i + 2 from the tile's first.
template <Number S>
struct SignalWord {
  float v[3];
  __device__ __forceinline__ void load(const float* x, int tile, int per_frame, int width) {
    const int b = tile / per_frame, first = (tile - b * per_frame) * kTile + 2 * static_cast<int>(threadIdx.x);
    const float* from = x + static_cast<long>(b) * width + first;
#pragma unroll
    for (int i = 0; i < 3; ++i) v[i] = threadIdx.x < kWords && first + i < width ? from[i] : 0.0f;
  }
  // From a recording, for a frame of T samples with `left` zeros before it; `first`: of the tile, in the padded row.
  __device__ __forceinline__ void gather(const float* audio, const FrameRef& ref, int first, int left, int T) {
    const int t0 = first + 2 * static_cast<int>(threadIdx.x) - left;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const std::int64_t at = ref.start + t0 + i;
      const bool there = threadIdx.x < kWords && t0 + i >= 0 && t0 + i < T && at >= ref.begin && at < ref.end;
      v[i] = there ? audio[at] : 0.0f;
    }
  }
  // The tile's own samples of the padded row; of the frame's last tile, all that are left of it.
  __device__ __forceinline__ void lay_down(float* row, int first, int width) const {
    const int i = first + 2 * static_cast<int>(threadIdx.x);
    const int end = first + 2 * kTile > width ? width : first + kTile;
    if (i < end) row[i] = v[0];
    if (i + 1 < end) row[i + 1] = v[1];
  }
  __device__ __forceinline__ void store(Word* to) const {
    if (threadIdx.x >= kWords) return;
    to[threadIdx.x] = round_pair<S>(v[0], v[1]);
    to[kOdd + threadIdx.x] = round_pair<S>(v[1], v[2]);
  }
};
// The address of the pair at sample t + g + 2 (lane % 4), g = lane / 4, of which eight samples further are 16 bytes.
__device__ __forceinline__ Word pairs_from(const Word* signal, int t, int lane) {
  const int g = lane / 4;
  return shared_address(signal + (g % 2 ? kOdd : 0) + t / 2 + g / 2 + lane % 4);
}

// A warp has 32 channels, whose filters it keeps, and 32 samples at a time. kWhole: filters of kTaps taps, not flipped,
// which are read in pairs. kGathers: frames come from the recordings and x, which is written, holds them then.
template <Number S, bool kWhole, bool kGathers>
__global__ void __launch_bounds__(kForwardThreads, 2)
    forward_kernel(Members members, S* y, std::conditional_t<kGathers, float, const float>* x, FrameSource from_frames,
                   int left, const float* w, const float* bias, bool flip, Conv1dDims d) {
  members.enter(y, x, w);
  members.enter_given(bias);
  if constexpr (kGathers) members.enter(from_frames.refs);  // the recordings are shared
  let_next_kernel_begin();
  __shared__ Word signals[2][kSignal];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t4 = lane % 4, groups = d.C / 32,
            sharing = kForwardThreads / 32 / groups, c0 = warp % groups * 32, per_frame = d.T / kTile,
            width = d.T + d.K - 1, tiles = d.B * per_frame;
  Word b[4][kTaps / 16][2];
  float start[8];
#pragma unroll
  for (int n = 0; n < 4; ++n) {
#pragma unroll
    for (int k = 0; k < kTaps / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int c = c0 + g / 2 * 8 + 2 * n + g % 2, tap = 16 * k + 8 * i + 2 * t4;
        if constexpr (kWhole) {
          const float2 pair = *reinterpret_cast<const float2*>(w + c * kTaps + tap);
          b[n][k][i] = round_pair<S>(pair.x, pair.y);
        } else {
          b[n][k][i] = round_weights<S>(w, c, tap, flip, d.K);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) start[i] = bias ? bias[c0 + 8 * t4 + i] : 0.0f;
  wait_for_kernel_before();
  SignalWord<S> own;
  FrameRef ref;  // of the tile to be loaded next
  const auto look_up = [&](int tile) {
    if constexpr (kGathers) {
      if (tile < tiles) ref = from_frames.refs[tile / per_frame];
    }
  };
  const auto load = [&](int tile) {
    if constexpr (kGathers) {
      own.gather(from_frames.audio, ref, tile % per_frame * kTile, left, d.T);
      look_up(tile + gridDim.x);
    } else {
      own.load(x, tile, per_frame, width);
    }
  };
  look_up(blockIdx.x);
  load(blockIdx.x);
  int side = 0;
#pragma unroll 1
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, side ^= 1) {
    own.store(signals[side]);
    if constexpr (kGathers) {
      own.lay_down(x + static_cast<long>(tile / per_frame) * width, tile % per_frame * kTile, width);
    }
    __syncthreads();
    if (tile + static_cast<int>(gridDim.x) < tiles) load(tile + gridDim.x);
#pragma unroll 1
    for (int t = warp / groups * 32; t < kTile; t += sharing * 32) {
      const Word from = pairs_from(signals[side], t, lane);
      Word h[11];
#pragma unroll
      for (int i = 0; i < 11; ++i) h[i] = load_word(from + 16 * i);
      S* to = y + (static_cast<long>(tile) * kTile + t + g) * d.C + c0 + 8 * t4;
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        Sums c[4];
#pragma unroll
        for (int n = 0; n < 4; ++n) c[n][0] = c[n][2] = start[2 * n], c[n][1] = c[n][3] = start[2 * n + 1];
#pragma unroll
        for (int k = 0; k < kTaps / 16; ++k) {
          const Fragment a = {h[2 * (m + k)], h[2 * (m + k) + 1], h[2 * (m + k) + 1], h[2 * (m + k) + 2]};
#pragma unroll
          for (int n = 0; n < 4; ++n) multiply<S>(c[n], a, b[n][k][0], b[n][k][1]);
        }
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          *reinterpret_cast<uint4*>(to + (16 * m + 8 * s) * d.C) = {
              round_pair<S>(c[0][2 * s], c[0][2 * s + 1]), round_pair<S>(c[1][2 * s], c[1][2 * s + 1]),
              round_pair<S>(c[2][2 * s], c[2][2 * s + 1]), round_pair<S>(c[3][2 * s], c[3][2 * s + 1])};
        }
      }
    }
  }
}

// 16 samples of the lane's four channels as B: samples 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of channels 4 g and on.
template <Number S>
struct ChannelRows {
  uint2 v[4];
  __device__ __forceinline__ void load(const S* from, int C) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = __ldcs(reinterpret_cast<const uint2*>(from + (i / 2 * 8 + i % 2) * C));
  }
  // The pair of samples of channel n: the first two, or the last two.
  __device__ __forceinline__ Word pair(int n, int half) const {
    const uint2 &a = v[2 * half], &b = v[2 * half + 1];
    return __byte_perm(n < 2 ? a.x : a.y, n < 2 ? b.x : b.y, n % 2 ? 0x7632 : 0x5410);
  }
};

// partial[block, c, k] = sum over the block's tiles of dy[t, c] x[t + k]. kWarps: of a block; those that share channels
// take a tile's samples in equal runs.
constexpr int filter_warps(int C) { return C > 32 ? 16 : 8; }
template <Number S, int kWarps>
__global__ void __launch_bounds__(32 * kWarps, kWarps == 16 ? 1 : 2)
    filter_kernel(Members members, float* partial, const S* dy, const float* x, bool flip, Conv1dDims d) {
  members.enter(partial, dy, x);
  let_next_kernel_begin();
  wait_for_kernel_before();
  extern __shared__ __align__(16) float4 others[];  // (kWarps, 8, 32)
  __shared__ Word signals[2][kSignal];
  constexpr int kSteps = 2;  // of 16 samples, loaded at a time
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t4 = lane % 4, groups = d.C / 32,
            group = warp % groups, share = warp / groups, run = kTile * groups / kWarps, per_frame = d.T / kTile,
            width = d.T + d.K - 1, tiles = d.B * per_frame, step = gridDim.x;
  const long row0 = share * run + 2 * t4;
  const S* own_dy = dy + row0 * d.C + group * 32 + 4 * g;
  const auto load = [&](ChannelRows<S>(&to)[kSteps], long row) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) to[i].load(own_dy + (row + 16 * i) * d.C, d.C);
  };
  Sums sums[4][4] = {};
  SignalWord<S> own;
  ChannelRows<S> now[kSteps], next[kSteps];
  own.load(x, blockIdx.x, per_frame, width);
  load(now, static_cast<long>(blockIdx.x) * kTile);
  int side = 0;
#pragma unroll 1
  for (int tile = blockIdx.x; tile < tiles; tile += step, side ^= 1) {
    own.store(signals[side]);
    __syncthreads();
    if (tile + step < tiles) own.load(x, tile + step, per_frame, width);
    Word from = pairs_from(signals[side], share * run, lane);
#pragma unroll 1
    for (int t = 0; t < run; t += 16 * kSteps, from += 32 * kSteps) {
      if (t + 16 * kSteps < run) {
        load(next, static_cast<long>(tile) * kTile + t + 16 * kSteps);
      } else if (tile + step < tiles) {
        load(next, static_cast<long>(tile + step) * kTile);
      }
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        Word h[9];
#pragma unroll
        for (int j = 0; j < 9; ++j) h[j] = load_word(from + 32 * i + 16 * j);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const Word b0 = now[i].pair(n, 0), b1 = now[i].pair(n, 1);
#pragma unroll
          for (int m = 0; m < 4; ++m) {
            const Fragment a = {h[2 * m], h[2 * m + 1], h[2 * m + 1], h[2 * m + 2]};
            multiply<S>(sums[m][n], a, b0, b1);
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kSteps; ++i) now[i] = next[i];
    }
  }
  // Over the warps that share channels, in order: half of the taps at a time is laid down by all warps, then added up
  // by all threads.
  float* to = partial + static_cast<long>(blockIdx.x) * d.C * d.K;
#pragma unroll 1
  for (int half = 0; half < 2; ++half) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      Sums &s = sums[i / 4][i % 4], &next = sums[2 + i / 4][i % 4];
      others[(warp * 8 + i) * 32 + lane] = {s[0], s[1], s[2], s[3]};
#pragma unroll
      for (int j = 0; j < 4; ++j) s[j] = next[j];
    }
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < groups * 256; i += 32 * kWarps) {  // (groups, 8, lanes)
      float4 sum = others[i];
#pragma unroll 4
      for (int from = i + groups * 256; from < kWarps * 256; from += groups * 256) {
        const float4 v = others[from];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
      const int k = 32 * half + i / 128 % 2 * 16 + i / 4 % 8, c = i / 256 * 32 + i % 4 * 8 + i / 32 % 4;
      const auto put = [&](int channel, int tap, float v) {
        if (tap < d.K) to[static_cast<long>(channel) * d.K + (flip ? d.K - 1 - tap : tap)] = v;
      };
      put(c, k, sum.x), put(c + 4, k, sum.y), put(c, k + 8, sum.z), put(c + 4, k + 8, sum.w);
    }
  }
}

// Shared memory of the deconvolution: the filters as fragments, (C / 32, 8, 32) of 16 bytes; each warp's rows on their
// way, (ahead, 2, 2, 32) of 16 bytes; its blocks of a diagonal; each segment's sums, which reach `kTaps` samples into
// the next.
constexpr int kBlock = 72, kBlocks = 9;  // floats from one 8 x 8 block to the next; places for blocks of a warp
constexpr int kRowPieces = 2 * 2 * 32, kAhead = 3;  // rows ahead where two blocks have room, else one
constexpr int segment_of(int T) { return T / kSegments; }
inline std::size_t data_shared(Conv1dDims d, int ahead) {
  return 16ul * (d.C / 32 * 8 * 32 + kDataThreads / 32 * ahead * kRowPieces) +
         sizeof(float) *
             (kDataThreads / 32 * kBlocks * kBlock + kSegments * static_cast<std::size_t>(segment_of(d.T) + kTaps));
}

// y[b, t] = bias + sum over k of P[t + pad - k][k], or what its mean absolute error is (kMae). A block has a frame, cut
// into kSegments; a warp two of them, one in each half of its fragments' rows.
template <Number S, int kGroups, bool kMae>
__global__ void __launch_bounds__(kDataThreads, 2)
    deconv_kernel(Members members, float* y, const __grid_constant__ DeconvMae mae, const S* u, const float* w,
                  const float* bias, bool flip, int pad, int ahead, Conv1dDims d) {
  members.enter(u, w, bias);
  if constexpr (!kMae) members.enter(y);
  let_next_kernel_begin();
  extern __shared__ __align__(64) uint4 filters[];
  __shared__ cuda::FrameSums<kDataThreads / 32> sums_of_frame;
  constexpr int C = 32 * kGroups;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t4 = lane % 4, segment = segment_of(d.T),
            reach = segment + kTaps;
  uint4* rows_of_all = filters + kGroups * 8 * 32;
  uint4* own_rows = rows_of_all + warp * ahead * kRowPieces;
  auto* blocks_of_all = reinterpret_cast<float*>(rows_of_all + kDataThreads / 32 * ahead * kRowPieces);
  float *blocks = blocks_of_all + warp * (kBlocks * kBlock),
        *parts = blocks_of_all + kDataThreads / 32 * kBlocks * kBlock;
  for (int i = threadIdx.x; i < kGroups * 8 * 32; i += kDataThreads) {
    const int l = i % 32, k = i / 32 % 8 * 8 + l / 4, c = i / 256 * 32 + l % 4 * 2;
    const auto pair = [&](int channel) {
      const float* tap = w + static_cast<long>(channel) * d.K + (flip ? d.K - 1 - k : k);
      return k < d.K ? round_pair<S>(tap[0], tap[d.K]) : 0u;
    };
    filters[i] = {pair(c), pair(c + 8), pair(c + 16), pair(c + 24)};
  }
  wait_for_kernel_before();
  __syncthreads();
  // This lane's sample of a pair of finished blocks: stream, block, place on the diagonal.
  const int place = lane % 8, block = lane / 8 % 2, stream = lane / 16;
  const float* diagonal = blocks + (6 * stream + 1 + block) * kBlock + place;  // a quarter of the banks each
  float* own_part = parts + (2 * warp + stream) * reach + 8 * block + place;
  // Of 32 channels and 16 samples of both streams at a time: all of a step's, then the next step's, then the next
  // frame's, always `ahead` of them on their way. Rows of 64 bytes, [stream][sample], whose pieces are permuted so that
  // those of eight rows meet in no bank.
  const S* first_rows = u + (static_cast<long>(2 * warp) * segment + g) * C + 8 * t4;
  uint4* own_piece = own_rows + 4 * g + (t4 ^ (g / 2));
  const Word own_block = shared_address(own_rows + lane / 8 % 2 * 64 + lane % 8 * 4 + (lane / 16 ^ (lane % 8 / 2)));
  int next_b = blockIdx.x, next_t = 0, next_group = 0;
  const auto begin_rows = [&](int slot) {
    if (next_b < d.B) {
      const S* from = first_rows + (static_cast<long>(next_b) * d.T + next_t) * C + 32 * next_group;
#pragma unroll
      for (int s = 0; s < 2; ++s) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          __pipeline_memcpy_async(own_piece + (slot * 4 + 2 * s + r) * 32,
                                  from + (static_cast<long>(s) * segment + 8 * r) * C, 16);
        }
      }
      if (++next_group == kGroups) next_group = 0, next_t += 16;
      if (next_t == segment) next_t = 0, next_b += gridDim.x;
    }
    __pipeline_commit();
  };
#pragma unroll 1
  for (int i = 0; i < ahead; ++i) begin_rows(i);
  int here = 0;  // the slot whose rows are next to be multiplied
#pragma unroll 1
  for (int b = blockIdx.x; b < d.B; b += gridDim.x) {
    Sums sums[9] = {}, last = {};
#pragma unroll 1
    for (int t = 0; t < reach; t += 16) {
#pragma unroll 1
      for (int i = 0; t < segment && i < kGroups; ++i) {
        if (ahead == kAhead) {
          __pipeline_wait_prior(kAhead - 1);
        } else {
          __pipeline_wait_prior(0);
        }
        __syncwarp();
        Fragment rows[2][2];  // [blocks of 8 samples][16 channels]
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          load_blocks(rows[k / 2][k % 2], (own_block ^ (k % 2 * 32)) + (here * 4 + k / 2) * 512);
        }
        // Four filters at a time: products that go on from each other's sums are then not neighbours.
#pragma unroll
        for (int n = 0; n < 8; n += 4) {
          uint4 f[4];
#pragma unroll
          for (int k = 0; k < 4; ++k) f[k] = filters[(i * 8 + n + k) * 32 + lane];
#pragma unroll
          for (int r = 0; r < 2; ++r) {
#pragma unroll
            for (int k = 0; k < 4; ++k) multiply<S>(sums[n + k + r], rows[r][0], f[k].x, f[k].y);
#pragma unroll
            for (int k = 0; k < 4; ++k) multiply<S>(sums[n + k + r], rows[r][1], f[k].z, f[k].w);
          }
        }
        __syncwarp();
        begin_rows(here);
        here = here + 1 == ahead ? 0 : here + 1;
      }
      const auto lay_down = [&](int at, const Sums& c) {
        *reinterpret_cast<float2*>(blocks + at * kBlock + 8 * g + 2 * t4) = {c[0], c[1]};
        *reinterpret_cast<float2*>(blocks + (at + 6) * kBlock + 8 * g + 2 * t4) = {c[2], c[3]};
      };
      lay_down(0, last), lay_down(1, sums[0]), lay_down(2, sums[1]);
      __syncwarp();
      float sum = 0.0f;
#pragma unroll
      for (int row = 0; row < 8; ++row) sum += diagonal[7 * row - (row > place ? kBlock - 8 : 0)];
      own_part[t] = sum;
      __syncwarp();
#pragma unroll
      for (int i = 0; i < 4; ++i) last[i] = sums[1][i];
#pragma unroll
      for (int n = 0; n < 9; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[n][i] = n < 7 ? sums[n + 2 < 9 ? n + 2 : 8][i] : 0.0f;
      }
    }
    __syncthreads();
    // f(j, sum over the segments that reach j) for j < end: a warp takes a segment's j.
    const int reached_from = (kTaps + segment - 1) / segment;  // so many segments before
    const auto for_each_sum = [&](int end, auto f) {
#pragma unroll 1
      for (int s = warp; s * segment < end; s += kDataThreads / 32) {
#pragma unroll 1
        for (int i = lane; i < min(segment, end - s * segment); i += 32) {
          const int j = s * segment + i;
          float sum = 0.0f;
#pragma unroll 1
          for (int from = max(0, s - reached_from); from <= min(s, kSegments - 1); ++from) {
            if (j - from * segment < reach) sum += parts[from * reach + j - from * segment];
          }
          f(j, sum);
        }
      }
    };
    const float shift = *bias;
    if constexpr (kMae) {
      cuda::FrameError error(members, mae, b, pad, d);
      for_each_sum(d.T + d.K - 1, [&](int j, float sum) { error.add(j, shift + sum, error.target(j)); });
      error.finish(sums_of_frame);
    } else {
      for_each_sum(d.T + pad, [&](int j, float sum) {
        if (j >= pad) y[static_cast<long>(b) * d.T + j - pad] = shift + sum;
      });
    }
    __syncthreads();
  }
}

inline unsigned forward_blocks(const Context& context, Conv1dDims d) {
  const long tiles = static_cast<long>(d.B) * (d.T / kTile);
  return static_cast<unsigned>(std::min<long>(tiles, 2l * cuda::multiprocessors_each(context)));
}
inline bool is_whole(const float* w, bool flip, Conv1dDims d) {
  return d.K == kTaps && !flip && reinterpret_cast<std::uintptr_t>(w) % sizeof(float2) == 0;
}

inline void forward(const Context& context, Stored* y, const float* x, const float* w, const float* bias, bool flip,
                    Conv1dDims d) {
  with_number(context, [&]<Number S>() {
    launch_early(context, is_whole(w, flip, d) ? forward_kernel<S, true, false> : forward_kernel<S, false, false>,
                 forward_blocks(context, d), kForwardThreads, 0, static_cast<S*>(y), x, FrameSource(), 0, w, bias, flip,
                 d);
  });
}

// From the frames of `source`, which x_padded then holds behind `left` zeros each.
inline void forward_from(const Context& context, Stored* y, float* x_padded, FrameSource source, int left,
                         const float* w, const float* bias, Conv1dDims d) {
  with_number(context, [&]<Number S>() {
    launch_early(context, is_whole(w, false, d) ? forward_kernel<S, true, true> : forward_kernel<S, false, true>,
                 forward_blocks(context, d), kForwardThreads, 0, static_cast<S*>(y), x_padded, source, left, w, bias,
                 false, d);
  });
}

inline void backward_filter(const Context& context, float* dw, const Stored* dy, const float* x, bool flip,
                            Conv1dDims d) {
  const long tiles = static_cast<long>(d.B) * (d.T / kTile), n_sm = context.cuda->n_sm;
  const int warps = filter_warps(d.C),
            // Two tiles and more to a slice: a slice costs its sums, written and read again.
      slices = static_cast<int>(
          std::min({ceil_div(tiles, 2), most_filter_slices(context, d), n_sm * (warps == 16 ? 1 : 2)}));
  float* partial = filter_parts(context, slices, d);
  with_number(context, [&]<Number S>() {
    launch_early(context, warps == 16 ? filter_kernel<S, 16> : filter_kernel<S, 8>, static_cast<unsigned>(slices),
                 32 * warps, 16ul * static_cast<unsigned>(warps) * 8 * 32, partial, static_cast<const S*>(dy), x, flip,
                 d);
  });
  add_filter_parts(context, dw, partial, slices, d, true);
}

// To y, or where there is none to the error of `mae`.
inline void deconv(const Context& context, float* y, const DeconvMae& mae, const Stored* u, const float* w,
                   const float* bias, bool flip, int pad, Conv1dDims d) {
  constexpr std::size_t kBeside = 1280;  // bytes of a block: its own arrays, and what the system reserves
  const int ahead = 2 * (data_shared(d, kAhead) + kBeside) <= context.cuda->shared_max ? kAhead : 1;
  with_number(context, [&]<Number S>() {
    const auto run = [&]<int kGroups>() {
      launch_early(context, y ? deconv_kernel<S, kGroups, false> : deconv_kernel<S, kGroups, true>,
                   static_cast<unsigned>(std::min(d.B, 2 * context.cuda->n_sm)), kDataThreads, data_shared(d, ahead), y,
                   mae, static_cast<const S*>(u), w, bias, flip, pad, ahead, d);
    };
    if (d.C == 32) return run.template operator()<1>();
    if (d.C == 64) return run.template operator()<2>();
    if (d.C == 128) return run.template operator()<4>();
    run.template operator()<8>();
  });
}

}  // namespace cafx::conv_mma
