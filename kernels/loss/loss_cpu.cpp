#include "kernels/loss/loss_stft_cpu.h"

namespace cafx::CAFX_ISA_NS {

void mae_forward_backward(double* losses, float* dy_padded, const float* y, const float* target, float scale,
                          LossDims d) {
  const int width = d.T + d.K - 1;
  for (int b = 0; b < d.B; ++b) {
    const float* y_b = y + static_cast<long>(b) * d.T;
    const float* target_b = target + b * d.target_stride;
    float* dy = dy_padded + static_cast<long>(b) * width;
    for (int i = 0; i < d.pad; ++i) dy[i] = 0.0f;
    for (int i = d.pad + d.T; i < width; ++i) dy[i] = 0.0f;
    double total = 0.0;
    for (int t = 0; t < d.T; ++t) {
      const float error = y_b[t] - target_b[t];
      total += error < 0.0f ? -static_cast<double>(error) : static_cast<double>(error);
      dy[d.pad + t] = error > 0.0f ? scale : (error < 0.0f ? -scale : 0.0f * error);
    }
    losses[b] = total;
  }
}

namespace {

// The filtered signal, or the signal itself where nothing filters it.
const float* pre_emphasised(float* to, const float* x, int T, float a) {
  if (a == 0.0f) return x;
  for (int t = 0; t < T; ++t) to[t] = x[t] - (t > 0 ? a * x[t - 1] : 0.0f);
  return to;
}

// dy (T) of one place from the terms in time, and the zeros around it.
void time_gradient(float* dy, const float* y, const float* target, const LossFactors& f, float a, LossDims d) {
  for (int i = -d.pad; i < 0; ++i) dy[i] = 0.0f;
  for (int i = d.T; i < d.T + d.K - 1 - d.pad; ++i) dy[i] = 0.0f;
  float before = 0.0f, e = y[0] - target[0];
  for (int t = 0; t < d.T; ++t) {
    const bool last = t + 1 == d.T;
    const float after = last ? 0.0f : y[t + 1] - target[t + 1];
    dy[t] = sample_gradient(f, a, before, e, after, last);
    before = e;
    e = after;
  }
}

}  // namespace

void loss_forward_backward(double* losses, float* dy_padded, const float* y, const float* target,
                           const float* reference, float scale, const LossWeights& w, const StftTables& tables,
                           void* scratch, LossDims d) {
  const int width = d.T + d.K - 1;
  const float a = w.pre_emphasis;
  for (int b = 0; b < d.B; ++b) {
    const float *y_b = y + static_cast<long>(b) * d.T, *target_b = target + b * d.target_stride;
    LossSums sums;
    for (int t = 0; t < d.T; ++t) {
      add_sample(sums, w, y_b[t], target_b[t], t > 0 ? y_b[t - 1] : 0.0f, t > 0 ? target_b[t - 1] : 0.0f);
    }
    const LossFactors f =
        loss_factors(sums, w, reference ? reference + static_cast<long>(b) * kLossReferences : nullptr, d.T, scale);
    float* dy = dy_padded ? dy_padded + static_cast<long>(b) * width + d.pad : nullptr;
    if (dy) time_gradient(dy, y_b, target_b, f, a, d);
    losses[b] = f.loss;
    if (w.mr_stft == 0.0f) continue;
    float *filtered = static_cast<float*>(scratch), *ds = filtered + 2L * d.T, *rest = ds + d.T;
    const float* s = pre_emphasised(filtered, y_b, d.T, a);
    const float* r = pre_emphasised(filtered + d.T, target_b, d.T, a);
    for (int t = 0; t < d.T && dy; ++t) ds[t] = 0.0f;
    losses[b] += static_cast<double>(w.mr_stft) * add_stft(dy ? ds : nullptr, s, r, d.T, scale, w, tables, rest);
    for (int t = 0; t < d.T && dy; ++t) dy[t] += ds[t] - (t + 1 < d.T ? a * ds[t + 1] : 0.0f);
  }
}

void loss_reference(float* reference, const float* target, const float* floors, float pre_emphasis, LossDims d) {
  for (int b = 0; b < d.B; ++b) {
    const float* t_b = target + b * d.target_stride;
    double filtered = 0.0, plain = 0.0, magnitude = 0.0;
    for (int t = 0; t < d.T; ++t) {
      const float p = t_b[t] - (t > 0 ? pre_emphasis * t_b[t - 1] : 0.0f);
      filtered += static_cast<double>(p) * static_cast<double>(p);
      plain += static_cast<double>(t_b[t]) * static_cast<double>(t_b[t]);
      magnitude += t_b[t] < 0.0f ? -static_cast<double>(t_b[t]) : static_cast<double>(t_b[t]);
    }
    float* out = reference + static_cast<long>(b) * kLossReferences;
    out[0] = static_cast<float>(filtered / d.T + static_cast<double>(floors[0]));
    out[1] = static_cast<float>(plain / d.T + static_cast<double>(floors[1]));
    out[2] = static_cast<float>(magnitude / d.T + static_cast<double>(floors[2]));
  }
}

}  // namespace cafx::CAFX_ISA_NS
