#include "kernels/local_dense/local_dense_cuda.h"

#include <cuda_pipeline.h>

#include "kernels/device/each_cuda.h"
#include "kernels/pointwise/pointwise_cuda.h"

// All channels in one launch. A block takes 8 channels (neighbouring lanes: whole sectors of the (B,T,C) tensors). Its
// inputs pass through shared memory, a few rows at a time; a thread keeps the sums of several rows and frames in
// registers.
namespace cafx::cuda {

namespace {

constexpr int kChannels = 8, kThreadsHere = 256;
constexpr int kFrames = 16, kOutputs = 64, kDepth = 16;  // of a block's product: frames, outputs, rows at a time
constexpr int kWeightRow = kOutputs * kChannels + 1, kInputRow = kFrames * kChannels + 8;  // padded: no bank conflicts

// y[b,n,c] = act(bias[c,n] + sum_k x[b,k,c] w(c,n,k)), w at (c N + n) K + k, or for the transpose at (c K + k) N + n. A
// thread has one channel, 4 outputs and 8 frames.
template <Activation A, bool kTranspose>
__global__ void __launch_bounds__(kThreadsHere, kTranspose ? 2 : 3)
    product_kernel(DeepMembers members, float* y, const float* x, const float* w, const float* bias, int K, int N,
                   LocalDenseDims d) {
  members.enter(y, x, w);
  members.enter_given(bias);
  __shared__ float weights[kDepth * kWeightRow], inputs[kDepth * kInputRow];
  const int c0 = blockIdx.x * kChannels, b0 = blockIdx.y * kFrames, n0 = members.block_z() * kOutputs;
  const int own = threadIdx.x % kChannels, c = c0 + own, group = threadIdx.x / kChannels % 16, half = threadIdx.x / 128;
  float sum[4][8];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int n = n0 + group + 16 * j;
    const float start = bias && c < d.C && n < N ? bias[static_cast<long>(c) * N + n] : 0.0f;
#pragma unroll
    for (int b = 0; b < 8; ++b) sum[j][b] = start;
  }
  for (int k0 = 0; k0 < K; k0 += kDepth) {
#pragma unroll 4
    for (int i = threadIdx.x; i < kDepth * kOutputs * kChannels; i += kThreadsHere) {
      // Lanes: 8 that neighbour in memory, by 4 rows of the other kind.
      const int a = i % 8, b = i / 8 % 4, rest = i / 32;
      const int k = kTranspose ? rest % 4 * 4 + b : rest % 2 * 8 + a;
      const int n = kTranspose ? rest / 4 % 8 * 8 + a : rest / 2 % 16 * 4 + b;
      const int channel = rest / 32;
      const bool inside = c0 + channel < d.C && n0 + n < N && k0 + k < K;
      const long row = static_cast<long>(c0 + channel) * (kTranspose ? K : N) + (kTranspose ? k0 + k : n0 + n);
      weights[k * kWeightRow + n * kChannels + channel] =
          inside ? w[row * (kTranspose ? N : K) + (kTranspose ? n0 + n : k0 + k)] : 0.0f;
    }
#pragma unroll 2
    for (int i = threadIdx.x; i < kDepth * kFrames * kChannels; i += kThreadsHere) {
      const int channel = i % kChannels, k = i / kChannels % kDepth, b = i / kChannels / kDepth;
      const bool inside = c0 + channel < d.C && k0 + k < K && b0 + b < d.B;
      inputs[k * kInputRow + b * kChannels + channel] =
          inside ? x[(static_cast<long>(b0 + b) * K + k0 + k) * d.C + c0 + channel] : 0.0f;
    }
    __syncthreads();
#pragma unroll 2
    for (int k = 0; k < kDepth; ++k) {
      float weight[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) weight[j] = weights[k * kWeightRow + (group + 16 * j) * kChannels + own];
#pragma unroll
      for (int b = 0; b < 8; ++b) {
        const float in = inputs[k * kInputRow + (half * 8 + b) * kChannels + own];
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j][b] += weight[j] * in;
      }
    }
    __syncthreads();
  }
  if (c >= d.C) return;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int n = n0 + group + 16 * j;
#pragma unroll
    for (int b = 0; b < 8; ++b) {
      const int frame = b0 + half * 8 + b;
      if (n < N && frame < d.B) y[(static_cast<long>(frame) * N + n) * d.C + c] = activate<A>(sum[j][b]);
    }
  }
}

// dw[c,o,i] = or += sum_b g[b,o,c] x[b,i,c], over the batch in order. A thread: one channel, 2 outputs, 8 neighbouring
// inputs.
constexpr int kBatch = 16, kRowsG = 16, kRowsX = 32;
__global__ void __launch_bounds__(kThreadsHere)
    weights_kernel(DeepMembers members, float* dw, float* dbias, const float* g, const float* x, LocalDenseDims d,
                   bool add) {
  members.enter(dw, dbias, g, x);
  __shared__ __align__(16) float gs[2][kBatch][kRowsG * kChannels], xs[2][kBatch][kRowsX * kChannels];
  const int c0 = blockIdx.x * kChannels, o0 = blockIdx.y * kRowsG, i0 = members.block_z() * kRowsX;
  const int own = threadIdx.x % kChannels, c = c0 + own, og = threadIdx.x / kChannels % 8, ig = threadIdx.x / 64;
  const bool vectors = d.C % 4 == 0;
  const auto copy = [&](float* to, const float* from, int b, int row, int rows, int channel) {
    const float* at = from + (static_cast<long>(b) * rows + row) * d.C + c0 + channel;
    const bool inside = b < d.B && row < rows;
    if (vectors && inside && c0 + channel < d.C) return __pipeline_memcpy_async(to, at, 16);
    for (int k = 0; k < 4; ++k) to[k] = inside && c0 + channel + k < d.C ? at[k] : 0.0f;
  };
  const auto fetch = [&](int side, int b0) {
    for (int i = threadIdx.x; i < kBatch * kRowsG * kChannels / 4; i += kThreadsHere) {
      const int at = i * 4 % (kRowsG * kChannels), b = i * 4 / (kRowsG * kChannels);
      copy(&gs[side][b][at], g, b0 + b, o0 + at / kChannels, d.O, at % kChannels);
    }
    for (int i = threadIdx.x; i < kBatch * kRowsX * kChannels / 4; i += kThreadsHere) {
      const int at = i * 4 % (kRowsX * kChannels), b = i * 4 / (kRowsX * kChannels);
      copy(&xs[side][b][at], x, b0 + b, i0 + at / kChannels, d.I, at % kChannels);
    }
    __pipeline_commit();
  };
  float sum[2][8] = {}, bias[2] = {};
  fetch(0, 0);
  int side = 0;
  for (int b0 = 0; b0 < d.B; b0 += kBatch, side ^= 1) {
    const bool more = b0 + kBatch < d.B;
    if (more) fetch(side ^ 1, b0 + kBatch);
    __pipeline_wait_prior(more ? 1 : 0);
    __syncthreads();
#pragma unroll 4
    for (int b = 0; b < kBatch; ++b) {
      const float a0 = gs[side][b][og * kChannels + own], a1 = gs[side][b][(og + 8) * kChannels + own];
      bias[0] += a0, bias[1] += a1;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float in = xs[side][b][(ig * 8 + i) * kChannels + own];
        sum[0][i] += a0 * in, sum[1][i] += a1 * in;
      }
    }
    __syncthreads();
  }
  if (c >= d.C) return;
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int o = o0 + og + 8 * j;
    if (o >= d.O) continue;
    float* to = dw + (static_cast<long>(c) * d.O + o) * d.I + i0 + ig * 8;
    float before[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) before[i] = add && i0 + ig * 8 + i < d.I ? to[i] : 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i0 + ig * 8 + i < d.I) to[i] = before[i] + sum[j][i];
    }
    if (i0 > 0 || ig > 0) continue;
    float& to_bias = dbias[static_cast<long>(c) * d.O + o];
    to_bias = (add ? to_bias : 0.0f) + bias[j];
  }
}

}  // namespace

std::size_t local_dense_scratch(const Context&, LocalDenseDims d) {
  return sizeof(float) * static_cast<std::size_t>(d.B) * d.O * d.C;
}

void local_dense_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                         LocalDenseDims d) {
  with_activation(d.activation, [&]<Activation A>() {
    launch(context, product_kernel<A, false>,
           dim3(blocks_for(d.C, kChannels), blocks_for(d.B, kFrames), blocks_for(d.O, kOutputs)), kThreadsHere, 0, y, x,
           w, bias, d.I, d.O, d);
  });
}

void local_dense_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                          const float* x, const float* w, void* scratch, LocalDenseDims d) {
  float* g = static_cast<float*>(scratch);  // (B,O,C), before the activation
  with_activation(d.activation, [&]<Activation A>() {
    for_each(context, static_cast<long>(d.B) * d.O * d.C, ActivationBackward<A>{g, dy, y});
  });
  launch(context, product_kernel<Activation::kIdentity, true>,
         dim3(blocks_for(d.C, kChannels), blocks_for(d.B, kFrames), blocks_for(d.I, kOutputs)), kThreadsHere, 0, dx, g,
         w, nullptr, d.O, d.I, d);
  local_dense_weights(context, dw, dbias, g, x, d, true);
}

void local_dense_weights(const Context& context, float* dw, float* dbias, const float* g, const float* x,
                         LocalDenseDims d, bool add) {
  launch(context, weights_kernel, dim3(blocks_for(d.C, kChannels), blocks_for(d.O, kRowsG), blocks_for(d.I, kRowsX)),
         kThreadsHere, 0, dw, dbias, g, x, d, add);
}

}  // namespace cafx::cuda
