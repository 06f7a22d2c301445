#include "kernels/dnn_saaf/dnn_saaf_narrow_cuda.h"

#include "kernels/device/memory.h"
#include "kernels/dnn_saaf/dnn_saaf_persistent_parts_cuda.h"

// Four layers of 32 are so narrow that a warp keeps 16 samples' numbers of all layers in registers: a product's sums
// are the next product's left operand, and no warp waits for another. Of a sample a lane has the eight neighbouring
// features 8 t .. 8 t + 7 (t = lane % 4), of samples g and g + 8 (g = lane / 4): whole pieces of 16 bytes, as they lie
// in memory. A product's column 8 j + 2 t + i is feature 8 t + 2 j + i for that, and the packed weights have both their
// rows and their columns in the order of columns.
//
// Backward: four warps compute a tile of 64 samples, each 16 of them, and lay down what the sums need: outputs and
// gradients of all layers, and t, du and region of the curve. Then each warp adds up the weights' gradients of a
// layer, which stay in registers until the block ends, and two of them the curve's sums.
namespace cafx::cuda::dnn_narrow {

using namespace dnn_persistent;

namespace {

constexpr int kWidth = 32, kLayers = 4, kThreads = 128;
constexpr int kForwardBlocks = 6, kBackwardBlocks = 3;  // that a multiprocessor holds
template <Number F>
using Narrow = Shape<F, kWidth, kWidth, kWidth, kWidth>;

// 16 samples of a lane, as two left operands: the pair of features 8 t + 2 j of sample g + 8 s.
struct Rows {
  Fragment a[2];
  __device__ __forceinline__ Word& at(int s, int j) { return a[j / 2][j % 2 * 2 + s]; }
  __device__ __forceinline__ Word at(int s, int j) const { return a[j / 2][j % 2 * 2 + s]; }
  __device__ __forceinline__ void set(int s, uint4 v) {
    at(s, 0) = v.x, at(s, 1) = v.y, at(s, 2) = v.z, at(s, 3) = v.w;
  }
  __device__ __forceinline__ uint4 row(int s) const { return {at(s, 0), at(s, 1), at(s, 2), at(s, 3)}; }
};

// The feature of column 8 j + 2 t + i.
__device__ __forceinline__ int feature_of(int column) { return column % 8 / 2 * 8 + column / 8 * 2 + column % 2; }

constexpr Word weights_of(int l) { return 2 * kWidth * kWidth * static_cast<Word>(l); }
constexpr Word kBias = weights_of(kLayers);  // where the biases begin, behind the weights; pairs in a lane's order
constexpr int kBiasBytes = 4 * kLayers * kWidth;

struct Lane {
  int lane, warp, g, t;
  // Where this lane reads the packed weights: rows of a block of outputs, and of inputs.
  Word outputs, inputs, bias;
  __device__ explicit Lane(Word weights)
      : lane(threadIdx.x % 32), warp(static_cast<int>(threadIdx.x) / 32), g(lane / 4), t(lane % 4) {
    outputs = row_at<kWidth>(weights, lane % 8) ^ static_cast<Word>(lane / 8 * 16);
    inputs = row_at<kWidth>(weights, lane);
    bias = weights + kBias + 8 * static_cast<Word>(t);
  }
  // The right operand of layer l's outputs of block j, and of its inputs'.
  __device__ __forceinline__ void load_outputs(Fragment& b, int l, int j) const {
    load_blocks(b, outputs + weights_of(l) + 8 * 2 * kWidth * j);
  }
  __device__ __forceinline__ void load_inputs(Fragment& b, int l, int j) const {
    load_blocks_transposed(b, (inputs ^ static_cast<Word>(16 * j)) + weights_of(l));
  }
  __device__ __forceinline__ void begin_with_bias(Sums& c, int l, int j) const {
    const float2 b = load_floats(bias + 32 * static_cast<Word>(4 * l + j));
    c[0] = c[2] = b.x, c[1] = c[3] = b.y;
  }
};

// c += a b: columns of block j; b: its 32 rows.
template <Number F>
__device__ __forceinline__ void product(Sums& c, const Rows& a, const Fragment& b) {
  multiply<F>(c, a.a[0], b[0], b[1]);
  multiply<F>(c, a.a[1], b[2], b[3]);
}

// Two rounded numbers through the rectifier; NaN stays.
template <Number F>
__device__ __forceinline__ Word rectify(Word x) {
  Word y = 0;
#ifndef CAFX_NO_TENSOR_CORE
  if constexpr (std::is_same_v<F, Half>) {
    asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(y) : "r"(x), "r"(0u));
  } else {
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(y) : "r"(x), "r"(0u));
  }
#endif
  return y;
}
// Its slope as a mask over a pair of gradients, from the outputs, of which none is negative: the sum's sign is set
// where an output is over zero, and prmt repeats it over the number's two bytes.
__device__ __forceinline__ Word through_rectifier(Word gradient, Word output) {
  Word mask;
  asm("prmt.b32 %0, %1, 0, 0xbb99;" : "=r"(mask) : "r"(output + 0x7fff7fffu));
  return gradient & mask;
}

// Layer l of M times 16 samples: use(j, m, sums of outputs of block j).
template <Number F, int M, class Use>
__device__ __forceinline__ void outputs_of(const Rows (&from)[M], int l, const Lane& own, Use use) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    Fragment b;
    own.load_outputs(b, l, j);
#pragma unroll
    for (int m = 0; m < M; ++m) {
      Sums c;
      own.begin_with_bias(c, l, j);
      product<F>(c, from[m], b);
      use(j, m, c);
    }
  }
}
template <Number F, int M>
__device__ __forceinline__ void layer(Rows (&to)[M], const Rows (&from)[M], int l, const Lane& own) {
  outputs_of<F>(from, l, own, [&](int j, int m, const Sums& c) {
#pragma unroll
    for (int s = 0; s < 2; ++s) to[m].at(s, j) = rectify<F>(round_pair<F>(c[2 * s], c[2 * s + 1]));
  });
}

// A block's weights and biases, on their way to shared memory.
struct Weights {
  static constexpr int kLoads = kLayers * kWidth * kWidth / 8 / kThreads;
  uint4 w[kLoads];
  float bias;
  static_assert(kLayers * kWidth == kThreads, "a thread for each bias");
  __device__ explicit Weights(const Operands& x) {
    const uint4* from = x.of(x.weights) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) w[i] = from[i * kThreads];
    bias = x.of(x.bias)[threadIdx.x];
  }
  __device__ void store(Word to) const {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) store_words(to + 16 * (i * kThreads + threadIdx.x), w[i]);
    const int l = static_cast<int>(threadIdx.x) / kWidth, feature = threadIdx.x % kWidth;
    store_float(to + kBias + 8 * static_cast<Word>(16 * l + feature % 8 / 2 * 4 + feature / 8) + feature % 2 * 4, bias);
  }
};

// Where the curve's numbers of channels 8 t + 2 j + i begin: regions by t.
__device__ __forceinline__ int curve_at(int j, int i, int regions) { return (2 * j + i) * regions * 4; }

// The deconvolution's filters as right operands: a block's eight taps of all 32 channels, in the order of columns; zero
// beyond the filters' K taps.
constexpr int kFilterBlocks = kDeconvRowTaps / 8;
template <Number F>
__device__ __forceinline__ void load_filters(uint4* to, const DnnSaafRows& rows, const float* w) {
#pragma unroll
  for (int i = threadIdx.x; i < 32 * kFilterBlocks; i += kThreads) {
    const int k = i / 32 * 8 + i % 32 / 4, channel = i % 4 * 8;
    const float* tap = w + static_cast<long>(channel) * rows.K + (rows.flip ? rows.K - 1 - k : k);
    const auto pair = [&](int j) {
      return k < rows.K ? round_pair<F>(tap[2 * j * rows.K], tap[(2 * j + 1) * rows.K]) : 0u;
    };
    to[i] = {pair(0), pair(1), pair(2), pair(3)};
  }
}

template <Number F, bool kPositions, bool kRows>
__global__ void __launch_bounds__(kThreads, kForwardBlocks)
    forward_kernel(Members, const __grid_constant__ Operands x, const __grid_constant__ DnnSaafRows rows) {
  constexpr int kTiles = kForwardRows / 16;
  __shared__ __align__(512) char shared[kBias + kBiasBytes];
  __shared__ uint4 filters[kRows ? 32 * kFilterBlocks : 1];
  __shared__ __align__(16) char diagonals[kRows ? kThreads / 32 * kDiagonalBytes : 4];
  const Word weights = shared_address(shared);
  const Lane own(weights);
  let_next_kernel_begin();
  Weights(x).store(weights);
  if constexpr (kRows) load_filters<F>(filters, rows, x.of(rows.w));
  wait_for_kernel_before();
  __syncthreads();
#pragma unroll 1
  for (int tile = blockIdx.x * (kThreads / 32) + own.warp; tile < x.tiles; tile += gridDim.x * (kThreads / 32)) {
    const long n0 = static_cast<long>(tile) * kForwardRows;
    const auto* from = reinterpret_cast<const uint4*>(x.of(x.r) + n0 * kWidth) + own.lane;
    Rows a[kTiles];
    uint4 r[kTiles][2];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) r[m][0] = __ldcs(from + 64 * m), r[m][1] = __ldcs(from + 64 * m + 32);
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      const long first = n0 + 16 * m;
      const Held<F, kPositions> held(x, first >> x.log2_P, kWidth, 8 * own.t);
      const int in_window = static_cast<int>(first & (x.P - 1)) + own.g;
#pragma unroll
      for (int s = 0; s < 2; ++s) a[m].set(s, held.times(r[m][s], in_window + 8 * s));
    }
#pragma unroll
    for (int l = 0; l < kLayers - 1; ++l) {
      Rows next[kTiles];
      layer<F>(next, a, l, own);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) a[m] = next[m];
    }
    const float4* table = x.of(x.table) + own.t;
    Rows u[kTiles];
    outputs_of<F>(a, kLayers - 1, own, [&](int j, int m, Sums& c) {
      if (x.curve.regions) {
        float4 piece[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          piece[i] = __ldg(table + curve_at(j, i % 2, x.curve.regions) + 4 * region_of(region_number(x.curve, c[i])));
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float along = c[i] - piece[i].w;
          c[i] = fmaf(along, fmaf(along, piece[i].z, piece[i].y), piece[i].x);
        }
      }
#pragma unroll
      for (int s = 0; s < 2; ++s) u[m].at(s, j) = round_pair<F>(c[2 * s], c[2 * s + 1]);
    });
    if (x.u) {
      auto* to = reinterpret_cast<uint4*>(x.of(x.u) + n0 * kWidth) + own.lane;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) __stcs(to + 64 * m, u[m].row(0)), __stcs(to + 64 * m + 32, u[m].row(1));
    }
    if constexpr (kRows) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        Sums p[kFilterBlocks] = {};
#pragma unroll
        for (int k = 0; k < kFilterBlocks; ++k) {
          const uint4 f = filters[32 * k + own.lane];
          multiply<F>(p[k], u[m].a[0], f.x, f.y);
          multiply<F>(p[k], u[m].a[1], f.z, f.w);
        }
        sum_diagonals(x.of(rows.rows) + (n0 / kDeconvRowSamples + m) * kDeconvRow,
                      shared_address(diagonals) + own.warp * kDiagonalBytes, own.lane,
                      [&](int block, int i) { return p[block][i]; });
      }
    }
  }
}

// The deconvolution behind, where du is computed from the gradient of its output.
constexpr int kTaps = 64, kSignalWords = (16 + kTaps) / 2;  // multiplied; pairs of a warp's samples and what taps reach
constexpr int kFilterBytes = 2 * kTaps * kWidth;
struct Deconvolution {
  const float *dy_padded, *w;
  int K, width, tiles_of_frame;
  bool flip;
};

// Shared memory of the backward kernel: offsets in bytes. Behind it lie the deconvolution's filters.
struct Layout {
  static constexpr int kTensor = 2 * kTile * kWidth;
  // Inputs of each layer, in the order of columns; gradients of its outputs; t and du, a word for each sample and
  // channel; regions; dz of each warp; the curve's sums.
  static constexpr int outputs = kBias + kBiasBytes, gradients = outputs + kLayers * kTensor,
                       curve = gradients + kLayers * kTensor, regions = curve + 4 * kTile * kWidth,
                       dz = regions + kTile * kWidth, sums = dz + 4 * kTile / 16 * kWidth;
  static constexpr int kCopies = 2;
  static constexpr int of_copy(int curve_regions) { return 4 * 3 * curve_regions * kWidth; }
  __host__ __device__ static int bytes(int curve_regions) { return sums + kCopies * of_copy(curve_regions); }
};
static_assert(Layout::outputs % 512 == 0);

// Where the words of t and du of a row's channels 8 t + 2 j, + 1 lie: the lane's four pairs change places with the row,
// so that 16 lanes that write to four rows reach all banks.
__device__ __forceinline__ Word curve_pair(int row, int t, int j) {
  return static_cast<Word>(row * 4 * kWidth + 32 * t + 8 * (j ^ (row & 3)));
}

// The curve's sums of a channel over the rows of its copy: of each region s0 and s1, then of all regions s2. Two
// samples at once: the second sum of one region goes on from the first's, so that they add up as they would one after
// the other.
template <Number F>
__device__ __forceinline__ void add_curve(Word base, int n_regions, int copy, int channel) {
  using At = Layout;
  constexpr int kRows = kTile / At::kCopies;
  const int row0 = copy * kRows;
  const Word sums = base + At::sums + copy * At::of_copy(n_regions), firsts = sums + 8 * channel,
             seconds = sums + 8 * n_regions * kWidth + 4 * channel,
             regions = base + At::regions + row0 * kWidth + channel, words = base + At::curve + 4 * (channel % 2);
  Word of_row[4];
#pragma unroll
  for (int k = 0; k < 4; ++k) of_row[k] = words + curve_pair(row0 + k, channel / 8, channel / 2 % 4);
  struct Sample {
    float t, du;
    Word region;
  };
  // Row `from` + k.
  const auto load = [&](int from, int k) -> Sample {
    const float2 v = widen<F>(load_word(of_row[k] + from * 4 * kWidth));
    return {v.y, v.x, load_byte(regions + (from + k) * kWidth)};
  };
  Sample next_a = load(0, 0), next_b = load(0, 1);
#pragma unroll 1
  for (int row = 0; row < kRows; row += 4) {
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const Sample a = next_a, b = next_b;
      const Word at_a = firsts + a.region * (8 * kWidth), at_b = firsts + b.region * (8 * kWidth),
                 second_a = seconds + a.region * (4 * kWidth), second_b = seconds + b.region * (4 * kWidth);
      const bool same = a.region == b.region;
      const float2 sum_a = load_floats(at_a), sum_b = load_floats(at_b);
      const float square_a = load_float(second_a), square_b = load_float(second_b);
      const int after = k == 0 ? row : (row + 4) % kRows;
      next_a = load(after, 2 - k), next_b = load(after, 3 - k);
      const float2 left{sum_a.x + a.du, fmaf(a.du, a.t, sum_a.y)}, from = same ? left : sum_b;
      const float left_square = fmaf(a.du * a.t, a.t, square_a);
      store_floats(at_a, left);
      store_float(second_a, left_square);
      store_floats(at_b, {from.x + b.du, fmaf(b.du, b.t, from.y)});
      store_float(second_b, fmaf(b.du * b.t, b.t, same ? left_square : square_b));
    }
  }
}

// A warp's sums for the weights of a layer: [rows 16 m][columns 8 n].
using WeightSums = Sums[2][4];

// sums += g^T h of layer l over the tile; in `bias`, column m is the sum of g's columns 16 m ..
template <Number F>
__device__ __forceinline__ void add_weights(WeightSums& sums, Sums& bias, Word base, int l, int lane) {
  const Word tensor = static_cast<Word>(l) * Layout::kTensor,
             own_g = row_at<kWidth>(base + Layout::gradients + tensor, lane % 8 + lane / 16 * 8) ^
                     static_cast<Word>(lane / 8 % 2 * 16),
             own_h = row_at<kWidth>(base + Layout::outputs + tensor, lane % 16) ^ static_cast<Word>(lane / 16 * 16);
#pragma unroll
  for (int row = 0; row < kTile; row += 16) {
    Fragment a[2], b[2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      load_blocks_transposed(a[m], (own_g ^ (32 * m)) + row * 2 * kWidth);
      load_blocks_transposed(b[m], (own_h ^ (32 * m)) + row * 2 * kWidth);
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const Word ones = lane / 4 == m ? kOnes<F> : 0u;
      multiply<F>(bias, a[m], ones, ones);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        multiply<F>(sums[m][2 * n], a[m], b[n][0], b[n][1]);
        multiply<F>(sums[m][2 * n + 1], a[m], b[n][2], b[n][3]);
      }
    }
  }
}
// To the block's partial gradient: [layer][m, n][lane][4], as Place reads it; biases in order.
__device__ __forceinline__ void write_weights(float* partial, const WeightSums& sums, const Sums& bias, int l,
                                              const Lane& own) {
  auto* to = reinterpret_cast<float4*>(partial + l * kWidth * kWidth) + own.lane;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const Sums& c = sums[i / 4][i % 4];
    to[32 * i] = {c[0], c[1], c[2], c[3]};
  }
  if (own.t != 0) return;
  float* of_layer = partial + (kLayers * kWidth + l) * kWidth;
#pragma unroll
  for (int i = 0; i < 4; ++i) of_layer[feature_of(8 * i + own.g)] = bias[i % 2 * 2 + i / 2];
}
struct Place {
  template <class S, int l>
  static __device__ int2 of(int i) {
    const int e = i % 4, lane = i / 4 % 32, part = i / 128;
    return {feature_of(part / 4 * 16 + lane / 4 + e / 2 * 8), feature_of(part % 4 * 8 + lane % 4 * 2 + e % 2)};
  }
};

// A warp's 16 samples of a tile, on their way from memory: r, z, and du or what it is computed from.
template <Number F, bool kPositions, bool kFromDy>
struct Inputs {
  TileInputs<Narrow<F>, kPositions> r;
  uint4 du[kFromDy ? 1 : 2];
  float dy[kFromDy ? 2 : 1][3];
  __device__ __forceinline__ Inputs(const Operands& x, const Deconvolution& deconv, int tile, const Lane& own)
      : r(x, tile, own.warp, own.lane) {
    if constexpr (kFromDy) {
      const int frame = tile / deconv.tiles_of_frame,
                first = (tile - frame * deconv.tiles_of_frame) * kTile + 16 * own.warp + 2 * own.lane;
      const float* from = x.of(deconv.dy_padded) + static_cast<long>(frame) * deconv.width;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = 0; i < 3; ++i) {
          const int at = first + 64 * n + i;
          dy[n][i] = 32 * n + own.lane < kSignalWords && at < deconv.width ? from[at] : 0.0f;
        }
      }
    } else {
      const auto* from =
          reinterpret_cast<const uint4*>(x.of(x.du) + (static_cast<long>(tile) * kTile + 16 * own.warp) * kWidth);
#pragma unroll
      for (int s = 0; s < 2; ++s) du[s] = __ldcs(from + 32 * s + own.lane);
    }
  }
};

// The deconvolution's filters in shared memory: rows in the order of columns, of kTaps taps.
template <Number F>
__device__ __forceinline__ void share_filters(Word to, const Operands& x, const Deconvolution& deconv) {
  const int row = static_cast<int>(threadIdx.x) / 4, tap0 = threadIdx.x % 4 * 16;
  const float* from = x.of(deconv.w) + feature_of(row) * deconv.K;
  const auto tap = [&](int k) { return k < deconv.K ? from[deconv.flip ? deconv.K - 1 - k : k] : 0.0f; };
  float v[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) v[i] = tap(tap0 + i);
  const Word at = row_at<kTaps>(to, row);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float* p = v + 8 * i;
    store_words(at ^ static_cast<Word>(2 * tap0 + 16 * i), uint4{round_pair<F>(p[0], p[1]), round_pair<F>(p[2], p[3]),
                                                                 round_pair<F>(p[4], p[5]), round_pair<F>(p[6], p[7])});
  }
}

// du of the warp's samples, as it would be stored: the signal's Hankel matrix times the filters, as in
// conv1d_mma_cuda.h. The signal's pairs, and those that begin a sample later, lie in `signal` meanwhile, which is the
// warp's own.
template <Number F>
__device__ __forceinline__ void convolve(Rows& du, const float (&dy)[2][3], Word signal, Word filters,
                                         const Lane& own) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    if (32 * n + own.lane >= kSignalWords) continue;
    const Word at = signal + 4 * static_cast<Word>(32 * n + own.lane);
    store_word(at, round_pair<F>(dy[n][0], dy[n][1]));
    store_word(at + 4 * kSignalWords, round_pair<F>(dy[n][1], dy[n][2]));
  }
  __syncwarp();
  const Word from = signal + 4 * static_cast<Word>(own.g % 2 * kSignalWords + own.g / 2 + own.t);
  Word h[kTaps / 8 + 1];
#pragma unroll
  for (int i = 0; i <= kTaps / 8; ++i) h[i] = load_word(from + 16 * i);
  const Word row = row_at<kTaps>(filters, own.lane % 8) ^ static_cast<Word>(own.lane / 8 * 16);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    Sums c = {};
#pragma unroll
    for (int k = 0; k < kTaps / 16; k += 2) {
      Fragment b;
      load_blocks(b, (row ^ static_cast<Word>(32 * k)) + 8 * 2 * kTaps * j);
      multiply<F>(c, {h[2 * k], h[2 * k + 1], h[2 * k + 1], h[2 * k + 2]}, b[0], b[1]);
      multiply<F>(c, {h[2 * k + 2], h[2 * k + 3], h[2 * k + 3], h[2 * k + 4]}, b[2], b[3]);
    }
#pragma unroll
    for (int s = 0; s < 2; ++s) du.at(s, j) = round_pair<F>(c[2 * s], c[2 * s + 1]);
  }
  __syncwarp();  // before what else lies in the signal's place
}

// The last layer's outputs v, from h: t, du and region of each for the curve's sums, and du times the curve's slope.
template <Number F>
__device__ __forceinline__ void curve(Rows& g, const Rows (&h)[1], const Rows& du, const Operands& x, Word base,
                                      const Lane& own) {
  using At = Layout;
  const int regions = x.curve.regions, row = 16 * own.warp + own.g;
  const float2* slopes = x.of(x.slopes) + own.t;
  Word places[2][4];
  outputs_of<F>(h, kLayers - 1, own, [&](int j, int, Sums& c) {
    Word number[4];
    float2 slope[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float of = region_number(x.curve, c[i]);
      number[i] = __float_as_uint(of);
      slope[i] = __ldg(slopes + curve_at(j, i % 2, regions) + 4 * region_of(of));
      c[i] -= left_end(x.curve, of);
    }
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const Word along = round_pair<F>(c[2 * s], c[2 * s + 1]), own_du = du.at(s, j);
      store_words(base + At::curve + curve_pair(row, own.t, j) + 8 * 4 * kWidth * s,
                  uint2{__byte_perm(own_du, along, 0x5410), __byte_perm(own_du, along, 0x7632)});
      places[s][j] = __byte_perm(number[2 * s], number[2 * s + 1], 0x0040);
      const float2 v = widen<F>(own_du);
      g.at(s, j) = round_pair<F>(fmaf(c[2 * s], slope[2 * s].y, slope[2 * s].x) * v.x,
                                 fmaf(c[2 * s + 1], slope[2 * s + 1].y, slope[2 * s + 1].x) * v.y);
    }
  });
#pragma unroll
  for (int s = 0; s < 2; ++s) {
    store_words(
        base + At::regions + (row + 8 * s) * kWidth + 8 * own.t,
        uint2{__byte_perm(places[s][0], places[s][1], 0x5410), __byte_perm(places[s][2], places[s][3], 0x5410)});
  }
}

// Through the first layer and the residual: dr, and dz's sums over the warp's 16 samples in shared memory.
template <Number F, bool kPositions>
__device__ __forceinline__ void residual(const Operands& x, const TileInputs<Narrow<F>, kPositions>& in, const Rows& g,
                                         Word base, int tile, const Lane& own) {
  const int in_window = (16 * own.warp & (x.P - 1)) + own.g;
  Rows r, through;
  r.set(0, in.r[0]), r.set(1, in.r[1]);
  float terms[8] = {};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    Sums c = {};
    Fragment b;
    own.load_inputs(b, 0, j);
    product<F>(c, g, b);
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const float2 v = widen<F>(r.at(s, j));
      const int row = in_window + 8 * s;
      if (!kPositions || in.held.at[2 * j] == row) terms[2 * j] += c[2 * s] * v.x;
      if (!kPositions || in.held.at[2 * j + 1] == row) terms[2 * j + 1] += c[2 * s + 1] * v.y;
      through.at(s, j) =
          round_pair<F>(c[2 * s] * in.held.factor(2 * j, row), c[2 * s + 1] * in.held.factor(2 * j + 1, row));
    }
  }
  auto* dr = reinterpret_cast<uint4*>(x.of(x.dr) + (static_cast<long>(tile) * kTile + 16 * own.warp) * kWidth);
#pragma unroll
  for (int s = 0; s < 2; ++s) __stcs(dr + 32 * s + own.lane, through.row(s));
  sum_by_halves<16, 4>(terms, own.lane);
  const int channel = 8 * own.t + own.lane / 16 * 4 + own.lane / 8 % 2 * 2 + own.lane / 4 % 2;
  store_float(base + Layout::dz + 4 * static_cast<Word>(kWidth * own.warp + channel), terms[0]);
}

// Where a warp lays down its 16 rows of a tensor, in the order of columns.
struct Writer {
  Word to;
  __device__ Writer(Word tensor, const Lane& own) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    to = row_at<kWidth>(tensor, 16 * own.warp + own.lane % 16) ^ static_cast<Word>(own.lane / 16 * 16);
#else
    to = row_at<kWidth>(tensor, 16 * own.warp + own.g) + 4 * own.t;
#endif
  }
  __device__ __forceinline__ void write(int tensor, const Rows& v) const {
    const Word by = static_cast<Word>(tensor) * Layout::kTensor;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#pragma unroll
    for (int k = 0; k < 2; ++k) store_blocks((to ^ static_cast<Word>(32 * k)) + by, v.a[k]);
#else
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const Word at = (to ^ static_cast<Word>(16 * j)) + by;
      store_word(at, v.at(0, j)), store_word(at + 8 * 2 * kWidth, v.at(1, j));
    }
#endif
  }
};

template <Number F, bool kPositions, bool kFromDy>
__global__ void __launch_bounds__(kThreads, kBackwardBlocks)
    backward_kernel(Members, const __grid_constant__ Operands x, const __grid_constant__ Deconvolution deconv,
                    int slices) {
  using At = Layout;
  extern __shared__ __align__(1024) char shared[];
  const Word base = shared_address(shared);
  const Lane own(base);
  let_next_kernel_begin();
  const Weights weights(x);
  for (int i = threadIdx.x; i < At::kCopies * At::of_copy(x.curve.regions) / 16; i += kThreads) {
    store_words(base + At::sums + 16 * i, uint4{});
  }
  const Word filters = base + At::bytes(x.curve.regions);
  if constexpr (kFromDy) share_filters<F>(filters, x, deconv);
  weights.store(base);
  wait_for_kernel_before();
  Inputs<F, kPositions, kFromDy> in(x, deconv, blockIdx.x, own);
  const Writer out(base + At::outputs, own);
  __syncthreads();
#pragma unroll 1
  for (int slice = blockIdx.x; slice < slices; slice += gridDim.x) {
    WeightSums weight_sums{};
    Sums bias_sums{};
#pragma unroll 1
    for (int tile = slice; tile < x.tiles; tile += slices) {
      const int in_window = (16 * own.warp & (x.P - 1)) + own.g;
      Rows h[kLayers][1], g, du;
#pragma unroll
      for (int s = 0; s < 2; ++s) h[0][0].set(s, in.r.held.times(in.r.r[s], in_window + 8 * s));
      if constexpr (kFromDy) {
        convolve<F>(du, in.dy, base + At::curve + 16 * 4 * kWidth * own.warp, filters, own);
      } else {
        du.set(0, in.du[0]), du.set(1, in.du[1]);
      }
      out.write(0, h[0][0]);
#pragma unroll
      for (int l = 0; l < kLayers - 1; ++l) {
        layer<F>(h[l + 1], h[l], l, own);
        out.write(l + 1, h[l + 1][0]);
      }
      if (x.curve.regions) {
        curve<F>(g, h[kLayers - 1], du, x, base, own);
      } else {
        g = du;
      }
      out.write(2 * kLayers - 1, g);
#pragma unroll
      for (int l = kLayers - 1; l > 0; --l) {
        Rows down;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          Sums c = {};
          Fragment b;
          own.load_inputs(b, l, j);
          product<F>(c, g, b);
#pragma unroll
          for (int s = 0; s < 2; ++s) {
            down.at(s, j) = through_rectifier(round_pair<F>(c[2 * s], c[2 * s + 1]), h[l][0].at(s, j));
          }
        }
        g = down;
        out.write(kLayers + l - 1, g);
      }
      residual<F, kPositions>(x, in.r, g, base, tile, own);
      const bool last = tile + slices >= x.tiles;
      const int next = last ? slice + static_cast<int>(gridDim.x) : tile + slices;
      if (!last || next < slices) in = Inputs<F, kPositions, kFromDy>(x, deconv, next, own);
      __syncthreads();
      add_weights<F>(weight_sums, bias_sums, base, own.warp, own.lane);
      if (own.warp < At::kCopies && x.curve.regions) add_curve<F>(base, x.curve.regions, own.warp, own.lane);
      // Windows of P samples have P / 16 parts, which are added in order.
      const int parts = x.P / 16, window = own.warp;
      if (window < kTile >> x.log2_P) {
        const Word from = base + At::dz + 4 * static_cast<Word>(window * parts * kWidth + own.lane);
        float sum = load_float(from);
        for (int i = 1; i < parts; ++i) sum += load_float(from + 4 * kWidth * i);
        x.of(x.dz)[((static_cast<long>(tile) * kTile >> x.log2_P) + window) * kWidth + own.lane] = sum;
      }
      __syncthreads();
    }
    float* partial = partial_of<Narrow<F>>(x, slice);
    write_weights(partial, weight_sums, bias_sums, own.warp, own);
    const int n = x.curve.regions * kWidth;
    float* to = partial + Narrow<F>::n_weights() + Narrow<F>::n_bias();
#pragma unroll 1
    for (int i = threadIdx.x; i < n; i += kThreads) {
      float2 first{};
      float second = 0.0f;
#pragma unroll
      for (int copy = 0; copy < At::kCopies; ++copy) {
        const Word from = base + At::sums + copy * At::of_copy(x.curve.regions);
        const float2 v = load_floats(from + 8 * i);
        first.x += v.x, first.y += v.y, second += load_float(from + 8 * n + 4 * i);
        store_floats(from + 8 * i, float2{}), store_float(from + 8 * n + 4 * i, 0.0f);
      }
      to[i] = first.x, to[n + i] = first.y, to[2 * n + i] = second;
    }
  }
}

}  // namespace

bool takes(const Context& context, const DnnSaafDims& d) {
  return is_16_bit(context.precision) && context.fuse_dnn && context.cuda->major >= 8 && !has_own_weights(d) &&
         Narrow<Bfloat>::is(d) && d.width[kLayers - 1] == kWidth && d.activation == Activation::kRelu &&
         d.T % kTile == 0 && (d.P == 16 || d.P == 32 || d.P == 64) && d.saaf.S + 2 <= 255 &&
         static_cast<long>(d.B) * d.T / kForwardRows <= 1l << 30 &&
         static_cast<std::size_t>(Layout::bytes(d.saaf.S + 2) + kFilterBytes) <= context.cuda->shared_max;
}
bool takes_dy(const Context& context, const DnnSaafDims& d, int K) { return takes(context, d) && K <= kTaps; }

std::size_t packed(const DnnSaafDims& d) {
  using S = Narrow<Bfloat>;
  return d.use_saaf ? Packed<S>::slopes(d.saaf) + saaf_table_bytes(d.saaf) / 2 : Packed<S>::table;
}

std::size_t scratch(const Context& context, const DnnSaafDims& d) {
  const std::size_t floats = static_cast<std::size_t>(blocks_of_backward(context, d)) * partial_size<Narrow<Bfloat>>(d);
  return sizeof(float) * floats + (d.use_saaf ? saaf_sums_bytes(d.saaf) : 0);
}

namespace {

// One thread for two neighbouring weights, then for a bias, then for a channel's curve.
template <Number F>
__global__ void prepare_kernel(Members members, char* packed, const __grid_constant__ DnnSaafWeights weights,
                               const float* v, const float* w, const __grid_constant__ SaafDims curve, bool use_saaf) {
  using S = Narrow<F>;
  members.enter(packed, v, w);
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < S::n_weights() / 2) {
    const int l = 2 * i / (kWidth * kWidth), row = 2 * i / kWidth % kWidth, column = 2 * i % kWidth;
    const float* from = members.of(weights.w[l]) + feature_of(row) * kWidth + feature_of(column);
    *reinterpret_cast<Word*>(packed + weights_of(l) + (row_at<kWidth>(0, row) ^ static_cast<Word>(2 * column))) =
        round_pair<F>(from[0], from[1]);
    return;
  }
  i -= S::n_weights() / 2;
  if (i < S::n_bias()) {
    reinterpret_cast<float*>(packed + Packed<S>::bias)[i] = members.of(weights.bias[i / kWidth])[i % kWidth];
    return;
  }
  i -= S::n_bias();
  if (!use_saaf || i >= kWidth) return;
  const int regions = curve.S + 2;
  auto* table = reinterpret_cast<SaafPiece*>(packed + Packed<S>::table);
  auto* slopes = reinterpret_cast<float2*>(packed + Packed<S>::table + sizeof(SaafPiece) * regions * kWidth);
  saaf_make_pieces(v, w, curve, i, [&](int k, const SaafPiece& piece) {
    const int at = curve_at(i / 2 % 4, i % 2, regions) + 4 * k + i / 8;
    table[at] = piece, slopes[at] = {piece.B, 2.0f * piece.H};
  });
}

}  // namespace

void prepare(const Context& context, float* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  using S = Narrow<Bfloat>;
  with_number(context, [&]<Number F>() {
    launch(context, prepare_kernel<F>, blocks_for(S::n_weights() / 2 + S::n_bias() + kWidth), cafx::kThreads, 0,
           reinterpret_cast<char*>(packed), weights, weights.saaf_v, weights.saaf_w, d.saaf, d.use_saaf);
  });
}

void forward(const Context& context, Stored* u, const DnnSaafRows& rows, const Stored* r, const float* z,
             const std::int32_t* positions, const float* packed, const DnnSaafDims& d) {
  with_number(context, [&]<Number F>() {
    Operands x = operands<Narrow<F>>(context, reinterpret_cast<const char*>(packed), d, r, z, positions, kForwardRows);
    x.u = static_cast<std::uint16_t*>(u);
    const auto blocks = static_cast<unsigned>(
        std::min<long>(ceil_div(x.tiles, kThreads / 32), kForwardBlocks * multiprocessors_each(context)));
    const auto run = [&]<bool kPositions, bool kRows>() {
      launch_early(context, forward_kernel<F, kPositions, kRows>, blocks, kThreads, 0, x, rows);
    };
    const bool positions_kept = d.unpool == Unpool::kPositions;
    if (rows.rows) {
      positions_kept ? run.template operator()<true, true>() : run.template operator()<false, true>();
    } else {
      positions_kept ? run.template operator()<true, false>() : run.template operator()<false, false>();
    }
  });
}

void backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const DnnSaafDu& du,
              const Stored* r, const float* z, const std::int32_t* positions, const float* packed, float* scratch,
              const DnnSaafDims& d) {
  with_number(context, [&]<Number F>() {
    using S = Narrow<F>;
    Operands x = operands<S>(context, reinterpret_cast<const char*>(packed), d, r, z, positions, kTile);
    x.du = static_cast<const std::uint16_t*>(du.du), x.dr = static_cast<std::uint16_t*>(dr), x.dz = dz;
    const Deconvolution deconv{du.dy_padded, du.w, du.K, d.T + du.K - 1, d.T / kTile, du.flip};
    const int slices = blocks_of_backward(context, d);
    const long of_block = ceil_div(slices, kBackwardBlocks * multiprocessors_each(context));
    x.partials = partials_in(scratch, d);
    const auto run = [&]<bool kPositions, bool kFromDy>() {
      launch_early(context, backward_kernel<F, kPositions, kFromDy>, static_cast<unsigned>(ceil_div(slices, of_block)),
                   kThreads, static_cast<std::size_t>(Layout::bytes(x.curve.regions) + (kFromDy ? kFilterBytes : 0)), x,
                   deconv, slices);
    };
    const bool positions_kept = d.unpool == Unpool::kPositions;
    if (du.du) {
      positions_kept ? run.template operator()<true, false>() : run.template operator()<false, false>();
    } else {
      positions_kept ? run.template operator()<true, true>() : run.template operator()<false, true>();
    }
    add_partials<S, Place>(context, grads, scratch, slices, d);
  });
}

}  // namespace cafx::cuda::dnn_narrow
