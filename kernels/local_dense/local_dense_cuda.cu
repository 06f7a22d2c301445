#include "kernels/device/each_cuda.h"
#include "kernels/local_dense/local_dense.h"
#include "kernels/pointwise/pointwise_cuda.h"

// All channels in one launch. A block takes 8 channels (neighbouring lanes: whole sectors of the (B,T,C) tensors) and 8
// frames, whose inputs it keeps in shared memory as [row][frame][channel]; a weight, once read, serves the 8 frames.
namespace cafx::cuda {

namespace {

constexpr int kChannels = 8, kFrames = 8, kLanes = 32;
constexpr int kRow = kChannels * kFrames + 8;  // floats of a row: four rows, side by side in a warp, meet other banks

__device__ void load_tile(float* tile, const float* x, int rows, LocalDenseDims d, int c0, int b0) {
  for (int i = threadIdx.x; i < rows * kChannels * kFrames; i += blockDim.x) {
    const int c = i % kChannels, row = i / kChannels % rows, b = i / kChannels / rows;
    const bool inside = c0 + c < d.C && b0 + b < d.B;
    tile[row * kRow + b * kChannels + c] = inside ? x[(static_cast<long>(b0 + b) * rows + row) * d.C + c0 + c] : 0.0f;
  }
}

template <Activation A>
__global__ void forward_kernel(float* y, const float* x, const float* w, const float* bias, LocalDenseDims d) {
  extern __shared__ float tile[];
  const int c0 = blockIdx.x * kChannels, b0 = blockIdx.y * kFrames;
  load_tile(tile, x, d.I, d, c0, b0);
  __syncthreads();
  const int own = threadIdx.x % kChannels, c = c0 + own;
  if (c >= d.C) return;
  for (int o = threadIdx.x / kChannels; o < d.O; o += kLanes) {
    const float* row = w + (static_cast<long>(c) * d.O + o) * d.I;
    float sum[kFrames];
    for (int b = 0; b < kFrames; ++b) sum[b] = bias[static_cast<long>(c) * d.O + o];
    for (int i = 0; i < d.I; ++i) {
      const float weight = row[i];
      const float* in = tile + i * kRow + own;
      for (int b = 0; b < kFrames; ++b) sum[b] += weight * in[b * kChannels];
    }
    for (int b = 0; b < kFrames; ++b) {
      if (b0 + b < d.B) y[(static_cast<long>(b0 + b) * d.O + o) * d.C + c] = activate<A>(sum[b]);
    }
  }
}

__global__ void data_kernel(float* dx, const float* g, const float* w, LocalDenseDims d) {
  extern __shared__ float tile[];
  const int c0 = blockIdx.x * kChannels, b0 = blockIdx.y * kFrames;
  load_tile(tile, g, d.O, d, c0, b0);
  __syncthreads();
  const int own = threadIdx.x % kChannels, c = c0 + own;
  if (c >= d.C) return;
  for (int i = threadIdx.x / kChannels; i < d.I; i += kLanes) {
    float sum[kFrames] = {};
    for (int o = 0; o < d.O; ++o) {
      const float weight = w[(static_cast<long>(c) * d.O + o) * d.I + i];
      const float* in = tile + o * kRow + own;
      for (int b = 0; b < kFrames; ++b) sum[b] += weight * in[b * kChannels];
    }
    for (int b = 0; b < kFrames; ++b) {
      if (b0 + b < d.B) dx[(static_cast<long>(b0 + b) * d.I + i) * d.C + c] = sum[b];
    }
  }
}

// Sums over the batch in order: a thread has one input, 8 outputs of its channel, and all frames.
constexpr int kOutputs = 8, kInputs = 32;
__global__ void weights_kernel(float* dw, float* dbias, const float* g, const float* x, LocalDenseDims d) {
  __shared__ float g_tile[kFrames][kOutputs][kChannels], x_tile[kFrames][kInputs][kChannels];
  const int c0 = blockIdx.x * kChannels, o0 = blockIdx.y * kOutputs, i0 = blockIdx.z * kInputs;
  const int own = threadIdx.x % kChannels, lane = threadIdx.x / kChannels, c = c0 + own, i = i0 + lane;
  float sum[kOutputs] = {}, bias[kOutputs] = {};
  for (int b0 = 0; b0 < d.B; b0 += kFrames) {
    for (int k = threadIdx.x; k < kFrames * kOutputs * kChannels; k += blockDim.x) {
      const int kc = k % kChannels, o = k / kChannels % kOutputs, b = k / kChannels / kOutputs;
      const bool inside = c0 + kc < d.C && o0 + o < d.O && b0 + b < d.B;
      g_tile[b][o][kc] = inside ? g[(static_cast<long>(b0 + b) * d.O + o0 + o) * d.C + c0 + kc] : 0.0f;
    }
    for (int k = threadIdx.x; k < kFrames * kInputs * kChannels; k += blockDim.x) {
      const int kc = k % kChannels, row = k / kChannels % kInputs, b = k / kChannels / kInputs;
      const bool inside = c0 + kc < d.C && i0 + row < d.I && b0 + b < d.B;
      x_tile[b][row][kc] = inside ? x[(static_cast<long>(b0 + b) * d.I + i0 + row) * d.C + c0 + kc] : 0.0f;
    }
    __syncthreads();
    for (int b = 0; b < kFrames; ++b) {
      const float in = x_tile[b][lane][own];
      for (int o = 0; o < kOutputs; ++o) {
        sum[o] += g_tile[b][o][own] * in;
        bias[o] += g_tile[b][o][own];
      }
    }
    __syncthreads();
  }
  if (c >= d.C) return;
  for (int o = 0; o < kOutputs && o0 + o < d.O; ++o) {
    if (i < d.I) dw[(static_cast<long>(c) * d.O + o0 + o) * d.I + i] += sum[o];
    if (i == 0) dbias[static_cast<long>(c) * d.O + o0 + o] += bias[o];
  }
}

}  // namespace

std::size_t local_dense_scratch(const Context&, LocalDenseDims d) {
  return sizeof(float) * static_cast<std::size_t>(d.B) * d.O * d.C;
}

void local_dense_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                         LocalDenseDims d) {
  with_activation(d.activation, [&]<Activation A>() {
    launch(context, forward_kernel<A>, dim3(blocks_for(d.C, kChannels), blocks_for(d.B, kFrames)), kChannels * kLanes,
           sizeof(float) * kRow * static_cast<std::size_t>(d.I), y, x, w, bias, d);
  });
}

void local_dense_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                          const float* x, const float* w, void* scratch, LocalDenseDims d) {
  float* g = static_cast<float*>(scratch);  // (B,O,C), before the activation
  with_activation(d.activation, [&]<Activation A>() {
    for_each(context, static_cast<long>(d.B) * d.O * d.C, ActivationBackward<A>{g, dy, y});
  });
  launch(context, data_kernel, dim3(blocks_for(d.C, kChannels), blocks_for(d.B, kFrames)), kChannels * kLanes,
         sizeof(float) * kRow * static_cast<std::size_t>(d.O), dx, g, w, d);
  launch(context, weights_kernel, dim3(blocks_for(d.C, kChannels), blocks_for(d.O, kOutputs), blocks_for(d.I, kInputs)),
         kChannels * kLanes, 0, dw, dbias, g, x, d);
}

}  // namespace cafx::cuda
