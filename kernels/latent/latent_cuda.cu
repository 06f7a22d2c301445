#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/device/sums.h"
#include "kernels/latent/latent.h"
#include "kernels/latent/latent_mma_cuda.h"
#include "kernels/local_dense/local_dense_cuda.h"
#include "kernels/pointwise/pointwise_cuda.h"

// A block has eight channels: neighbours in memory, whole sectors of the (B,64,C) tensors. A thread has one of them and
// two rows of Dense-Local's weights (backward: of their transpose), which it keeps in registers for all its frames;
// those of the shared layer are in shared memory, which serves all channels of a warp at once. Frames pass through
// shared memory as rows of a channel, F at a time.
namespace cafx::cuda {

namespace {

constexpr int kSize = 64, kChannels = 8, kLatentThreads = 256, kRow = kSize + 4;  // no two channels on the same banks

template <int F>
using Rows = float[F][kChannels][kRow];
using Matrix = float[kSize][kRow];

struct Place {  // of a thread
  int channel, row;
  __device__ Place() : channel(threadIdx.x % kChannels), row(threadIdx.x / kChannels) {}  // and row + 32
};

// to[f][channel][k] = f(number) for frames b0 .. b0 + F of the block's channels; zero beyond the batch.
template <int F, class Value>
__device__ __forceinline__ void load_rows(Rows<F>& to, int b0, int c0, LatentDims d, Value value) {
#pragma unroll
  for (int i = threadIdx.x; i < F * kSize * 2; i += kLatentThreads) {
    const int half = i % 2 * 4, k = i / 2 % kSize, f = i / (2 * kSize);
    float4 v{};
    if (b0 + f < d.B) v = value((static_cast<long>(b0 + f) * kSize + k) * d.C + c0 + half);
    to[f][half][k] = v.x, to[f][half + 1][k] = v.y, to[f][half + 2][k] = v.z, to[f][half + 3][k] = v.w;
  }
}
__device__ __forceinline__ float4 read_four(const float* p) { return *reinterpret_cast<const float4*>(p); }

// sums[j][f] += sum over k of weights(j, q)[k % 4] x[f][channel][k], q = k / 4.
// kUnrolled: how many q at a time; all where the weights are in registers, few where they need not be, for short code.
template <int F, int kUnrolled, class Weights>
__device__ __forceinline__ void add_products(float (&sums)[2][F], const Rows<F>& x, int channel, Weights weights) {
#pragma unroll kUnrolled
  for (int q = 0; q < kSize / 4; ++q) {
    const float4 w[2] = {weights(0, q), weights(1, q)};
#pragma unroll
    for (int f = 0; f < F; ++f) {
      const float4 v = read_four(&x[f][channel][4 * q]);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        sums[j][f] = fmaf(w[j].w, v.w, fmaf(w[j].z, v.z, fmaf(w[j].y, v.y, fmaf(w[j].x, v.x, sums[j][f]))));
      }
    }
  }
}
constexpr int kAll = kSize / 4, kFew = 2;

template <int F>
__global__ void __launch_bounds__(kLatentThreads)
    forward_kernel(Members members, float* h, float* zhat, const float* z, const float* w1, const float* bias1,
                   const float* w2, const float* bias2, LatentDims d) {
  members.enter(h, zhat, z, w1, bias1, w2, bias2);
  let_next_kernel_begin();
  __shared__ Rows<F> xs, hs;
  __shared__ Matrix shared_weights;
  const Place own;
  const int c0 = blockIdx.x * kChannels, c = c0 + own.channel;
  float4 w[2][kSize / 4];
  float b1[2], b2[2];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int row = own.row + 32 * j;
    b1[j] = bias1[static_cast<long>(c) * kSize + row], b2[j] = bias2[row];
#pragma unroll
    for (int q = 0; q < kSize / 4; ++q) w[j][q] = read_four(w1 + (static_cast<long>(c) * kSize + row) * kSize + 4 * q);
  }
  for (int i = threadIdx.x; i < kSize * kSize; i += kLatentThreads) shared_weights[i / kSize][i % kSize] = w2[i];
  wait_for_kernel_before();  // which does not write weights
#pragma unroll 1
  for (int b0 = blockIdx.y * F; b0 < d.B; b0 += gridDim.y * F) {
    load_rows<F>(xs, b0, c0, d, [&](long i) { return read_four(z + i); });
    __syncthreads();
    // Through shared memory, this thread's own numbers, so that the activation's code is there once.
    const auto finish = [&](float* y, const float(&sums)[2][F], Rows<F>& rows) {
#pragma unroll
      for (int f = 0; f < F; ++f)
        rows[f][own.channel][own.row] = sums[0][f], rows[f][own.channel][own.row + 32] = sums[1][f];
#pragma unroll 1
      for (int i = 0; i < 2 * F; ++i) {
        float& v = rows[i / 2][own.channel][own.row + i % 2 * 32];
        v = activate<Activation::kSoftplus>(v);
        if (b0 + i / 2 < d.B) y[(static_cast<long>(b0 + i / 2) * kSize + own.row + i % 2 * 32) * d.C + c] = v;
      }
    };
    const auto begin = [&](float(&sums)[2][F], const float(&bias)[2]) {
#pragma unroll
      for (int f = 0; f < F; ++f) sums[0][f] = bias[0], sums[1][f] = bias[1];
    };
    float sums[2][F];
    begin(sums, b1);
    add_products<F, kAll>(sums, xs, own.channel, [&](int j, int q) { return w[j][q]; });
    finish(h, sums, hs);
    __syncthreads();
    begin(sums, b2);
    add_products<F, kFew>(sums, hs, own.channel,
                          [&](int j, int q) { return read_four(&shared_weights[own.row + 32 * j][4 * q]); });
    finish(zhat, sums, xs);
    __syncthreads();
  }
}

// dz; g (B,64,C), the gradient before h's activation; of each block the sums for w2 and bias2, (64,64) and (64).
template <int F>
__global__ void __launch_bounds__(kLatentThreads)
    backward_kernel(Members members, float* dz, float* g, float* partial, const float* dzhat, const float* zhat,
                    const float* h, const float* w1, const float* w2, LatentDims d) {
  members.enter(dz, g, partial, dzhat, zhat, h, w1, w2);
  let_next_kernel_begin();
  __shared__ Rows<F> tops, hs, gs;
  __shared__ Matrix transposed;  // [o][i]
  const Place own;
  const int c0 = blockIdx.x * kChannels, c = c0 + own.channel;
  float4 w[2][kSize / 4];  // columns of w1
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const float* from = w1 + static_cast<long>(c) * kSize * kSize + own.row + 32 * j;
#pragma unroll
    for (int q = 0; q < kSize / 4; ++q) {
      w[j][q] = {from[4 * q * kSize], from[(4 * q + 1) * kSize], from[(4 * q + 2) * kSize], from[(4 * q + 3) * kSize]};
    }
  }
  for (int i = threadIdx.x; i < kSize * kSize; i += kLatentThreads) transposed[i % kSize][i / kSize] = w2[i];
  wait_for_kernel_before();                                        // which does not write weights
  const int i0 = threadIdx.x / 16 * 4, o0 = threadIdx.x % 16 * 4;  // this thread's 4 x 4 of w2's sums
  float outer[4][4] = {}, column[4] = {};
#pragma unroll 1
  for (int b0 = blockIdx.y * F; b0 < d.B; b0 += gridDim.y * F) {
    __syncthreads();
    load_rows<F>(tops, b0, c0, d, [&](long i) {
      const float4 dy = read_four(dzhat + i), y = read_four(zhat + i);
      const auto slope = [](float v) { return activation_slope<Activation::kSoftplus>(v); };
      return float4{dy.x * slope(y.x), dy.y * slope(y.y), dy.z * slope(y.z), dy.w * slope(y.w)};
    });
    load_rows<F>(hs, b0, c0, d, [&](long i) { return read_four(h + i); });
    __syncthreads();
    float sums[2][F] = {};
    add_products<F, kFew>(sums, tops, own.channel,
                          [&](int j, int q) { return read_four(&transposed[own.row + 32 * j][4 * q]); });
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int f = 0; f < F; ++f) {
        const int row = own.row + 32 * j;
        const float v = sums[j][f] * activation_slope<Activation::kSoftplus>(hs[f][own.channel][row]);
        gs[f][own.channel][row] = v;
        if (b0 + f < d.B) g[(static_cast<long>(b0 + f) * kSize + row) * d.C + c] = v;
        sums[j][f] = 0.0f;
      }
    }
    __syncthreads();
    add_products<F, kAll>(sums, gs, own.channel, [&](int j, int q) { return w[j][q]; });
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int f = 0; f < F; ++f) {
        if (b0 + f < d.B) dz[(static_cast<long>(b0 + f) * kSize + own.row + 32 * j) * d.C + c] = sums[j][f];
      }
    }
#pragma unroll
    for (int f = 0; f < F; ++f) {
#pragma unroll 2
      for (int channel = 0; channel < kChannels; ++channel) {
        const float4 a = read_four(&tops[f][channel][i0]), b = read_four(&hs[f][channel][o0]);
        const float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          column[i] += left[i];
#pragma unroll
          for (int o = 0; o < 4; ++o) outer[i][o] += left[i] * right[o];
        }
      }
    }
  }
  float* to = partial + static_cast<long>(blockIdx.y * gridDim.x + blockIdx.x) * (kSize * kSize + kSize);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    *reinterpret_cast<float4*>(to + (i0 + i) * kSize + o0) = {outer[i][0], outer[i][1], outer[i][2], outer[i][3]};
    if (o0 == 0) to[kSize * kSize + i0 + i] = column[i];
  }
}

// Four frames at a time where that leaves every multiprocessor a block, else one.
struct Cut {
  int frames;
  dim3 grid;
  Cut(const Context& context, LatentDims d) {
    const int panels = d.C / kChannels, n_sm = context.cuda->n_sm;
    frames = panels * ceil_div(d.B, 4) >= n_sm / 2 ? 4 : 1;
    grid = dim3(panels,
                static_cast<unsigned>(std::clamp<long>(ceil_div(d.B, frames), 1, std::max<long>(1, n_sm / panels))));
  }
};

}  // namespace

bool latent_rounds(const Context& context, LatentDims) { return latent_mma::takes(context); }

std::size_t latent_scratch(const Context& context, LatentDims d) {
  if (latent_mma::takes(context)) return latent_mma::scratch(context, d);
  const Cut cut(context, d);
  return sizeof(float) * (static_cast<std::size_t>(d.B) * kSize * d.C +
                          static_cast<std::size_t>(cut.grid.x) * cut.grid.y * (kSize * kSize + kSize));
}

void latent_forward(const Context& context, float* h, float* zhat, const float* z, const float* w1, const float* bias1,
                    const float* w2, const float* bias2, LatentDims d) {
  if (latent_mma::takes(context)) return latent_mma::forward(context, h, zhat, z, w1, bias1, w2, bias2, d);
  const Cut cut(context, d);
  launch_early(context, cut.frames == 4 ? forward_kernel<4> : forward_kernel<1>, cut.grid, kLatentThreads, 0, h, zhat,
               z, w1, bias1, w2, bias2, d);
}

void latent_backward(const Context& context, float* dz, float* dw1, float* dbias1, float* dw2, float* dbias2,
                     const float* dzhat, const float* zhat, const float* h, const float* z, const float* w1,
                     const float* w2, void* scratch, LatentDims d) {
  auto* partial = static_cast<float*>(scratch);
  const auto add_shared = [&](int parts) {
    add_parts(context, {partial, parts, kSize * kSize + kSize, {{0, dw2}, {kSize * kSize, dbias2}}, 2});
  };
  if (latent_mma::takes(context)) {
    const dim3 grid = latent_mma::back_cut(context, d).grid;
    float* own = partial + static_cast<long>(grid.x) * grid.y * latent_mma::kParts;
    latent_mma::backward(context, dz, dw1, dbias1, own, partial, dzhat, zhat, h, z, w1, w2, d);
    add_shared(static_cast<int>(grid.x * grid.y));
    if (grid.y > 1) aside(context, [&] { latent_mma::add_slices(context, dw1, dbias1, own, grid.y, d); });
    return;
  }
  const Cut cut(context, d);
  float* g = partial + static_cast<long>(cut.grid.x) * cut.grid.y * (kSize * kSize + kSize);
  launch_early(context, cut.frames == 4 ? backward_kernel<4> : backward_kernel<1>, cut.grid, kLatentThreads, 0, dz, g,
               partial, dzhat, zhat, h, w1, w2, d);
  add_shared(static_cast<int>(cut.grid.x * cut.grid.y));
  aside(context, [&] { local_dense_weights(context, dw1, dbias1, g, z, {d.B, d.I, d.O, d.C}, false); });
}

}  // namespace cafx::cuda
