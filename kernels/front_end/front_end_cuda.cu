#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/device/each_cuda.h"
#include "kernels/front_end/front_end.h"

// Conv1D by cuDNN; abs, Conv1D-Local, softplus and pooling in one kernel, and one for all that comes back through it.
// A block takes 32 channels (a warp's lanes: whole 128-byte lines of the (B,T,C) tensors), each of its 8 warps a run of
// samples. x1 with its halo stands in shared memory as [sample][32]: a channel is a bank, whatever sample a lane reads.
namespace cafx::cuda {

namespace {

constexpr int kWarps = 8;

struct Packed {
  float *w1, *bias1, *w2, *bias2;  // w2 as (K2,C): neighbouring channels side by side
  std::size_t bytes;
  Packed(const void* base, FrontEndDims d) {
    const auto rounded = [](long n) { return (n + 63) / 64 * 64; };
    w1 = static_cast<float*>(const_cast<void*>(base));
    bias1 = w1 + rounded(static_cast<long>(d.C) * d.K1);
    w2 = bias1 + rounded(d.C);
    bias2 = w2 + rounded(static_cast<long>(d.C) * d.K2);
    bytes = sizeof(float) * static_cast<std::size_t>(rounded(static_cast<long>(d.C) * d.K1) +
                                                     rounded(static_cast<long>(d.C) * d.K2) + 2 * rounded(d.C));
  }
};

// Samples that a thread holds in registers while it goes through the taps: the most that divides the pool.
int run_length(FrontEndDims d) {
  for (const int R : {16, 8, 4, 2}) {
    if (d.P % R == 0) return R;
  }
  return 1;
}

// x1 rows [first, first + n) of one frame, or their absolute values, zero outside it.
template <bool kAbs>
__device__ __forceinline__ void load_rows(float* tile, const float* x1, int first, int n, int T, int C, int c) {
#pragma unroll 8
  for (int i = threadIdx.y; i < n; i += kWarps) {
    const int t = first + i;
    const float x = t >= 0 && t < T && c < C ? x1[static_cast<long>(t) * C + c] : 0.0f;
    tile[i * 32 + threadIdx.x] = kAbs ? fabsf(x) : x;
  }
}

constexpr int kResident = 3;  // blocks that a multiprocessor has room for
constexpr int kTaps = 16;     // of dw2 that a thread sums in registers; samples of dx1 likewise

// A block takes a few windows of one frame at a time: blockIdx.y, + gridDim.y, ... of all. Each thread slides R samples of |x1|
// through registers: one shared load and one weight for R products.
template <int R>
__global__ void __launch_bounds__(32 * kWarps, kResident)
    pool_kernel(float* z, std::int32_t* positions, const float* x1, const float* w2, const float* bias2, FrontEndDims d,
                int windows) {
  extern __shared__ float shared[];
  const int c = blockIdx.x * 32 + threadIdx.x, n_windows = d.T / d.P, left = (d.K2 - 1) / 2;
  const int per_frame = (n_windows + windows - 1) / windows;
  const int taps = (d.K2 + R - 1) / R * R, rows = kWarps * R + taps;
  float *w = shared, *tile = shared + taps * 32;  // (taps,32), (rows,32)
  float* group_max = tile + rows * 32;            // (kWarps,32), of a run of R samples
  int* group_at = reinterpret_cast<int*>(group_max + kWarps * 32);
  for (int k = threadIdx.y; k < taps; k += kWarps) {
    w[k * 32 + threadIdx.x] = k < d.K2 && c < d.C ? w2[static_cast<long>(k) * d.C + c] : 0.0f;
  }
  const float bias = c < d.C ? bias2[c] : 0.0f;
  for (int item = blockIdx.y; item < per_frame * d.B; item += gridDim.y) {
    const int b = item / per_frame, p0 = (item - b * per_frame) * windows;
    const float* frame = x1 + static_cast<long>(b) * d.T * d.C;
    float best = 0.0f;  // of window p0 + threadIdx.y, before the bias
    int best_at = -1;
    for (int chunk = 0; chunk < windows * d.P; chunk += kWarps * R) {
      load_rows<true>(tile, frame, p0 * d.P + chunk - left, rows, d.T, d.C, c);
      __syncthreads();
      float sum[R], x[2 * R];
      const float* own = tile + threadIdx.y * R * 32 + threadIdx.x;
#pragma unroll
      for (int r = 0; r < R; ++r) sum[r] = 0.0f, x[R + r] = own[r * 32];
#pragma unroll 2
      for (int k0 = 0; k0 < taps; k0 += R) {
#pragma unroll
        for (int r = 0; r < R; ++r) x[r] = x[R + r], x[R + r] = own[(k0 + R + r) * 32];
#pragma unroll
        for (int k = 0; k < R; ++k) {
          const float weight = w[(k0 + k) * 32 + threadIdx.x];
#pragma unroll
          for (int r = 0; r < R; ++r) sum[r] += weight * x[r + k];
        }
      }
      int at = 0;
      float largest = sum[0];
#pragma unroll
      for (int r = 1; r < R; ++r) {
        if (sum[r] > largest) largest = sum[r], at = r;
      }
      group_max[threadIdx.y * 32 + threadIdx.x] = largest;
      group_at[threadIdx.y * 32 + threadIdx.x] = chunk + threadIdx.y * R + at;
      __syncthreads();
      if (static_cast<int>(threadIdx.y) < windows) {
        for (int g = 0; g < kWarps; ++g) {
          const int first = chunk + g * R;
          if (first / d.P != static_cast<int>(threadIdx.y)) continue;
          if (best_at < 0 || group_max[g * 32 + threadIdx.x] > best) {
            best = group_max[g * 32 + threadIdx.x];
            best_at = group_at[g * 32 + threadIdx.x] - static_cast<int>(threadIdx.y) * d.P;
          }
        }
      }
    }
    const int p = p0 + threadIdx.y;
    if (c >= d.C || static_cast<int>(threadIdx.y) >= windows || p >= n_windows) continue;
    const float x = best + bias;
    const long i = (static_cast<long>(b) * n_windows + p) * d.C + c;
    z[i] = fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
    positions[i] = best_at;
  }
}

// What a block of the backward kernel works on at a time: some windows of one frame and their samples.
struct Tile {
  int windows, samples, rows;  // rows: samples with the halo of the taps
  int near;                    // windows whose stencils can reach the samples
  long per_frame;
  explicit Tile(FrontEndDims d) {
    windows = std::max(1, 128 / d.P);
    samples = windows * d.P;
    rows = samples + d.K2 - 1;
    near = windows + static_cast<int>(ceil_div(d.K2 - 1, d.P)) + 1;
    per_frame = ceil_div(d.T / d.P, windows);
  }
  std::size_t shared(FrontEndDims d) const {
    return sizeof(float) * 32 *
           (static_cast<std::size_t>(rows) + d.K2 + 2 * kTaps + 2 * static_cast<std::size_t>(near));
  }
};

// Only one sample in P carries gradient: g at t_p for each window p.
//   dx1[s] += sign(x1[s]) sum_p g_p w2[s - t_p + left]      dw2[k] += sum_p g_p |x1[t_p + k - left]|
// Block (channels, slice, taps): tiles slice, slice + slices, ... in order; partial sums (slice, K2 + 2, C), the last two
// rows for the two biases. Blocks of further taps (K2 > 128) leave dx1 alone. A thread has kTaps neighbouring samples of dx1 in
// registers while it goes through the windows that reach them; zeros around the taps stand for those that miss some.
__global__ void __launch_bounds__(32 * kWarps, kResident)
    back_kernel(float* dx1, float* partial, const float* dz, const float* x1, const float* z,
                const std::int32_t* positions, const float* w2, FrontEndDims d, Tile tile) {
  extern __shared__ float shared[];
  float* x = shared;                                     // (rows,32)
  float* w = x + (tile.rows + kTaps) * 32;               // (K2,32), kTaps rows of zeros before and behind
  float* g = w + (d.K2 + kTaps) * 32;                    // (near,32)
  int* at = reinterpret_cast<int*>(g + tile.near * 32);  // (near,32): t_p, far away where there is no window
  const int lane = threadIdx.x, c = blockIdx.x * 32 + lane, n_windows = d.T / d.P, left = (d.K2 - 1) / 2;
  const int k0 = (blockIdx.z * kWarps + threadIdx.y) * kTaps;
  const bool first_taps = blockIdx.z == 0;
  for (int k = static_cast<int>(threadIdx.y) - kTaps; k < d.K2 + kTaps; k += kWarps) {
    w[k * 32 + lane] = k >= 0 && k < d.K2 && c < d.C ? w2[static_cast<long>(k) * d.C + c] : 0.0f;
  }
  float dw[kTaps] = {}, dbias1 = 0.0f, dbias2 = 0.0f;
  for (long i = blockIdx.y; i < tile.per_frame * d.B; i += gridDim.y) {
    const int b = static_cast<int>(i / tile.per_frame), p0 = static_cast<int>(i - b * tile.per_frame) * tile.windows;
    const int s0 = p0 * d.P;
    const long frame = static_cast<long>(b) * d.T * d.C;
    __syncthreads();
    load_rows<false>(x, x1 + frame, s0 - left, tile.rows, d.T, d.C, c);
    // From the first window whose stencil reaches s0.
    const int reach = s0 + left - d.K2 + 1, p_first = reach >= 0 ? reach / d.P : -((-reach + d.P - 1) / d.P);
    for (int q = threadIdx.y; q < tile.near; q += kWarps) {
      const int p = p_first + q;
      const bool inside = p >= 0 && p < n_windows && c < d.C;
      const long j = (static_cast<long>(b) * n_windows + p) * d.C + c;
      g[q * 32 + lane] = inside ? dz[j] * -expm1f(-z[j]) : 0.0f;
      at[q * 32 + lane] = inside ? p * d.P + positions[j] : 1 << 29;
    }
    __syncthreads();
    for (int q = p0 - p_first; q < p0 - p_first + tile.windows && q < tile.near; ++q) {
      const float value = g[q * 32 + lane];
      const int t = at[q * 32 + lane];
      if (threadIdx.y == 0) dbias2 += value;
      if (t >= 1 << 29) continue;
      const float* row = x + (t - s0) * 32 + lane;  // row of tap 0: sample t - left
#pragma unroll
      for (int k = 0; k < kTaps; ++k) {
        if (k0 + k < d.K2) dw[k] += value * fabsf(row[(k0 + k) * 32]);
      }
    }
    if (!first_taps) continue;
    for (int from = threadIdx.y * kTaps; from < tile.samples && s0 + from < d.T; from += kWarps * kTaps) {
      float sum[kTaps] = {};
      const auto inside = [&](int r) { return from + r < tile.samples && s0 + from + r < d.T && c < d.C; };
      float* first = dx1 + frame + static_cast<long>(s0 + from) * d.C + c;
      const int low = s0 + from + left - d.K2 + 1;
      int q = (low >= 0 ? low / d.P : -((-low + d.P - 1) / d.P)) - p_first;
      const int last = (s0 + from + kTaps - 1 + left) / d.P - p_first;
      for (q = q > 0 ? q : 0; q <= last && q < tile.near; ++q) {
        const float value = g[q * 32 + lane];
        const int k = s0 + from + left - at[q * 32 + lane];  // of sample `from`
        const float* tap = w + (k < -kTaps ? -kTaps : k > d.K2 ? d.K2 : k) * 32 + lane;
#pragma unroll
        for (int r = 0; r < kTaps; ++r) sum[r] += value * tap[r * 32];
      }
#pragma unroll
      for (int r0 = 0; r0 < kTaps; r0 += 8) {
        float before[8];
#pragma unroll
        for (int r = 0; r < 8; ++r) before[r] = inside(r0 + r) ? first[static_cast<long>(r0 + r) * d.C] : 0.0f;
#pragma unroll
        for (int r = 0; r < 8; ++r) {
          if (!inside(r0 + r)) continue;
          const float own = x[(from + r0 + r + left) * 32 + lane], s = sum[r0 + r];
          const float total = before[r] + (own > 0.0f ? s : own < 0.0f ? -s : 0.0f);
          first[static_cast<long>(r0 + r) * d.C] = total;
          dbias1 += total;
        }
      }
    }
  }
  __syncthreads();
  x[threadIdx.y * 32 + lane] = dbias1;  // (kWarps,32), in the place of the tile
  __syncthreads();
  if (c >= d.C) return;
  float* own = partial + static_cast<long>(blockIdx.y) * (d.K2 + 2) * d.C + c;
  for (int k = 0; k < kTaps && k0 + k < d.K2; ++k) own[static_cast<long>(k0 + k) * d.C] = dw[k];
  if (threadIdx.y != 0 || !first_taps) return;
  float sum = 0.0f;
  for (int i = 0; i < kWarps; ++i) sum += x[i * 32 + lane];
  own[static_cast<long>(d.K2) * d.C] = dbias2;
  own[static_cast<long>(d.K2 + 1) * d.C] = sum;
}

int slices_for(const Context& context, FrontEndDims d) {
  const long tiles = Tile(d).per_frame * d.B, wanted = kResident * context.cuda->n_sm / ceil_div(d.C, 32);
  return static_cast<int>(std::clamp<long>(wanted, 1, tiles));
}

void check_shared(const Context& context, std::size_t bytes, FrontEndDims d) {
  if (bytes > context.cuda->shared_max) {
    throw Error("a pool of {} and local_taps of {} need {} bytes of shared memory, this GPU has {}; use --device cpu",
                d.P, d.K2, bytes, context.cuda->shared_max);
  }
}

}  // namespace

std::size_t front_end_packed(const Context&, FrontEndDims d) { return Packed(nullptr, d).bytes; }

std::size_t front_end_scratch(const Context& context, FrontEndDims d) {
  return sizeof(float) * static_cast<std::size_t>(d.C) *
         (d.K2 + static_cast<std::size_t>(slices_for(context, d)) * (d.K2 + 2));
}

static void transpose_taps(const Context& context, float* to, const float* w2, FrontEndDims d) {
  for_each(context, static_cast<long>(d.C) * d.K2, [=] __device__(long i) { to[i] = w2[i % d.C * d.K2 + i / d.C]; });
}

void front_end_prepare(const Context& context, float* packed, const float* w1, const float* bias1, const float* w2,
                       const float* bias2, FrontEndDims d) {
  const Packed to(packed, d);
  const auto keep = [&](float* at, const float* from, long n) {
    CAFX_CUDA_CHECK(cudaMemcpyAsync(at, from, sizeof(float) * n, cudaMemcpyDeviceToDevice, stream_of(context)));
  };
  keep(to.w1, w1, static_cast<long>(d.C) * d.K1);
  keep(to.bias1, bias1, d.C);
  keep(to.bias2, bias2, d.C);
  transpose_taps(context, to.w2, w2, d);
}

void front_end_forward(const Context& context, float* x1, float* z, std::int32_t* positions, const float* x_padded,
                       const float* packed, float*, FrontEndDims d) {
  const Packed p(packed, d);
  conv_forward(context, x1, x_padded, p.w1, p.bias1, false, {d.B, d.T, d.C, d.K1});
  const int R = run_length(d), windows = std::max(1, kWarps * R / d.P);
  const long items = d.B * ceil_div(d.T / d.P, windows), groups = ceil_div(d.C, 32);
  const dim3 grid(static_cast<unsigned>(groups),
                  static_cast<unsigned>(std::clamp<long>(kResident * context.cuda->n_sm / groups, 1, items)));
  const std::size_t shared =
      sizeof(float) * 32 * static_cast<std::size_t>(kWarps * R + 2 * ceil_div(d.K2, R) * R + 2 * kWarps);
  check_shared(context, shared, d);
  const auto run = [&]<int Run>() {
    launch(context, pool_kernel<Run>, grid, dim3(32, kWarps), shared, z, positions, x1, p.w2, p.bias2, d, windows);
  };
  switch (R) {
    case 16:
      return run.template operator()<16>();
    case 8:
      return run.template operator()<8>();
    case 4:
      return run.template operator()<4>();
    case 2:
      return run.template operator()<2>();
    default:
      return run.template operator()<1>();
  }
}

void front_end_backward(const Context& context, float* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2,
                        const float* dz, const float* x1, const float* z, const std::int32_t* positions,
                        const float* x_padded, const float* w2, float* scratch, FrontEndDims d) {
  float* taps = scratch;  // (K2,C)
  float* partial = taps + static_cast<long>(d.C) * d.K2;
  transpose_taps(context, taps, w2, d);
  const Tile tile(d);
  const int slices = slices_for(context, d);
  check_shared(context, tile.shared(d), d);
  launch(context, back_kernel, dim3(blocks_for(d.C, 32), slices, blocks_for(d.K2, kWarps * kTaps)), dim3(32, kWarps),
         tile.shared(d), dx1, partial, dz, x1, z, positions, taps, d, tile);
  sum_parts(context, partial, slices, static_cast<long>(d.K2 + 2) * d.C, [=] __device__(long i, double sum) {
    const long k = i / d.C, c = i - k * d.C;
    float& out = k == d.K2 ? dbias2[c] : k == d.K2 + 1 ? dbias1[c] : dw2[c * d.K2 + k];
    out += static_cast<float>(sum);
  });
  conv_backward_filter(context, dw1, dx1, x_padded, false, {d.B, d.T, d.C, d.K1});
}

}  // namespace cafx::cuda
