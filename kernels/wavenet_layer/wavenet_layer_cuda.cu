#include "kernels/device/dots_cuda.h"
#include "kernels/wavenet_layer/wavenet_layer.h"

namespace cafx::cuda {

namespace {

// A thread has one sample of a place and sums kOutputs channels at a time; their weights lie in shared memory, where
// all threads of a block read the same one.
constexpr int kOutputs = 8, kTile = 128;

struct Layer {
  int C, Z, K, dilation, T, H, B;
  long x_stride, y_stride, head_stride, condition_stride, past;
  explicit Layer(WavenetLayerDims d)
      : C(d.C),
        Z(n_z(d)),
        K(d.K),
        dilation(d.dilation),
        T(d.T),
        H(d.H),
        B(d.B),
        x_stride(d.x_stride),
        y_stride(d.y_stride),
        head_stride(d.head_stride),
        condition_stride(d.condition_stride),
        past(static_cast<long>(d.K - 1) * d.dilation) {}
};

// staged[n kOutputs + o] = w(o0 + o, n) for n in [0, count); 0 beyond the last channel.
template <class Weight>
__device__ void stage(float* staged, int o0, int channels, int count, Weight w) {
  for (int i = static_cast<int>(threadIdx.x); i < count * kOutputs; i += kTile) {
    const int o = o0 + i % kOutputs;
    staged[i] = o < channels ? w(o, i / kOutputs) : 0.0f;
  }
}
// sums[o] += staged[n kOutputs + o] v
__device__ void add_product(float (&sums)[kOutputs], const float* staged, int n, float v) {
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) sums[o] += staged[n * kOutputs + o] * v;
}

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Shared: weights of kOutputs channels (of two times as many, gated), then a (C, kTile), each thread's own column.
template <bool kGated>
__global__ void forward_kernel(Members members, float* y, float* head, float* saved, const float* x,
                               const float* condition, WavenetLayerTensors<const float*> p, Layer d) {
  members.enter(head, x, condition, p.w, p.bias, p.mixer, p.w1, p.bias1);
  members.enter_given(y, saved);
  extern __shared__ float shared[];
  const int CK = d.C * d.K;
  float *staged = shared, *staged_gate = shared + CK * kOutputs, *a = shared + (kGated ? 2 : 1) * CK * kOutputs;
  const int t = static_cast<int>(blockIdx.x * kTile + threadIdx.x);
  const long b = blockIdx.y;
  const bool inside = t < d.T;
  const float* x_t = x + b * d.C * d.x_stride + t;
  const float of_condition = inside ? condition[b * d.condition_stride + t] : 0.0f;
  for (int o0 = 0; o0 < d.C; o0 += kOutputs) {
    __syncthreads();
    stage(staged, o0, d.C, CK, [&](int o, int n) { return p.w[static_cast<long>(o) * CK + n]; });
    if (kGated) stage(staged_gate, o0, d.C, CK, [&](int o, int n) { return p.w[static_cast<long>(d.C + o) * CK + n]; });
    __syncthreads();
    if (!inside) continue;
    float sums[kOutputs], gate[kOutputs];
    for (int o = 0; o < kOutputs; ++o) {
      const bool there = o0 + o < d.C;
      sums[o] = there ? p.bias[o0 + o] + p.mixer[o0 + o] * of_condition : 0.0f;
      if (kGated) gate[o] = there ? p.bias[d.C + o0 + o] + p.mixer[d.C + o0 + o] * of_condition : 0.0f;
    }
    for (int i = 0; i < d.C; ++i) {
      for (int k = 0; k < d.K; ++k) {
        const float v = x_t[i * d.x_stride + static_cast<long>(k) * d.dilation];
        add_product(sums, staged, i * d.K + k, v);
        if (kGated) add_product(gate, staged_gate, i * d.K + k, v);
      }
    }
    for (int o = 0; o < kOutputs && o0 + o < d.C; ++o) {
      const int channel = o0 + o;
      const float made = tanhf(sums[o]), open = kGated ? sigmoid(gate[o]) : 1.0f, out = kGated ? made * open : made;
      if (saved) {
        saved[(b * d.Z + channel) * d.T + t] = made;
        if (kGated) saved[(b * d.Z + d.C + channel) * d.T + t] = open;
      }
      a[channel * kTile + threadIdx.x] = out;
      if (t >= d.T - d.H) head[(b * d.C + channel) * d.head_stride + t - (d.T - d.H)] += out;
    }
  }
  if (!y) return;
  for (int o0 = 0; o0 < d.C; o0 += kOutputs) {
    __syncthreads();
    stage(staged, o0, d.C, d.C, [&](int o, int n) { return p.w1[o * d.C + n]; });
    __syncthreads();
    if (!inside) continue;
    float sums[kOutputs];
    for (int o = 0; o < kOutputs; ++o) {
      sums[o] = o0 + o < d.C ? x_t[(o0 + o) * d.x_stride + d.past] + p.bias1[o0 + o] : 0.0f;
    }
    for (int i = 0; i < d.C; ++i) add_product(sums, staged, i, a[i * kTile + threadIdx.x]);
    for (int o = 0; o < kOutputs && o0 + o < d.C; ++o) y[(b * d.C + o0 + o) * d.y_stride + t] = sums[o];
  }
}

// dz (B,Z,T), and where gated a (B,C,T), from the gradients of the layer's two outputs.
template <bool kGated>
__global__ void before_activation_kernel(Members members, float* dz, float* a, const float* dy, const float* dhead,
                                         const float* saved, const float* w1, Layer d) {
  members.enter(dz, dhead, saved, w1);
  members.enter_given(dy, a);
  extern __shared__ float staged[];
  const int t = static_cast<int>(blockIdx.x * kTile + threadIdx.x);
  const long b = blockIdx.y;
  const bool inside = t < d.T;
  for (int i0 = 0; i0 < d.C; i0 += kOutputs) {
    __syncthreads();
    if (dy) stage(staged, i0, d.C, d.C, [&](int i, int o) { return w1[o * d.C + i]; });
    __syncthreads();
    if (!inside) continue;
    float sums[kOutputs];
    for (int i = 0; i < kOutputs; ++i) {
      const bool of_head = i0 + i < d.C && t >= d.T - d.H;
      sums[i] = of_head ? dhead[(b * d.C + i0 + i) * d.head_stride + t - (d.T - d.H)] : 0.0f;
    }
    for (int o = 0; dy && o < d.C; ++o) add_product(sums, staged, o, dy[(b * d.C + o) * d.y_stride + t]);
    for (int i = 0; i < kOutputs && i0 + i < d.C; ++i) {
      const long at = (b * d.Z + i0 + i) * d.T + t, gate = at + static_cast<long>(d.C) * d.T;
      const float v = saved[at];
      if (!kGated) {
        dz[at] = sums[i] * (1.0f - v * v);
        continue;
      }
      const float s = saved[gate];
      dz[at] = sums[i] * s * (1.0f - v * v);
      dz[gate] = sums[i] * v * s * (1.0f - s);
      a[(b * d.C + i0 + i) * d.T + t] = v * s;
    }
  }
}

// dx at sample u of the input: a sum over the outputs that read it.
__global__ void input_kernel(Members members, float* dx, const float* dy, const float* dz, const float* w, Layer d) {
  members.enter(dx, dz, w);
  members.enter_given(dy);
  extern __shared__ float staged[];
  const long u = static_cast<long>(blockIdx.x) * kTile + threadIdx.x, b = blockIdx.y;
  const bool inside = u < d.T + d.past;
  const int CK = d.C * d.K;
  for (int i0 = 0; i0 < d.C; i0 += kOutputs) {
    __syncthreads();
    stage(staged, i0, d.C, d.Z * d.K,
          [&](int i, int n) { return w[static_cast<long>(n / d.K) * CK + static_cast<long>(i) * d.K + n % d.K]; });
    __syncthreads();
    if (!inside) continue;
    float sums[kOutputs];
    for (int i = 0; i < kOutputs; ++i) {
      sums[i] = dy && i0 + i < d.C && u >= d.past ? dy[(b * d.C + i0 + i) * d.y_stride + u - d.past] : 0.0f;
    }
    for (int k = 0; k < d.K; ++k) {
      const long t = u - static_cast<long>(k) * d.dilation;
      if (t < 0 || t >= d.T) continue;
      for (int o = 0; o < d.Z; ++o) add_product(sums, staged, o * d.K + k, dz[(b * d.Z + o) * d.T + t]);
    }
    for (int i = 0; i < kOutputs && i0 + i < d.C; ++i) dx[(b * d.C + i0 + i) * d.x_stride + u] = sums[i];
  }
}

DotsDims of_taps(WavenetLayerDims d) { return {d.B, d.T, n_z(d), d.C * d.K + 2, true}; }  // w, bias, mixer
DotsDims of_residual(WavenetLayerDims d) { return {d.B, d.T, d.C, d.C + 1, true}; }       // w1, bias1

dim3 grid_of(long samples, int B) { return dim3(blocks_for(samples, kTile), static_cast<unsigned>(B)); }

}  // namespace

std::size_t wavenet_layer_forward_scratch(const Context&, WavenetLayerDims) { return 0; }

// dz, a, and the slices of the weights' sums.
std::size_t wavenet_layer_backward_scratch(const Context&, WavenetLayerDims d) {
  const auto places = static_cast<std::size_t>(d.B) * static_cast<std::size_t>(d.T);
  return sizeof(float) * (places * static_cast<std::size_t>(n_z(d) + d.C) +
                          std::max(dots_scratch(of_taps(d)), dots_scratch(of_residual(d))));
}

void wavenet_layer_forward(const Context& context, float* y, float* head, float* saved, const float* x,
                           const float* condition, const WavenetLayerTensors<const float*>& p, void*,
                           WavenetLayerDims d) {
  const std::size_t floats =
      static_cast<std::size_t>(d.C) * static_cast<std::size_t>(kTile + kOutputs * std::max(1, d.K * (d.gated ? 2 : 1)));
  launch(context, d.gated ? forward_kernel<true> : forward_kernel<false>, grid_of(d.T, d.B), kTile,
         sizeof(float) * floats, y, head, saved, x, condition, p, Layer(d));
}

void wavenet_layer_backward(const Context& context, float* dx, const WavenetLayerTensors<float*>& g, const float* dy,
                            const float* dhead, const float* x, const float* condition, const float* saved,
                            const WavenetLayerTensors<const float*>& p, void* scratch, WavenetLayerDims d) {
  const Layer layer(d);
  const int C = d.C, Z = n_z(d), K = d.K, T = d.T, dilation = d.dilation;
  const long places = static_cast<long>(d.B) * T, x_stride = d.x_stride, y_stride = d.y_stride,
             condition_stride = d.condition_stride;
  float *dz = static_cast<float*>(scratch), *own_a = dz + places * Z, *partial = own_a + places * C;
  launch(context, d.gated ? before_activation_kernel<true> : before_activation_kernel<false>, grid_of(T, d.B), kTile,
         sizeof(float) * static_cast<std::size_t>(C * kOutputs), dz, own_a, dy, dhead, saved, p.w1, layer);
  launch(context, input_kernel, grid_of(T + layer.past, d.B), kTile,
         sizeof(float) * static_cast<std::size_t>(Z * K * kOutputs), dx, dy, dz, p.w, layer);
  const int taps = C * K;
  WavenetLayerTensors<float*> to = g;
  const auto of_z = [=] __device__(Members members) mutable {
    members.enter(dz);
    return [=](int b, int o, int t) { return dz[(static_cast<long>(b) * Z + o) * T + t]; };
  };
  const auto of_input = [=] __device__(Members members) mutable {
    members.enter(condition, x);
    return [=](int b, int j, int t) {
      if (j == taps) return 1.0f;
      if (j > taps) return condition[b * condition_stride + t];
      return x[(static_cast<long>(b) * C + j / K) * x_stride + t + static_cast<long>(j % K) * dilation];
    };
  };
  dots(context, partial, of_taps(d), of_z, of_input, [=] __device__(Members members) mutable {
    members.enter(to.w, to.bias, to.mixer);
    return [=](int o, int j, float sum) {
      (j < taps ? to.w[static_cast<long>(o) * taps + j] : j == taps ? to.bias[o] : to.mixer[o]) += sum;
    };
  });
  if (!dy) return;
  const float* a = d.gated ? own_a : saved;
  const auto of_y = [=] __device__(Members members) mutable {
    members.enter(dy);
    return [=](int b, int o, int t) { return dy[(static_cast<long>(b) * C + o) * y_stride + t]; };
  };
  const auto of_a = [=] __device__(Members members) mutable {
    members.enter(a);
    return [=](int b, int j, int t) { return j == C ? 1.0f : a[(static_cast<long>(b) * C + j) * T + t]; };
  };
  dots(context, partial, of_residual(d), of_y, of_a, [=] __device__(Members members) mutable {
    members.enter(to.w1, to.bias1);
    return [=](int o, int j, float sum) { (j < C ? to.w1[o * C + j] : to.bias1[o]) += sum; };
  });
}

}  // namespace cafx::cuda
