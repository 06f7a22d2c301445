// kernels/loss/loss_stft_cuda.h -- the multi-resolution STFT term on a GPU, with its gradient. For
// loss_cuda.cu only.
//
//   A block transforms two frames of one place as one complex signal in shared memory: one transform gives both
//   spectra. y and target take the same steps: equal signals have equal spectra. The frames' gradients are added up
//   sample by sample, in the order of the frames. An own transform: a library's plans hold memory and choose kernels of
//   their own, and only three sizes are needed.
#pragma once

#include "kernels/device/cuda.h"
#include "kernels/loss/loss_math.h"

namespace cafx::cuda {

namespace {

// Adds up `value` of all threads of a block by a fixed tree; thread 0 gets the sum.
__device__ double block_sum(double value, double* shared) {
  __syncthreads();
  shared[threadIdx.x] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) shared[threadIdx.x] = value += shared[threadIdx.x + half];
  }
  return value;
}

struct StftView {
  StftResolution r;
  int T, frames, bins, pairs;
  float a;  // pre-emphasis
  StftView(StftResolution r, int T, float a)
      : r(r), T(T), frames(stft_frames(T, r.hop)), bins(r.n_fft / 2 + 1), pairs((frames + 1) / 2), a(a) {}
};
struct StftGradientFactors {
  float difference, log, linear;  // of S - R, sign(S - R) / S, sign(S - R)
};

// Rounded in one way wherever it is computed.
__device__ float power(float re, float im) { return __fmaf_rn(re, re, __fmul_rn(im, im)); }
__device__ float floored(float p) { return p < kStftFloor ? kStftFloor : p; }  // NaN stays NaN
__device__ float window_of(const StftResolution& r, int i) { return 0.5f - 0.5f * cospif(2.0f * i / r.window); }

struct Complexes {
  float *re, *im, *re_to, *im_to;
  __device__ void swap() {
    float *r = re, *i = im;
    re = re_to, im = im_to;
    re_to = r, im_to = i;
  }
};

// sum_n x[n] exp(-2 pi i k n / N) of what lies in re, im; as the CPU's Transform, by all threads of a block, which have
// passed a barrier after they wrote it. The result is behind a barrier too.
__device__ void transform(Complexes& v, int N) {
  int n = N, s = 1;
  for (; n >= 4; n /= 4, s *= 4) {
    const int quarter = N / 4;  // apart in memory, at every step
    for (int i = threadIdx.x; i < quarter; i += kThreads) {
      const int p = i / s, q = i % s, to = q + 4 * s * p;
      const float ar = v.re[i], br = v.re[i + quarter], cr = v.re[i + 2 * quarter], dr = v.re[i + 3 * quarter];
      const float ai = v.im[i], bi = v.im[i + quarter], ci = v.im[i + 2 * quarter], di = v.im[i + 3 * quarter];
      const float sum_r = ar + cr, sum_i = ai + ci, dif_r = ar - cr, dif_i = ai - ci;
      const float odd_r = br + dr, odd_i = bi + di, turned_r = di - bi, turned_i = br - dr;
      float sine, cosine;
      const auto put = [&](int k, float x, float y) {
        sincospif(-2.0f * static_cast<float>(k * p) / static_cast<float>(n), &sine, &cosine);
        v.re_to[to + k * s] = x * cosine - y * sine;
        v.im_to[to + k * s] = x * sine + y * cosine;
      };
      put(0, sum_r + odd_r, sum_i + odd_i);
      put(1, dif_r - turned_r, dif_i - turned_i);
      put(2, sum_r - odd_r, sum_i - odd_i);
      put(3, dif_r + turned_r, dif_i + turned_i);
    }
    __syncthreads();
    v.swap();
  }
  if (n == 2) {
    for (int q = threadIdx.x; q < s; q += kThreads) {
      v.re_to[q] = v.re[q] + v.re[q + s];
      v.im_to[q] = v.im[q] + v.im[q + s];
      v.re_to[q + s] = v.re[q] - v.re[q + s];
      v.im_to[q + s] = v.im[q] - v.im[q + s];
    }
    __syncthreads();
    v.swap();
  }
}

// Spectra (B,frames,bins) of y where block_z is 0, else magnitudes of the target.
__global__ void spectra_kernel(DeepMembers members, float2* spectra, float* magnitudes, const float* y,
                               const float* target, long target_stride, StftView s) {
  members.enter(spectra, magnitudes, y, target);
  extern __shared__ float shared[];
  const int N = s.r.n_fft;
  Complexes v{shared, shared + N, shared + 2 * N, shared + 3 * N};
  const long b = blockIdx.y;
  const bool of_y = members.block_z() == 0;
  const float* x = of_y ? y + b * s.T : target + b * target_stride;
  const int first = 2 * static_cast<int>(blockIdx.x), left = (N - s.r.window) / 2;
  const auto sample = [&](int frame, int n) {
    const int i = n - left;
    if (i < 0 || i >= s.r.window || frame >= s.frames) return 0.0f;
    const int at = reflected(frame * s.r.hop + n - N / 2, s.T);
    return window_of(s.r, i) * (s.a == 0.0f || at == 0 ? x[at] : x[at] - s.a * x[at - 1]);
  };
  for (int n = threadIdx.x; n < N; n += kThreads) {
    v.re[n] = sample(first, n);
    v.im[n] = sample(first + 1, n);
  }
  __syncthreads();
  transform(v, N);
  for (int k = threadIdx.x; k < s.bins; k += kThreads) {
    const int m = (N - k) % N;
    const float2 both[] = {{0.5f * (v.re[k] + v.re[m]), 0.5f * (v.im[k] - v.im[m])},
                           {0.5f * (v.im[k] + v.im[m]), 0.5f * (v.re[m] - v.re[k])}};
    for (int half = 0; half < 2 && first + half < s.frames; ++half) {
      const long at = (b * s.frames + first + half) * s.bins + k;
      const float2 z = both[half];
      if (of_y) {
        spectra[at] = z;
      } else {
        magnitudes[at] = sqrtf(floored(power(z.x, z.y)));
      }
    }
  }
}

__device__ inline void take_own(LossWeights& w) {
  if (!w.own) return;
  w.mae = w.own[0];
  w.mse = w.own[1];
  w.esr = w.own[2];
  w.dc = w.own[3];
  w.log_cosh = w.own[4];
  w.mr_stft = w.own[5];
}

// A block for each place: adds `weight` times the term to losses[b] and finds the gradient's factors.
__global__ void terms_kernel(Members members, double* losses, StftGradientFactors* factors, const float2* spectra,
                             const float* magnitudes, double to, float scale, LossWeights w, StftView s) {
  members.enter(losses, factors, spectra, magnitudes);
  members.enter_given(w.own);
  take_own(w);
  __shared__ double shared[kThreads];
  const long b = blockIdx.x, n = static_cast<long>(s.frames) * s.bins;
  double difference = 0.0, energy = 0.0, log = 0.0, linear = 0.0;
  for (long i = threadIdx.x; i < n; i += kThreads) {
    const float2 z = spectra[b * n + i];
    const float r = magnitudes[b * n + i], magnitude = sqrtf(floored(power(z.x, z.y))), d = r - magnitude;
    difference += static_cast<double>(d) * static_cast<double>(d);
    energy += static_cast<double>(r) * static_cast<double>(r);
    linear += fabs(static_cast<double>(d));
    if (w.stft_log != 0.0f) log += fabs(static_cast<double>(logf(r / magnitude)));
  }
  const double distance = sqrt(block_sum(difference, shared)), of_target = sqrt(block_sum(energy, shared));
  const double logs = block_sum(log, shared), linears = block_sum(linear, shared);
  if (threadIdx.x != 0) return;
  const double wc = static_cast<double>(w.stft_convergence), wlog = static_cast<double>(w.stft_log),
               wlin = static_cast<double>(w.stft_linear), count = static_cast<double>(n);
  losses[b] +=
      static_cast<double>(w.mr_stft) * to * (wc * distance / of_target + (wlog * logs + wlin * linears) / count);
  const double slope = to * static_cast<double>(w.mr_stft) * static_cast<double>(scale);
  factors[b] = {static_cast<float>(distance > 0.0 ? slope * wc / (distance * of_target) : 0.0),
                static_cast<float>(slope * wlog / count), static_cast<float>(slope * wlin / count)};
}

// windowed (B,frames,window): the gradient of each frame's samples.
__global__ void frames_kernel(Members members, float* windowed, const float2* spectra, const float* magnitudes,
                              const StftGradientFactors* factors, StftView s) {
  members.enter(windowed, spectra, magnitudes, factors);
  extern __shared__ float shared[];
  const int N = s.r.n_fft, first = 2 * static_cast<int>(blockIdx.x), left = (N - s.r.window) / 2;
  const long b = blockIdx.y;
  const StftGradientFactors f = factors[b];
  // Real and imaginary parts exchanged: the sum with exp(+2 pi i k n / N).
  Complexes v{shared + N, shared, shared + 3 * N, shared + 2 * N};
  float *re = shared, *im = shared + N;
  for (int k = threadIdx.x; k < s.bins; k += kThreads) {
    float2 g[2] = {};
    const float share = k == 0 || 2 * k == N ? 1.0f : 0.5f;  // a bin inside stands for its mirror image too
    for (int half = 0; half < 2 && first + half < s.frames; ++half) {
      const long at = (b * s.frames + first + half) * s.bins + k;
      const float2 z = spectra[at];
      const float p = power(z.x, z.y), magnitude = sqrtf(floored(p)), d = magnitude - magnitudes[at];
      const float sign = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : 0.0f * d;
      const float slope = f.difference * d + sign * (f.log / magnitude + f.linear);
      const float factor = p < kStftFloor ? 0.0f : share * slope / magnitude;
      g[half] = {factor * z.x, factor * z.y};
    }
    const int m = (N - k) % N;
    if (m != k) {
      re[m] = g[0].x + g[1].y;
      im[m] = g[1].x - g[0].y;
    }
    re[k] = g[0].x - g[1].y;
    im[k] = g[1].x + g[0].y;
  }
  __syncthreads();
  transform(v, N);
  for (int i = threadIdx.x; i < s.r.window; i += kThreads) {
    const float w = window_of(s.r, i);
    float* out = windowed + (b * s.frames + first) * s.r.window + i;
    out[0] = w * v.im[left + i];
    if (first + 1 < s.frames) out[s.r.window] = w * v.re[left + i];
  }
}

// ds (B,T): of each sample, all frames that hold it or its reflection. Adds to what is there, or not.
__global__ void overlap_add_kernel(Members members, float* ds, const float* windowed, bool add, StftView s) {
  members.enter(ds, windowed);
  const int t = static_cast<int>(blockIdx.x * kThreads + threadIdx.x), left = (s.r.n_fft - s.r.window) / 2;
  const long b = blockIdx.y;
  if (t >= s.T) return;
  float sum = add ? ds[b * s.T + t] : 0.0f;
  const int places[] = {t, -t, 2 * (s.T - 1) - t};
  for (int which = 0; which < 3; ++which) {
    if (which > 0 && places[which] == t) continue;        // its own reflection is itself
    const int at = places[which] + s.r.n_fft / 2 - left;  // behind the start of frame 0's window
    const int last = min(at / s.r.hop, s.frames - 1), from = at - s.r.window + 1;
    for (int frame = from > 0 ? (from + s.r.hop - 1) / s.r.hop : 0; at >= 0 && frame <= last; ++frame) {
      sum += windowed[(b * s.frames + frame) * s.r.window + at - frame * s.r.hop];
    }
  }
  ds[b * s.T + t] = sum;
}

std::size_t multiple_of_16(std::size_t floats) { return (floats + 15) / 16 * 16; }

// Factors, spectra, magnitudes and windowed frames of the resolution that needs most.
std::size_t stft_floats(LossDims d) {
  std::size_t most = 0;
  for (const StftResolution& r : kStftResolutions) {
    const auto frames = static_cast<std::size_t>(d.B) * static_cast<std::size_t>(stft_frames(d.T, r.hop));
    const std::size_t bins = frames * static_cast<std::size_t>(r.n_fft / 2 + 1);
    most = std::max(most, multiple_of_16(2 * bins) + multiple_of_16(bins) +
                              multiple_of_16(frames * static_cast<std::size_t>(r.window)));
  }
  return multiple_of_16(3 * static_cast<std::size_t>(d.B)) + most;
}

void add_stft(const Context& context, double* losses, float* ds, const float* y, const float* target, float scale,
              const LossWeights& w, float* scratch, LossDims d) {
  int fitting = 0;
  for (const StftResolution& r : kStftResolutions) fitting += stft_fits(d.T, r.n_fft) ? 1 : 0;
  auto* factors = reinterpret_cast<StftGradientFactors*>(scratch);
  float* rest = scratch + multiple_of_16(3 * static_cast<std::size_t>(d.B));
  bool add = false;
  for (const StftResolution& r : kStftResolutions) {
    if (!stft_fits(d.T, r.n_fft)) continue;
    const StftView s(r, d.T, w.pre_emphasis);
    const std::size_t bins =
        static_cast<std::size_t>(d.B) * static_cast<std::size_t>(s.frames) * static_cast<std::size_t>(s.bins);
    auto* spectra = reinterpret_cast<float2*>(rest);
    float *magnitudes = rest + multiple_of_16(2 * bins), *windowed = magnitudes + multiple_of_16(bins);
    const auto pairs = static_cast<unsigned>(s.pairs), B = static_cast<unsigned>(d.B);
    const std::size_t shared = sizeof(float) * 4 * static_cast<std::size_t>(r.n_fft);
    launch(context, spectra_kernel, dim3(pairs, B, 2), kThreads, shared, spectra, magnitudes, y, target,
           d.target_stride, s);
    launch(context, terms_kernel, B, kThreads, 0, losses, factors, spectra, magnitudes,
           static_cast<double>(d.T) / fitting, scale, w, s);
    if (!ds) continue;
    launch(context, frames_kernel, dim3(pairs, B), kThreads, shared, windowed, spectra, magnitudes, factors, s);
    launch(context, overlap_add_kernel, dim3(blocks_for(d.T), B), kThreads, 0, ds, windowed, add, s);
    add = true;
  }
}

}  // namespace
}  // namespace cafx::cuda
