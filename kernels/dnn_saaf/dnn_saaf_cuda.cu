#include "kernels/dense/dense.h"
#include "kernels/device/each_cuda.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/pointwise/pointwise_cuda.h"
#include "kernels/saaf/saaf_cuda.h"

// DNN-SAAF in one kernel forward and one backward. A block takes M samples; their activations stand in shared memory as
// [feature][sample], so that a layer is a product of two tiles there, and the weights pass by from L2 in slices. Only r, u
// and their gradients touch memory; backward computes the activations again. Where a block's shared memory is too small, or
// on request, the twin made of cuBLAS and the plain ops runs instead.
namespace cafx::cuda {

namespace {

constexpr int kBlock = 256, kCols = 64, kDepth = 16;  // threads; columns of a panel; rows of a weight slice

// What the kernels need to know, by value.
struct Net {
  int L, width[kMaxDnnLayers + 1];                                            // width[0] = C
  long forward[kMaxDnnLayers], backward[kMaxDnnLayers], bias[kMaxDnnLayers];  // offsets in `packed`, in floats
  long table, n_packed;
  long grad[kMaxDnnLayers], grad_bias[kMaxDnnLayers], grad_sums, n_grad;  // offsets in a block's partial gradient
  int widest, features;                                                   // features: of all layers that backward keeps
  explicit Net(const DnnSaafDims& d) {
    L = d.L;
    width[0] = d.C;
    long at = 0, g = 0;
    const auto rounded = [](long n) { return (n + 63) / 64 * 64; };
    widest = d.C;
    features = 0;
    for (int l = 0; l < L; ++l) {
      width[l + 1] = d.width[l];
      widest = std::max(widest, d.width[l]);
      if (l + 1 < L) features += d.width[l];
      const long I = width[l], O = d.width[l];
      forward[l] = at, at += rounded(I * O);
      backward[l] = at, at += rounded(I * O);
      bias[l] = at, at += rounded(O);
      grad[l] = g, g += rounded(I * O);
      grad_bias[l] = g, g += rounded(O);
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

// out[n][row] = epilogue(n, row, sum_k in[k][row] w[k][n]) for n in [0, N), all of the block's rows; w (K,N) in memory.
// A thread has M / 16 rows and 4 neighbouring columns of a panel.
template <int M, class Epilogue>
__device__ void product(const float* in, const float* w, int K, int N, float* slice, Epilogue epilogue) {
  constexpr int R = M / 16;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int n0 = 0; n0 < N; n0 += kCols) {
    float sum[R][4] = {};
    for (int k0 = 0; k0 < K; k0 += kDepth) {
      __syncthreads();
      for (int i = threadIdx.x; i < kDepth * kCols; i += kBlock) {
        const int k = k0 + i / kCols, n = n0 + i % kCols;
        slice[i] = k < K && n < N ? w[static_cast<long>(k) * N + n] : 0.0f;
      }
      __syncthreads();
      const int depth = K - k0 < kDepth ? K - k0 : kDepth;
#pragma unroll 4
      for (int k = 0; k < depth; ++k) {
        float a[R];
        const float* row = in + (k0 + k) * kStride<M> + ty * R;
        if constexpr (R == 4) {
          const float4 v = *reinterpret_cast<const float4*>(row);
          a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
        } else if constexpr (R == 2) {
          const float2 v = *reinterpret_cast<const float2*>(row);
          a[0] = v.x, a[1] = v.y;
        } else {
          a[0] = *row;
        }
        const float4 b = *reinterpret_cast<const float4*>(slice + k * kCols + tx * 4);
#pragma unroll
        for (int r = 0; r < R; ++r) {
          sum[r][0] += a[r] * b.x, sum[r][1] += a[r] * b.y, sum[r][2] += a[r] * b.z, sum[r][3] += a[r] * b.w;
        }
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int n = n0 + tx * 4 + j;
      if (n >= N) continue;
#pragma unroll
      for (int r = 0; r < R; ++r) epilogue(n, ty * R + r, sum[r][j]);
    }
  }
  __syncthreads();
}

// partial[o,i] (=, or += after the block's first tile) sum_row g[o][row] h[i][row].
template <int M>
__device__ void outer_product(float* partial, const float* g, const float* h, int O, int I, bool first) {
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int o0 = 0; o0 < O; o0 += 64) {
    for (int i0 = 0; i0 < I; i0 += 64) {
      float sum[4][4] = {};
      for (int row = 0; row < M; row += 4) {
        float4 a[4], b[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int o = o0 + ty + 16 * j, i = i0 + tx + 16 * j;
          a[j] = o < O ? *reinterpret_cast<const float4*>(g + o * kStride<M> + row) : float4{};
          b[j] = i < I ? *reinterpret_cast<const float4*>(h + i * kStride<M> + row) : float4{};
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            sum[j][k] += a[j].x * b[k].x + a[j].y * b[k].y + a[j].z * b[k].z + a[j].w * b[k].w;
          }
        }
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int o = o0 + ty + 16 * j, i = i0 + tx + 16 * k;
          if (o >= O || i >= I) continue;
          float& to = partial[static_cast<long>(o) * I + i];
          to = first ? sum[j][k] : to + sum[j][k];
        }
      }
    }
  }
}

// partial[o] likewise, the sum over the rows of g[o].
template <int M>
__device__ void row_sums(float* partial, const float* g, int O, bool first) {
  for (int o = threadIdx.x; o < O; o += kBlock) {
    float sum = 0.0f;
    for (int row = 0; row < M; row += 4) {
      const float4 v = *reinterpret_cast<const float4*>(g + o * kStride<M> + row);
      sum += v.x + v.y + v.z + v.w;
    }
    partial[o] = first ? sum : partial[o] + sum;
  }
}

struct Operands {
  const float *r, *z, *du, *packed;
  const std::int32_t* positions;
  float *u, *dr, *dz, *partials, *dz_parts;
};

// Rows of a tile: whole pooling windows where they fit, so that dz needs no other block.
template <int M>
__host__ __device__ int rows_of(int P) {
  return P <= M ? M / P * P : M;
}

// What z contributes at sample n: its value under `hold`, or at its position, else zero.
__device__ __forceinline__ float unpooled(const Operands& x, const DnnSaafDims& d, long n, int c) {
  const long window = n / d.P;  // frames hold whole windows
  const long i = window * d.C + c;
  if (d.unpool == Unpool::kPositions && x.positions[i] != static_cast<int>(n - window * d.P)) return 0.0f;
  return x.z[i];
}

// h0[c][row] = unpooled z times r, zero past the last sample. Four rows at a time: one 16-byte store to shared memory.
template <int M>
__device__ void load_h0(float* h0, const Operands& x, const DnnSaafDims& d, long n0, int rows, long n_all) {
  const int columns = (d.C + 31) / 32 * 32;
  for (int i = threadIdx.x; i < columns * (M / 4); i += kBlock) {
    const int c = i % columns, row = i / columns * 4;
    if (c >= d.C) continue;
    float v[4];
    for (int k = 0; k < 4; ++k) {
      const long n = n0 + row + k;
      v[k] = row + k < rows && n < n_all ? unpooled(x, d, n, c) * x.r[n * d.C + c] : 0.0f;
    }
    *reinterpret_cast<float4*>(h0 + c * kStride<M> + row) = {v[0], v[1], v[2], v[3]};
  }
}

template <int M, Activation A>
__global__ void __launch_bounds__(kBlock) forward_kernel(Operands x, DnnSaafDims d, Net net, long n_all) {
  extern __shared__ __align__(16) float shared[];
  float* slice = shared;
  float* in = slice + kDepth * kCols;
  float* out = in + net.widest * kStride<M>;
  const int rows = rows_of<M>(d.P);
  const long n0 = static_cast<long>(blockIdx.x) * rows;
  load_h0<M>(in, x, d, n0, rows, n_all);
  for (int l = 0; l < net.L; ++l) {
    const float* bias = x.packed + net.bias[l];
    const bool last = l + 1 == net.L;
    product<M>(in, x.packed + net.forward[l], net.width[l], net.width[l + 1], slice, [&](int n, int row, float sum) {
      sum += bias[n];
      out[n * kStride<M> + row] = last ? sum : activate<A>(sum);
    });
    float* t = in;
    in = out;
    out = t;
  }
  const auto* table = reinterpret_cast<const float4*>(x.packed + net.table);
  const auto width = static_cast<float>(saaf_width(d.saaf)), per_width = static_cast<float>(1.0 / saaf_width(d.saaf));
  const int columns = (d.C + 31) / 32 * 32;
  for (int i = threadIdx.x; i < columns * (M / 4); i += kBlock) {
    const int c = i % columns, row = i / columns * 4;
    if (c >= d.C) continue;
    const float4 h = *reinterpret_cast<const float4*>(in + c * kStride<M> + row);
    const float v[4] = {h.x, h.y, h.z, h.w};
    for (int k = 0; k < 4; ++k) {
      const long n = n0 + row + k;
      if (row + k >= rows || n >= n_all) continue;
      float y = v[k];
      if (d.use_saaf) {
        const SaafPlace p = saaf_place(y, d.saaf.lo, width, per_width, d.saaf.S);
        const float4 piece = table[static_cast<long>(p.region) * d.C + c];
        y = piece.x + p.t * (piece.y + p.t * piece.z);
      }
      x.u[n * d.C + c] = y;
    }
  }
}

// Tiles blockIdx.x, + gridDim.x, ... in order; the block's gradient goes to its own part of `partials`.
template <int M, Activation A>
__global__ void __launch_bounds__(kBlock) backward_kernel(Operands x, DnnSaafDims d, Net net, long n_all, int copies) {
  extern __shared__ __align__(16) float shared[];
  float* slice = shared;
  float* hidden = slice + kDepth * kCols;         // h_1 .. h_{L-1}, one after another
  float* g = hidden + net.features * kStride<M>;  // gradient of the layer's output
  float* below = g + net.widest * kStride<M>;     // of its input; h_0 in between
  float* sums = below + net.widest * kStride<M>;  // (copies, 3, S+2, C)
  const int rows = rows_of<M>(d.P), regions = d.use_saaf ? d.saaf.S + 2 : 0, n_sums = regions * d.C;
  float* partial = x.partials + static_cast<long>(blockIdx.x) * net.n_grad;
  for (int i = threadIdx.x; i < copies * 3 * n_sums; i += kBlock) sums[i] = 0.0f;
  const auto* table = reinterpret_cast<const float4*>(x.packed + net.table);
  const auto width = static_cast<float>(saaf_width(d.saaf)), per_width = static_cast<float>(1.0 / saaf_width(d.saaf));
  const int columns = (d.C + 31) / 32 * 32;
  bool first = true;
  for (long tile = blockIdx.x; tile * rows < n_all; tile += gridDim.x, first = false) {
    const long n0 = tile * rows;
    // Forward again: h_0 in `below`, the last layer's output in `g`.
    __syncthreads();
    load_h0<M>(below, x, d, n0, rows, n_all);
    {
      const float* in = below;
      float* next = hidden;
      for (int l = 0; l < net.L; ++l) {
        const float* bias = x.packed + net.bias[l];
        const bool last = l + 1 == net.L;
        float* out = last ? g : next;
        product<M>(in, x.packed + net.forward[l], net.width[l], net.width[l + 1], slice,
                   [&](int n, int row, float sum) {
                     sum += bias[n];
                     out[n * kStride<M> + row] = last ? sum : activate<A>(sum);
                   });
        in = out;
        if (!last) next += net.width[l + 1] * kStride<M>;
      }
    }
    // Through the SAAF, in place. Each copy of the sums belongs to one run of threads, a channel to one thread of it.
    const int runs = copies, per_run = kBlock / runs, run = threadIdx.x / per_run, thread = threadIdx.x % per_run;
    for (int c = thread; run < runs && c < columns; c += per_run) {
      if (c >= d.C) continue;
      float* own = sums + run * 3 * n_sums + c;
      for (int row = run * 4; row < M; row += runs * 4) {
        float4* at = reinterpret_cast<float4*>(g + c * kStride<M> + row);
        float v[4] = {at->x, at->y, at->z, at->w};
        for (int k = 0; k < 4; ++k) {
          const long n = n0 + row + k;
          const float dy = row + k < rows && n < n_all ? x.du[n * d.C + c] : 0.0f;
          if (!d.use_saaf) {
            v[k] = dy;
            continue;
          }
          const SaafPlace p = saaf_place(v[k], d.saaf.lo, width, per_width, d.saaf.S);
          const float4 piece = table[static_cast<long>(p.region) * d.C + c];
          v[k] = dy * (piece.y + 2.0f * p.t * piece.z);
          if (dy != 0.0f) {
            float* s = own + p.region * d.C;
            s[0] += dy;
            s[n_sums] += dy * p.t;
            s[2 * n_sums] += dy * p.t * p.t;
          }
        }
        *at = {v[0], v[1], v[2], v[3]};
      }
    }
    __syncthreads();
    // Down the layers, `g` being the gradient of what layer l gives.
    const float* h = hidden + net.features * kStride<M>;
    for (int l = net.L - 1; l > 0; --l) {
      const int O = net.width[l + 1], I = net.width[l];
      h -= I * kStride<M>;
      row_sums<M>(partial + net.grad_bias[l], g, O, first);
      outer_product<M>(partial + net.grad[l], g, h, O, I, first);
      product<M>(g, x.packed + net.backward[l], O, I, slice, [&](int n, int row, float sum) {
        below[n * kStride<M> + row] = sum * activation_slope<A>(h[n * kStride<M> + row]);
      });
      float* t = g;
      g = below;
      below = t;
    }
    // The first layer reads h_0, which was not kept.
    load_h0<M>(below, x, d, n0, rows, n_all);
    __syncthreads();
    row_sums<M>(partial + net.grad_bias[0], g, net.width[1], first);
    outer_product<M>(partial + net.grad[0], g, below, net.width[1], d.C, first);
    product<M>(g, x.packed + net.backward[0], net.width[1], d.C, slice,
               [&](int n, int row, float sum) { below[n * kStride<M> + row] = sum; });
    // dr = dh_0 unpooled(z); dz = the sum over its window, or at its position, of dh_0 r.
    for (int i = threadIdx.x; i < columns * (M / 4); i += kBlock) {
      const int c = i % columns, row = i / columns * 4;
      if (c >= d.C) continue;
      float4* at = reinterpret_cast<float4*>(below + c * kStride<M> + row);
      float v[4] = {at->x, at->y, at->z, at->w};
      for (int k = 0; k < 4; ++k) {
        const long n = n0 + row + k;
        if (row + k >= rows || n >= n_all) continue;
        const float r = x.r[n * d.C + c], held = unpooled(x, d, n, c);
        const bool here = d.unpool == Unpool::kHold || x.positions[n / d.P * d.C + c] == static_cast<int>(n % d.P);
        x.dr[n * d.C + c] = v[k] * held;
        v[k] = here ? v[k] * r : 0.0f;
      }
      *at = {v[0], v[1], v[2], v[3]};
    }
    __syncthreads();
    const int P = d.P < rows ? d.P : rows, windows = rows / P;
    for (int i = threadIdx.x; i < columns * windows; i += kBlock) {
      const int c = i % columns, window = i / columns;
      const long n = n0 + static_cast<long>(window) * P;
      if (c >= d.C || n >= n_all) continue;
      float sum = 0.0f;
      for (int row = window * P; row < (window + 1) * P; ++row) sum += below[c * kStride<M> + row];
      // A window of several tiles is added up afterwards.
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

// Which kernels run, and on what.
struct Plan {
  int M = 0, copies = 1, blocks = 0;      // M = 0: the plain twin
  std::size_t forward = 0, backward = 0;  // bytes of shared memory
  long n_all = 0, tiles = 0;
};

Plan plan_for(const Context& context, const DnnSaafDims& d) {
  Plan plan;
  plan.n_all = static_cast<long>(d.B) * d.T;
  if (!context.fuse_dnn) return plan;
  const Net net(d);
  const std::size_t sums = d.use_saaf ? sizeof(float) * 3 * (static_cast<std::size_t>(d.saaf.S) + 2) * d.C : 0;
  plan.copies = static_cast<int>(std::clamp<long>(kBlock / ceil_div(d.C, 32) / 32, 1, 4));
  while (plan.copies & (plan.copies - 1)) --plan.copies;
  for (const int M : {64, 32, 16}) {
    if (d.P > M && d.P % M != 0) continue;
    const std::size_t row = sizeof(float) * static_cast<std::size_t>(M + 4), slice = sizeof(float) * kDepth * kCols;
    plan.forward = slice + 2 * row * net.widest;
    const std::size_t least = slice + row * (net.features + 2 * static_cast<std::size_t>(net.widest)) + sums;
    plan.backward = least + sums * static_cast<std::size_t>(plan.copies - 1);
    if (plan.backward > context.cuda->shared_max) plan.copies = 1, plan.backward = least;
    if (std::max(plan.forward, plan.backward) > context.cuda->shared_max) continue;
    const int rows = d.P <= M ? M / d.P * d.P : M;
    plan.M = M;
    plan.tiles = ceil_div(plan.n_all, rows);
    const long resident = std::max<long>(1, static_cast<long>(context.cuda->shared_max / plan.backward));
    plan.blocks = static_cast<int>(std::min<long>(plan.tiles, resident * context.cuda->n_sm));
    return plan;
  }
  return plan;
}

template <class F>
void with_rows(int M, F f) {
  if (M == 64) return f.template operator()<64>();
  if (M == 32) return f.template operator()<32>();
  return f.template operator()<16>();
}

// The twin: unpool, times r, dense layers by cuBLAS, SAAF. Saves every layer's output.
struct Twin {
  float* h[kMaxDnnLayers + 1];  // saved; h[0] = unpooled z times r
  float *held, *g[2];
  void* op;
  std::size_t saved_bytes, scratch_bytes;
  Twin(const Context& context, const DnnSaafDims& d, const void* saved, void* scratch) {
    const long rows = static_cast<long>(d.B) * d.T;
    const auto rounded = [](long n) { return (n + 63) / 64 * 64; };
    float* at = static_cast<float*>(const_cast<void*>(saved));
    const float* begin = at;
    long widest = d.C;
    for (int l = 0; l <= d.L; ++l) {
      h[l] = at;
      const int width = l == 0 ? d.C : d.width[l - 1];
      at += rounded(rows * width);
      widest = std::max<long>(widest, width);
    }
    saved_bytes = sizeof(float) * static_cast<std::size_t>(at - begin);
    at = static_cast<float*>(scratch);
    begin = at;
    held = at, at += rounded(rows * d.C);
    g[0] = at, at += rounded(rows * widest);
    g[1] = at, at += rounded(rows * widest);
    op = at;
    std::size_t bytes = saaf_scratch(context, saaf_of(d));
    for (int l = 0; l < d.L; ++l) bytes = std::max(bytes, cafx::dense_scratch(context, layer(d, l)));
    scratch_bytes = sizeof(float) * static_cast<std::size_t>(at - begin) + (d.use_saaf || bytes ? bytes : 0);
  }
  static DenseDims layer(const DnnSaafDims& d, int l) {
    return {d.B * d.T, l == 0 ? d.C : d.width[l - 1], d.width[l], l + 1 < d.L ? d.activation : Activation::kIdentity};
  }
  static SaafDims saaf_of(const DnnSaafDims& d) {
    SaafDims s = d.saaf;
    s.B = d.B, s.T = d.T, s.C = d.C;
    if (!d.use_saaf) s.S = 1, s.lo = -1.0f, s.hi = 1.0f, s.order = 2;
    return s;
  }
  static std::size_t saaf_scratch(const Context& context, SaafDims s) { return cafx::saaf_scratch(context, s); }
};

}  // namespace

std::size_t dnn_saaf_packed(const Context&, const DnnSaafDims& d) {
  // The SAAF's own v and w stand behind, for the twin.
  const Net net(d);
  const long saaf = d.use_saaf ? static_cast<long>(n_v(d.saaf) + n_curved(d.saaf)) * d.C : 0;
  return sizeof(float) * static_cast<std::size_t>(net.n_packed + saaf);
}

std::size_t dnn_saaf_saved(const Context& context, const DnnSaafDims& d) {
  return plan_for(context, d).M ? 0 : Twin(context, d, nullptr, nullptr).saved_bytes;
}

std::size_t dnn_saaf_scratch(const Context& context, const DnnSaafDims& d) {
  const Plan plan = plan_for(context, d);
  if (!plan.M) {
    const Twin twin(context, d, nullptr, nullptr);
    return twin.saved_bytes + twin.scratch_bytes;  // forward alone keeps its activations here
  }
  const Net net(d);
  std::size_t floats =
      static_cast<std::size_t>(plan.blocks) * net.n_grad + 4 * (d.saaf.S + 2) * static_cast<std::size_t>(d.C);
  if (d.P > plan.M) floats += static_cast<std::size_t>(plan.tiles) * d.C;
  return sizeof(float) * floats;
}

void dnn_saaf_prepare(const Context& context, float* packed, const DnnSaafWeights& weights, const DnnSaafDims& d) {
  const Net net(d);
  for (int l = 0; l < net.L; ++l) {
    const float *w = weights.w[l], *bias = weights.bias[l];
    float *forward = packed + net.forward[l], *backward = packed + net.backward[l], *to_bias = packed + net.bias[l];
    const long I = net.width[l], O = net.width[l + 1];
    for_each(context, I * O, [=] __device__(long i) {
      backward[i] = w[i];                 // (O,I), as it is
      forward[i] = w[i % O * I + i / O];  // (I,O)
      if (i < O) to_bias[i] = bias[i];
    });
  }
  if (!d.use_saaf) return;
  saaf_table(context, reinterpret_cast<SaafPiece*>(packed + net.table), weights.saaf_v, weights.saaf_w, d.saaf);
  const long n = static_cast<long>(n_v(d.saaf)) * d.C, all = n + static_cast<long>(n_curved(d.saaf)) * d.C;
  float* to = packed + net.n_packed;
  const float *v = weights.saaf_v, *w = weights.saaf_w;
  for_each(context, all, [=] __device__(long i) { to[i] = i < n ? v[i] : w[i - n]; });
}

void dnn_saaf_forward(const Context& context, float* u, float* saved, const float* r, const float* z,
                      const std::int32_t* positions, const float* packed, float* scratch, const DnnSaafDims& d) {
  const Plan plan = plan_for(context, d);
  const Net net(d);
  if (plan.M) {
    const Operands x{r, z, nullptr, packed, positions, u, nullptr, nullptr, nullptr, nullptr};
    with_rows(plan.M, [&]<int M>() {
      with_activation(d.activation, [&]<Activation A>() {
        launch(context, forward_kernel<M, A>, static_cast<unsigned>(plan.tiles), kBlock, plan.forward, x, d, net,
               plan.n_all);
      });
    });
    return;
  }
  const std::size_t saved_floats = Twin(context, d, nullptr, nullptr).saved_bytes / sizeof(float);
  const Twin twin(context, d, saved ? saved : scratch, saved ? scratch : scratch + saved_floats);
  const PoolDims pool{d.B, d.T, d.C, d.P};
  const long n = static_cast<long>(d.B) * d.T * d.C;
  cafx::unpool_forward(context, twin.held, z, positions, pool, d.unpool);
  cafx::multiply_forward(context, twin.h[0], twin.held, r, n);
  for (int l = 0; l < d.L; ++l) {
    cafx::dense_forward(context, twin.h[l + 1], twin.h[l], packed + net.backward[l], packed + net.bias[l], twin.op,
                        Twin::layer(d, l));
  }
  if (d.use_saaf) {
    const float* v = packed + net.n_packed;
    cafx::saaf_forward(context, u, twin.h[d.L], v, v + static_cast<long>(n_v(d.saaf)) * d.C, twin.op, Twin::saaf_of(d));
  } else {
    CAFX_CUDA_CHECK(cudaMemcpyAsync(u, twin.h[d.L], sizeof(float) * n, cudaMemcpyDeviceToDevice, stream_of(context)));
  }
}

namespace {

// Where each layer's gradient goes: by value to the kernel that adds up the blocks' parts.
struct Targets {
  float *w[kMaxDnnLayers], *bias[kMaxDnnLayers];
};

__global__ void finish_kernel(const __grid_constant__ Targets to, const float* partials, int blocks,
                              const __grid_constant__ Net net) {
  const long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= net.grad_sums) return;
  for (int l = net.L - 1; l >= 0; --l) {
    if (i < net.grad[l]) continue;
    const long weights = static_cast<long>(net.width[l]) * net.width[l + 1];
    const bool is_bias = i >= net.grad_bias[l];
    const long at = i - (is_bias ? net.grad_bias[l] : net.grad[l]);
    if (at >= (is_bias ? net.width[l + 1] : weights)) return;  // between two tensors
    double sum = 0.0;
    for (int b = 0; b < blocks; ++b) sum += partials[b * net.n_grad + i];
    (is_bias ? to.bias[l] : to.w[l])[at] += static_cast<float>(sum);
    return;
  }
}

}  // namespace

void dnn_saaf_backward(const Context& context, float* dr, float* dz, const DnnSaafGrads& grads, const float* du,
                       const float* saved, const float* r, const float* z, const std::int32_t* positions,
                       const DnnSaafWeights& weights, const float* packed, float* scratch, const DnnSaafDims& d) {
  const Plan plan = plan_for(context, d);
  const Net net(d);
  if (plan.M) {
    float* partials = scratch;
    auto* sums = reinterpret_cast<SaafSums*>(partials + static_cast<std::size_t>(plan.blocks) * net.n_grad);
    float* dz_parts = reinterpret_cast<float*>(sums + (d.saaf.S + 2) * static_cast<long>(d.C));
    const Operands x{r, z, du, packed, positions, nullptr, dr, dz, partials, dz_parts};
    with_rows(plan.M, [&]<int M>() {
      with_activation(d.activation, [&]<Activation A>() {
        launch(context, backward_kernel<M, A>, plan.blocks, kBlock, plan.backward, x, d, net, plan.n_all, plan.copies);
      });
    });
    if (d.P > plan.M) {
      const int parts = d.P / plan.M, C = d.C;
      for_each(context, plan.n_all / d.P * C, [=] __device__(long i) {
        const long window = i / C, c = i - window * C;
        float sum = 0.0f;
        for (int k = 0; k < parts; ++k) sum += dz_parts[(window * parts + k) * C + c];
        dz[i] = sum;
      });
    }
    Targets to{};
    for (int l = 0; l < d.L; ++l) to.w[l] = grads.dw[l], to.bias[l] = grads.dbias[l];
    launch(context, finish_kernel, blocks_for(net.grad_sums), kThreads, 0, to, partials, plan.blocks, net);
    if (d.use_saaf) {
      // A block's sums stand at the end of its part.
      const long n = (static_cast<long>(d.saaf.S) + 2) * d.C;
      const int blocks = plan.blocks;
      for_each(context, n, [=] __device__(long i) {
        double s0 = 0.0, s1 = 0.0, s2 = 0.0;
        for (int b = 0; b < blocks; ++b) {
          const float* part = partials + b * net.n_grad + net.grad_sums + 4 * i;
          s0 += part[0], s1 += part[1], s2 += part[2];
        }
        sums[i] = {static_cast<float>(s0), static_cast<float>(s1), static_cast<float>(s2), 0.0f};
      });
      float *dv = grads.dsaaf_v, *dw = grads.dsaaf_w;
      const SaafDims saaf = d.saaf;
      for_each(context, d.C, [=] __device__(long c) { saaf_finish_gradient(dv, dw, sums, saaf, static_cast<int>(c)); });
    }
    return;
  }
  const Twin twin(context, d, saved, scratch);
  const PoolDims pool{d.B, d.T, d.C, d.P};
  const long n = static_cast<long>(d.B) * d.T * d.C;
  float *g = twin.g[0], *below = twin.g[1];
  if (d.use_saaf) {
    cafx::saaf_backward(context, g, grads.dsaaf_v, grads.dsaaf_w, du, twin.h[d.L], weights.saaf_v, weights.saaf_w,
                        twin.op, Twin::saaf_of(d));
  } else {
    CAFX_CUDA_CHECK(cudaMemcpyAsync(g, du, sizeof(float) * n, cudaMemcpyDeviceToDevice, stream_of(context)));
  }
  for (int l = d.L - 1; l >= 0; --l) {
    cafx::dense_backward(context, below, grads.dw[l], grads.dbias[l], g, twin.h[l + 1], twin.h[l], weights.w[l],
                         twin.op, Twin::layer(d, l));
    std::swap(g, below);
  }
  cafx::unpool_forward(context, twin.held, z, positions, pool, d.unpool);
  cafx::multiply_backward(context, below, dr, g, twin.held, r, n);
  cafx::unpool_backward(context, dz, below, positions, pool, d.unpool);
}

}  // namespace cafx::cuda
