// Loss, optimisers, and frames of a signal.
#include <cmath>

#include "tests/reference/reference.h"

namespace cafx::reference {

static std::size_t count(long a, long b) { return static_cast<std::size_t>(a * b); }

Vec mae_forward(const Vec& y, const Vec& target, int B, int T) {
  Vec loss(B);
  for (int b = 0; b < B; ++b) {
    for (int t = 0; t < T; ++t) loss[b] += std::abs(y[count(b, T) + t] - target[count(b, T) + t]);
  }
  return loss;
}

Vec mae_backward(const Vec& y, const Vec& target, double gradient_scale) {
  Vec dy(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    dy[i] = y[i] > target[i] ? gradient_scale : (y[i] < target[i] ? -gradient_scale : 0);
  }
  return dy;
}

void adam_step(Vec& params, Vec& m, Vec& v, const Vec& grads, const Vec& decay_mask, const AdamStep& step) {
  const double b1 = step.beta1, b2 = step.beta2, t = static_cast<double>(step.step);
  for (std::size_t i = 0; i < params.size(); ++i) {
    const double g = grads[i] * step.gradient_scale;
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    const double m_hat = m[i] / (1 - std::pow(b1, t)), v_hat = v[i] / (1 - std::pow(b2, t));
    const double decay = step.weight_decay * (decay_mask.empty() ? 1 : decay_mask[i]) * params[i];
    params[i] -= step.lr * (m_hat / (std::sqrt(v_hat) + step.epsilon) + decay);
  }
}

void lamb_step(Vec& params, Vec& m, Vec& v, const Vec& grads, const Vec& decay_mask,
               const std::vector<TensorSpan>& tensors, const AdamStep& step) {
  const Vec before = params;
  AdamStep unit = step;
  unit.lr = 1.0f;
  adam_step(params, m, v, grads, decay_mask, unit);  // params is now before - u
  for (const TensorSpan& t : tensors) {
    double p = 0, u = 0;
    for (long i = t.offset; i < t.offset + t.size; ++i) {
      p += before[i] * before[i];
      u += (before[i] - params[i]) * (before[i] - params[i]);
    }
    const double trust = p > 0 && u > 0 ? std::sqrt(p / u) : 1;
    for (long i = t.offset; i < t.offset + t.size; ++i)
      params[i] = before[i] - step.lr * trust * (before[i] - params[i]);
  }
}

Vec gather_frames(const Vec& audio, const std::vector<FrameRef>& refs, GatherDims d) {
  Vec x(count(d.B, d.T + d.K - 1));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      const std::int64_t at = refs[b].start + d.offset + t;
      if (at < refs[b].begin || at >= refs[b].end) continue;
      x[count(b, d.T + d.K - 1) + d.left + t] = audio[static_cast<std::size_t>(at)];
    }
  }
  return x;
}

Vec overlap_add(const Vec& frames, long n_samples, int frame, int hop) {
  Vec sum(n_samples), weight(n_samples);
  for (std::size_t i = 0; i * frame < frames.size(); ++i) {
    const long start = static_cast<long>(i) * hop - (frame - hop);
    for (int t = 0; t < frame; ++t) {
      const long n = start + t;
      if (n < 0 || n >= n_samples) continue;
      const double window = 0.5 - 0.5 * std::cos(2 * M_PI * t / frame);
      sum[n] += window * frames[i * frame + t];
      weight[n] += window;
    }
  }
  for (long n = 0; n < n_samples; ++n) sum[n] /= weight[n];
  return sum;
}

}  // namespace cafx::reference
