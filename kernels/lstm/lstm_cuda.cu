#include "kernels/device/dots_cuda.h"
#include "kernels/lstm/lstm.h"

namespace cafx::cuda {

namespace {

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ float bend(float x, bool linear) { return linear ? x : tanhf(x); }

// Rows of h and c: the state before sample t in the direction of time, and its own.
__host__ __device__ long row_before(LstmDims d, long t) { return d.reversed ? t + 1 : t; }
__device__ long row_now(LstmDims d, long t) { return d.reversed ? t : t + 1; }

__global__ void transpose_kernel(Members members, float* y, const float* x, int rows, int columns) {
  members.enter(y, x);
  const long n = static_cast<long>(rows) * columns;
  for (long i = static_cast<long>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<long>(gridDim.x) * kThreads) {
    y[i] = x[i % rows * columns + i / rows];
  }
}

// out[row,n] = bias[n] + sum_k in[row,k] m[k,n]: a thread has one column and kRows rows. Each number is one sum in the
// order of k, however many rows there are.
constexpr int kRows = 8, kDepth = 64;
__global__ void rows_kernel(Members members, float* out, const float* in, const float* m, const float* bias, long rows,
                            int K, int N, int m_stride) {
  members.enter(out, in, m);
  members.enter_given(bias);
  __shared__ float part[kRows][kDepth];
  const long row0 = static_cast<long>(blockIdx.x) * kRows;
  const int n = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  float sums[kRows];
  for (int r = 0; r < kRows; ++r) sums[r] = bias && n < N ? bias[n] : 0.0f;
  for (int k0 = 0; k0 < K; k0 += kDepth) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kDepth; i += static_cast<int>(blockDim.x)) {
      const int r = i / kDepth, k = k0 + i % kDepth;
      part[r][i % kDepth] = row0 + r < rows && k < K ? in[(row0 + r) * K + k] : 0.0f;
    }
    __syncthreads();
    const int depth = min(kDepth, K - k0);
    for (int k = 0; n < N && k < depth; ++k) {
      const float v = m[static_cast<long>(k0 + k) * m_stride + n];
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r] += part[r][k] * v;
    }
  }
  for (int r = 0; n < N && r < kRows; ++r) {
    if (row0 + r < rows) out[(row0 + r) * N + n] = sums[r];
  }
}

void multiply_rows(const Context& context, float* out, const float* in, const float* m, const float* bias, long rows,
                   int K, int N, int m_stride) {
  const int threads = std::min(kThreads, static_cast<int>(ceil_div(N, 32)) * 32);
  launch(context, rows_kernel, dim3(static_cast<unsigned>(ceil_div(rows, kRows)), blocks_for(N, threads)),
         static_cast<unsigned>(threads), 0, out, in, m, bias, rows, K, N, m_stride);
}

// Sums of a gate over H numbers: from the first kHeld weights of its thread, which stay in registers for the whole
// block of samples, or, kHeld = 0, from memory at every sample.
template <int kHeld, class Weight>
__device__ void hold(float (&held)[kHeld > 0 ? kHeld : 1], bool there, int H, Weight weight) {
#pragma unroll
  for (int k = 0; k < kHeld; ++k) held[k] = there && k < H ? weight(k) : 0.0f;
}
template <int kHeld, class Weight>
__device__ float product(const float (&held)[kHeld > 0 ? kHeld : 1], const float* values, int H, Weight weight) {
  float sums[4] = {};
  if constexpr (kHeld > 0) {
#pragma unroll
    for (int k = 0; k < kHeld; ++k) sums[k % 4] += held[k] * values[k];
  } else {
    for (int k = 0; k < H; ++k) sums[k % 4] += weight(k) * values[k];
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// A block goes through all samples of one stream. z (T,B,4H) holds bias + w x; with `keep` the gates replace it.
template <int kHeld>
__global__ void __launch_bounds__(kHeld > 0 ? 256 : 1024)
    forward_kernel(Members members, float* h, float* c, float* z, const float* w_t, LstmDims d, bool keep) {
  members.enter(h, c, z, w_t);
  extern __shared__ float shared[];
  const int H = d.H, G = 4 * H, padded = kHeld > 0 ? kHeld : H, tid = static_cast<int>(threadIdx.x);
  float *now = shared, *cells = now + padded, *gates = cells + H;
  const long b = blockIdx.x, BH = static_cast<long>(d.B) * H, BG = static_cast<long>(d.B) * G;
  const float* w_h = w_t + static_cast<long>(d.I) * G;  // (H,4H)
  const long state = (d.reversed ? d.T * BH : 0) + b * H;
  for (int j = tid; j < padded; j += static_cast<int>(blockDim.x)) now[j] = j < H ? h[state + j] : 0.0f;
  for (int j = tid; j < H; j += static_cast<int>(blockDim.x)) cells[j] = c[state + j];
  float held[kHeld > 0 ? kHeld : 1];
  hold<kHeld>(held, tid < G, H, [&](int k) { return w_h[static_cast<long>(k) * G + tid]; });
  __syncthreads();
  for (int step = 0; step < d.T; ++step) {
    const int t = d.reversed ? d.T - 1 - step : step;
    float* z_t = z + t * BG + b * G;
    for (int r = tid; r < G; r += static_cast<int>(blockDim.x)) {
      const float sum = z_t[r] + product<kHeld>(held, now, H, [&](int k) { return w_h[static_cast<long>(k) * G + r]; });
      const float gate = r / H == 2 ? bend(sum, d.linear) : sigmoid(sum);
      gates[r] = gate;
      if (keep) z_t[r] = gate;
    }
    __syncthreads();
    for (int j = tid; j < H; j += static_cast<int>(blockDim.x)) {
      const float cell = gates[H + j] * cells[j] + gates[j] * gates[2 * H + j];
      const float out = gates[3 * H + j] * bend(cell, d.linear);
      const long at = row_now(d, t) * BH + b * H + j;
      cells[j] = cell;
      now[j] = out;
      c[at] = cell;
      h[at] = out;
    }
    __syncthreads();
  }
}

// The same backwards: dz (T,B,4H). Each quarter of the threads sums one gate's part of the gradient
// that reaches h from the next sample.
template <int kHeld>
__global__ void __launch_bounds__(kHeld > 0 ? 256 : 1024)
    backward_kernel(Members members, float* dz, const float* dh, const float* c, const float* gates, const float* w,
                    LstmDims d) {
  members.enter(dz, dh, c, gates, w);
  extern __shared__ float shared[];
  const int H = d.H, G = 4 * H, in = d.I + H, padded = kHeld > 0 ? kHeld : H, tid = static_cast<int>(threadIdx.x);
  float *of_z = shared, *later = of_z + 4 * padded, *dc = later + G;  // gates padded apart; (4,H); (H)
  const long b = blockIdx.x, BH = static_cast<long>(d.B) * H, BG = static_cast<long>(d.B) * G;
  for (int i = tid; i < 4 * padded; i += static_cast<int>(blockDim.x)) of_z[i] = 0.0f;
  for (int i = tid; i < G; i += static_cast<int>(blockDim.x)) later[i] = 0.0f;
  for (int j = tid; j < H; j += static_cast<int>(blockDim.x)) dc[j] = 0.0f;
  const auto weight_of = [&](int i) {
    const float* rows = w + static_cast<long>(i / H) * H * in + d.I + i % H;  // the quarter's rows, column i % H of h
    return [=](int k) { return rows[static_cast<long>(k) * in]; };
  };
  float held[kHeld > 0 ? kHeld : 1];
  hold<kHeld>(held, tid < G, H, weight_of(tid));
  __syncthreads();
  for (int step = 0; step < d.T; ++step) {
    const int t = d.reversed ? step : d.T - 1 - step;
    const float* a = gates + t * BG + b * G;
    float* out = dz + t * BG + b * G;
    for (int j = tid; j < H; j += static_cast<int>(blockDim.x)) {
      const float i = a[j], f = a[H + j], g = a[2 * H + j], o = a[3 * H + j];
      const float bent_c = bend(c[row_now(d, t) * BH + b * H + j], d.linear);
      const float of_bend = d.linear ? 1.0f : 1.0f - bent_c * bent_c, of_g = d.linear ? 1.0f : 1.0f - g * g;
      const float dh_now = dh[t * BH + b * H + j] + ((later[j] + later[H + j]) + (later[2 * H + j] + later[3 * H + j]));
      const float dc_now = dc[j] + dh_now * o * of_bend, c_before = c[row_before(d, t) * BH + b * H + j];
      const float parts[4] = {dc_now * g * i * (1.0f - i), dc_now * c_before * f * (1.0f - f), dc_now * i * of_g,
                              dh_now * bent_c * o * (1.0f - o)};
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        of_z[q * padded + j] = parts[q];
        out[q * H + j] = parts[q];
      }
      dc[j] = dc_now * f;
    }
    __syncthreads();
    for (int i = tid; i < G; i += static_cast<int>(blockDim.x)) {
      later[i] = product<kHeld>(held, of_z + i / H * padded, H, weight_of(i));
    }
    __syncthreads();
  }
}

// launch_held(4) calls with the number of weights that a thread holds, for H of them.
template <class F>
void with_held(int H, F f) {
  if (H <= 16) return f.template operator()<16>();
  if (H <= 32) return f.template operator()<32>();
  if (H <= 64) return f.template operator()<64>();
  f.template operator()<0>();
}
unsigned threads_of(int H) { return static_cast<unsigned>(std::min<long>(1024, ceil_div(4L * H, 32) * 32)); }
int padded_of(int H) { return H <= 16 ? 16 : H <= 32 ? 32 : H <= 64 ? 64 : H; }

DotsDims of_weights(LstmDims d) { return {1, d.T * d.B, 4 * d.H, d.I + d.H + 1, false}; }  // w, bias
std::size_t size(int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); }

}  // namespace

// w transposed (I+H,4H); z (T,B,4H), for a caller that keeps no gates.
std::size_t lstm_forward_scratch(const Context&, LstmDims d) {
  return sizeof(float) * (size(d.I + d.H, 4 * d.H) + size(d.T, d.B) * static_cast<std::size_t>(4 * d.H));
}

void lstm_forward(const Context& context, float* h, float* c, float* gates, const float* x, const float* w,
                  const float* bias, void* scratch, LstmDims d) {
  const int G = 4 * d.H, in = d.I + d.H;
  float *w_t = static_cast<float*>(scratch), *z = gates ? gates : w_t + static_cast<long>(in) * G;
  launch(context, transpose_kernel, std::min(1024u, blocks_for(static_cast<long>(in) * G)), kThreads, 0, w_t, w, G, in);
  multiply_rows(context, z, x, w_t, bias, static_cast<long>(d.T) * d.B, d.I, G, G);
  with_held(d.H, [&]<int kHeld>() {
    launch(context, forward_kernel<kHeld>, static_cast<unsigned>(d.B), threads_of(d.H),
           sizeof(float) * static_cast<std::size_t>(padded_of(d.H) + 5 * d.H), h, c, z, w_t, d, gates != nullptr);
  });
}

// dz (T,B,4H), and the slices of the weights' sums.
std::size_t lstm_backward_scratch(const Context&, LstmDims d) {
  return sizeof(float) * (size(d.T, d.B) * static_cast<std::size_t>(4 * d.H) + dots_scratch(of_weights(d)));
}

void lstm_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dh, const float* x,
                   const float* h, const float* c, const float* gates, const float* w, void* scratch, LstmDims d) {
  const int I = d.I, H = d.H, G = 4 * H, in = I + H;
  const long rows = static_cast<long>(d.T) * d.B;
  float *dz = static_cast<float*>(scratch), *partial = dz + rows * G;
  const float* h_before = h + row_before(d, 0) * d.B * H;
  with_held(H, [&]<int kHeld>() {
    launch(context, backward_kernel<kHeld>, static_cast<unsigned>(d.B), threads_of(H),
           sizeof(float) * static_cast<std::size_t>(4 * padded_of(H) + 5 * H), dz, dh, c, gates, w, d);
  });
  if (dx) multiply_rows(context, dx, dz, w, nullptr, rows, G, I, in);
  dots(
      context, partial, of_weights(d),
      [=] __device__(Members members) mutable {
        members.enter(dz);
        return [=](int, int r, int row) { return dz[static_cast<long>(row) * G + r]; };
      },
      [=] __device__(Members members) mutable {
        members.enter(x, h_before);
        return [=](int, int k, int row) {
          if (k == in) return 1.0f;
          return k < I ? x[static_cast<long>(row) * I + k] : h_before[static_cast<long>(row) * H + k - I];
        };
      },
      [=] __device__(Members members) mutable {
        members.enter(dw, dbias);
        return [=](int r, int k, float sum) { (k < in ? dw[static_cast<long>(r) * in + k] : dbias[r]) += sum; };
      });
}

}  // namespace cafx::cuda
