#include "kernels/conv1x1/conv1x1.h"
#include "kernels/device/dots_cuda.h"

namespace cafx::cuda {

namespace {

constexpr int kOutputs = 8;  // channels that a thread sums at a time

struct Mix {  // y[o,t] = bias[o] + sum_i w[o out + i in] x[i,t]
  int B, I, O, T;
  long x_stride, y_stride;
  int out, in;
};

// One sample of a place and kOutputs channels a thread; a block's threads read the same weight.
__global__ void mix_kernel(DeepMembers members, float* y, const float* x, const float* w, const float* bias, Mix d) {
  members.enter(y, x, w);
  members.enter_given(bias);
  const int t = static_cast<int>(blockIdx.x * kThreads + threadIdx.x), o0 = static_cast<int>(blockIdx.y) * kOutputs;
  if (t >= d.T) return;
  for (int b = static_cast<int>(members.block_z()); b < d.B; b += static_cast<int>(members.depth)) {
    float sums[kOutputs];
    for (int o = 0; o < kOutputs; ++o) sums[o] = bias && o0 + o < d.O ? bias[o0 + o] : 0.0f;
    for (int i = 0; i < d.I; ++i) {
      const float v = x[(static_cast<long>(b) * d.I + i) * d.x_stride + t];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        if (o0 + o < d.O) sums[o] += w[static_cast<long>(o0 + o) * d.out + static_cast<long>(i) * d.in] * v;
      }
    }
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      if (o0 + o < d.O) y[(static_cast<long>(b) * d.O + o0 + o) * d.y_stride + t] = sums[o];
    }
  }
}

void mix(const Context& context, float* y, const float* x, const float* w, const float* bias, Mix d) {
  launch(context, mix_kernel,
         dim3(blocks_for(d.T), static_cast<unsigned>(ceil_div(d.O, kOutputs)),
              static_cast<unsigned>(std::min(d.B, 65535))),
         kThreads, 0, y, x, w, bias, d);
}

}  // namespace

std::size_t conv1x1_backward_scratch(const Context&, Conv1x1Dims d) {
  return sizeof(float) * dots_scratch({d.B, d.T, d.O, d.I + 1, true});
}

void conv1x1_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                     Conv1x1Dims d) {
  mix(context, y, x, w, bias, {d.B, d.I, d.O, d.T, d.x_stride, d.y_stride, d.I, 1});
}

void conv1x1_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* x,
                      const float* w, void* scratch, Conv1x1Dims d) {
  if (dx) mix(context, dx, dy, w, nullptr, {d.B, d.O, d.I, d.T, d.y_stride, d.x_stride, 1, d.I});
  const int I = d.I, O = d.O;
  const long x_stride = d.x_stride, y_stride = d.y_stride;
  dots(
      context, static_cast<float*>(scratch), {d.B, d.T, O, dbias ? I + 1 : I, true},
      [=] __device__(Members members) mutable {
        members.enter(dy);
        return [=](int b, int o, int t) { return dy[(static_cast<long>(b) * O + o) * y_stride + t]; };
      },
      [=] __device__(Members members) mutable {
        members.enter(x);
        return [=](int b, int i, int t) {
          return i < I ? x[(static_cast<long>(b) * I + i) * x_stride + t] : 1.0f;  // the last column is the bias
        };
      },
      [=] __device__(Members members) mutable {
        members.enter(dw, dbias);
        return [=](int o, int i, float sum) { (i < I ? dw[static_cast<long>(o) * I + i] : dbias[o]) += sum; };
      });
}

}  // namespace cafx::cuda
