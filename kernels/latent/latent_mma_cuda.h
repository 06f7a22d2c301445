// kernels/latent/latent_mma_cuda.h -- both latent layers in bf16 and fp16 by mma.sync. For latent_cuda.cu.
//
//   A block has eight channels, whole sectors of the (B,64,C) tensors, or four where eight would leave most of the card
//   idle, and 16 frames at a time: two warps for each channel, one for each half of a product's 64 columns.
//   Rows of a channel, its 64 numbers of a frame, are a product's left operand and lie in shared memory in two bytes a
//   number (Rows); they come from memory turned, channels last, and what goes there is turned back by way of Turned.
//   The weights stay in shared memory, backward's sums for them in registers: of w1 32 x 64 a warp, of w2 16 x 16.
#pragma once

#include "kernels/device/each_cuda.h"
#include "kernels/device/halves_cuda.h"
#include "kernels/device/tensor_core_cuda.h"
#include "kernels/latent/latent.h"

namespace cafx::latent_mma {

using namespace cuda::tensor_core;

constexpr int kSize = 64, kFrames = 16;
constexpr int threads_of(int channels) { return 2 * 32 * channels; }  // of a block

// Channel by channel, 17 rows apart: the permutation then keeps channels 4 apart, which a warp writes at once, off each
// other's banks too.
struct Rows {
  static constexpr int bytes(int channels) { return channels * (kFrames + 1) * 2 * kSize; }
  Word base;
  __device__ __forceinline__ Word at(int channel, int frame) const {
    return row_at<kSize>(base, channel * (kFrames + 1) + frame);
  }
};
// Floats, a row for each frame of a channel; the distances keep reads and writes in both orders free of conflicts.
struct Turned {
  static constexpr int kRow = kSize + 8, kChannel = kFrames * kRow + 4;
  static constexpr int bytes(int channels) { return static_cast<int>(sizeof(float)) * channels * kChannel; }
  float* base;
  __device__ __forceinline__ float* at(int channel, int frame) const {
    return base + channel * kChannel + frame * kRow;
  }
  __device__ __forceinline__ float2& pair(int channel, int frame, int k) const {
    return *reinterpret_cast<float2*>(at(channel, frame) + k);
  }
};

struct Place {  // of a thread's share of a product: rows `row` and row + 8, columns `column` + 8 n and the next
  int lane, channel, part, row, column;
  __device__ Place()
      : lane(threadIdx.x % 32),
        channel(threadIdx.x / 64),
        part(threadIdx.x / 32 % 2 * 32),
        row(lane / 4),
        column(part + lane % 4 * 2) {}
  // Where this lane's row of a block for load_blocks begins, in a matrix of 16 rows; by which way it is read.
  __device__ int straight() const { return lane % 16; }
  __device__ Word straight_column() const { return static_cast<Word>(lane / 16 * 16); }  // in bytes
  __device__ int turned() const { return lane % 8 + lane / 16 * 8; }
  __device__ Word turned_column() const { return static_cast<Word>(lane / 8 % 2 * 16); }
};

// Two neighbours k of four channels of a frame.
struct Pair {
  float4 first, second;
  __device__ __forceinline__ void load(const float* p, int C) {
    first = *reinterpret_cast<const float4*>(p), second = *reinterpret_cast<const float4*>(p + C);
  }
  __device__ __forceinline__ float2 of(int channel) const { return {(&first.x)[channel], (&second.x)[channel]}; }
};
// A thread's pairs of a tile, of four channels from `half` on: k = 2 p of frames f and f + 8.
struct PairPlace {
  int half, p, f;
  __device__ explicit PairPlace(int halves)
      : half(static_cast<int>(threadIdx.x) % halves * 4),
        p(static_cast<int>(threadIdx.x) / halves % 32),
        f(static_cast<int>(threadIdx.x) / halves / 32) {}
  __device__ __forceinline__ long in(long frame, int c0, int C) const {
    return (frame * kSize + 2 * p) * C + c0 + half;
  }
};
template <Number S>
__device__ __forceinline__ void store_pair(const Rows& rows, const PairPlace& own, int f, const Pair& v) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float2 x = v.of(j);
    store_word(rows.at(own.half + j, f) ^ static_cast<Word>(4 * own.p), round_pair<S>(x.x, x.y));
  }
}

// y (B,64,C) of the block's channels and frames b0 .. b0 + 16.
template <int kChannels>
__device__ __forceinline__ void write_turned(float* y, const Turned& from, int b0, int c0, LatentDims d) {
  constexpr unsigned kHalves = kChannels / 4;
#pragma unroll
  for (unsigned i = threadIdx.x; i < kFrames * kSize * kHalves; i += threads_of(kChannels)) {
    const int half = i % kHalves * 4, k = i / kHalves % kSize, f = i / (kHalves * kSize);
    const auto of = [&](int j) { return from.at(half + j, f)[k]; };
    const float4 v = {of(0), of(1), of(2), of(3)};
    if (b0 + f < d.B) *reinterpret_cast<float4*>(y + (static_cast<long>(b0 + f) * kSize + k) * d.C + c0 + half) = v;
  }
}

// rows (n,64) of weights into shared memory, rounded; n in 32s.
template <Number S, int kThreads>
__device__ __forceinline__ void share_weights(Word to, const float* w, int n) {
  constexpr int kFours = kSize / 4, kStep = kThreads / kFours;
  to = row_at<kSize>(to, threadIdx.x / kFours) ^ threadIdx.x % kFours * 8;
  w += 4 * threadIdx.x;
#pragma unroll 8
  for (int row = 0; row < n; row += kStep) {
    const float4 v = *reinterpret_cast<const float4*>(w + row * kSize);
    store_words(to + row * 2 * kSize, narrow<S>(v));
  }
}

// c += the channel's 16 rows times 32 columns of 64: kColumns: of a matrix [k][n]; else of its transpose, [n][k]. Its
// rows begin at `first`.
template <Number S, bool kColumns>
__device__ __forceinline__ void multiply_rows(Sums (&c)[4], const Rows& rows, Word matrix, int first,
                                              const Place& own) {
  const Word a = rows.at(own.channel, own.straight()) ^ own.straight_column();
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    Fragment left;
    load_blocks(left, a ^ static_cast<Word>(32 * k));
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Fragment right;
      if constexpr (kColumns) {
        load_blocks_transposed(right, row_at<kSize>(matrix, first + 16 * k + own.straight()) ^
                                          (static_cast<Word>(2 * own.part + 32 * n) + own.straight_column()));
      } else {
        load_blocks(right, row_at<kSize>(matrix, first + own.part + 16 * n + own.turned()) ^
                               (static_cast<Word>(32 * k) + own.turned_column()));
      }
      multiply<S>(c[2 * n], left, right[0], right[1]);
      multiply<S>(c[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// A thread's share of a product, as the left operand of another.
template <Number S>
__device__ __forceinline__ void store_rows(const Rows& to, const Sums (&c)[4], const Place& own) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const auto at = static_cast<Word>(2 * (own.column + 8 * n));
    store_word(to.at(own.channel, own.row) ^ at, round_pair<S>(c[n][0], c[n][1]));
    store_word(to.at(own.channel, own.row + 8) ^ at, round_pair<S>(c[n][2], c[n][3]));
  }
}
__device__ __forceinline__ void turn(const Turned& to, const Sums (&c)[4], const Place& own) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    to.pair(own.channel, own.row, own.column + 8 * n) = {c[n][0], c[n][1]};
    to.pair(own.channel, own.row + 8, own.column + 8 * n) = {c[n][2], c[n][3]};
  }
}

constexpr int kW2Bytes = 2 * kSize * kSize;
constexpr int w1_bytes(int channels) { return channels * kSize * 2 * kSize; }
constexpr int forward_shared(int channels) {
  return w1_bytes(channels) + kW2Bytes + 2 * Rows::bytes(channels) + Turned::bytes(channels) +
         static_cast<int>(sizeof(float)) * (channels + 1) * kSize;
}

template <Number S, int kChannels>
__global__ void __launch_bounds__(threads_of(kChannels), 8 / kChannels)
    forward_kernel(Members members, float* h, float* zhat, const float* z, const float* w1, const float* bias1,
                   const float* w2, const float* bias2, LatentDims d) {
  members.enter(h, zhat, z, w1, bias1, w2, bias2);
  extern __shared__ __align__(128) Word memory[];
  constexpr int kThreads = threads_of(kChannels);
  const Word w1s = shared_address(memory), w2s = w1s + w1_bytes(kChannels);
  const Rows zs{w2s + kW2Bytes}, hs{zs.base + Rows::bytes(kChannels)};
  const Turned out{reinterpret_cast<float*>(memory) + (hs.base + Rows::bytes(kChannels) - w1s) / sizeof(float)};
  float* biases = out.base + Turned::bytes(kChannels) / sizeof(float);  // (channels,64), then (64)
  const Place own;
  const PairPlace loads(kChannels / 4);
  const int c0 = blockIdx.x * kChannels;
  Pair next[2];
  const auto fetch = [&](int b0) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int b = b0 + loads.f + 8 * j;
      next[j] = {};
      if (b < d.B) next[j].load(z + loads.in(b, c0, d.C), d.C);
    }
  };
  let_next_kernel_begin();
  share_weights<S, kThreads>(w1s, w1 + static_cast<long>(c0) * kSize * kSize, kChannels * kSize);
  share_weights<S, kThreads>(w2s, w2, kSize);
  biases[threadIdx.x] = bias1[c0 * kSize + threadIdx.x];
  if (threadIdx.x < kSize) biases[kThreads + threadIdx.x] = bias2[threadIdx.x];
  wait_for_kernel_before();
  fetch(blockIdx.y * kFrames);
#pragma unroll 1
  for (int b0 = blockIdx.y * kFrames; b0 < d.B; b0 += gridDim.y * kFrames) {
#pragma unroll
    for (int j = 0; j < 2; ++j) store_pair<S>(zs, loads, loads.f + 8 * j, next[j]);
    __syncthreads();
    fetch(b0 + gridDim.y * kFrames);
#pragma unroll 1
    for (int layer = 0; layer < 2; ++layer) {  // a loop, so that the code is there once
      const int matrix = layer == 0 ? own.channel : kChannels;
      Sums c[4];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float2 v = *reinterpret_cast<const float2*>(biases + matrix * kSize + own.column + 8 * n);
        c[n][0] = c[n][2] = v.x, c[n][1] = c[n][3] = v.y;
      }
      multiply_rows<S, false>(c, layer == 0 ? zs : hs, w1s, matrix * kSize, own);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (float& v : c[n]) v = softplus_fast(v);
      }
      __syncthreads();
      turn(out, c, own);
      if (layer == 0) store_rows<S>(hs, c, own);
      __syncthreads();
      write_turned<kChannels>(layer == 0 ? h : zhat, out, b0, c0, d);
    }
  }
}

constexpr int back_shared(int channels) {
  return w1_bytes(channels) + kW2Bytes + 3 * Rows::bytes(channels) + Turned::bytes(channels);
}
constexpr bool sums_fit(int channels) {  // those for w1, which pass through shared memory in the end
  return threads_of(channels) * Turned::kRow * static_cast<int>(sizeof(float)) <= back_shared(channels);
}
static_assert(forward_shared(8) <= back_shared(8), "takes() asks for the latter");
static_assert(sums_fit(8) && sums_fit(4));
constexpr int kParts = kSize * kSize + kSize;  // of a layer: weights, then biases

__device__ __forceinline__ float slope_of(float y) { return 1.0f - exp2_fast(y * -kLog2E); }

// dz; sums over the block's frames: for w1 and bias1 to dw1 and dbias1, to which they are added where the block has all
// frames, else to own (gridDim.y; C,64,64, then C,64); for w2 and bias2 to shared (blocks; 64,64, then 64).
template <Number S, int kChannels>
__global__ void __launch_bounds__(threads_of(kChannels), 8 / kChannels)
    backward_kernel(Members members, float* dz, float* dw1, float* dbias1, float* own_parts, float* shared_parts,
                    const float* dzhat, const float* zhat, const float* h, const float* z, const float* w1,
                    const float* w2, LatentDims d) {
  members.enter(dz, dw1, dbias1, own_parts, shared_parts, dzhat, zhat, h, z, w1, w2);
  extern __shared__ __align__(128) Word memory[];
  // Blocks of 16 x 16 of w2's sums that a warp has: i0, o0 and o0 + 16 kBlockRows.
  constexpr int kThreads = threads_of(kChannels), kBlocks = 8 / kChannels, kBlockRows = kThreads / 128;
  const Word w1s = shared_address(memory), w2s = w1s + w1_bytes(kChannels);
  // tops: gradients before zhat's activation; hs: h, then the gradient before its activation; turned: slopes of h, dz.
  constexpr int kRows = Rows::bytes(kChannels);
  const Rows tops{w2s + kW2Bytes}, hs{tops.base + kRows}, zs{hs.base + kRows};
  const Turned turned{reinterpret_cast<float*>(memory) +
                      (back_shared(kChannels) - Turned::bytes(kChannels)) / sizeof(float)};
  const Place own;
  const PairPlace loads(kChannels / 4);
  const int c0 = blockIdx.x * kChannels, warp = threadIdx.x / 32, i0 = warp % 4 * 16, o0 = warp / 4 * 16;
  let_next_kernel_begin();
  share_weights<S, kThreads>(w1s, w1 + static_cast<long>(c0) * kSize * kSize, kChannels * kSize);
  share_weights<S, kThreads>(w2s, w2, kSize);
  wait_for_kernel_before();
  Sums outer1[2][8] = {}, outer2[kBlocks][2] = {};
  float column1 = 0.0f;
  float2 column2{};
#pragma unroll 1
  for (int b0 = blockIdx.y * kFrames; b0 < d.B; b0 += gridDim.y * kFrames) {
    __syncthreads();
#pragma unroll 1
    for (int f = loads.f; f < kFrames; f += kFrames / 2) {
      Pair dy{}, y{}, hidden{}, in{};
      if (b0 + f < d.B) {
        const long at = loads.in(b0 + f, c0, d.C);
        dy.load(dzhat + at, d.C), y.load(zhat + at, d.C), hidden.load(h + at, d.C), in.load(z + at, d.C);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 slope_y{slope_of(y.of(j).x), slope_of(y.of(j).y)};
        column2.x += (&dy.first.x)[j] *= slope_y.x;
        column2.y += (&dy.second.x)[j] *= slope_y.y;
        turned.pair(loads.half + j, f, 2 * loads.p) = {slope_of(hidden.of(j).x), slope_of(hidden.of(j).y)};
      }
      store_pair<S>(tops, loads, f, dy);
      store_pair<S>(hs, loads, f, hidden);
      store_pair<S>(zs, loads, f, in);
    }
    __syncthreads();
#pragma unroll 2
    for (int channel = 0; channel < kChannels; ++channel) {
      Fragment left, right;
      load_blocks_transposed(left, tops.at(channel, own.turned()) ^ (static_cast<Word>(2 * i0) + own.turned_column()));
#pragma unroll
      for (int q = 0; q < kBlocks; ++q) {
        load_blocks_transposed(right, hs.at(channel, own.straight()) ^
                                          (static_cast<Word>(2 * (o0 + 16 * kBlockRows * q)) + own.straight_column()));
        multiply<S>(outer2[q][0], left, right[0], right[1]);
        multiply<S>(outer2[q][1], left, right[2], right[3]);
      }
    }
    Sums c[4] = {};
    multiply_rows<S, true>(c, tops, w2s, 0, own);
    float columns[8];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const float2 low = turned.pair(own.channel, own.row, own.column + 8 * n),
                   high = turned.pair(own.channel, own.row + 8, own.column + 8 * n);
      c[n][0] *= low.x, c[n][1] *= low.y, c[n][2] *= high.x, c[n][3] *= high.y;
      columns[2 * n] = c[n][0] + c[n][2], columns[2 * n + 1] = c[n][1] + c[n][3];
    }
    // Of the eight lanes of a column, the one of row r gets the sum of all their columns[r].
    cuda::sum_by_halves<16, 4>(columns, 4 * own.row);
    column1 += columns[0];
    __syncthreads();
    store_rows<S>(hs, c, own);
    wait_at(1 + own.channel, 64);
#pragma unroll
    for (Sums& v : c) v[0] = v[1] = v[2] = v[3] = 0.0f;
    multiply_rows<S, true>(c, hs, w1s, own.channel * kSize, own);
    turn(turned, c, own);
    Fragment left[2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      load_blocks_transposed(
          left[m], hs.at(own.channel, own.turned()) ^ (static_cast<Word>(2 * own.part + 32 * m) + own.turned_column()));
    }
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      Fragment right;
      load_blocks_transposed(right,
                             zs.at(own.channel, own.straight()) ^ (static_cast<Word>(16 * n) + own.straight_column()));
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        multiply<S>(outer1[m][n], left[m], right[0], right[1]);
        multiply<S>(outer1[m][n + 1], left[m], right[2], right[3]);
      }
    }
    __syncthreads();
    write_turned<kChannels>(dz, turned, b0, c0, d);
  }

  const long channel = c0 + own.channel;
  if (gridDim.y > 1) {
    dw1 = own_parts + static_cast<long>(blockIdx.y) * d.C * kParts;
    dbias1 = dw1 + static_cast<long>(d.C) * kSize * kSize;
  }
  __syncthreads();
  float* tile = reinterpret_cast<float*>(memory) + warp * 32 * Turned::kRow;  // of w1's sums, from which whole lines go
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      float* to = tile + (16 * m + own.row) * Turned::kRow + own.column - own.part + 8 * n;
      *reinterpret_cast<float2*>(to) = {outer1[m][n][0], outer1[m][n][1]};
      *reinterpret_cast<float2*>(to + 8 * Turned::kRow) = {outer1[m][n][2], outer1[m][n][3]};
    }
  }
  __syncwarp();
  dw1 += (channel * kSize + own.part) * kSize;
#pragma unroll 8
  for (int i = own.lane; i < 32 * kSize / 4; i += 32) {
    const float4 v = *reinterpret_cast<const float4*>(tile + i / (kSize / 4) * Turned::kRow + i % (kSize / 4) * 4);
    *reinterpret_cast<float4*>(dw1 + 4 * i) = v;
  }
  dbias1[channel * kSize + own.column + own.row / 2 * 8 + own.row % 2] = column1;
  float* to = shared_parts + static_cast<long>(blockIdx.y * gridDim.x + blockIdx.x) * kParts;
#pragma unroll
  for (int n = 0; n < 2 * kBlocks; ++n) {
    const Sums& sums = outer2[n / 2][n % 2];
    float* at = to + (i0 + own.row) * kSize + o0 + 16 * kBlockRows * (n / 2) + 8 * (n % 2) + own.column - own.part;
    *reinterpret_cast<float2*>(at) = {sums[0], sums[1]};
    *reinterpret_cast<float2*>(at + 8 * kSize) = {sums[2], sums[3]};
  }
  __syncthreads();
  auto* sums = reinterpret_cast<float2*>(turned.base);
  sums[threadIdx.x] = column2;
  __syncthreads();
  if (threadIdx.x < kSize / 2) {
    float2 sum{};
    constexpr int kHalves = kChannels / 4;
    for (int i = 0; i < kThreads / 32; ++i) {
      const float2 v = sums[(i / kHalves * 32 + threadIdx.x) * kHalves + i % kHalves];
      sum.x += v.x, sum.y += v.y;
    }
    *reinterpret_cast<float2*>(to + kSize * kSize + 2 * threadIdx.x) = sum;
  }
}

inline bool takes(const Context& context) {
  return is_16_bit(context.precision) && context.cuda->major >= 8 && context.cuda->shared_max >= back_shared(8);
}

// How a call is cut: the channels of a block, and slices of the batch: blocks for every multiprocessor, but at least
// `tiles` each. The same for one model as for models side by side, whose bits hang on it.
struct Cut {
  int channels = 8;
  dim3 grid;
  Cut(const Context& context, LatentDims d, int tiles) {
    const long n_sm = context.cuda->n_sm;
    const auto slices = [&] {
      return std::clamp<long>(ceil_div(d.B, kFrames) / tiles, 1, std::max<long>(1, n_sm / (d.C / channels)));
    };
    if (d.C / channels * slices() <= n_sm / 2) channels = 4;
    grid = dim3(static_cast<unsigned>(d.C / channels), static_cast<unsigned>(slices()));
  }
};
inline Cut back_cut(const Context& context, LatentDims d) { return {context, d, 2}; }

// dw1 and dbias1 = the sums of their parts, in order.
inline void add_slices(const Context& context, float* dw1, float* dbias1, const float* parts, unsigned slices,
                       LatentDims d) {
  const long fours = static_cast<long>(d.C) * kParts / 4, of_weights = static_cast<long>(d.C) * kSize * kSize / 4;
  for_each(context, fours, [=] __device__(Members members) mutable {
    members.enter(dw1, dbias1, parts);
    return [=, from = reinterpret_cast<const float4*>(parts)](long i) {
      float4 sum{};
#pragma unroll 8
      for (unsigned k = 0; k < slices; ++k) {
        const float4 v = from[k * fours + i];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
      float4& to =
          i < of_weights ? reinterpret_cast<float4*>(dw1)[i] : reinterpret_cast<float4*>(dbias1)[i - of_weights];
      to = sum;
    };
  });
}

inline std::size_t scratch(const Context& context, LatentDims d) {
  const dim3 grid = back_cut(context, d).grid;
  const std::size_t own = grid.y > 1 ? static_cast<std::size_t>(grid.y) * d.C : 0;
  return sizeof(float) * kParts * (own + static_cast<std::size_t>(grid.x) * grid.y);
}

inline void forward(const Context& context, float* h, float* zhat, const float* z, const float* w1, const float* bias1,
                    const float* w2, const float* bias2, LatentDims d) {
  with_number(context, [&]<Number S>() {
    const Cut cut(context, d, 1);
    launch_early(context, cut.channels == 4 ? forward_kernel<S, 4> : forward_kernel<S, 8>, cut.grid,
                 static_cast<unsigned>(threads_of(cut.channels)),
                 static_cast<std::size_t>(forward_shared(cut.channels)), h, zhat, z, w1, bias1, w2, bias2, d);
  });
}

// What is left to add: the parts of w2 and bias2, in shared_parts, and where back_cut has slices, by add_slices, those
// of w1 and bias1 in own_parts.
inline void backward(const Context& context, float* dz, float* dw1, float* dbias1, float* own_parts,
                     float* shared_parts, const float* dzhat, const float* zhat, const float* h, const float* z,
                     const float* w1, const float* w2, LatentDims d) {
  with_number(context, [&]<Number S>() {
    const Cut cut = back_cut(context, d);
    launch_early(context, cut.channels == 4 ? backward_kernel<S, 4> : backward_kernel<S, 8>, cut.grid,
                 static_cast<unsigned>(threads_of(cut.channels)), static_cast<std::size_t>(back_shared(cut.channels)),
                 dz, dw1, dbias1, own_parts, shared_parts, dzhat, zhat, h, z, w1, w2, d);
  });
}

}  // namespace cafx::latent_mma
