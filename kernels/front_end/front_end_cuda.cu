#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/device/slide_cuda.h"
#include "kernels/device/stored_cuda.h"
#include "kernels/device/sums.h"
#include "kernels/front_end/front_end.h"
#include "kernels/front_end/front_end_mma_cuda.h"

// Conv1D; abs, Conv1D-Local, softplus and pooling in one kernel; their backward in another. A block
// takes 32 channels (a warp's lanes: whole 128-byte lines of the (B,T,C) tensors), each of its 8 warps a run of
// samples.
namespace cafx::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kResident = 3;  // blocks of a multiprocessor
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr int kResidentBack = 2;  // backward, before Hopper: shared memory leaves no room for three, which would spill
#else
constexpr int kResidentBack = kResident;
#endif

long n_quads(FrontEndDims d) { return ceil_div(d.C, 32) * 32 * padded_taps(d.K2) / 4; }

struct Packed {
  float *w1, *bias1, *w2, *bias2;  // w2 as quads of taps: (channels / 32, taps / 4, 32, 4), zero where there is none
  std::size_t bytes;
  Packed(const void* base, FrontEndDims d) {
    const auto rounded = [](long n) { return (n + 63) / 64 * 64; };
    w1 = static_cast<float*>(const_cast<void*>(base));
    bias1 = w1 + rounded(static_cast<long>(d.C) * d.K1);
    w2 = bias1 + rounded(d.C);
    bias2 = w2 + n_quads(d) * 4;
    bytes = sizeof(float) * static_cast<std::size_t>(bias2 + rounded(d.C) - w1);
  }
};

constexpr int kPoolSamples = kWarps * kRun;

// A block takes the windows that fit into kPoolSamples, or one larger one piece by piece: the sums of a piece, then the
// largest of each window's, both in shared memory.
template <class S>
__global__ void __launch_bounds__(32 * kWarps, kResident)
    pool_kernel(Members members, float* z, std::int32_t* positions, const S* x1, const float4* w2, const float* bias2,
                FrontEndDims d, int windows) {
  members.enter(z, positions, x1, w2, bias2);
  let_next_kernel_begin();
  wait_for_kernel_before();
  extern __shared__ float4 quads[];
  const int all = padded_taps(d.K2), at_once = min(all, kTapsAtOnce), lane = threadIdx.x, warp = threadIdx.y;
  float4* w = quads + (kPoolSamples + at_once) / 4 * 32;
  float* sums = reinterpret_cast<float*>(quads);  // (kPoolSamples,32), in the place of the samples
  const int c = blockIdx.x * 32 + lane, n_windows = d.T / d.P, left = (d.K2 - 1) / 2;
  const int per_frame = (n_windows + windows - 1) / windows;
  const int b = blockIdx.y / per_frame, p0 = (blockIdx.y - b * per_frame) * windows;
  const S* frame = x1 + static_cast<long>(b) * d.T * d.C;
  const float4* taps = w2 + static_cast<long>(blockIdx.x) * (all / 4 * 32);
  float best = 0.0f;  // before the bias
  int best_at = 0;
  for (int s0 = 0; s0 < windows * d.P; s0 += kPoolSamples) {
    float sum[kRun] = {};
    for (int k0 = 0; k0 < all; k0 += at_once) {
      const int n_taps = min(at_once, all - k0);
      if (s0 + k0 > 0) __syncthreads();
      copy_quads<kWarps>(w, taps + k0 / 4 * 32, n_taps);
      load_quads<kWarps>(quads, frame, p0 * d.P + s0 - left + k0, kPoolSamples + n_taps, d.T, d.C, c,
                         [](float v) { return fabsf(v); });
      __pipeline_wait_prior(0);
      __syncthreads();
      slide(sum, quads + warp * (kRun / 4) * 32 + lane, w + lane, n_taps);
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRun; ++r) sums[(warp * kRun + r) * 32 + lane] = sum[r];
    __syncthreads();
    for (int q = warp; q < windows && p0 + q < n_windows; q += kWarps) {
      const int first = max(q * d.P, s0), last = min((q + 1) * d.P, s0 + kPoolSamples);
      for (int s = first; s < last; ++s) {
        const float v = sums[(s - s0) * 32 + lane];
        if (s == q * d.P || v > best) best = v, best_at = s - q * d.P;
      }
      if (last < (q + 1) * d.P || c >= d.C) continue;
      const float x = best + bias2[c];
      const long i = (static_cast<long>(b) * n_windows + p0 + q) * d.C + c;
      z[i] = fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
      positions[i] = best_at;
    }
  }
}

constexpr int kSpan = 16;  // samples whose gradient a thread sums at a time, and taps

// A tile of the backward kernel: some windows of one frame and their samples.
struct Tile {
  int windows, samples, halo;  // halo: samples around them that the taps reach
  int near;                    // windows whose stencils can reach the samples
  long per_frame;
  explicit Tile(FrontEndDims d) {
    windows = std::max(1, kWarps * kSpan / d.P);
    samples = windows * d.P;
    halo = static_cast<int>(ceil_div(d.K2, kSpan)) * kSpan;
    near = windows + static_cast<int>(ceil_div(d.K2 - 1, d.P)) + 1;
    per_frame = ceil_div(d.T / d.P, windows);
  }
  std::size_t shared(FrontEndDims d) const {
    return sizeof(float) * 32 *
           (static_cast<std::size_t>(samples) + halo + d.K2 + 2 * kSpan + 2 * static_cast<std::size_t>(near));
  }
};

// x1 rows [first, first + n) of one frame, zero outside it and anything in lanes beyond C, as [sample][32]: a channel
// is a bank, whatever sample it reads. They are there behind the pipeline's wait and a barrier.
template <class S>
__device__ __forceinline__ void load_rows(float* rows, const S* x1, int first, int n, int T, int C, int c) {
  const long round = static_cast<long>(kWarps) * C;
  unsigned t = static_cast<unsigned>(first) + threadIdx.y;  // huge before sample 0
  const S* from = x1 + static_cast<long>(static_cast<int>(t)) * C + min(c, C - 1);
#pragma unroll 8
  for (int i = threadIdx.y; i < n; i += kWarps, t += kWarps, from += round) {
    float* to = rows + i * 32 + threadIdx.x;
    const bool inside = t < static_cast<unsigned>(T);
    if constexpr (std::is_same_v<S, float>) {
      copy_async<1>(to, from, inside);
    } else {
      *to = inside ? read(from) : 0.0f;
    }
  }
}

// Rounded down, for b > 0.
__device__ int floor_div(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Only one sample in P carries gradient: g at t_p for each window p.
//   dx1[s] += sign(x1[s]) sum_p g_p w2[s - t_p + left]      dw2[k] += sum_p g_p |x1[t_p + k - left]|
// Block (channels, slice, taps): its slice of all tiles in order; partial sums (slice, K2 + 2, C), the last two rows
// for the two biases. A warp sums kSpan taps over all of a tile's windows, and kSpan samples over all windows near.
// Blocks of further taps (K2 > 128) leave dx1 alone.
template <class S>
__global__ void __launch_bounds__(32 * kWarps, kResidentBack)
    back_kernel(DeepMembers members, S* dx1, float* partial, const float* dz, const S* x1, const float* z,
                const std::int32_t* positions, const float* w2, FrontEndDims d, Tile tile) {
  members.enter(dx1, partial, dz, x1, z, positions, w2);
  let_next_kernel_begin();
  extern __shared__ float shared[];
  float* x = shared;                                     // (samples + halo,32)
  float* w = x + (tile.samples + tile.halo) * 32;        // (K2 + 2 kSpan,32), kSpan rows of zeros on both sides
  float* g = w + (d.K2 + 2 * kSpan) * 32;                // (near,32)
  int* at = reinterpret_cast<int*>(g + tile.near * 32);  // (near,32): t_p, far away where there is no window
  const int lane = threadIdx.x, warp = threadIdx.y, c = blockIdx.x * 32 + lane;
  const int n_windows = d.T / d.P, left = (d.K2 - 1) / 2, k0 = (members.block_z() * kWarps + warp) * kSpan;
  const bool first_taps = members.block_z() == 0;
  // Lanes: 8 taps, whole sectors of w2, of 4 channels.
  for (int i = warp; i < (d.K2 + 2 * kSpan + 7) / 8 * 8; i += kWarps) {
    const int row = i / 8 * 8 + lane % 8, k = row - kSpan, channel = i % 8 * 4 + lane / 8,
              from = blockIdx.x * 32 + channel;
    if (row >= d.K2 + 2 * kSpan) continue;
    w[row * 32 + channel] =
        k >= 0 && k < d.K2 && from < d.C ? as_stored<S>(w2[static_cast<long>(from) * d.K2 + k]) : 0.0f;
  }
  wait_for_kernel_before();  // which does not write weights
  float dw[kSpan] = {}, dbias1 = 0.0f, dbias2 = 0.0f;
  const long all = tile.per_frame * d.B, first = all * blockIdx.y / gridDim.y,
             last = all * (blockIdx.y + 1) / gridDim.y;
  for (long i = first; i < last; ++i) {
    const int b = static_cast<int>(i / tile.per_frame), p0 = static_cast<int>(i - b * tile.per_frame) * tile.windows;
    const int s0 = p0 * d.P;
    const long frame = static_cast<long>(b) * d.T * d.C;
    __syncthreads();
    int kept = 0;  // rows shared with the end of the tile before
    if (i > first && p0 > 0 && tile.halo <= tile.samples) {
      kept = tile.halo;
#pragma unroll 8
      for (int row = warp; row < kept; row += kWarps) x[row * 32 + lane] = x[(tile.samples + row) * 32 + lane];
    }
    const int n = tile.samples + tile.halo - kept;
    __syncthreads();
    load_rows(x + kept * 32, x1 + frame, s0 - left + kept, n, d.T, d.C, c);
    __pipeline_commit();
    // From the first window whose stencil reaches s0.
    const int p_first = floor_div(s0 + left - d.K2 + 1, d.P);
    for (int q = warp; q < tile.near; q += kWarps) {
      const int p = p_first + q;
      const bool inside = p >= 0 && p < n_windows && c < d.C;
      const long j = (static_cast<long>(b) * n_windows + p) * d.C + c;
      g[q * 32 + lane] = inside ? as_stored<S>(dz[j] * -expm1f(-z[j])) : 0.0f;
      at[q * 32 + lane] = inside ? p * d.P + positions[j] : 1 << 29;
    }
    __pipeline_wait_prior(0);
    __syncthreads();
    for (int q = p0 - p_first; q < p0 - p_first + tile.windows && q < tile.near; ++q) {
      const float value = g[q * 32 + lane];
      const int t = at[q * 32 + lane];
      if (warp == 0) dbias2 += value;
      // Row of tap k0: sample t + k0 - left. Without a window or such a tap, any row is valid.
      const float* row = x + (t < 1 << 29 && k0 < d.K2 ? t - s0 + k0 : 0) * 32 + lane;
#pragma unroll
      for (int k = 0; k < kSpan; ++k) dw[k] += value * fabsf(row[k * 32]);
    }
    if (!first_taps) continue;
    for (int s = warp * kSpan; s < tile.samples && s0 + s < d.T; s += kWarps * kSpan) {
      const int n_samples = c < d.C ? min(kSpan, min(tile.samples - s, d.T - s0 - s)) : 0;
      S* to = dx1 + frame + static_cast<long>(s0 + s) * d.C + c;
      const long row = d.C;
      float before[kSpan], sum[kSpan] = {};
      if (n_samples == kSpan) {
        const S* from = to;
#pragma unroll
        for (int r = 0; r < kSpan; ++r, from += row) before[r] = read(from);
      } else {
#pragma unroll
        for (int r = 0; r < kSpan; ++r) before[r] = r < n_samples ? read(to + r * row) : 0.0f;
      }
      const int q_first = max(0, floor_div(s0 + s + left - d.K2 + 1, d.P) - p_first);
      const int q_last = min(tile.near - 1, (s0 + s + kSpan - 1 + left) / d.P - p_first);
      for (int q = q_first; q <= q_last; ++q) {
        const int k = s0 + s + left - at[q * 32 + lane];  // tap of the first sample
        const bool reaches = k > -kSpan && k < d.K2;
        const float value = reaches ? g[q * 32 + lane] : 0.0f;
        const float* tap = w + ((reaches ? k : 0) + kSpan) * 32 + lane;
#pragma unroll
        for (int r = 0; r < kSpan; ++r) sum[r] += value * tap[r * 32];
      }
#pragma unroll
      for (int r = 0; r < kSpan; ++r) {
        const float own = x[(s + r + left) * 32 + lane];
        before[r] = as_stored<S>(before[r] + ((own > 0.0f ? 1.0f : 0.0f) - (own < 0.0f ? 1.0f : 0.0f)) * sum[r]);
      }
      if (n_samples == kSpan) {
#pragma unroll
        for (int r = 0; r < kSpan; ++r, to += row) write(to, before[r]), dbias1 += before[r];
      } else {
#pragma unroll
        for (int r = 0; r < kSpan; ++r) {
          if (r < n_samples) write(to + r * row, before[r]), dbias1 += before[r];
        }
      }
    }
  }
  __syncthreads();
  x[warp * 32 + lane] = dbias1;  // (kWarps,32), in the place of the tile
  __syncthreads();
  if (c >= d.C) return;
  float* own = partial + static_cast<long>(blockIdx.y) * (d.K2 + 2) * d.C + c;
#pragma unroll
  for (int k = 0; k < kSpan; ++k) {
    if (k0 + k < d.K2) own[static_cast<long>(k0 + k) * d.C] = dw[k];
  }
  if (warp != 0 || !first_taps) return;
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
  return sizeof(float) * static_cast<std::size_t>(d.C) * static_cast<std::size_t>(slices_for(context, d)) * (d.K2 + 2);
}

void front_end_prepare(const Context& context, float* packed, const float* w1, const float* bias1, const float* w2,
                       const float* bias2, FrontEndDims d) {
  Packed to(packed, d);
  const long n1 = static_cast<long>(d.C) * d.K1, n_bias = n1 + 2l * d.C, all = padded_taps(d.K2);
  const bool plain = front_end_mma::takes(context, d);  // w2 as it is
  const Precision stored = stored_precision(context);
  for_each(context, n_bias + (plain ? static_cast<long>(d.C) * d.K2 : n_quads(d) * 4),
           [=] __device__(Members members) mutable {
             members.enter(w1, bias1, bias2, w2, to.w1, to.bias1, to.bias2, to.w2);
             return [=](long i) {
               if (i < n1) {
                 to.w1[i] = w1[i];
               } else if (i < n1 + d.C) {
                 to.bias1[i - n1] = bias1[i - n1];
               } else if (i < n_bias) {
                 to.bias2[i - n1 - d.C] = bias2[i - n1 - d.C];
               } else if (plain) {
                 to.w2[i - n_bias] = w2[i - n_bias];
               } else {
                 const long q = i - n_bias, group = q / (32 * all), c = group * 32 + q / 4 % 32,
                            k = q / 128 * 4 % all + q % 4;
                 const float tap = k < d.K2 && c < d.C ? w2[c * d.K2 + k] : 0.0f;
                 to.w2[q] = stored == Precision::kFp16   ? as_stored<Half>(tap)
                            : stored == Precision::kBf16 ? as_stored<Bfloat>(tap)
                                                         : tap;
               }
             };
           });
}

void front_end_forward(const Context& context, Stored* x1, float* z, std::int32_t* positions, const float* x_padded,
                       const float* packed, float*, FrontEndDims d) {
  const Packed p(packed, d);
  conv_forward(context, x1, x_padded, p.w1, p.bias1, false, {d.B, d.T, d.C, d.K1});
  if (front_end_mma::takes(context, d)) return front_end_mma::pool(context, z, positions, x1, p.w2, p.bias2, d);
  const int windows = std::max(1, kPoolSamples / d.P), at_once = std::min(padded_taps(d.K2), kTapsAtOnce);
  with_stored(context, [&]<class S>() {
    launch_early(context, pool_kernel<S>,
                 dim3(blocks_for(d.C, 32), static_cast<unsigned>(d.B * ceil_div(d.T / d.P, windows))), dim3(32, kWarps),
                 sizeof(float) * 32 * static_cast<std::size_t>(kPoolSamples + 2 * at_once), z, positions,
                 static_cast<const S*>(x1), reinterpret_cast<const float4*>(p.w2), p.bias2, d, windows);
  });
}

bool front_end_gathers(const Context& context, FrontEndDims d) {
  return front_end_mma::takes(context, d) && convolutions_round(context, {d.B, d.T, d.C, d.K1});
}

bool front_end_forward_from(const Context& context, Stored* x1, float* z, std::int32_t* positions, float* x_padded,
                            FrameSource source, int left, FrontEndWeights weights, FrontEndDims d) {
  if (!cuda::front_end_gathers(context, d)) return false;
  conv_forward_from(context, x1, x_padded, source, left, weights.w1, weights.bias1, {d.B, d.T, d.C, d.K1});
  // Of all kernels that would begin early the next one has the least to do before it waits.
  join(context);
  front_end_mma::pool(context, z, positions, x1, weights.w2, weights.bias2, d);
  return true;
}

void front_end_backward(const Context& context, Stored* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2,
                        const float* dz, const Stored* x1, const float* z, const std::int32_t* positions,
                        const float* x_padded, const float* w2, float* scratch, FrontEndDims d) {
  float* partial = scratch;
  // Sums over slices run aside: the filters' gradient, which takes longest, goes on alone.
  if (front_end_mma::takes_back(context, d)) {
    const int slices = front_end_mma::back(context, dx1, partial, dz, x1, z, positions, w2, d);
    const long taps = static_cast<long>(d.C) * d.K2;
    add_parts(context, {partial, slices, taps + 2l * d.C, {{0, dw2}, {taps, dbias2}, {taps + d.C, dbias1}}, 3});
  } else {
    const Tile tile(d);
    const int slices = slices_for(context, d);
    check_shared(context, tile.shared(d), d);
    with_stored(context, [&]<class S>() {
      launch_early(context, back_kernel<S>, dim3(blocks_for(d.C, 32), slices, blocks_for(d.K2, kWarps * kSpan)),
                   dim3(32, kWarps), tile.shared(d), static_cast<S*>(dx1), partial, dz, static_cast<const S*>(x1), z,
                   positions, w2, d, tile);
    });
    aside(context, [&] {
      sum_parts(context, partial, slices, static_cast<long>(d.K2 + 2) * d.C, [=] __device__(Members members) mutable {
        members.enter(dbias2, dbias1, dw2);
        return [=](long i, double sum) {
          const long k = i / d.C, c = i - k * d.C;
          float& out = k == d.K2 ? dbias2[c] : k == d.K2 + 1 ? dbias1[c] : dw2[c * d.K2 + k];
          out += static_cast<float>(sum);
        };
      });
    });
  }
  Context here = context;
  here.aside = false;
  conv_backward_filter(here, dw1, dx1, x_padded, false, {d.B, d.T, d.C, d.K1});
}

}  // namespace cafx::cuda
