// kernels/conv1d/conv1d_fp32_cuda.h -- the three convolutions of conv1d_cuda.h by cafx's own kernels, in exact fp32.
//
//   S: how the tensor of all channels is stored, float, bf16 or fp16 (device/stored_cuda.h). It is widened on chip, and
//   a result is rounded once.
//   Each is a product with one sliding operand; a thread keeps 8 x 8 sums in registers. Forward and the filters'
//   gradient slide the one input channel through registers, a new sample for every 64 products. The data's gradient
//   multiplies each sample by all filters, 128 samples x 64 taps at a time, and adds up along the diagonals.
// Bits     sums in a fixed order; of the filters' gradient, in one that depends on the sizes and the number of
//          multiprocessors.
#pragma once

#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/filter_parts_cuda.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/stored_cuda.h"

namespace cafx::conv_fp32 {

constexpr int kBlock = 128;      // threads
constexpr int kBlocksPerSm = 4;  // as many as registers and shared memory allow
constexpr int kRows = 64;        // samples of a forward tile
constexpr int kForwardPad = 4;   // floats between its rows of taps, whose starts walk through the banks
constexpr int kFilterRows = 64;  // of a tile of the filters' gradient
constexpr int kDataRows = 128;   // of a tile of the data's gradient
constexpr int kDataDepth = 32;   // channels that it multiplies at a time, a half of the block's threads 16 of them
constexpr int kDataBlock = 2 * kBlock;
constexpr int kDataStride = kDataDepth + 4;

// Channels c0 .. of a block: kColumns / 4 runs of 64; a thread has 4 neighbours of each run, and 8 neighbouring
// samples. kVector: numbers per store of y, 4 where its rows are aligned.
template <int kColumns, int kVector, class S>
__global__ void __launch_bounds__(kBlock, kBlocksPerSm)
    forward_kernel(Members members, S* y, const float* x, const float* w, const float* bias, bool flip, Conv1dDims d) {
  members.enter(y, x, w);
  members.enter_given(bias);
  let_next_kernel_begin();
  wait_for_kernel_before();
  extern __shared__ __align__(16) float shared[];
  constexpr int kRuns = kColumns / 4, kWidth = 16 * kColumns, kStride = kWidth + kForwardPad;
  const int K8 = (d.K + 7) / 8 * 8, c0 = blockIdx.y * kWidth, tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  float* ws = shared;                 // (K8, kStride)
  float* xs = shared + K8 * kStride;  // two of (kRows + K8)
  if (d.K % 4 == 0 && reinterpret_cast<std::uintptr_t>(w) % sizeof(float4) == 0) {
    for (int i = threadIdx.x; i < kWidth * 4; i += kBlock) {
      const int c = i / 4;
      const float* from = w + (c0 + c) * d.K;
      for (int k = i % 4 * 4; k < K8; k += 16) {
        float4 v{};
        if (k < d.K && c0 + c < d.C) v = __ldg(reinterpret_cast<const float4*>(from + (flip ? d.K - 4 - k : k)));
        float* to = ws + k * kStride + c;
        to[0] = flip ? v.w : v.x, to[kStride] = flip ? v.z : v.y;
        to[2 * kStride] = flip ? v.y : v.z, to[3 * kStride] = flip ? v.x : v.w;
      }
    }
  } else {
    for (int i = threadIdx.x; i < K8 * kWidth; i += kBlock) {
      const int k = i % 8 + i / (8 * kWidth) * 8, c = i / 8 % kWidth;
      ws[k * kStride + c] = k < d.K && c0 + c < d.C ? w[(c0 + c) * d.K + (flip ? d.K - 1 - k : k)] : 0.0f;
    }
  }
  float b_of[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    const int c = c0 + j / 4 * 64 + tx * 4 + j % 4;
    b_of[j] = bias && c < d.C ? bias[c] : 0.0f;
  }
  const int per_frame = (d.T + kRows - 1) / kRows, width = d.T + d.K - 1;
  int side = 0;
  for (int tile = blockIdx.x; tile < per_frame * d.B; tile += gridDim.x, side ^= 1) {
    const int b = tile / per_frame, t0 = (tile - b * per_frame) * kRows;
    float* own = xs + side * (kRows + K8);
    for (int i = threadIdx.x; i < kRows + K8; i += kBlock) {
      own[i] = t0 + i < width ? x[static_cast<long>(b) * width + t0 + i] : 0.0f;
    }
    __syncthreads();
    float sum[8][kColumns] = {}, window[12];
    const float* from = own + ty * 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) window[4 + i] = from[i];
#pragma unroll 1
    for (int k0 = 0; k0 < K8; k0 += 4) {
#pragma unroll
      for (int i = 0; i < 8; ++i) window[i] = window[4 + i];
      const float4 next = read4(from + k0 + 8);
      window[8] = next.x, window[9] = next.y, window[10] = next.z, window[11] = next.w;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int run = 0; run < kRuns; ++run) {
          const float4 v = read4(ws + (k0 + k) * kStride + run * 64 + tx * 4);
#pragma unroll
          for (int r = 0; r < 8; ++r) {
            sum[r][4 * run] += v.x * window[r + k], sum[r][4 * run + 1] += v.y * window[r + k];
            sum[r][4 * run + 2] += v.z * window[r + k], sum[r][4 * run + 3] += v.w * window[r + k];
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      const int t = t0 + ty * 8 + r;
      if (t >= d.T) continue;
      S* to = y + (static_cast<long>(b) * d.T + t) * d.C;
#pragma unroll
      for (int run = 0; run < kRuns; ++run) {
        const int c = c0 + run * 64 + tx * 4;
        float v[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) v[j] = sum[r][4 * run + j] + b_of[4 * run + j];
        if constexpr (kVector == 4) {
          if (c < d.C) write4(to + c, {v[0], v[1], v[2], v[3]});
        } else {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            if (c + j < d.C) write(to + c + j, v[j]);
          }
        }
      }
    }
  }
}

// What the filters' gradient multiplies at a time.
template <class S>
struct FilterTile {
  S dy[kFilterRows][128];
  float x[kFilterRows + 72];
};

// partial[slice, c, k] = sum over the slice's samples of dy[t, c] x[t + k]: tiles slice, + slices, ... in order. A
// block has 128 channels and 64 taps; a thread of either half of the block, which has half of a tile's samples, 4
// neighbours of either half of the channels, and 8 neighbouring taps. The halves' sums are added at the end.
template <int kVector, class S>  // numbers per copy and store: 4 where rows of dy and of the partial sums are aligned
__global__ void __launch_bounds__(2 * kBlock, kBlocksPerSm / 2)
    filter_kernel(DeepMembers members, float* partial, const S* dy, const float* x, bool flip, Conv1dDims d) {
  members.enter(partial, dy, x);
  let_next_kernel_begin();
  wait_for_kernel_before();
  extern __shared__ __align__(16) float shared[];
  auto* stages = reinterpret_cast<FilterTile<S>*>(shared);
  const int own = threadIdx.x % kBlock, half = threadIdx.x / kBlock, tx = own % 16, ty = own / 16;
  const int c0 = blockIdx.y * 128, k0 = members.block_z() * 64;
  const int per_frame = (d.T + kFilterRows - 1) / kFilterRows, width = d.T + d.K - 1, tiles = per_frame * d.B;
  const auto fetch = [&](FilterTile<S>& to, int tile) {
    const int b = tile / per_frame, t0 = (tile - b * per_frame) * kFilterRows;
    const S* from = dy + (static_cast<long>(b) * d.T + t0) * d.C + c0;
    for (int i = threadIdx.x * kVector; i < kFilterRows * 128; i += 2 * kBlock * kVector) {
      const int row = i / 128, c = i % 128;
      copy_async<kVector>(&to.dy[row][c], from + row * d.C + c, t0 + row < d.T && c0 + c < d.C);
    }
    const int at = t0 + k0;
    for (int i = threadIdx.x; i < kFilterRows + 72; i += 2 * kBlock) {
      copy_async<1>(&to.x[i], x + static_cast<long>(b) * width + at + i, at + i < width);
    }
    __pipeline_commit();
  };
  float sum[8][8] = {};
  int side = 0;
  if (static_cast<int>(blockIdx.x) < tiles) fetch(stages[0], blockIdx.x);
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, side ^= 1) {
    const bool more = tile + static_cast<int>(gridDim.x) < tiles;
    if (more) fetch(stages[side ^ 1], tile + gridDim.x);
    __pipeline_wait_prior(more ? 1 : 0);
    __syncthreads();
    const int first = half * (kFilterRows / 2);
    const S(*rows)[128] = stages[side].dy + first;
    const float* samples = stages[side].x + first + ty * 8;
    float window[12];
#pragma unroll
    for (int i = 0; i < 8; ++i) window[4 + i] = samples[i];
#pragma unroll 1
    for (int t0 = 0; t0 < kFilterRows / 2; t0 += 4) {
#pragma unroll
      for (int i = 0; i < 8; ++i) window[i] = window[4 + i];
      const float4 next = read4(samples + t0 + 8);
      window[8] = next.x, window[9] = next.y, window[10] = next.z, window[11] = next.w;
#pragma unroll
      for (int t = 0; t < 4; ++t) {
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          const float4 v = read4(&rows[t0 + t][part * 64 + tx * 4]);
#pragma unroll
          for (int k = 0; k < 8; ++k) {
            sum[4 * part][k] += v.x * window[t + k], sum[4 * part + 1][k] += v.y * window[t + k];
            sum[4 * part + 2][k] += v.z * window[t + k], sum[4 * part + 3][k] += v.w * window[t + k];
          }
        }
      }
    }
    __syncthreads();
  }
  float* other = shared + own;  // (64,kBlock)
  if (half == 1) {
#pragma unroll
    for (int i = 0; i < 64; ++i) other[i * kBlock] = sum[i / 8][i % 8];
  }
  __syncthreads();
  if (half == 1) return;
  float* to = partial + static_cast<long>(blockIdx.x) * d.C * d.K;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int c = c0 + j / 4 * 64 + tx * 4 + j % 4;
    if (c >= d.C) continue;
#pragma unroll
    for (int s = 0; s < 8; ++s) sum[j][s] += other[(8 * j + s) * kBlock];
    float* row = to + c * d.K;
    if constexpr (kVector == 4) {
#pragma unroll
      for (int s = 0; s < 8; s += 4) {
        const int k = k0 + ty * 8 + s;
        if (k >= d.K) continue;
        const float* v = sum[j] + s;
        *reinterpret_cast<float4*>(row + (flip ? d.K - 4 - k : k)) =
            flip ? float4{v[3], v[2], v[1], v[0]} : float4{v[0], v[1], v[2], v[3]};
      }
    } else {
#pragma unroll
      for (int s = 0; s < 8; ++s) {
        const int k = k0 + ty * 8 + s;
        if (k < d.K) row[flip ? d.K - 1 - k : k] = sum[j][s];
      }
    }
  }
}

// Floats of a block's shared memory: two stages of samples and taps, exchange between threads, unfinished sums.
constexpr int kDataStage = kDataRows * kDataStride + kDataRows / 8 * 4 + kDataDepth * 64;
constexpr int kHandedOn = 2 * 8 * 16 * 11;
inline std::size_t data_shared(Conv1dDims d) {
  return sizeof(float) * static_cast<std::size_t>(2 * kDataStage + kHandedOn + kDataRows + (d.K + 63) / 64 * 64);
}

// Adds what the threads handed on, (2 halves, 8, 16, 11), along the diagonals and in order.
__device__ __forceinline__ void add_handed_on(float* sums, const float* handed) {
  for (int i = threadIdx.x; i < kDataRows + 63; i += kDataBlock) {
    float total = sums[i];
    for (int column = 0; column < 16; ++column) {
      const int at = i - column / 8 * 32 - column % 8 * 4;  // 8 row + place of 11
      for (int row = max(0, (at - 3) / 8); row < 16 && 8 * row <= at; ++row) {
        if (at - 8 * row <= 10) total += handed[(column * 16 + row) * 11 + at - 8 * row];
      }
    }
    sums[i] = total;
  }
}

// Sums that reach into the next tile move to the front.
__device__ __forceinline__ void move_to_front(float* sums, int reach) {
  for (int i0 = 0; i0 < kDataRows + reach; i0 += kDataBlock) {
    const int i = i0 + threadIdx.x;
    const float v = i + kDataRows < kDataRows + reach ? sums[i + kDataRows] : 0.0f;
    __syncthreads();
    if (i < kDataRows + reach) sums[i] = v;
    __syncthreads();
  }
}

// dx[j] = sum over k of P[j - k][k] where P[t][k] = sum_c dy[t, c] w[c, k], for `tiles` tiles of one frame. The tiles
// before that reach in are computed again, so that a frame's bits do not depend on how it is cut. kRows: each tile's
// sums as they are, (B,tiles of a frame,kConvRow), of up to 64 taps.
template <int kVector, bool kRows, class S>
__global__ void __launch_bounds__(kDataBlock, kBlocksPerSm / 2)
    data_kernel(Members members, float* dx, const S* dy, const float* w, bool flip, Conv1dDims d, int tiles) {
  members.enter(dx, dy, w);
  let_next_kernel_begin();
  wait_for_kernel_before();
  extern __shared__ __align__(16) float shared[];
  float* handed = shared + 2 * kDataStage;  // (2 halves, 8, 16, 11)
  float* sums = handed + kHandedOn;         // of sample t0 and on
  const int K64 = (d.K + 63) / 64 * 64, slices = (d.C + kDataDepth - 1) / kDataDepth;
  const int part = threadIdx.x / kBlock, tx = threadIdx.x % 8, ty = threadIdx.x % kBlock / 8;
  const int in_frame = (d.T + kDataRows - 1) / kDataRows, pieces = (in_frame + tiles - 1) / tiles;
  const int b = blockIdx.x / pieces, first = (blockIdx.x - b * pieces) * tiles;
  const int last = min(first + tiles, in_frame), before = (d.K - 1 + kDataRows - 1) / kDataRows;
  const int from_tile = kRows ? first : max(0, first - before), width = d.T + d.K - 1;
  for (int i = threadIdx.x; i < kDataRows + K64; i += kDataBlock) sums[i] = 0.0f;
  const auto fetch = [&](int side, int t0, int k0, int slice) {
    float* taps = shared + side * kDataStage + kDataRows * kDataStride + kDataRows / 8 * 4;
    S* rows = reinterpret_cast<S*>(shared + side * kDataStage);
    const int c0 = slice * kDataDepth;
    constexpr int kRowsApart = kDataBlock * kVector / kDataDepth, kTapsApart = kDataBlock / 64;
    static_assert(kRowsApart % 8 == 0 && kDataBlock % 64 == 0);
    {
      const int t = threadIdx.x * kVector / kDataDepth, c = threadIdx.x * kVector % kDataDepth;
      S* to = rows + t * kDataStride + t / 8 * 4 + c;
      const S* from = dy + (static_cast<long>(b) * d.T + t0 + t) * d.C + c0 + c;
      const int apart = kRowsApart * d.C, n = c0 + c < d.C ? min(kDataRows, d.T - t0) : 0;
#pragma unroll 1
      for (int row = t; row < kDataRows; row += kRowsApart, from += apart) {
        copy_async<kVector>(to, from, row < n);
        to += kRowsApart * kDataStride + kRowsApart / 8 * 4;
      }
    }
    const int k = k0 + static_cast<int>(threadIdx.x) % 64, c = threadIdx.x / 64;
    const float* from = w + (c0 + c) * d.K + (flip ? d.K - 1 - k : k);
    const int n = k < d.K ? min(kDataDepth, d.C - c0) : 0;
    taps += threadIdx.x;
#pragma unroll 1
    for (int channel = c; channel < kDataDepth; channel += kTapsApart, from += kTapsApart * d.K, taps += kDataBlock) {
      copy_async<1>(taps, from, channel < n);
    }
    __pipeline_commit();
  };
  for (int tile = from_tile; tile < last; ++tile) {
    const int t0 = tile * kDataRows;
    for (int k0 = 0; k0 < d.K; k0 += 64) {
      float sum[8][8] = {};
      fetch(0, t0, k0, 0);
      for (int slice = 0; slice < slices; ++slice) {
        const bool more = slice + 1 < slices;
        if (more) fetch((slice + 1) % 2, t0, k0, slice + 1);
        __pipeline_wait_prior(more ? 1 : 0);
        __syncthreads();
        const S* rows = reinterpret_cast<const S*>(shared + slice % 2 * kDataStage) + ty * (8 * kDataStride + 4) +
                        part * (kDataDepth / 2);
        const float* taps = shared + slice % 2 * kDataStage + kDataRows * kDataStride + kDataRows / 8 * 4 + tx * 4 +
                            part * (kDataDepth / 2) * 64;
#pragma unroll 1
        for (int c = 0; c < kDataDepth / 2; c += 2) {
          float4 v[2][2];
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            v[i][0] = read4(taps + (c + i) * 64);
            v[i][1] = read4(taps + (c + i) * 64 + 32);
          }
#pragma unroll
          for (int r = 0; r < 8; ++r) {
            const float2 a = read2(rows + r * kDataStride + c);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              float* s = &sum[r][4 * half];
              s[0] += a.x * v[0][half].x, s[1] += a.x * v[0][half].y;
              s[2] += a.x * v[0][half].z, s[3] += a.x * v[0][half].w;
              s[0] += a.y * v[1][half].x, s[1] += a.y * v[1][half].y;
              s[2] += a.y * v[1][half].z, s[3] += a.y * v[1][half].w;
            }
          }
        }
        __syncthreads();
      }
      // Along the diagonals: within the thread, then over both parts of the channels and over the threads, in order.
      float along[2][11] = {};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int r = 0; r < 8; ++r) {
#pragma unroll
          for (int s = 0; s < 4; ++s) along[half][r + s] += sum[r][4 * half + s];
        }
      }
      float* own = handed + (tx * 16 + ty) * 11;
      constexpr int kHalf = 8 * 16 * 11;
      if (part == 0) {
#pragma unroll
        for (int i = 0; i < 22; ++i) own[i / 11 * kHalf + i % 11] = along[i / 11][i % 11];
      }
      __syncthreads();
      if (part == 1) {
#pragma unroll
        for (int i = 0; i < 22; ++i) own[i / 11 * kHalf + i % 11] += along[i / 11][i % 11];
      }
      __syncthreads();
      add_handed_on(sums + k0, handed);
      __syncthreads();
    }
    if constexpr (kRows) {
      float* row = dx + (static_cast<long>(b) * in_frame + tile) * kConvRow;
      for (int i = threadIdx.x; i < kConvRow; i += kDataBlock) row[i] = sums[i], sums[i] = 0.0f;
      continue;  // the next products begin with a barrier
    }
    const bool ends = tile + 1 == in_frame;
    const int n = ends ? width - t0 : kDataRows;
    if (tile >= first) {
      for (int i = threadIdx.x; i < n; i += kDataBlock) dx[static_cast<long>(b) * width + t0 + i] = sums[i];
    }
    if (ends) break;
    move_to_front(sums, K64);
  }
}

inline void forward(const Context& context, Stored* y, const float* x, const float* w, const float* bias, bool flip,
                    Conv1dDims d) {
  const long tiles = d.B * ceil_div(d.T, kRows), K8 = ceil_div(d.K, 8) * 8;
  const auto run = [&]<int kColumns, class S>() {
    const std::size_t shared =
        sizeof(float) * static_cast<std::size_t>(K8 * (16 * kColumns + kForwardPad) + 2 * (kRows + K8));
    const dim3 grid(static_cast<unsigned>(std::min<long>(tiles, kBlocksPerSm * context.cuda->n_sm)),
                    blocks_for(d.C, 16 * kColumns));
    launch_early(context, d.C % 4 == 0 ? forward_kernel<kColumns, 4, S> : forward_kernel<kColumns, 1, S>, grid, kBlock,
                 shared, static_cast<S*>(y), x, w, bias, flip, d);
  };
  with_stored(context,
              [&]<class S>() { d.C > 64 ? run.template operator()<8, S>() : run.template operator()<4, S>(); });
}

inline void backward_filter(const Context& context, float* dw, const Stored* dy, const float* x, bool flip,
                            Conv1dDims d) {
  const long tiles = d.B * ceil_div(d.T, kFilterRows);
  const unsigned panels = blocks_for(d.C, 128), taps = blocks_for(d.K, 64);
  const long wanted = std::max<long>(1, kBlocksPerSm / 2 * context.cuda->n_sm / static_cast<long>(panels * taps));
  const int slices = static_cast<int>(std::clamp<long>(std::min(wanted, most_filter_slices(context, d)), 1, tiles));
  float* partial = filter_parts(context, slices, d);
  const dim3 grid(static_cast<unsigned>(slices), panels, taps);
  with_stored(context, [&]<class S>() {
    static_assert(2 * sizeof(FilterTile<S>) >= sizeof(float) * 64 * kBlock);
    launch_early(context, d.C % 4 == 0 && d.K % 4 == 0 ? filter_kernel<4, S> : filter_kernel<1, S>, grid, 2 * kBlock,
                 2 * sizeof(FilterTile<S>), partial, static_cast<const S*>(dy), x, flip, d);
  });
  // What runs aside has time for its sum there.
  add_filter_parts(context, dw, partial, slices, d, !context.aside);
}

inline void backward_data(const Context& context, float* dx, const Stored* dy, const float* w, bool flip,
                          Conv1dDims d) {
  // Whole frames where there are enough of them to fill the card.
  const long in_frame = ceil_div(d.T, kDataRows), wanted = ceil_div(2l * context.cuda->n_sm, d.B);
  const int tiles = static_cast<int>(std::max<long>(1, in_frame / std::min(wanted, in_frame)));
  const auto pieces = static_cast<unsigned>(d.B * ceil_div(in_frame, tiles));
  with_stored(context, [&]<class S>() {
    launch_early(context, d.C % 4 == 0 ? data_kernel<4, false, S> : data_kernel<1, false, S>, pieces, kDataBlock,
                 data_shared(d), dx, static_cast<const S*>(dy), w, flip, d, tiles);
  });
}
// The sums of each tile, for whom adds up what overlaps (conv1d_cuda.h).
inline void backward_rows(const Context& context, float* rows, const Stored* dy, const float* w, bool flip,
                          Conv1dDims d) {
  static_assert(kDataRows == kConvRowSamples);
  with_stored(context, [&]<class S>() {
    launch_early(context, d.C % 4 == 0 ? data_kernel<4, true, S> : data_kernel<1, true, S>,
                 static_cast<unsigned>(d.B * ceil_div(d.T, kDataRows)), kDataBlock, data_shared(d), rows,
                 static_cast<const S*>(dy), w, flip, d, 1);
  });
}

}  // namespace cafx::conv_fp32
