// kernels/deconv1d/deconv1d_mae_cuda.h -- the mean absolute error of a frame and its gradient, by the block of threads
// that has its outputs.
//
//   Shapes   as DeconvMae of deconv1d.h.   Sums of a frame are added up in the order of lanes, then warps: same bits.
#pragma once

#include "kernels/conv1d/conv1d.h"
#include "kernels/deconv1d/deconv1d.h"
#include "kernels/device/each_cuda.h"

namespace cafx::cuda {

// Shared memory of a block of kWarps warps.
template <int kWarps>
struct FrameSums {
  double errors[kWarps];
  float dy[kWarps];
};

// Frame b's error: each thread adds some of the padded row's outputs, then all of the block come to `finish`.
struct FrameError {
  const Members& members;
  const DeconvMae& mae;
  FrameRef ref;
  float* dy;
  const int b, T, pad;
  double error_sum = 0.0;
  float dy_sum = 0.0f;

  __device__ FrameError(const Members& of, const DeconvMae& to, int frame, int pad_, Conv1dDims d)
      : members(of), mae(to), ref{}, b(frame), T(d.T), pad(pad_) {
    if (mae.frames.refs) ref = members.of(mae.frames.refs)[b];
    dy = members.of(mae.dy_padded) + static_cast<long>(b) * (d.T + d.K - 1);
  }
  // At j of the padded row; 0 beyond the frame's ends.
  __device__ float target(int j) const {
    const int t = j - pad;
    if (t < 0 || t >= T) return 0.0f;
    if (!mae.frames.refs) return __ldg(members.of(mae.target) + b * mae.target_stride + t);
    const std::int64_t at = ref.start + t;
    return at >= ref.begin && at < ref.end ? __ldg(mae.frames.audio + at) : 0.0f;
  }
  // The output at j: the frame's, or beyond its ends.
  __device__ void add(int j, float output, float wanted) {
    float g = 0.0f;
    if (j >= pad && j < pad + T) {
      const float error = output - wanted;
      error_sum += fabs(static_cast<double>(error));
      g = error > 0.0f ? mae.scale : error < 0.0f ? -mae.scale : error == 0.0f ? 0.0f : error;  // NaN stays
    }
    dy[j] = g;
    dy_sum += g;
  }
  template <int kWarps>
  __device__ void finish(FrameSums<kWarps>& sums) {
#pragma unroll
    for (int by = 16; by > 0; by /= 2) {
      error_sum += __shfl_xor_sync(0xffffffffu, error_sum, by);
      dy_sum += __shfl_xor_sync(0xffffffffu, dy_sum, by);
    }
    if (threadIdx.x % 32 == 0) sums.errors[threadIdx.x / 32] = error_sum, sums.dy[threadIdx.x / 32] = dy_sum;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    error_sum = threadIdx.x < kWarps ? sums.errors[threadIdx.x] : 0.0;
    dy_sum = threadIdx.x < kWarps ? sums.dy[threadIdx.x] : 0.0f;
#pragma unroll
    for (int by = kWarps / 2; by > 0; by /= 2) {
      error_sum += __shfl_xor_sync(0xffffffffu, error_sum, by);
      dy_sum += __shfl_xor_sync(0xffffffffu, dy_sum, by);
    }
    if (threadIdx.x != 0) return;
    members.of(mae.losses)[b] = error_sum;
    if (mae.dy_sums) members.of(mae.dy_sums)[b] = dy_sum;
  }
};

}  // namespace cafx::cuda
