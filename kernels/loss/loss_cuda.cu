#include "kernels/device/cuda.h"
#include "kernels/loss/loss_math.h"
#include "kernels/loss/loss_stft_cuda.h"

namespace cafx::cuda {

namespace {

// One block for each frame. The sum is a fixed tree over threads, each of which adds its own samples in order.
__global__ void mae_kernel(Members members, double* loss, float* dy_padded, const float* y, const float* target,
                           float scale, LossDims d) {
  members.enter(loss, dy_padded, y, target);
  __shared__ double sums[kThreads];
  const int b = blockIdx.x, width = d.T + d.K - 1;
  y += static_cast<long>(b) * d.T;
  target += b * d.target_stride;
  dy_padded += static_cast<long>(b) * width;
  double sum = 0.0;
  for (int i = threadIdx.x; i < width; i += kThreads) {
    const int t = i - d.pad;
    float g = 0.0f;
    if (t >= 0 && t < d.T) {
      const float error = y[t] - target[t];
      sum += fabs(static_cast<double>(error));
      g = error > 0.0f ? scale : error < 0.0f ? -scale : error == 0.0f ? 0.0f : error;  // NaN stays
    }
    dy_padded[i] = g;
  }
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) loss[b] = sums[0];
}

// One block for each place.
__global__ void time_sums_kernel(Members members, double* losses, LossFactors* factors, const float* y,
                                 const float* target, const float* reference, float scale, LossWeights w, LossDims d) {
  members.enter(losses, factors, y, target);
  members.enter_given(reference, w.own);
  take_own(w);
  __shared__ double shared[kThreads];
  const int b = blockIdx.x;
  y += static_cast<long>(b) * d.T;
  target += b * d.target_stride;
  LossSums s;
  for (int t = threadIdx.x; t < d.T; t += kThreads) {
    add_sample(s, w, y[t], target[t], t > 0 ? y[t - 1] : 0.0f, t > 0 ? target[t - 1] : 0.0f);
  }
  LossSums all;
  all.magnitude = block_sum(s.magnitude, shared);
  all.square = block_sum(s.square, shared);
  all.error = block_sum(s.error, shared);
  all.filtered = block_sum(s.filtered, shared);
  all.log_cosh = block_sum(s.log_cosh, shared);
  all.energy = block_sum(s.energy, shared);
  all.plain_energy = block_sum(s.plain_energy, shared);
  if (threadIdx.x != 0) return;
  factors[b] =
      loss_factors(all, w, reference ? reference + static_cast<long>(b) * kLossReferences : nullptr, d.T, scale);
  losses[b] = factors[b].loss;
}

__global__ void time_gradient_kernel(Members members, float* dy, const LossFactors* factors, const float* y,
                                     const float* target, float a, LossDims d) {
  members.enter(dy, factors, y, target);
  const int b = blockIdx.y, width = d.T + d.K - 1, i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x),
            t = i - d.pad;
  if (i >= width) return;
  y += static_cast<long>(b) * d.T;
  target += b * d.target_stride;
  const auto error = [&](int at) { return at >= 0 && at < d.T ? y[at] - target[at] : 0.0f; };
  const bool inside = t >= 0 && t < d.T;
  dy[static_cast<long>(b) * width + i] =
      inside ? sample_gradient(factors[b], a, error(t - 1), error(t), error(t + 1), t + 1 == d.T) : 0.0f;
}

// dy += what the gradient of the filtered signal says of the signal.
__global__ void unfilter_kernel(Members members, float* dy, const float* ds, float a, LossDims d) {
  members.enter(dy, ds);
  const int b = blockIdx.y, t = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (t >= d.T) return;
  const float* of_place = ds + static_cast<long>(b) * d.T;
  dy[static_cast<long>(b) * (d.T + d.K - 1) + d.pad + t] += of_place[t] - (t + 1 < d.T ? a * of_place[t + 1] : 0.0f);
}

// One block for each place.
__global__ void reference_kernel(Members members, float* reference, const float* target, const float* floors, float a,
                                 LossDims d) {
  members.enter(reference, target, floors);
  __shared__ double shared[kThreads];
  const float* t_b = target + blockIdx.x * d.target_stride;
  double filtered = 0.0, plain = 0.0, magnitude = 0.0;
  for (int t = threadIdx.x; t < d.T; t += kThreads) {
    const float p = t_b[t] - (t > 0 ? a * t_b[t - 1] : 0.0f);
    filtered += static_cast<double>(p) * static_cast<double>(p);
    plain += static_cast<double>(t_b[t]) * static_cast<double>(t_b[t]);
    magnitude += fabs(static_cast<double>(t_b[t]));
  }
  const double sums[kLossReferences] = {block_sum(filtered, shared), block_sum(plain, shared),
                                        block_sum(magnitude, shared)};
  if (threadIdx.x != 0) return;
  for (int i = 0; i < kLossReferences; ++i) {
    reference[static_cast<long>(blockIdx.x) * kLossReferences + i] =
        static_cast<float>(sums[i] / d.T + static_cast<double>(floors[i]));
  }
}

dim3 grid_of(long samples, int B) { return dim3(blocks_for(samples), static_cast<unsigned>(B)); }
// Of the factors of B places, in floats; a multiple of 64 bytes.
std::size_t factor_floats(int B) { return (static_cast<std::size_t>(B) * sizeof(LossFactors) + 63) / 64 * 16; }

}  // namespace

// Factors; what the STFT needs; its gradient for the filtered signal.
std::size_t loss_scratch(const Context&, const LossWeights& w, LossDims d) {
  std::size_t floats = factor_floats(d.B);
  if (w.mr_stft != 0.0f) floats += stft_floats(d) + static_cast<std::size_t>(d.B) * static_cast<std::size_t>(d.T);
  return sizeof(float) * floats;
}

void loss_forward_backward(const Context& context, double* losses, float* dy, const float* y, const float* target,
                           const float* reference, float scale, const LossWeights& w, void* scratch, LossDims d) {
  auto* factors = static_cast<LossFactors*>(scratch);
  launch(context, time_sums_kernel, static_cast<unsigned>(d.B), kThreads, 0, losses, factors, y, target, reference,
         scale, w, d);
  if (dy) {
    launch(context, time_gradient_kernel, grid_of(d.T + d.K - 1, d.B), kThreads, 0, dy, factors, y, target,
           w.pre_emphasis, d);
  }
  if (w.mr_stft == 0.0f) return;
  float *rest = static_cast<float*>(scratch) + factor_floats(d.B), *ds = rest + stft_floats(d);
  add_stft(context, losses, dy ? ds : nullptr, y, target, scale, w, rest, d);
  if (dy) launch(context, unfilter_kernel, grid_of(d.T, d.B), kThreads, 0, dy, ds, w.pre_emphasis, d);
}

void loss_reference(const Context& context, float* reference, const float* target, const float* floors,
                    float pre_emphasis, LossDims d) {
  launch(context, reference_kernel, static_cast<unsigned>(d.B), kThreads, 0, reference, target, floors, pre_emphasis,
         d);
}

void mae_forward_backward(const Context& context, double* loss, float* dy_padded, const float* y, const float* target,
                          float scale, LossDims d) {
  launch(context, mae_kernel, d.B, kThreads, 0, loss, dy_padded, y, target, scale, d);
}

}  // namespace cafx::cuda
