#include "kernels/dnn_saaf/dnn_saaf_mma_cuda.h"

#include "kernels/device/each_cuda.h"
#include "kernels/device/halves_cuda.h"
#include "kernels/dnn_saaf/mma_cuda.h"
#include "kernels/pointwise/pointwise_cuda.h"
#include "kernels/saaf/saaf_cuda.h"

// A warp takes 16 samples through all layers in registers. A tensor core's C of one layer is its A of the next if
// features are numbered in another order: lane 4 g + t holds features 4 t .. 4 t + 3 of each group
// of 16, for samples g and g + 8 of the warp's 16. The weights are packed in that order, rounded, as whole fragments: a
// 16-byte load from the first-level cache is B of two products.
//
// Frames with weights of their own are the second dimension of a grid.
//
// Backward computes the layers again and keeps their outputs, rounded, in shared memory as [sample][feature]; there the
// block's warps share the outer products for the weights' gradients. Bias, activation and SAAF are fp32.
namespace cafx::cuda::dnn_mma {

namespace {

constexpr int kGroup = 16, kGroups = 8, kRows = 16;  // features of a group, most groups of a layer, samples of a warp
constexpr int kForwardWarps = 4;

// Widths are rounded up to 64: padding has weight, bias and gradient zero.
__host__ __device__ constexpr int padded(int width) { return (width + 63) / 64 * 64; }
constexpr int kOuterRows = 16, kOuterColumns = 32;  // of the weights' gradient: a warp's tile of sums

// The kernels' arguments, by value. Offsets in 4-byte words.
struct Net {
  int L, width[kMaxDnnLayers + 1], wide[kMaxDnnLayers + 1];                   // wide: padded
  long forward[kMaxDnnLayers], backward[kMaxDnnLayers], bias[kMaxDnnLayers];  // in `packed`
  long table, n_packed;
  long grad[kMaxDnnLayers], grad_bias, grad_sums, n_grad;  // in a block's partial gradient
  int bias_at[kMaxDnnLayers], n_bias;                      // of a layer among all biases
  Net(const DnnSaafDims& d, Precision precision) {
    L = d.L;
    width[0] = d.C;
    wide[0] = padded(d.C);
    const int share = is_16_bit(precision) ? 2 : 1;
    long at = 0, g = 0;
    n_bias = 0;
    for (int l = 0; l < L; ++l) {
      width[l + 1] = d.width[l];
      wide[l + 1] = padded(d.width[l]);
      const long n = static_cast<long>(wide[l]) * wide[l + 1];
      forward[l] = at, at += n / share;
      backward[l] = at, at += n / share;
      bias[l] = at, at += wide[l + 1];
      grad[l] = g, g += n;
      bias_at[l] = n_bias, n_bias += wide[l + 1];
    }
    table = at;
    const long regions = d.use_saaf ? static_cast<long>(d.saaf.S) + 2 : 0;
    n_packed = at + 4 * regions * d.C;
    grad_bias = g;
    grad_sums = g + n_bias;
    n_grad = grad_sums + 4 * regions * d.C;
  }
};

// Shared memory of a block of the backward kernel: byte offsets.
struct Layout {
  int warps, copies, rows;  // samples of a tile: whole pooling windows where they fit
  int h[kMaxDnnLayers], stride[kMaxDnnLayers], g, g_stride, x_stride;  // h[0] later takes the place of h[1]
  int bias_parts, sums, bytes;
  Layout(const DnnSaafDims& d, const Net& net, int element, int n_warps, int n_copies)
      : warps(n_warps), copies(n_copies) {
    const int R = kRows * warps;
    rows = d.P <= R ? R / d.P * d.P : R;
    int at = 0, widest = 0;
    for (int l = 1; l < net.L || l == 1; ++l) {
      const int w = l == 1 ? std::max(net.wide[0], net.L > 1 ? net.wide[1] : 0) : net.wide[l];
      h[l] = at;
      stride[l] = w + 8;  // rows start 8 words (tf32) or 16 bytes (bf16, fp16) further round the banks
      at += R * stride[l] * element;
    }
    h[0] = h[1], stride[0] = stride[1];
    for (int l = 1; l <= net.L; ++l) widest = std::max(widest, net.wide[l]);
    g = at;
    g_stride = widest + 8;
    x_stride = net.wide[0] + 8;  // floats in the place of g: the curve's inputs and the terms of dz
    at += std::max(R * g_stride * element, R * x_stride * 4);
    bias_parts = at, at += 4 * warps * widest;
    sums = at, at += d.use_saaf ? 4 * copies * 3 * (d.saaf.S + 2) * d.C : 0;
    bytes = at;
  }
};

template <class S>  // type in which r, u and their gradients are stored
struct Operands {
  const S *r, *du;
  const float *z, *packed;
  const std::int32_t* positions;
  S *u, *dr;
  float *dz, *partials, *dz_parts;
  bool vectors;  // rows of the tensors start at multiples of 4 numbers
  // Of frames with weights of their own, from one to the next: samples, and words of packed weights. Frame blockIdx.y
  // has samples from `begin` on; pointers stay those of the first, since moving them all takes registers.
  long samples, packed_apart;
  __device__ __forceinline__ long begin() const { return blockIdx.y * samples; }
};

// Features c .. c + 4 of a row of C; zero past its end. Streaming loads: read once or twice, they must not evict
// the weights.
template <class S>
__device__ __forceinline__ void load4(float (&v)[4], const S* row, int c, int C, bool vectors) {
  if (vectors) {
    const float4 x = c < C ? read4_stream(row + c) : float4{};
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) v[k] = c + k < C ? read(row + c + k) : 0.0f;
}
template <class S>
__device__ __forceinline__ void store4(S* row, const float (&v)[4], int c, int C, bool vectors) {
  if (vectors) {
    if (c < C) write4_stream(row + c, {v[0], v[1], v[2], v[3]});
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    if (c + k < C) write(row + c + k, v[k]);
  }
}

// The factor from z at sample n: its value under `hold`, or at its position, else zero.
template <class S>
__device__ __forceinline__ void unpooled4(float (&v)[4], const Operands<S>& x, const DnnSaafDims& d, long n, int c) {
  const long window = n / d.P;  // frames hold whole windows
  const float* row = x.z + window * d.C;
#pragma unroll
  for (int k = 0; k < 4; ++k) v[k] = 0.0f;
  if (x.vectors) {
    if (c < d.C) {
      const float4 f = *reinterpret_cast<const float4*>(row + c);
      v[0] = f.x, v[1] = f.y, v[2] = f.z, v[3] = f.w;
    }
  } else {
#pragma unroll
    for (int k = 0; k < 4; ++k) v[k] = c + k < d.C ? row[c + k] : 0.0f;
  }
  if (d.unpool == Unpool::kPositions) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (c + k < d.C && x.positions[window * d.C + c + k] != static_cast<int>(n - window * d.P)) v[k] = 0.0f;
    }
  }
}

template <class T>
using Factors = std::uint32_t[kGroups][2][T::kWords];  // rounded, of samples g and g + 8
using Sums = float[kGroups][2][4];

// Samples n and n + 8 of this lane; those outside [.., n_end) are zero.
template <class T, class F>
__device__ __forceinline__ void load_h0(const Operands<typename T::Storage>& x, const DnnSaafDims& d, int groups,
                                        long n, long n_end, int lane, F to) {
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    if (j >= groups) break;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const int c = kGroup * j + lane % 4 * 4;
      float v[4] = {}, held[4];
      if (n + 8 * s < n_end) {
        load4(v, x.r + (n + 8 * s) * d.C, c, d.C, x.vectors);
        unpooled4(held, x, d, n + 8 * s, c);
#pragma unroll
        for (int k = 0; k < 4; ++k) v[k] *= held[k];
      }
      std::uint32_t a[T::kWords];
      T::pack(a, v);
      to(j, s, a);
    }
  }
}

// c += a w for K and N groups of features; w as packed.
template <class T, int K, int N>
__device__ __forceinline__ void product(Sums& c, const Factors<T>& a, const float* packed, int lane) {
  const auto* w = reinterpret_cast<const uint4*>(packed) + lane;
#pragma unroll
  for (int k = 0; k < K; ++k) {
#pragma unroll
    for (int n = 0; n < N; ++n) T::template multiply<0>(c[n], a[k], __ldg(w + (k * T::kSteps * N + n) * 32));
    if constexpr (T::kSteps == 2) {
#pragma unroll
      for (int n = 0; n < N; ++n) T::template multiply<1>(c[n], a[k], __ldg(w + ((k * 2 + 1) * N + n) * 32));
    }
  }
}
template <class T>
__device__ __forceinline__ void product(Sums& c, const Factors<T>& a, const float* packed, int K, int N, int lane) {
  if (K > 64) {
    N > 64 ? product<T, 8, 8>(c, a, packed, lane) : product<T, 8, 4>(c, a, packed, lane);
  } else {
    N > 64 ? product<T, 4, 8>(c, a, packed, lane) : product<T, 4, 4>(c, a, packed, lane);
  }
}
__device__ __forceinline__ void begin(Sums& c, const float* bias, int N, int lane) {
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    float4 b{};
    if (bias && kGroup * j < N) b = __ldg(reinterpret_cast<const float4*>(bias + kGroup * j + lane % 4 * 4));
#pragma unroll
    for (int s = 0; s < 2; ++s) c[j][s][0] = b.x, c[j][s][1] = b.y, c[j][s][2] = b.z, c[j][s][3] = b.w;
  }
}

template <class T>
__device__ __forceinline__ void load_h0(Factors<T>& a, const Operands<typename T::Storage>& x, const DnnSaafDims& d,
                                        int groups, long n, long n_end, int lane) {
  load_h0<T>(x, d, groups, n, n_end, lane, [&](int j, int s, const std::uint32_t(&v)[T::kWords]) {
#pragma unroll
    for (int k = 0; k < T::kWords; ++k) a[j][s][k] = v[k];
  });
}
// From h_0 in `a` to the last layer's output in `c`; keep(l, N): `a` holds the N outputs of layer l, not the last.
template <class T, Activation Act, class Keep>
__device__ __forceinline__ void through_layers(Sums& c, Factors<T>& a, const Operands<typename T::Storage>& x,
                                               const Net& net, int lane, Keep keep) {
  for (int l = 0; l < net.L; ++l) {
    const int N = net.wide[l + 1];
    begin(c, x.packed + net.bias[l], N, lane);
    product<T>(c, a, x.packed + net.forward[l], net.wide[l], N, lane);
    if (l + 1 == net.L) break;
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      if (kGroup * j >= N) break;
#pragma unroll
      for (int s = 0; s < 2; ++s) {
#pragma unroll
        for (int k = 0; k < 4; ++k) c[j][s][k] = activate<Act>(c[j][s][k]);
        T::pack(a[j][s], c[j][s]);
      }
    }
    keep(l + 1, N);
  }
}

template <class T, Activation Act>
__global__ void __launch_bounds__(32 * kForwardWarps, T::kForwardBlocks)
    forward_kernel(Members members, Operands<typename T::Storage> x, const __grid_constant__ DnnSaafDims d,
                   const __grid_constant__ Net net, long n_all) {
  members.enter(x.r, x.du, x.z, x.packed, x.positions, x.u, x.dr, x.dz, x.partials, x.dz_parts);
  x.packed += blockIdx.y * x.packed_apart;
  n_all += x.begin();
  const int lane = threadIdx.x % 32;
  const long first = x.begin() + (static_cast<long>(blockIdx.x) * kForwardWarps + threadIdx.x / 32) * kRows;
  const long n = first + lane / 4;
  if (first >= n_all) return;
  Factors<T> a;
  Sums c;
  load_h0<T>(a, x, d, net.wide[0] / kGroup, n, n_all, lane);
  through_layers<T, Act>(c, a, x, net, lane, [](int, int) {});
  const auto* table = reinterpret_cast<const float4*>(x.packed + net.table);
  const auto width = static_cast<float>(saaf_width(d.saaf)), per_width = static_cast<float>(1.0 / saaf_width(d.saaf));
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
    const int channel = kGroup * j + lane % 4 * 4;
    if (kGroup * j >= net.wide[0]) break;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      if (n + 8 * s >= n_all) continue;
      float(&v)[4] = c[j][s];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (!d.use_saaf || channel + k >= d.C) continue;
        const SaafPlace p = saaf_place(v[k], d.saaf.lo, width, per_width, d.saaf.S);
        const float4 piece = __ldg(table + static_cast<long>(p.region) * d.C + channel + k);
        v[k] = piece.x + p.t * (piece.y + p.t * piece.z);
      }
      store4(x.u + (n + 8 * s) * d.C, v, channel, d.C, x.vectors);
    }
  }
}

// parts[0 .. N) = sums over the warp's samples of g.
template <int N>
__device__ __forceinline__ void column_sums(float* parts, const Sums& g, int lane) {
  float v[N / 4];
#pragma unroll
  for (int j = 0; j < N / kGroup; ++j) {
#pragma unroll
    for (int k = 0; k < 4; ++k) v[4 * j + k] = g[j][0][k] + g[j][1][k];
  }
  sum_by_halves<16, 4>(v, lane);
  const int first = (lane & 16 ? N / 8 : 0) + (lane & 8 ? N / 16 : 0) + (lane & 4 ? N / 32 : 0);
#pragma unroll
  for (int i = 0; i < N / 32; ++i) {
    const int at = first + i;
    parts[at / 4 * kGroup + lane % 4 * 4 + at % 4] = v[i];
  }
}

// partial (=, or += after the block's first tile) g^T h over R samples; [O / 16][I / 32] parts of 4 x 32 float4.
template <class T>
__device__ __forceinline__ void outer_product(float* partial, const typename T::Element* g, int g_stride,
                                              const typename T::Element* h, int h_stride, int O, int I, int R,
                                              bool first) {
  const int lane = threadIdx.x % 32, n_warps = blockDim.x / 32, columns = I / kOuterColumns;
  for (int i = threadIdx.x / 32; i < O / kOuterRows * columns; i += n_warps) {
    const auto* own_g = g + i / columns * kOuterRows;
    const auto* own_h = h + i % columns * kOuterColumns;
    float4* to = reinterpret_cast<float4*>(partial) + i * 4 * 32 + lane;
    float4 before[4] = {};
    if (!first) {
#pragma unroll
      for (int q = 0; q < 4; ++q) before[q] = to[q * 32];
    }
    float c[4][4] = {};
#pragma unroll 4
    for (int row = 0; row < R; row += T::kRowsOfStep) {
      T::outer(c, own_g + row * g_stride, g_stride, own_h + row * h_stride, h_stride, lane);
    }
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      to[q * 32] = {before[q].x + c[q][0], before[q].y + c[q][1], before[q].z + c[q][2], before[q].w + c[q][3]};
    }
  }
}

// Tiles blockIdx.x, + gridDim.x, ... in order; the block's gradient goes to its own part of `partials`.
template <class T, Activation Act>
__global__ void __launch_bounds__(32 * T::kMostWarps)
    backward_kernel(Members members, Operands<typename T::Storage> x, const __grid_constant__ DnnSaafDims d,
                    const __grid_constant__ Net net, const __grid_constant__ Layout at, long n_all) {
  members.enter(x.r, x.du, x.z, x.packed, x.positions, x.u, x.dr, x.dz, x.partials, x.dz_parts);
  x.packed += blockIdx.y * x.packed_apart;
  n_all += x.begin();
  using Element = typename T::Element;
  extern __shared__ __align__(16) char shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, R = kRows * at.warps, row0 = warp * kRows + lane / 4;
  auto* g = reinterpret_cast<Element*>(shared + at.g);
  auto* staged = reinterpret_cast<float*>(shared + at.g);
  auto* bias_parts = reinterpret_cast<float*>(shared + at.bias_parts);
  auto* sums = reinterpret_cast<float*>(shared + at.sums);  // (copies,3,S+2,C)
  const int regions = d.use_saaf ? d.saaf.S + 2 : 0, n_sums = regions * d.C;
  float* partial = x.partials + (static_cast<long>(blockIdx.y) * gridDim.x + blockIdx.x) * net.n_grad;
  for (int i = threadIdx.x; i < at.copies * 3 * n_sums; i += blockDim.x) sums[i] = 0.0f;
  const auto* table = reinterpret_cast<const float4*>(x.packed + net.table);
  const auto width = static_cast<float>(saaf_width(d.saaf)), per_width = static_cast<float>(1.0 / saaf_width(d.saaf));
  const auto h_of = [&](int l) { return reinterpret_cast<Element*>(shared + at.h[l]); };
  bool first = true;
  const long rows = at.rows;
  for (long n0 = x.begin() + blockIdx.x * rows; n0 < n_all; n0 += gridDim.x * rows, first = false) {
    const long n_end = n0 + at.rows < n_all ? n0 + at.rows : n_all, n = n0 + row0;
    Factors<T> a;
    Sums c;
    const auto keep = [&](Element* to, int stride, int N) {
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
        if (kGroup * j >= N) break;
#pragma unroll
        for (int s = 0; s < 2; ++s) T::store(to + (row0 + 8 * s) * stride + kGroup * j + lane % 4 * 4, a[j][s]);
      }
    };
    // Forward again.
    load_h0<T>(a, x, d, net.wide[0] / kGroup, n, n_end, lane);
    __syncthreads();  // the tile before no longer uses shared memory
    through_layers<T, Act>(c, a, x, net, lane, [&](int l, int N) { keep(h_of(l), at.stride[l], N); });
    // Through the SAAF. Its inputs stay for the sums, which run channel by channel.
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      const int channel = kGroup * j + lane % 4 * 4;
      if (kGroup * j >= net.wide[0]) break;
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        float(&v)[4] = c[j][s];
        float dy[4] = {};
        if (n + 8 * s < n_end && row0 + 8 * s < at.rows) load4(dy, x.du + (n + 8 * s) * d.C, channel, d.C, x.vectors);
        if (d.use_saaf) {
          *reinterpret_cast<float4*>(staged + (row0 + 8 * s) * at.x_stride + channel) = {v[0], v[1], v[2], v[3]};
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            if (channel + k >= d.C) continue;
            const SaafPlace p = saaf_place(v[k], d.saaf.lo, width, per_width, d.saaf.S);
            const float4 piece = __ldg(table + static_cast<long>(p.region) * d.C + channel + k);
            dy[k] *= piece.y + 2.0f * p.t * piece.z;
          }
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) v[k] = dy[k];
      }
    }
    if (d.use_saaf) {
      // A channel belongs to one thread of each copy: no two touch the same sum.
      __syncthreads();
      const int columns = (d.C + 31) / 32 * 32, copy = threadIdx.x / columns, channel = threadIdx.x % columns;
      if (copy < at.copies && channel < d.C) {
        float* own = sums + copy * 3 * n_sums + channel;
        const int per = (R + at.copies - 1) / at.copies,
                  end = min(min(R, (copy + 1) * per), static_cast<int>(n_end - n0));
        constexpr int kAhead = 8;  // samples whose loads are in flight while earlier ones are added
        const auto* dy = x.du + n0 * d.C + channel;
        float next[kAhead];
        const auto fetch = [&](int row) {
#pragma unroll
          for (int k = 0; k < kAhead; ++k)
            next[k] = row + k < end ? read_stream(dy + static_cast<long>(row + k) * d.C) : 0.0f;
        };
        fetch(copy * per);
        for (int row = copy * per; row < end; row += kAhead) {
          float now[kAhead];
          SaafPlace p[kAhead];
#pragma unroll
          for (int k = 0; k < kAhead; ++k) {
            now[k] = next[k];
            p[k] = saaf_place(row + k < end ? staged[(row + k) * at.x_stride + channel] : 0.0f, d.saaf.lo, width,
                              per_width, d.saaf.S);
          }
          fetch(row + kAhead);
#pragma unroll
          for (int k = 0; k < kAhead; ++k) {
            if (row + k >= end) break;
            float* s = own + p[k].region * d.C;
            s[0] += now[k];
            const float t = as_stored<typename T::Storage>(p[k].t);
            s[n_sums] += now[k] * t;
            s[2 * n_sums] += now[k] * t * t;
          }
        }
      }
      __syncthreads();
    }
    // Down the layers; c is the gradient of layer l's output.
    for (int l = net.L - 1; l >= 0; --l) {
      const int O = net.wide[l + 1], I = net.wide[l];
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
        if (kGroup * j >= O) break;
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          T::pack(a[j][s], c[j][s]);
          T::keep_rounded(c[j][s], a[j][s]);
        }
      }
      keep(g, at.g_stride, O);
      float* parts = bias_parts + warp * (at.g_stride - 8);
      O > 64 ? column_sums<128>(parts, c, lane) : column_sums<64>(parts, c, lane);
      if (l == 0) {  // recomputed
        load_h0<T>(x, d, I / kGroup, n, n_end, lane, [&](int j, int s, const std::uint32_t(&v)[T::kWords]) {
          T::store(h_of(0) + (row0 + 8 * s) * at.stride[0] + kGroup * j + lane % 4 * 4, v);
        });
      }
      __syncthreads();
      for (int o = threadIdx.x; o < O; o += blockDim.x) {
        float* to = partial + net.grad_bias + net.bias_at[l] + o;
        float sum = first ? 0.0f : *to;
        for (int w = 0; w < at.warps; ++w) sum += bias_parts[w * (at.g_stride - 8) + o];
        *to = sum;
      }
      outer_product<T>(partial + net.grad[l], g, at.g_stride, h_of(l), at.stride[l], O, I, R, first);
      begin(c, nullptr, I, lane);
      product<T>(c, a, x.packed + net.backward[l], O, I, lane);
      if (l > 0) {
        const Element* h = h_of(l) + row0 * at.stride[l] + lane % 4 * 4;
#pragma unroll
        for (int j = 0; j < kGroups; ++j) {
          if (kGroup * j >= I) break;
#pragma unroll
          for (int s = 0; s < 2; ++s) {
            float y[4];
            T::load(y, h + 8 * s * at.stride[l] + kGroup * j);
#pragma unroll
            for (int k = 0; k < 4; ++k) c[j][s][k] *= activation_slope<Act>(y[k]);
          }
        }
      }
      __syncthreads();
    }
    // dr = dh_0 unpooled(z); dz = the sum over its window, or at its position, of dh_0 r.
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      const int channel = kGroup * j + lane % 4 * 4;
      if (kGroup * j >= net.wide[0]) break;
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const long m = n + 8 * s;
        float(&v)[4] = c[j][s];
        float r[4] = {}, held[4] = {}, through[4];
        const bool inside = m < n_end;
        if (inside) {
          load4(r, x.r + m * d.C, channel, d.C, x.vectors);
          unpooled4(held, x, d, m, channel);
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const bool here =
              d.unpool == Unpool::kHold ||
              (inside && channel + k < d.C && x.positions[m / d.P * d.C + channel + k] == static_cast<int>(m % d.P));
          through[k] = v[k] * held[k];
          v[k] = here ? v[k] * r[k] : 0.0f;
        }
        *reinterpret_cast<float4*>(staged + (row0 + 8 * s) * at.x_stride + channel) = {v[0], v[1], v[2], v[3]};
        if (inside) store4(x.dr + m * d.C, through, channel, d.C, x.vectors);
      }
    }
    __syncthreads();
    const int P = d.P < at.rows ? d.P : at.rows, windows = at.rows / P, columns = (d.C + 31) / 32 * 32;
    for (int i = threadIdx.x; i < columns * windows; i += blockDim.x) {
      const int channel = i % columns, window = i / columns;
      const long from = n0 + static_cast<long>(window) * P;
      if (channel >= d.C || from >= n_all) continue;
      float sum = 0.0f;
      for (int row = window * P; row < (window + 1) * P; ++row) sum += staged[row * at.x_stride + channel];
      // A window over several tiles is summed afterwards.
      (d.P <= at.rows ? x.dz : x.dz_parts)[from / P * d.C + channel] = sum;
    }
  }
  __syncthreads();
  auto* to = reinterpret_cast<float4*>(partial + net.grad_sums);
  for (int i = threadIdx.x; i < n_sums; i += blockDim.x) {
    float4 s{};
    for (int copy = 0; copy < at.copies; ++copy) {
      const float* from = sums + copy * 3 * n_sums + i;
      s.x += from[0], s.y += from[n_sums], s.z += from[2 * n_sums];
    }
    to[i] = s;
  }
}

// Destinations of the layers' gradients, by value, for the kernel that sums the blocks' parts.
struct Targets {
  float *w[kMaxDnnLayers], *bias[kMaxDnnLayers];
  SaafSums* sums;
  long apart;  // of frames with weights of their own
};

template <class T>
__global__ void finish_kernel(Members members, const __grid_constant__ Targets to, const float* partials, int blocks,
                              const __grid_constant__ Net net) {
  members.enter(partials);
  const long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= net.n_grad) return;
  if (i >= net.grad_sums) {  // the curves' are those of all frames
    if (blockIdx.y > 0) return;
    blocks *= gridDim.y;
  }
  partials += static_cast<long>(blockIdx.y) * blocks * net.n_grad;
  double sum = 0.0;
#pragma unroll 4
  for (int b = 0; b < blocks; ++b) sum += partials[b * net.n_grad + i];
  const auto value = static_cast<float>(sum);
  if (i >= net.grad_sums) {
    reinterpret_cast<float*>(members.of(to.sums))[i - net.grad_sums] = value;
    return;
  }
  const long own = blockIdx.y * to.apart;
  for (int l = net.L - 1; l >= 0; --l) {
    if (i >= net.grad_bias) {
      const long o = i - net.grad_bias - net.bias_at[l];
      if (o < 0) continue;
      if (o < net.width[l + 1]) members.of(to.bias[l])[own + o] += value;
      return;
    }
    if (i < net.grad[l]) continue;
    const int at = static_cast<int>(i - net.grad[l]), e = at % 4, lane = at / 4 % 32, q = at / 128 % 4, part = at / 512;
    const int columns = net.wide[l] / kOuterColumns;
    const int o = part / columns * kOuterRows + T::outer_row(lane, e);
    const int input = part % columns * kOuterColumns + T::outer_column(q, lane, e);
    if (o < net.width[l + 1] && input < net.width[l])
      members.of(to.w[l])[own + static_cast<long>(o) * net.width[l] + input] += value;
    return;
  }
}

template <class T>
__global__ void pack_kernel(Members members, std::uint32_t* to, long to_apart, const float* w, long w_apart, int K,
                            int N, int wide_n, long k_step, long n_step, long n_words) {
  members.enter(to, w);
  to += blockIdx.y * to_apart, w += blockIdx.y * w_apart;
  const long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n_words) return;
  const int word = static_cast<int>(i % 4), lane = static_cast<int>(i / 4 % 32), groups = wide_n / kGroup;
  const int group_n = static_cast<int>(i / 128 % groups), step = static_cast<int>(i / 128 / groups);
  const int k0 = step / T::kSteps * kGroup, n0 = group_n * kGroup;
  to[i] = T::packed(step % T::kSteps, lane, word, [&](int k, int n) {
    return k0 + k < K && n0 + n < N ? w[(k0 + k) * k_step + (n0 + n) * n_step] : 0.0f;
  });
}

template <class F>
void with_type(Precision p, F f) {
  if (p == Precision::kBf16) return f.template operator()<Bits16<Bfloat>>();
  if (p == Precision::kFp16) return f.template operator()<Bits16<Half>>();
  return f.template operator()<Tf32>();
}
int element_bytes(Precision p) { return is_16_bit(p) ? 2 : 4; }

// As many samples in a block as shared memory allows, and two copies of the curve's sums if they fit beside.
bool find_layout(const Context& context, const DnnSaafDims& d, const Net& net, Layout& best) {
  const int most = is_16_bit(context.precision) ? Bits16<Bfloat>::kMostWarps : Tf32::kMostWarps;
  const int least = static_cast<int>(ceil_div(ceil_div(d.C, 32), 1));  // a channel's sums belong to one thread
  bool found = false;
  for (int warps = most; warps >= 1; --warps) {
    const int R = kRows * warps;
    if ((d.P > R && d.P % R != 0) || (d.use_saaf && warps < least)) continue;
    const Layout one(d, net, element_bytes(context.precision), warps, 1);
    if (static_cast<std::size_t>(one.bytes) > context.cuda->shared_max || (found && one.rows < best.rows)) continue;
    best = one;
    found = true;
    const Layout two(d, net, element_bytes(context.precision), warps, 2);
    if (d.use_saaf && warps >= 2 * least && static_cast<std::size_t>(two.bytes) <= context.cuda->shared_max) best = two;
  }
  return found;
}

// Frames with weights of their own, or 1 for all of them; from one to the next, in words.
int sets_of(const DnnSaafDims& d) { return has_own_weights(d) ? d.B : 1; }
long packed_apart(const Net& net) { return ceil_div(net.n_packed, 64) * 64; }

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

bool takes(const Context& context, const DnnSaafDims& d) {
  if (context.precision == Precision::kFp32 || !context.fuse_dnn || context.cuda->major < 8) return false;
  if (d.C > kGroup * kGroups) return false;
  for (int l = 0; l < d.L; ++l) {
    if (d.width[l] > kGroup * kGroups) return false;
  }
  if (d.use_saaf && 48l * (d.saaf.S + 2) * d.C > (1 << 20)) return false;
  const Net net(d, context.precision);
  Layout at(d, net, 4, 1, 1);
  return find_layout(context, d, net, at);
}

std::size_t packed(const Context& context, const DnnSaafDims& d) {
  return sizeof(float) * static_cast<std::size_t>(sets_of(d) * packed_apart(Net(d, context.precision)));
}

namespace {

struct Plan {
  Layout at;
  int sets;           // a grid for each
  long n_all, tiles;  // of a set
  int blocks;
  Plan(const Context& context, const DnnSaafDims& d, const Net& net) : at(d, net, 4, 1, 1) {
    CAFX_CHECK(find_layout(context, d, net, at));
    sets = sets_of(d);
    n_all = static_cast<long>(d.B) * d.T / sets;
    tiles = ceil_div(n_all, at.rows);
    const long resident = std::max<long>(1, static_cast<long>(context.cuda->shared_max) / (at.bytes + 1024));
    blocks = static_cast<int>(std::min<long>(tiles, ceil_div(resident * context.cuda->n_sm, sets)));
  }
};

}  // namespace

std::size_t scratch(const Context& context, const DnnSaafDims& d) {
  const Net net(d, context.precision);
  const Plan plan(context, d, net);
  const auto sets = static_cast<std::size_t>(plan.sets);
  std::size_t floats = sets * static_cast<std::size_t>(plan.blocks) * net.n_grad + (net.n_grad - net.grad_sums);
  if (d.P > plan.at.rows) floats += sets * static_cast<std::size_t>(plan.tiles) * d.C;
  return sizeof(float) * floats;
}

void prepare(const Context& context, float* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  const Net net(d, context.precision);
  const long apart = packed_apart(net), w_apart = d.apart;
  const int sets = sets_of(d);
  with_type(context.precision, [&]<class T>() {
    for (int l = 0; l < net.L; ++l) {
      const int I = net.width[l], O = net.width[l + 1], wide_i = net.wide[l], wide_o = net.wide[l + 1];
      const long words = static_cast<long>(wide_i) * wide_o * sizeof(typename T::Element) / 4;
      auto* words_at = reinterpret_cast<std::uint32_t*>(packed);
      const dim3 grid(blocks_for(words), static_cast<unsigned>(sets));
      launch(context, pack_kernel<T>, grid, kThreads, 0, words_at + net.forward[l], apart, weights.w[l], w_apart, I, O,
             wide_o, 1l, static_cast<long>(I), words);
      launch(context, pack_kernel<T>, grid, kThreads, 0, words_at + net.backward[l], apart, weights.w[l], w_apart, O, I,
             wide_i, static_cast<long>(I), 1l, words);
    }
  });
  for (int l = 0; l < net.L; ++l) {
    const int O = net.width[l + 1];
    float* to = packed + net.bias[l];
    const float* bias = weights.bias[l];
    const int wide = net.wide[l + 1];
    for_each(context, static_cast<long>(sets) * wide, [=] __device__(Members members) mutable {
      members.enter(to, bias);
      return [=](long at) {
        const long set = at / wide, i = at % wide;
        to[set * apart + i] = i < O ? bias[set * w_apart + i] : 0.0f;
      };
    });
  }
  if (d.use_saaf) {
    saaf_table(context, reinterpret_cast<SaafPiece*>(packed + net.table), weights.saaf_v, weights.saaf_w, d.saaf);
    float* table = packed + net.table;
    const long size = net.n_packed - net.table;
    for_each(context, (sets - 1) * size, [=] __device__(Members members) mutable {  // the same for all
      members.enter(table);
      return [=](long at) { table[(1 + at / size) * apart + at % size] = table[at % size]; };
    });
  }
}

void forward(const Context& context, Stored* u, const Stored* r, const float* z, const std::int32_t* positions,
             const float* packed, const DnnSaafDims& d) {
  const Net net(d, context.precision);
  const int sets = sets_of(d);
  const long n_all = static_cast<long>(d.B) * d.T / sets;
  const bool vectors = d.C % 4 == 0 && aligned(r) && aligned(z) && aligned(u);
  with_type(context.precision, [&]<class T>() {
    using S = typename T::Storage;
    const Operands<S> x{static_cast<const S*>(r),
                        nullptr,
                        z,
                        packed,
                        positions,
                        static_cast<S*>(u),
                        nullptr,
                        nullptr,
                        nullptr,
                        nullptr,
                        vectors,
                        n_all,
                        packed_apart(net)};
    const dim3 grid(static_cast<unsigned>(ceil_div(n_all, kRows * kForwardWarps)), static_cast<unsigned>(sets));
    with_activation(d.activation, [&]<Activation Act>() {
      launch(context, forward_kernel<T, Act>, grid, 32 * kForwardWarps, 0, x, d, net, n_all);
    });
  });
}

void add_window_parts(const Context& context, float* dz, const float* dz_parts, long windows, int parts, int C) {
  for_each(context, windows * C, [=] __device__(Members members) mutable {
    members.enter(dz_parts, dz);
    return [=](long i) {
      const long window = i / C, c = i - window * C;
      float sum = 0.0f;
      for (int k = 0; k < parts; ++k) sum += dz_parts[(window * parts + k) * C + c];
      dz[i] = sum;
    };
  });
}

void backward(const Context& context, Stored* dr, float* dz, const DnnSaafGrads& grads, const Stored* du,
              const Stored* r, const float* z, const std::int32_t* positions, const float* packed, float* scratch,
              const DnnSaafDims& d) {
  const Net net(d, context.precision);
  const Plan plan(context, d, net);
  float* partials = scratch;
  auto* sums = reinterpret_cast<SaafSums*>(partials + static_cast<long>(plan.sets) * plan.blocks * net.n_grad);
  float* dz_parts = reinterpret_cast<float*>(sums) + (net.n_grad - net.grad_sums);
  const bool vectors = d.C % 4 == 0 && aligned(r) && aligned(z) && aligned(du) && aligned(dr);
  Targets to{};
  for (int l = 0; l < d.L; ++l) to.w[l] = grads.dw[l], to.bias[l] = grads.dbias[l];
  to.sums = sums;
  to.apart = d.apart;
  const auto sets = static_cast<unsigned>(plan.sets), blocks = static_cast<unsigned>(plan.blocks);
  with_type(context.precision, [&]<class T>() {
    using S = typename T::Storage;
    const Operands<S> x{static_cast<const S*>(r),
                        static_cast<const S*>(du),
                        z,
                        packed,
                        positions,
                        nullptr,
                        static_cast<S*>(dr),
                        dz,
                        partials,
                        dz_parts,
                        vectors,
                        plan.n_all,
                        packed_apart(net)};
    with_activation(d.activation, [&]<Activation Act>() {
      launch(context, backward_kernel<T, Act>, dim3(blocks, sets), 32 * plan.at.warps, plan.at.bytes, x, d, net,
             plan.at, plan.n_all);
    });
    launch(context, finish_kernel<T>, dim3(blocks_for(net.n_grad), sets), kThreads, 0, to, partials, plan.blocks, net);
  });
  if (d.P > plan.at.rows) {
    add_window_parts(context, dz, dz_parts, plan.sets * plan.n_all / d.P, d.P / plan.at.rows, d.C);
  }
  if (d.use_saaf) {
    saaf_gradients(context, grads.dsaaf_v, grads.dsaaf_w, sums, d.saaf);
  }
}

}  // namespace cafx::cuda::dnn_mma
