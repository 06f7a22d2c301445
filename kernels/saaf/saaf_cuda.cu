#include "kernels/saaf/saaf_cuda.h"

#include "kernels/device/each_cuda.h"

namespace cafx {

// A thread of a block's first warp computes the curve of its channel, each piece from the one before. All n weights are
// copied to shared memory first, if they fit, so that no piece waits for its weight.
__global__ void table_kernel(Members members, SaafPiece* table, const float* v, const float* w, SaafDims d, int n) {
  members.enter(table, v, w);
  extern __shared__ float near[];
  for (int i = threadIdx.x; i < n; i += kThreads) near[i] = w[i];
  __syncthreads();
  const int c = blockIdx.x * 32 + threadIdx.x;
  if (threadIdx.x < 32 && c < d.C) saaf_make_table(table, v, n > 0 ? near : w, d, c);
}

void saaf_table(const Context& context, SaafPiece* table, const float* v, const float* w, SaafDims d) {
  const long all = static_cast<long>(n_curved(d)) * d.C;
  const int n = all <= 8 << 10 ? static_cast<int>(all) : 0;
  launch(context, table_kernel, blocks_for(d.C, 32), kThreads, sizeof(float) * static_cast<std::size_t>(n), table, v, w,
         d, n);
}

// A block has 32 channels, whose sums it reads at once: one warp goes down the regions, each of which waits for the
// last.
__global__ void __launch_bounds__(kThreads)
    gradients_kernel(Members members, float* dv, float* dw, const SaafSums* sums, SaafDims d) {
  members.enter(dv, dw, sums);
  extern __shared__ __align__(16) SaafSums own[];
  const int c0 = 32 * static_cast<int>(blockIdx.x), lane = threadIdx.x % 32, c = c0 + lane;
  for (int k = threadIdx.x / 32; k < d.S + 2 && c < d.C; k += kThreads / 32) {
    own[32 * k + lane] = sums[static_cast<long>(k) * d.C + c];
  }
  __syncthreads();
  if (threadIdx.x >= 32 || c >= d.C) return;
  saaf_finish_gradient(dv, dw, d, c, [&](int k) { return own[32 * k + lane]; });
}

void saaf_gradients(const Context& context, float* dv, float* dw, const SaafSums* sums, SaafDims d) {
  const std::size_t shared = sizeof(SaafSums) * 32 * (static_cast<std::size_t>(d.S) + 2);
  if (shared > context.cuda->shared_max) {  // curves of thousands of segments
    return for_each(context, d.C, [=] __device__(Members members) mutable {
      members.enter(dv, dw, sums);
      return [=](long c) { saaf_finish_gradient(dv, dw, sums, d, static_cast<int>(c)); };
    });
  }
  launch(context, gradients_kernel, blocks_for(d.C, 32), kThreads, shared, dv, dw, sums, d);
}

void saaf_finish(const Context& context, float* dv, float* dw, SaafSums* sums, const SaafSums* partials, int n_partials,
                 SaafDims d) {
  const long n = static_cast<long>(d.S + 2) * d.C;
  for_each(context, n, [=] __device__(Members members) mutable {
    members.enter(partials, sums);
    return [=](long i) {
      double s0 = 0.0, s1 = 0.0, s2 = 0.0;
      for (int p = 0; p < n_partials; ++p) {
        const SaafSums part = partials[p * n + i];
        s0 += part.s0, s1 += part.s1, s2 += part.s2;
      }
      sums[i] = {static_cast<float>(s0), static_cast<float>(s1), static_cast<float>(s2), 0.0f};
    };
  });
  saaf_gradients(context, dv, dw, sums, d);
}

namespace cuda {

namespace {

constexpr int kRows = 8;  // warps of a block; a warp takes 32 channels of a row

// The table of the block's 32 channels, in shared memory as three planes: neighbouring channels, neighbouring banks.
struct Curves {
  float *A, *B, *H;
  int S;
  float lo, width, per_width;
};
__device__ Curves load_curves(float* shared, const SaafPiece* table, SaafDims d, int c0) {
  const int n = (d.S + 2) * 32;
  Curves curves{shared,
                shared + n,
                shared + 2 * n,
                d.S,
                d.lo,
                static_cast<float>(saaf_width(d)),
                static_cast<float>(1.0 / saaf_width(d))};
  for (int i = threadIdx.y * 32 + threadIdx.x; i < n; i += blockDim.y * 32) {
    const int c = c0 + i % 32;
    const SaafPiece piece = c < d.C ? table[static_cast<long>(i / 32) * d.C + c] : SaafPiece{};
    curves.A[i] = piece.A, curves.B[i] = piece.B, curves.H[i] = piece.H;
  }
  __syncthreads();
  return curves;
}

__global__ void forward_kernel(Members members, float* y, const float* x, const SaafPiece* table, SaafDims d,
                               long rows) {
  members.enter(y, x, table);
  extern __shared__ float shared[];
  const int c = blockIdx.x * 32 + threadIdx.x;
  const Curves curves = load_curves(shared, table, d, blockIdx.x * 32);
  if (c >= d.C) return;
  for (long row = static_cast<long>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows;
       row += static_cast<long>(gridDim.y) * blockDim.y) {
    const SaafPlace p = saaf_place(x[row * d.C + c], curves.lo, curves.width, curves.per_width, d.S);
    const int i = p.region * 32 + threadIdx.x;
    y[row * d.C + c] = curves.A[i] + p.t * (curves.B[i] + p.t * curves.H[i]);
  }
}

// First pass: each warp sums its rows separately; then the block's warps are added in order.
__global__ void backward_kernel(Members members, float* dx, SaafSums* partials, const float* dy, const float* x,
                                const SaafPiece* table, SaafDims d, long rows) {
  members.enter(dx, partials, dy, x, table);
  extern __shared__ float shared[];
  const int n = (d.S + 2) * 32, c = blockIdx.x * 32 + threadIdx.x;
  const Curves curves = load_curves(shared, table, d, blockIdx.x * 32);
  float* sums = shared + 3 * n + threadIdx.y * 3 * n;
  for (int i = threadIdx.x; i < 3 * n; i += 32) sums[i] = 0.0f;
  __syncwarp();
  const long per = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * per;
  const long last = first + per < rows ? first + per : rows;
  if (c < d.C) {
    for (long row = first + threadIdx.y; row < last; row += blockDim.y) {
      const float g = dy[row * d.C + c];
      const SaafPlace p = saaf_place(x[row * d.C + c], curves.lo, curves.width, curves.per_width, d.S);
      const int i = p.region * 32 + threadIdx.x;
      dx[row * d.C + c] = g * (curves.B[i] + 2.0f * p.t * curves.H[i]);
      sums[i] += g;
      sums[n + i] += g * p.t;
      sums[2 * n + i] += g * p.t * p.t;
    }
  }
  __syncthreads();
  const float* all = shared + 3 * n;
  for (int i = threadIdx.y * 32 + threadIdx.x; i < n; i += blockDim.y * 32) {
    float s[3] = {};
    for (int w = 0; w < static_cast<int>(blockDim.y); ++w) {
      for (int k = 0; k < 3; ++k) s[k] += all[(w * 3 + k) * n + i];
    }
    const int channel = blockIdx.x * 32 + i % 32;
    if (channel >= d.C) continue;
    partials[(static_cast<long>(blockIdx.y) * (d.S + 2) + i / 32) * d.C + channel] = {s[0], s[1], s[2], 0.0f};
  }
}

// Enough segments for any curve and few enough for a block's shared memory.
void check_segments(const Context& context, SaafDims d) {
  const std::size_t least = sizeof(float) * 6 * 32 * saaf_regions(d);
  if (least > context.cuda->shared_max) {
    throw Error("saaf.segments = {} are too many for this GPU's shared memory: at most {}; use --device cpu", d.S,
                context.cuda->shared_max / (sizeof(float) * 6 * 32) - 2);
  }
}
int warps_for(const Context& context, SaafDims d) {
  const std::size_t plane = sizeof(float) * 3 * 32 * saaf_regions(d);
  int warps = kRows;
  while (warps > 1 &&
         plane * static_cast<std::size_t>(1 + warps) > std::min<std::size_t>(context.cuda->shared_max, 96 << 10)) {
    warps /= 2;
  }
  return warps;
}
int row_blocks(SaafDims d) {
  const long rows = static_cast<long>(d.B) * d.T, wanted = 1024 / ceil_div(d.C, 32) + 1;
  return static_cast<int>(std::max<long>(1, std::min(wanted, ceil_div(rows, 64))));
}

struct Scratch {
  SaafPiece* table;
  SaafSums *sums, *partials;
  std::size_t bytes;
  Scratch(void* base, SaafDims d) {
    const std::size_t n = saaf_regions(d) * static_cast<std::size_t>(d.C);
    table = static_cast<SaafPiece*>(base);
    sums = reinterpret_cast<SaafSums*>(table + n);
    partials = sums + n;
    bytes = sizeof(SaafSums) * n * (2 + static_cast<std::size_t>(row_blocks(d)));
  }
};

}  // namespace

std::size_t saaf_scratch(const Context&, SaafDims d) { return Scratch(nullptr, d).bytes; }

void saaf_forward(const Context& context, float* y, const float* x, const float* v, const float* w, void* scratch,
                  SaafDims d) {
  check_segments(context, d);
  const Scratch s(scratch, d);
  saaf_table(context, s.table, v, w, d);
  const long rows = static_cast<long>(d.B) * d.T;
  launch(context, forward_kernel, dim3(blocks_for(d.C, 32), row_blocks(d)), dim3(32, kRows),
         sizeof(float) * 3 * 32 * saaf_regions(d), y, x, s.table, d, rows);
}

void saaf_backward(const Context& context, float* dx, float* dv, float* dw, const float* dy, const float* x,
                   const float* v, const float* w, void* scratch, SaafDims d) {
  check_segments(context, d);
  const Scratch s(scratch, d);
  saaf_table(context, s.table, v, w, d);
  const long rows = static_cast<long>(d.B) * d.T;
  const int warps = warps_for(context, d);
  launch(context, backward_kernel, dim3(blocks_for(d.C, 32), row_blocks(d)), dim3(32, warps),
         sizeof(float) * 3 * 32 * saaf_regions(d) * static_cast<std::size_t>(1 + warps), dx, s.partials, dy, x, s.table,
         d, rows);
  saaf_finish(context, dv, dw, s.sums, s.partials, row_blocks(d), d);
}

void saaf_project(const Context& context, float* v, float* w, float L, SaafDims d) {
  for_each(context, d.C, [=] __device__(Members members) mutable {
    members.enter(v, w);
    return [=](long c) { saaf_project_channel(v, w, L, d, static_cast<int>(c)); };
  });
}

}  // namespace cuda
}  // namespace cafx
