#include "kernels/device/each_cuda.h"
#include "kernels/local_conv/local_conv.h"

// The plain twin: one thread for each output. training runs the kernel of front_end.
namespace cafx::cuda {

void local_conv_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                        LocalConvDims d) {
  for_each(context, static_cast<long>(d.B) * d.T * d.C, [=] __device__(Members members) mutable {
    members.enter(bias, w, x, y);
    return [=](long i) {
      const long c = i % d.C, row = i / d.C, b = row / d.T, t = row - b * d.T;
      float sum = bias[c];
      for (int k = 0; k < d.K; ++k) {
        const long from = t + k - (d.K - 1) / 2;
        if (from >= 0 && from < d.T) sum += w[c * d.K + k] * x[(b * d.T + from) * d.C + c];
      }
      y[i] = sum;
    };
  });
}

void local_conv_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* x,
                         const float* w, LocalConvDims d) {
  for_each(context, static_cast<long>(d.B) * d.T * d.C, [=] __device__(Members members) mutable {
    members.enter(w, dy, dx);
    return [=](long i) {
      const long c = i % d.C, row = i / d.C, b = row / d.T, s = row - b * d.T;
      float sum = 0.0f;
      for (int k = 0; k < d.K; ++k) {
        const long t = s - k + (d.K - 1) / 2;
        if (t >= 0 && t < d.T) sum += w[c * d.K + k] * dy[(b * d.T + t) * d.C + c];
      }
      dx[i] = sum;
    };
  });
  // Neighbouring lanes take neighbouring channels; tap K stands for the bias.
  for_each(context, static_cast<long>(d.C) * (d.K + 1), [=] __device__(Members members) mutable {
    members.enter(dy, x, dbias, dw);
    return [=](long i) {
      const long c = i % d.C, k = i / d.C;
      double total = 0.0;
      for (long b = 0; b < d.B; ++b) {
        float sum = 0.0f;
        for (long t = 0; t < d.T; ++t) {
          const float g = dy[(b * d.T + t) * d.C + c];
          const long from = t + k - (d.K - 1) / 2;
          if (k == d.K) {
            sum += g;
          } else if (from >= 0 && from < d.T) {
            sum += g * x[(b * d.T + from) * d.C + c];
          }
        }
        total += sum;
      }
      float& out = k == d.K ? dbias[c] : dw[c * d.K + k];
      out += static_cast<float>(total);
    };
  });
}

}  // namespace cafx::cuda
