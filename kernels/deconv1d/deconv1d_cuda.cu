#include "kernels/conv1d/conv1d_cuda.h"
#include "kernels/deconv1d/deconv1d.h"
#include "kernels/deconv1d/deconv1d_mae_cuda.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"

namespace cafx::cuda {

namespace {

// *total += sum over i of value(i), by one block in a fixed tree.
constexpr int kFewThreads = 1024;
template <class F>
__global__ void sum_few_kernel(Members members, float* total, long n, F value) {
  members.enter(total);
  const auto of = value(members);
  __shared__ float sums[kFewThreads];
  float sum = 0.0f;
#pragma unroll 16
  for (long i = threadIdx.x; i < n; i += kFewThreads) sum += of(i);
  sums[threadIdx.x] = sum;
  for (int half = kFewThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *total += sums[0];
}

// A frame to a block: its outputs are sums of rows, each of what kSamples samples add to kRow neighbours. A thread has
// some of them at a time, whose targets it loads first.
constexpr int kRowThreads = 512, kAtOnce = 3;
template <int kSamples, int kRow>
__global__ void __launch_bounds__(kRowThreads)
    rows_mae_kernel(Members members, const __grid_constant__ DeconvMae mae, const float* rows, const float* bias,
                    int pad, Conv1dDims d) {
  members.enter(rows, bias);
  let_next_kernel_begin();
  __shared__ FrameSums<kRowThreads / 32> sums_of_frame;
  const float shift = *bias;
  FrameError error(members, mae, static_cast<int>(blockIdx.x), pad, d);
  const int n = (d.T + kSamples - 1) / kSamples, width = d.T + d.K - 1;
  const float* own = rows + static_cast<long>(blockIdx.x) * n * kRow;
  float wanted[kAtOnce];
  const auto load_targets = [&](int j) {
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) wanted[k] = error.target(j + k * kRowThreads);
  };
  load_targets(threadIdx.x);
  wait_for_kernel_before();
#pragma unroll 1
  for (int first = threadIdx.x; first < width;) {
    float sums[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int j = first + k * kRowThreads, last = j / kSamples;
      sums[k] = 0.0f;
#pragma unroll
      for (int row = last; row > last - (kRow + kSamples - 1) / kSamples; --row) {
        const int at = j - row * kSamples;
        if (row >= 0 && row < n && at < kRow) sums[k] += own[row * kRow + at];
      }
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int j = first + k * kRowThreads;
      if (j < width) error.add(j, shift + sums[k], wanted[k]);
    }
    first += kAtOnce * kRowThreads;
    if (first < width) load_targets(first);
  }
  error.finish(sums_of_frame);
}

}  // namespace

// Both forms are the adjoint of a convolution over (B,T+K-1), of which [left, left + T) is kept; `correlate` uses the
// filters reversed.
static bool flipped(Deconv1dDims d) { return d.form == Deconv::kCorrelate; }
static Conv1dDims conv(Deconv1dDims d) { return {d.B, d.T, d.C, d.K}; }

std::size_t deconv1d_scratch(const Context&, Deconv1dDims d) {
  const std::size_t padded = static_cast<std::size_t>(d.B) * (d.T + d.K - 1);
  const std::size_t rows = static_cast<std::size_t>(d.B) * static_cast<std::size_t>(ceil_div(d.T, kConvRowSamples));
  return sizeof(float) * std::max<std::size_t>({padded, rows * kConvRow, kSumBlocks});
}

void deconv1d_forward(const Context& context, float* y, const Stored* u, const float* w, const float* bias,
                      void* scratch, Deconv1dDims d) {
  if (deconv_whole(context, y, {}, u, w, bias, flipped(d), deconv1d_pad(d), conv(d))) return;
  float* padded = static_cast<float*>(scratch);  // (B,T+K-1)
  conv_backward_data(context, padded, u, w, flipped(d), conv(d));
  const long T = d.T, width = d.T + d.K - 1, pad = deconv1d_pad(d);
  for_each(context, d.B * T, [=] __device__(Members members) mutable {
    members.enter(y, bias, padded);
    return [=](long i) {
      const long b = i / T;
      y[i] = *bias + padded[b * width + pad + (i - b * T)];
    };
  });
}

bool deconv1d_has_mae(const Context& context, Deconv1dDims d) {
  return convolutions_round(context, conv(d)) || conv_has_rows(context, conv(d));
}

bool deconv1d_mae(const Context& context, const DeconvMae& mae, const Stored* u, const float* w, const float* bias,
                  void* scratch, Deconv1dDims d) {
  if (deconv_whole(context, nullptr, mae, u, w, bias, flipped(d), deconv1d_pad(d), conv(d))) return true;
  float* rows = static_cast<float*>(scratch);
  if (!conv_backward_rows(context, rows, u, w, flipped(d), conv(d))) return false;
  launch_early(context, rows_mae_kernel<kConvRowSamples, kConvRow>, static_cast<unsigned>(d.B), kRowThreads, 0, mae,
               rows, bias, deconv1d_pad(d), conv(d));
  return true;
}

void deconv1d_mae_of_rows(const Context& context, const DeconvMae& mae, const float* rows, const float* bias,
                          Deconv1dDims d) {
  launch_early(context, rows_mae_kernel<kDeconvRowSamples, kDeconvRow>, static_cast<unsigned>(d.B), kRowThreads, 0, mae,
               rows, bias, deconv1d_pad(d), conv(d));
}

void deconv1d_backward(const Context& context, Stored* du, float* dw, float* dbias, const float* dy_padded,
                       const Stored* u, const float* w, void* scratch, Deconv1dDims d) {
  if (du) conv_forward(context, du, dy_padded, w, nullptr, flipped(d), conv(d));
  conv_backward_filter(context, dw, u, dy_padded, flipped(d), conv(d));
  if (!dbias) return;
  const long n = static_cast<long>(d.B) * (d.T + d.K - 1);
  const auto value = [=] __device__(Members members) {
    return [=](long i) {
      return members.of(dy_padded)[i];  // zeros around the frames do not count
    };
  };
  if (n <= 64 * kFewThreads) {
    aside(context, [&] { launch(context, sum_few_kernel<decltype(value)>, 1, kFewThreads, 0, dbias, n, value); });
  } else {
    add_sum(context, dbias, static_cast<float*>(scratch), n, value);
  }
}

}  // namespace cafx::cuda
