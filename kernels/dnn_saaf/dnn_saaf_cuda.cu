#include <cuda_pipeline.h>

#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/dnn_saaf/dnn_saaf_mma_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_narrow_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_persistent_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf_unfused_cuda.h"
#include "kernels/pointwise/pointwise_cuda.h"
#include "kernels/saaf/saaf_cuda.h"

// DNN-SAAF in one kernel forward and one backward. A block takes M samples; their activations are in shared memory as
// [feature][sample], so that a layer is a product of two tiles: a thread keeps 8 x 8 sums in registers, reads its
// samples from shared memory and its weights straight from L2, before their use. Forward works in place in
// one buffer and stores the hidden activations for backward, which in fp32 costs less than to recompute them: the
// stores overlap the products. Backward holds one gradient and one activation at a time, so that two blocks
// share a multiprocessor and one loads while the other computes. Where a block's shared memory is too small, or on
// request, the twin of cuBLAS and plain ops runs instead (dnn_saaf_unfused_cuda.h). Frames with weights of their own
// are the second dimension of a grid.
namespace cafx::cuda {

namespace {

constexpr int kBlock = 128;  // threads: 8 groups of rows x 16 groups of columns
constexpr int kBlocks = 2;   // blocks of a multiprocessor, as many as backward's registers allow

constexpr long round_to(long n, long unit) { return (n + unit - 1) / unit * unit; }

// The kernels' arguments, by value. Weights for a product are (K,N) with K padded by zeros to 8, N to 64.
struct Net {
  int L, width[kMaxDnnLayers + 1];                                            // width[0] = C
  long forward[kMaxDnnLayers], backward[kMaxDnnLayers], bias[kMaxDnnLayers];  // offsets in `packed`, in floats
  long plain[kMaxDnnLayers];                                                  // (O,I), for the twin
  long table, n_packed;
  long grad[kMaxDnnLayers], grad_bias[kMaxDnnLayers], grad_sums, n_grad;  // offsets in a block's partial gradient
  int widest, saved[kMaxDnnLayers + 1], features;  // rows of a tile's buffer; of what is saved, from h_1 on
  bool whole;                                      // all widths are multiples of 64
  explicit Net(const DnnSaafDims& d) {
    L = d.L;
    width[0] = d.C;
    long at = 0, g = 0;
    widest = static_cast<int>(round_to(d.C, 8));
    features = 0;
    whole = d.C % 64 == 0;
    for (int l = 0; l < L; ++l) {
      width[l + 1] = d.width[l];
      widest = std::max(widest, static_cast<int>(round_to(d.width[l], 8)));
      whole = whole && d.width[l] % 64 == 0;
      saved[l + 1] = features;
      if (l + 1 < L) features += static_cast<int>(round_to(d.width[l], 8));
      const long I = width[l], O = d.width[l];
      forward[l] = at, at += round_to(I, 8) * round_to(O, 64);
      backward[l] = at, at += round_to(O, 8) * round_to(I, 64);
      plain[l] = at, at += round_to(I * O, 64);
      bias[l] = at, at += round_to(O, 64);
      grad[l] = g, g += round_to(I, 64) * round_to(O, 64);
      grad_bias[l] = g, g += round_to(O, 64);
    }
    table = at;
    grad_sums = g;
    const long regions = d.use_saaf ? static_cast<long>(d.saaf.S) + 2 : 0;
    n_packed = at + 4 * regions * d.C;
    n_grad = g + 4 * regions * d.C;
  }
};

template <int M>
constexpr int kStride = M + 4;  // floats between features: 16-byte rows whose starts walk through the banks

// A thread's position: 8 neighbouring lanes hold the rows of a tile, so that a feature is written as one line.
__device__ __forceinline__ int row_group() { return threadIdx.x % 8; }
__device__ __forceinline__ int column_group() { return threadIdx.x / 8; }

template <int N>
__device__ __forceinline__ void load_vector(float (&to)[N], const float* from) {
  if constexpr (N == 4) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    static_assert(N == 2);
    const float2 v = *reinterpret_cast<const float2*>(from);
    to[0] = v.x, to[1] = v.y;
  }
}
template <int N>
__device__ __forceinline__ void store_vector(float* to, const float (&from)[N]) {
  if constexpr (N == 4) {
    *reinterpret_cast<float4*>(to) = {from[0], from[1], from[2], from[3]};
  } else {
    *reinterpret_cast<float2*>(to) = {from[0], from[1]};
  }
}

// How the threads share a tile of M rows: kRows to each, in runs of W neighbours; the rows' groups are neighbouring
// lanes.
template <int M, int kRows>
struct Share {
  static constexpr int W = kRows < 4 ? kRows : 4, runs = kRows / W, groups = M / kRows;
  static constexpr int column_groups = kBlock / groups;
  static __device__ __forceinline__ int row(int run) { return run * (M / runs) + threadIdx.x % groups * W; }
  static __device__ __forceinline__ int column() { return threadIdx.x / groups * 4; }
};

// Columns [n0, n0 + kColumns for each of the column groups) of a product: epilogue(n, row, W sums of neighbouring rows)
// for n below N rounded up to 8. Weights are loaded kAhead rows before their use: one where four blocks share a
// multiprocessor, whose registers hold no more, and whose warps wait for each other's loads.
template <int M, int kRows, int kColumns, int kAhead, class Epilogue>
__device__ __forceinline__ void product_panel(const float* in, const float* w, int K, int N, int n0, bool wait,
                                              Epilogue epilogue) {
  using S = Share<M, kRows>;
  constexpr int kRuns = kColumns / 4, kApart = S::column_groups * 4;
  const int stride = (N + 63) / 64 * 64, K8 = (K + 7) / 8 * 8;
  float sum[kRows][kColumns] = {};
  float b[2][kAhead][kRuns][4];
  const float* next = w + n0 + S::column();
  const auto fetch = [&](int half) {
#pragma unroll
    for (int k = 0; k < kAhead; ++k, next += stride) {
#pragma unroll
      for (int run = 0; run < kRuns; ++run) {
        const float4 v = __ldg(reinterpret_cast<const float4*>(next + run * kApart));
        b[half][k][run][0] = v.x, b[half][k][run][1] = v.y, b[half][k][run][2] = v.z, b[half][k][run][3] = v.w;
      }
    }
  };
  const auto multiply = [&](int half, int k0) {
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
#pragma unroll
      for (int r = 0; r < S::runs; ++r) {
        float a[S::W];
        load_vector(a, in + (k0 + k) * kStride<M> + S::row(r));
#pragma unroll
        for (int i = 0; i < S::W; ++i) {
#pragma unroll
          for (int run = 0; run < kRuns; ++run) {
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[r * S::W + i][run * 4 + j] += a[i] * b[half][k][run][j];
          }
        }
      }
    }
  };
  fetch(0);
#pragma unroll 1
  for (int k0 = 0; k0 < K8; k0 += 2 * kAhead) {
    fetch(1);
    multiply(0, k0);
    if (k0 + 2 * kAhead < K8) fetch(0);
    multiply(1, k0 + kAhead);
  }
  if (wait) __syncthreads();
#pragma unroll
  for (int run = 0; run < kRuns; ++run) {
    const int n = n0 + run * kApart + S::column();
    if (n >= (N + 7) / 8 * 8) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int r = 0; r < S::runs; ++r) {
        float v[S::W];
#pragma unroll
        for (int i = 0; i < S::W; ++i) v[i] = sum[r * S::W + i][run * 4 + j];
        epilogue(n + j, S::row(r), v);
      }
    }
  }
}

// epilogue of sum_k in[k][row] w[k][n], for all rows of the block and n in [0, N). All threads have read before the
// epilogue writes: it may overwrite `in` if N fits one panel of 128.
template <int M, int kAhead, class Epilogue>
__device__ void product(const float* in, const float* w, int K, int N, Epilogue epilogue) {
  for (int n0 = 0; n0 < N; n0 += 128) {
    // 128 columns, or 64.
    if (N - n0 > 64) {
      product_panel<M, M / 8, 8, kAhead>(in, w, K, N, n0, n0 == 0, epilogue);
    } else {
      product_panel<M, M / 8, 4, kAhead>(in, w, K, N, n0, n0 == 0, epilogue);
    }
  }
  __syncthreads();
}

// partial (=, or += after the block's first tile) sum_row g[o][row] h[i][row], for o in [o0, o0 + 64) and i in
// [i0, i0 + 16 kInputs): thread t has o0 + t % 8 + 8 j and i0 + t / 8 + 16 k. A partial gradient is stored in the order
// in which the threads hold it (`weight_at`). kWhole: no o or i is beyond O and I, so that the rows of g, and those of
// h, are at constant distances.
template <int M, int kInputs, bool kWhole>
__device__ __forceinline__ void outer_panel(float* partial, const float* g, const float* h, int O, int I, int o0,
                                            int i0, bool first) {
  float sum[8 * kInputs];
  float4* own = reinterpret_cast<float4*>(partial) + threadIdx.x;
#pragma unroll
  for (int q = 0; q < 2 * kInputs; ++q) {
    const float4 v = first ? float4{} : own[q * kBlock];
    sum[4 * q] = v.x, sum[4 * q + 1] = v.y, sum[4 * q + 2] = v.z, sum[4 * q + 3] = v.w;
  }
  const float *from_g[8], *from_h[kInputs];
  const int o = o0 + row_group(), i = i0 + column_group();
#pragma unroll
  for (int j = 0; j < 8; ++j) from_g[j] = g + (kWhole ? o + 8 * j : min(o + 8 * j, O - 1)) * kStride<M>;
#pragma unroll
  for (int k = 0; k < kInputs; ++k) from_h[k] = h + (kWhole ? i + 16 * k : min(i + 16 * k, I - 1)) * kStride<M>;
#pragma unroll 1
  for (int row = 0; row < M; row += 4) {
    float4 b[kInputs];
#pragma unroll
    for (int k = 0; k < kInputs; ++k) b[k] = *reinterpret_cast<const float4*>(from_h[k] + row);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float4 a = *reinterpret_cast<const float4*>(from_g[j] + row);
#pragma unroll
      for (int k = 0; k < kInputs; ++k) {
        float& s = sum[j * kInputs + k];
        s += a.x * b[k].x, s += a.y * b[k].y, s += a.z * b[k].z, s += a.w * b[k].w;
      }
    }
  }
#pragma unroll
  for (int q = 0; q < 2 * kInputs; ++q) {
    own[q * kBlock] = {sum[4 * q], sum[4 * q + 1], sum[4 * q + 2], sum[4 * q + 3]};
  }
}

template <int M, bool kWhole>
__device__ void outer_product(float* partial, const float* g, const float* h, int O, int I, bool first) {
  for (int o0 = 0; o0 < O; o0 += 64) {
    for (int i0 = 0; i0 < I; i0 += 128) {
      if (I - i0 > 64) {
        outer_panel<M, 8, kWhole>(partial, g, h, O, I, o0, i0, first);
        partial += 64 * 128;
      } else {
        outer_panel<M, 4, kWhole>(partial, g, h, O, I, o0, i0, first);
        partial += 64 * 64;
      }
    }
  }
}

// The weight (o, i) at index `at` of a layer's partial gradient; may be outside (O,I).
__device__ __forceinline__ int2 weight_at(int at, int I) {
  const int columns = (I + 63) / 64 * 64, o0 = at / (64 * columns) * 64, rest = at - o0 * columns;
  const int i0 = rest / (64 * 128) * 128, inputs = columns - i0 > 64 ? 8 : 4, within = rest - 64 * i0;
  const int thread = within / 4 % kBlock, sum = within / (4 * kBlock) * 4 + within % 4;
  return {o0 + thread % 8 + sum / inputs * 8, i0 + thread / 8 + sum % inputs * 16};
}

// partial[o] likewise, the sum over the rows of g[o].
template <int M>
__device__ void row_sums(float* partial, const float* g, int O, bool first) {
  for (int o = threadIdx.x; o < O; o += kBlock) {
    float sum = first ? 0.0f : partial[o];
#pragma unroll 4
    for (int row = 0; row < M; row += 4) {
      const float4 v = *reinterpret_cast<const float4*>(g + o * kStride<M> + row);
      sum += v.x + v.y + v.z + v.w;
    }
    partial[o] = sum;
  }
}

struct Operands {
  const float *r, *z, *du, *packed;
  const std::int32_t* positions;
  float *u, *saved, *dr, *dz, *partials, *dz_parts;
  // Of frames with weights of their own, from one to the next: samples, floats of packed weights and of what is saved.
  // Frame blockIdx.y has samples from `begin` on; pointers to tensors stay those of the first.
  long samples, packed_apart, saved_apart;
  __device__ __forceinline__ long begin() const { return blockIdx.y * samples; }
};

// Rows of a tile: whole pooling windows where they fit, so that dz needs no other block.
template <int M>
__host__ __device__ int rows_of(int P) {
  return P <= M ? M / P * P : M;
}

// Rows per thread at a time along a channel: their loads are in flight together. Backward has less code with fewer.
template <int M>
constexpr int kForwardRun = M / 4;
template <int M>
constexpr int kBackwardRun = M < 64 ? M / 4 : 8;

// A tile's samples of all tensors: `n` of them from `begin` on.
struct Tile {
  long begin;
  int n;
  __device__ __forceinline__ Tile(long begin, int rows, long n_all)
      : begin(begin), n(static_cast<int>(min(static_cast<long>(rows), n_all - begin))) {}
};

// Unpooled z of one channel at a run of samples from row `row` of the tile on.
template <int R>
struct Held {
  float z[R];
  bool here[R];  // this sample gets its window's value
};
template <int R>
__device__ __forceinline__ Held<R> unpooled(const Operands& x, const DnnSaafDims& d, const Tile& tile, int row, int c) {
  Held<R> out;
  const long first_window = tile.begin / d.P;  // frames hold whole windows
  const int from = static_cast<int>(tile.begin - first_window * d.P) + row;
  const int window = from / d.P;
  const long first = (first_window + window) * d.C + c;
  const bool hold = d.unpool == Unpool::kHold;
  int at = from - window * d.P;
  if (at + R <= d.P) {  // all in one window
    const float z = row < tile.n ? x.z[first] : 0.0f;
    const int position = hold || row >= tile.n ? -1 : x.positions[first];
#pragma unroll
    for (int k = 0; k < R; ++k) out.z[k] = z, out.here[k] = row + k < tile.n && (hold || position == at + k);
    return out;
  }
  int next = 0;
#pragma unroll
  for (int k = 0; k < R; ++k) {
    out.z[k] = 0.0f, out.here[k] = false;
    if (row + k < tile.n) {
      out.z[k] = x.z[first + next];
      out.here[k] = hold || x.positions[first + next] == at;
    }
    if (++at == d.P) at = 0, next += d.C;
  }
  return out;
}

// to[k] = a tensor's values at the same samples; zero past the end.
template <int R>
__device__ __forceinline__ void load_run(float (&to)[R], const float* from, const DnnSaafDims& d, const Tile& tile,
                                         int row, int c) {
  from += (tile.begin + row) * d.C + c;
#pragma unroll
  for (int k = 0; k < R; ++k) to[k] = row + k < tile.n ? __ldcs(from + k * d.C) : 0.0f;
}
template <int R>
__device__ __forceinline__ void load_column(float (&to)[R], const float* from) {
#pragma unroll
  for (int k = 0; k < R; k += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + k);
    to[k] = v.x, to[k + 1] = v.y, to[k + 2] = v.z, to[k + 3] = v.w;
  }
}
template <int R>
__device__ __forceinline__ void store_column(float* to, const float (&from)[R]) {
#pragma unroll
  for (int k = 0; k < R; k += 4) {
    *reinterpret_cast<float4*>(to + k) = {from[k], from[k + 1], from[k + 2], from[k + 3]};
  }
}

// body(c, row) for every channel and every run of rows: neighbouring lanes take neighbouring channels.
template <int M, int R, class Body>
__device__ __forceinline__ void over_runs(int C, Body body) {
  const int columns = (C + 31) / 32 * 32;
  int c = threadIdx.x, row = 0;
  const auto wrap = [&] {
    while (c >= columns) c -= columns, row += R;
  };
  for (wrap(); row < M; c += kBlock, wrap()) {
    if (c < C) body(c, row);
  }
}

// h0[c][row] = unpooled z times r; zero past the last sample and the last channel.
template <int M, int R>
__device__ void load_h0(float* h0, const Operands& x, const DnnSaafDims& d, const Tile& tile) {
  over_runs<M, R>((d.C + 7) / 8 * 8, [&](int c, int row) {
    float v[R] = {};
    if (c < d.C) {
      load_run<R>(v, x.r, d, tile, row, c);
      const Held<R> held = unpooled<R>(x, d, tile, row, c);
#pragma unroll
      for (int k = 0; k < R; ++k) v[k] = held.here[k] ? v[k] * held.z[k] : 0.0f;
    }
    store_column<R>(h0 + c * kStride<M> + row, v);
  });
}

template <int M, Activation A>
__global__ void __launch_bounds__(kBlock, 4)
    forward_kernel(Members members, Operands x, DnnSaafDims d, Net net, long n_all) {
  members.enter(x.r, x.z, x.du, x.packed, x.positions, x.u, x.dr, x.dz, x.partials, x.dz_parts);
  members.enter_given(x.saved);
  let_next_kernel_begin();
  wait_for_kernel_before();
  x.packed += blockIdx.y * x.packed_apart;
  n_all += x.begin();
  extern __shared__ __align__(16) float shared[];
  constexpr int R = kForwardRun<M>;
  float *in = shared, *out = net.widest <= 128 ? in : in + net.widest * kStride<M>;
  const int rows = rows_of<M>(d.P);
  const Tile tile(x.begin() + static_cast<long>(blockIdx.x) * rows, rows, n_all);
  load_h0<M, R>(in, x, d, tile);
  __syncthreads();
  for (int l = 0; l < net.L; ++l) {
    const float* bias = x.packed + net.bias[l];
    const bool last = l + 1 == net.L;
    float* keep = last || !x.saved ? nullptr
                                   : x.saved + blockIdx.y * x.saved_apart +
                                         (blockIdx.x * static_cast<long>(net.features) + net.saved[l + 1]) * M;
    product<M, 1>(in, x.packed + net.forward[l], net.width[l], net.width[l + 1], [&](int n, int row, auto& v) {
      const float b = bias[n];
      for (float& y : v) y = last ? y + b : activate<A>(y + b);
      store_vector(out + n * kStride<M> + row, v);
      if (keep) store_vector(keep + n * M + row, v);
    });
    float* t = in;
    in = out;
    out = t;
  }
  const auto* table = reinterpret_cast<const float4*>(x.packed + net.table);
  const auto width = static_cast<float>(saaf_width(d.saaf)), per_width = static_cast<float>(1.0 / saaf_width(d.saaf));
  over_runs<M, R>(d.C, [&](int c, int row) {
    float v[R];
    load_column<R>(v, in + c * kStride<M> + row);
    if (d.use_saaf) {
      float t[R];
      float4 piece[R];
#pragma unroll
      for (int k = 0; k < R; ++k) {
        const SaafPlace p = saaf_place(v[k], d.saaf.lo, width, per_width, d.saaf.S);
        t[k] = p.t;
        piece[k] = __ldg(table + p.region * d.C + c);
      }
#pragma unroll
      for (int k = 0; k < R; ++k) v[k] = piece[k].x + t[k] * (piece[k].y + t[k] * piece[k].z);
    }
    float* to = x.u + (tile.begin + row) * d.C + c;
#pragma unroll
    for (int k = 0; k < R; ++k) {
      if (row + k < tile.n) to[k * d.C] = v[k];
    }
  });
}

// Tiles blockIdx.x, + gridDim.x, ... in order; the block's gradient goes to its own part of `partials`. kWhole: all
// widths are multiples of 64.
template <int M, bool kWhole, Activation A>
__global__ void __launch_bounds__(kBlock, kBlocks)
    backward_kernel(Members members, Operands x, DnnSaafDims d, Net net, long n_all, int copies) {
  members.enter(x.r, x.z, x.du, x.packed, x.positions, x.u, x.saved, x.dr, x.dz, x.partials, x.dz_parts);
  let_next_kernel_begin();
  wait_for_kernel_before();
  x.packed += blockIdx.y * x.packed_apart;
  extern __shared__ __align__(16) float shared[];
  constexpr int R = kBackwardRun<M>;
  float* g = shared;                          // gradient of a layer's output
  float* h = g + net.widest * kStride<M>;     // its input
  float* sums = h + net.widest * kStride<M>;  // (copies, 3, S+2, C)
  const int rows = rows_of<M>(d.P), regions = d.use_saaf ? d.saaf.S + 2 : 0, n_sums = regions * d.C;
  float* partial = x.partials + (static_cast<long>(blockIdx.y) * gridDim.x + blockIdx.x) * net.n_grad;
  for (int i = threadIdx.x; i < copies * 3 * n_sums; i += kBlock) sums[i] = 0.0f;
  const auto* table = reinterpret_cast<const float4*>(x.packed + net.table);
  const auto width = static_cast<float>(saaf_width(d.saaf)), per_width = static_cast<float>(1.0 / saaf_width(d.saaf));
  const int columns = (d.C + 31) / 32 * 32;
  bool first = true;
  n_all += x.begin();
  // Asks for h_l as forward stored it; it is there behind arrived(). h_0 is computed again.
  const auto ask_for_h = [&](int l, long index) {
    if (l == 0) return;
    const float* from =
        x.saved + blockIdx.y * x.saved_apart + (index * net.features + net.saved[l]) * M + threadIdx.x * 4;
    const int n = (net.width[l] + 7) / 8 * 8;
    constexpr int kApart = kBlock / (M / 4);
    float* to = h + threadIdx.x / (M / 4) * kStride<M> + threadIdx.x % (M / 4) * 4;
    for (int i = threadIdx.x / (M / 4); i < n; i += kApart, from += kBlock * 4, to += kApart * kStride<M>) {
      __pipeline_memcpy_async(to, from, sizeof(float4));
    }
    __pipeline_commit();
  };
  const auto arrived = [&] {
    __pipeline_wait_prior(0);
    __syncthreads();
  };
  if (x.begin() + blockIdx.x * rows < n_all) ask_for_h(net.L - 1, blockIdx.x);
  for (long index = blockIdx.x; x.begin() + index * rows < n_all; index += gridDim.x, first = false) {
    const Tile tile(x.begin() + index * rows, rows, n_all);
    if (net.L == 1) load_h0<M, R>(h, x, d, tile);
    arrived();
    {  // the SAAF's input, in `g`
      const float* bias = x.packed + net.bias[net.L - 1];
      product<M, 4>(h, x.packed + net.forward[net.L - 1], net.width[net.L - 1], d.C, [&](int n, int row, auto& v) {
        const float b = bias[n];
        for (float& y : v) y += b;
        store_vector(g + n * kStride<M> + row, v);
      });
    }
    // Through the SAAF, in place. Each copy of the sums belongs to one run of threads, a channel to one thread of it.
    const int per_run = kBlock / copies, run = threadIdx.x / per_run, thread = threadIdx.x % per_run;
    for (int c = thread; run < copies && c < columns; c += per_run) {
      if (c >= d.C) continue;
      float* own = sums + run * 3 * n_sums + c;
#pragma unroll 1
      for (int row = run * R; row < M; row += copies * R) {
        float v[R], dy[R];
        load_run<R>(dy, x.du, d, tile, row, c);
        if (d.use_saaf) {
          float4 piece[R];
          SaafPlace p[R];
          load_column<R>(v, g + c * kStride<M> + row);
#pragma unroll
          for (int k = 0; k < R; ++k) {
            p[k] = saaf_place(v[k], d.saaf.lo, width, per_width, d.saaf.S);
            piece[k] = __ldg(table + p[k].region * d.C + c);
          }
#pragma unroll
          for (int k = 0; k < R; ++k) {
            if (dy[k] != 0.0f) {
              float* s = own + p[k].region * d.C;
              const float s0 = s[0], s1 = s[n_sums], s2 = s[2 * n_sums], t = p[k].t;
              s[0] = s0 + dy[k], s[n_sums] = s1 + dy[k] * t, s[2 * n_sums] = s2 + dy[k] * t * t;
            }
            dy[k] *= piece[k].y + 2.0f * p[k].t * piece[k].z;
          }
        }
        store_column<R>(g + c * kStride<M> + row, dy);
      }
    }
    __syncthreads();
    // Down the layers: `g` is the gradient of layer l's output, `h` its input.
    for (int l = net.L - 1; l >= 0; --l) {
      const int O = net.width[l + 1], I = net.width[l];
      row_sums<M>(partial + net.grad_bias[l], g, O, first);
      if (l + 1 < net.L) arrived();
      outer_product<M, kWhole>(partial + net.grad[l], g, h, O, I, first);
      product<M, 4>(g, x.packed + net.backward[l], O, I, [&](int n, int row, auto& v) {
        float* at = h + n * kStride<M> + row;
        if (l > 0) {
          constexpr int kWide = static_cast<int>(sizeof(v) / sizeof(float));
          float y[kWide];
          load_vector(y, at);
#pragma unroll
          for (int i = 0; i < kWide; ++i) v[i] *= activation_slope<A>(y[i]);
        }
        store_vector(at, v);
      });
      float* t = g;
      g = h;
      h = t;
      if (l == 1) load_h0<M, R>(h, x, d, tile);
      if (l > 1) ask_for_h(l - 1, index);
    }
    if (x.begin() + (index + gridDim.x) * rows < n_all) ask_for_h(net.L - 1, index + gridDim.x);
    // dr = dh_0 unpooled(z); dz = the sum over its window, or at its position, of dh_0 r.
    over_runs<M, R>(d.C, [&](int c, int row) {
      float v[R], r[R];
      load_run<R>(r, x.r, d, tile, row, c);
      const Held<R> held = unpooled<R>(x, d, tile, row, c);
      load_column<R>(v, g + c * kStride<M> + row);
      float* dr = x.dr + (tile.begin + row) * d.C + c;
#pragma unroll
      for (int k = 0; k < R; ++k) {
        if (row + k < tile.n) __stcs(dr + k * d.C, held.here[k] ? v[k] * held.z[k] : 0.0f);
        v[k] = held.here[k] ? v[k] * r[k] : 0.0f;
      }
      store_column<R>(g + c * kStride<M> + row, v);
    });
    __syncthreads();
    const int P = d.P < rows ? d.P : rows, windows = rows / P;
    for (int i = threadIdx.x; i < columns * windows; i += kBlock) {
      const int c = i % columns, window = i / columns;
      const long n = tile.begin + static_cast<long>(window) * P;
      if (c >= d.C || window * P >= tile.n) continue;
      float sum = 0.0f;
      for (int row = window * P; row < (window + 1) * P; ++row) sum += g[c * kStride<M> + row];
      // A window over several tiles is summed afterwards.
      (d.P <= M ? x.dz : x.dz_parts)[n / P * d.C + c] = sum;
    }
  }
  __syncthreads();
  auto* to = reinterpret_cast<float4*>(partial + net.grad_sums);
  for (int i = threadIdx.x; i < n_sums; i += kBlock) {
    float4 s{};
    for (int copy = 0; copy < copies; ++copy) {
      const float* from = sums + copy * 3 * n_sums + i;
      s.x += from[0], s.y += from[n_sums], s.z += from[2 * n_sums];
    }
    to[i] = s;
  }
}

// The kernels to run and their sizes.
struct Plan {
  int M = 0, copies = 1, blocks = 0;      // M = 0: the plain twin
  std::size_t forward = 0, backward = 0;  // bytes of shared memory
  int sets = 1;                           // frames with weights of their own, or 1 for all: a grid for each
  long n_all = 0, tiles = 0;              // of a set
};

Plan plan_for(const Context& context, const DnnSaafDims& d) {
  Plan plan;
  plan.sets = has_own_weights(d) ? d.B : 1;
  plan.n_all = static_cast<long>(d.B) * d.T / plan.sets;
  if (!context.fuse_dnn || context.precision != Precision::kFp32) return plan;
  const Net net(d);
  const std::size_t sums = d.use_saaf ? sizeof(float) * 3 * (static_cast<std::size_t>(d.saaf.S) + 2) * d.C : 0;
  plan.copies = static_cast<int>(std::clamp<long>(kBlock / ceil_div(d.C, 32) / 32, 1, 4));
  while (plan.copies & (plan.copies - 1)) --plan.copies;
  for (const int M : {64, 32, 16}) {
    if (d.P > M && d.P % M != 0) continue;
    const std::size_t buffer = sizeof(float) * static_cast<std::size_t>(M + 4) * net.widest;
    plan.forward = net.widest <= 128 ? buffer : 2 * buffer;
    const std::size_t least = 2 * buffer + sums;
    plan.backward = least + sums * static_cast<std::size_t>(plan.copies - 1);
    if (plan.backward > context.cuda->shared_max) plan.copies = 1, plan.backward = least;
    if (std::max(plan.forward, plan.backward) > context.cuda->shared_max) continue;
    const int rows = d.P <= M ? M / d.P * d.P : M;
    plan.M = M;
    plan.tiles = ceil_div(plan.n_all, rows);
    // The system reserves 1 KiB of shared memory per block.
    const long resident = static_cast<long>((context.cuda->shared_max + 1024) / (plan.backward + 1024));
    const long all = std::clamp<long>(resident, 1, kBlocks) * context.cuda->n_sm;
    plan.blocks = static_cast<int>(std::min<long>(plan.tiles, ceil_div(all, plan.sets)));
    return plan;
  }
  return plan;
}

// Floats from a frame's own packed weights to the next frame's. The SAAF's v and w follow the rest, for the twin.
long packed_apart(const Net& net, const DnnSaafDims& d) {
  const long saaf = d.use_saaf ? static_cast<long>(n_v(d.saaf) + n_curved(d.saaf)) * d.C : 0;
  return round_to(net.n_packed + saaf, 64);
}
Operands operands_of(const Plan& plan, const Net& net, const DnnSaafDims& d) {
  Operands x{};
  x.samples = plan.n_all;
  x.packed_apart = packed_apart(net, d);
  x.saved_apart = plan.tiles * net.features * plan.M;
  return x;
}

template <class F>
void with_rows(int M, F f) {
  if (M == 64) return f.template operator()<64>();
  if (M == 32) return f.template operator()<32>();
  return f.template operator()<16>();
}

}  // namespace

bool dnn_saaf_takes_dy(const Context& context, const DnnSaafDims& d, int K) {
  return dnn_narrow::takes_dy(context, d, K) || dnn_persistent::takes_dy(context, d, K);
}

bool dnn_saaf_gives_rows(const Context& context, const DnnSaafDims& d, int K) {
  return cuda::dnn_saaf_takes_dy(context, d, K);  // the same kernels know the filters both ways
}

bool dnn_saaf_one_by_one(const Context& context, const DnnSaafDims& d) {
  return !dnn_mma::takes(context, d) && !plan_for(context, d).M;
}

std::size_t dnn_saaf_packed(const Context& context, const DnnSaafDims& d) {
  if (dnn_narrow::takes(context, d)) return dnn_narrow::packed(d);
  if (dnn_persistent::takes(context, d)) return dnn_persistent::packed(d);
  if (dnn_mma::takes(context, d)) return dnn_mma::packed(context, d);
  return sizeof(float) * static_cast<std::size_t>((has_own_weights(d) ? d.B : 1) * packed_apart(Net(d), d));
}

std::size_t dnn_saaf_saved(const Context& context, const DnnSaafDims& d) {
  if (dnn_narrow::takes(context, d) || dnn_persistent::takes(context, d) || dnn_mma::takes(context, d)) return 0;
  const Plan plan = plan_for(context, d);
  if (!plan.M) return dnn_unfused::saved(context, d);
  return sizeof(float) * static_cast<std::size_t>(plan.sets * plan.tiles) * Net(d).features * plan.M;
}

std::size_t dnn_saaf_scratch(const Context& context, const DnnSaafDims& d) {
  if (dnn_narrow::takes(context, d)) return dnn_narrow::scratch(context, d);
  if (dnn_persistent::takes(context, d)) return dnn_persistent::scratch(context, d);
  if (dnn_mma::takes(context, d)) return dnn_mma::scratch(context, d);
  const Plan plan = plan_for(context, d);
  if (!plan.M) return dnn_unfused::scratch(context, d);
  const Net net(d);
  std::size_t floats = static_cast<std::size_t>(plan.sets) * static_cast<std::size_t>(plan.blocks) * net.n_grad +
                       4 * (d.saaf.S + 2) * static_cast<std::size_t>(d.C);
  if (d.P > plan.M) floats += static_cast<std::size_t>(plan.sets * plan.tiles) * d.C;
  return sizeof(float) * floats;
}

void dnn_saaf_prepare(const Context& context, float* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  if (dnn_narrow::takes(context, d)) return dnn_narrow::prepare(context, packed, weights, d);
  if (dnn_persistent::takes(context, d)) return dnn_persistent::prepare(context, packed, weights, d);
  if (dnn_mma::takes(context, d)) return dnn_mma::prepare(context, packed, weights, d);
  const Net net(d);
  const int sets = has_own_weights(d) ? d.B : 1;
  const long apart = packed_apart(net, d), w_apart = d.apart;
  for (int l = 0; l < net.L; ++l) {
    const float *w = weights.w[l], *bias = weights.bias[l];
    float *forward = packed + net.forward[l], *backward = packed + net.backward[l], *plain = packed + net.plain[l],
          *to_bias = packed + net.bias[l];
    const long I = net.width[l], O = net.width[l + 1], I64 = round_to(I, 64), O64 = round_to(O, 64);
    for_each(context, sets * I64 * O64, [=] __device__(Members members) mutable {
      members.enter(forward, w, backward, plain, to_bias, bias);
      return [=](long n) {
        const long set = n / (I64 * O64), at = n - set * I64 * O64, to = set * apart;
        const float *own = w + set * w_apart, *own_bias = bias + set * w_apart;
        if (long i = at / O64, o = at - i * O64; i < (I + 7) / 8 * 8)
          forward[to + at] = i < I && o < O ? own[o * I + i] : 0.0f;
        long o = at / I64, i = at - o * I64;
        if (o < (O + 7) / 8 * 8) backward[to + at] = i < I && o < O ? own[o * I + i] : 0.0f;
        if (o < O && i < I) plain[to + o * I + i] = own[o * I + i];
        if (at < O64) to_bias[to + at] = at < O ? own_bias[at] : 0.0f;
      };
    });
  }
  if (!d.use_saaf) return;
  saaf_table(context, reinterpret_cast<SaafPiece*>(packed + net.table), weights.saaf_v, weights.saaf_w, d.saaf);
  float* table = packed + net.table;
  const long size = net.n_packed - net.table;
  for_each(context, (sets - 1) * size, [=] __device__(Members members) mutable {  // the same for all
    members.enter(table);
    return [=](long at) { table[(1 + at / size) * apart + at % size] = table[at % size]; };
  });
  const long n = static_cast<long>(n_v(d.saaf)) * d.C, all = n + static_cast<long>(n_curved(d.saaf)) * d.C;
  float* to = packed + net.n_packed;
  const float *v = weights.saaf_v, *w = weights.saaf_w;
  for_each(context, all, [=] __device__(Members members) mutable {
    members.enter(to, v, w);
    return [=](long i) { to[i] = i < n ? v[i] : w[i - n]; };
  });
}

void dnn_saaf_forward(const Context& context, Stored* u, const DnnSaafRows& rows, float* saved, const Stored* r,
                      const float* z, const std::int32_t* positions, const float* packed, float* scratch,
                      const DnnSaafDims& d) {
  if (dnn_narrow::takes(context, d)) return dnn_narrow::forward(context, u, rows, r, z, positions, packed, d);
  if (dnn_persistent::takes(context, d)) return dnn_persistent::forward(context, u, rows, r, z, positions, packed, d);
  if (dnn_mma::takes(context, d)) return dnn_mma::forward(context, u, r, z, positions, packed, d);
  const Plan plan = plan_for(context, d);
  const Net net(d);
  if (plan.M) {
    Operands x = operands_of(plan, net, d);
    x.r = static_cast<const float*>(r), x.z = z, x.positions = positions, x.packed = packed;
    x.u = static_cast<float*>(u), x.saved = saved;
    const dim3 grid(static_cast<unsigned>(plan.tiles), static_cast<unsigned>(plan.sets));
    with_rows(plan.M, [&]<int M>() {
      with_activation(d.activation, [&]<Activation A>() {
        launch_early(context, forward_kernel<M, A>, grid, kBlock, plan.forward, x, d, net, plan.n_all);
      });
    });
    return;
  }
  DnnSaafWeights weights{};
  for (int l = 0; l < d.L; ++l) weights.w[l] = packed + net.plain[l], weights.bias[l] = packed + net.bias[l];
  weights.saaf_v = packed + net.n_packed;
  weights.saaf_w = weights.saaf_v + static_cast<long>(d.use_saaf ? n_v(d.saaf) : 0) * d.C;
  dnn_unfused::forward(context, u, saved, r, z, positions, weights, scratch, d);
}

namespace {

// Destinations of the layers' gradients, by value, for the kernel that sums the blocks' parts.
struct Targets {
  float *w[kMaxDnnLayers], *bias[kMaxDnnLayers];
  long apart;  // of frames with weights of their own
};

// 32 neighbouring numbers to a block; eight rows of threads share the blocks' parts.
__global__ void finish_kernel(Members members, const __grid_constant__ Targets to, SaafSums* sums,
                              const float* partials, int blocks, const __grid_constant__ Net net) {
  members.enter(partials);
  members.enter_given(sums);
  __shared__ double parts[8][32];
  const long i = static_cast<long>(blockIdx.x) * 32 + threadIdx.x, own = blockIdx.y * to.apart;
  double sum = 0.0;
  if (i >= net.grad_sums) blocks *= blockIdx.y == 0 ? gridDim.y : 0;  // the curves' are those of all frames
  partials += static_cast<long>(blockIdx.y) * blocks * net.n_grad;
  if (i < net.n_grad) {
#pragma unroll 4
    for (int b = threadIdx.y; b < blocks; b += 8) sum += partials[b * net.n_grad + i];
  }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= net.n_grad) return;
  for (int k = 1; k < 8; ++k) sum += parts[k][threadIdx.x];
  if (i >= net.grad_sums) {
    if (blockIdx.y == 0) reinterpret_cast<float*>(sums)[i - net.grad_sums] = static_cast<float>(sum);
    return;
  }
  int l = net.L - 1;
  while (i < net.grad[l]) --l;
  const int I = net.width[l], O = net.width[l + 1];
  if (i >= net.grad_bias[l]) {
    const long o = i - net.grad_bias[l];
    if (o < O) members.of(to.bias[l])[own + o] += static_cast<float>(sum);
  } else {
    const int2 at = weight_at(static_cast<int>(i - net.grad[l]), I);
    if (at.x < O && at.y < I) {
      members.of(to.w[l])[own + static_cast<long>(at.x) * I + at.y] += static_cast<float>(sum);
    }
  }
}

}  // namespace

void dnn_saaf_backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const DnnSaafDu& from,
                       const float* saved, const Stored* r, const float* z, const std::int32_t* positions,
                       const DnnSaafWeights& weights, const float* packed, float* scratch, const DnnSaafDims& d) {
  if (dnn_narrow::takes(context, d)) {
    return dnn_narrow::backward(context, dr, dz, grads, from, r, z, positions, packed, scratch, d);
  }
  if (dnn_persistent::takes(context, d)) {
    return dnn_persistent::backward(context, dr, dz, grads, from, r, z, positions, packed, scratch, d);
  }
  const Stored* du = from.du;
  if (dnn_mma::takes(context, d)) {
    return dnn_mma::backward(context, dr, dz, grads, du, r, z, positions, packed, scratch, d);
  }
  const Plan plan = plan_for(context, d);
  const Net net(d);
  if (plan.M) {
    float* partials = scratch;
    auto* sums = reinterpret_cast<SaafSums*>(partials + static_cast<long>(plan.sets) * plan.blocks * net.n_grad);
    float* dz_parts = reinterpret_cast<float*>(sums + (d.saaf.S + 2) * static_cast<long>(d.C));
    Operands x = operands_of(plan, net, d);
    x.r = static_cast<const float*>(r), x.z = z, x.positions = positions, x.packed = packed;
    x.du = static_cast<const float*>(du), x.saved = const_cast<float*>(saved);
    x.dr = static_cast<float*>(dr), x.dz = dz, x.partials = partials, x.dz_parts = dz_parts;
    const auto sets = static_cast<unsigned>(plan.sets), blocks = static_cast<unsigned>(plan.blocks);
    with_rows(plan.M, [&]<int M>() {
      with_activation(d.activation, [&]<Activation A>() {
        constexpr bool kLarge = M == 64;
        launch_early(context, kLarge && net.whole ? backward_kernel<M, kLarge, A> : backward_kernel<M, false, A>,
                     dim3(blocks, sets), kBlock, plan.backward, x, d, net, plan.n_all, plan.copies);
      });
    });
    if (d.P > plan.M) {
      dnn_mma::add_window_parts(context, dz, dz_parts, plan.sets * plan.n_all / d.P, d.P / plan.M, d.C);
    }
    Targets to{};
    for (int l = 0; l < d.L; ++l) to.w[l] = grads.dw[l], to.bias[l] = grads.dbias[l];
    to.apart = d.apart;
    aside(context, [&] {
      launch(context, finish_kernel, dim3(blocks_for(net.n_grad, 32), sets), dim3(32, 8), 0, to, sums, partials,
             plan.blocks, net);
      if (d.use_saaf) saaf_gradients(context, grads.dsaaf_v, grads.dsaaf_w, sums, d.saaf);
    });
    return;
  }
  dnn_unfused::backward(context, dr, dz, grads, du, saved, r, z, positions, weights, scratch, d);
}

}  // namespace cafx::cuda
