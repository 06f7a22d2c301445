#include "models/loss.h"

#include "kernels/base/error.h"
#include "kernels/loss/loss.h"
#include "kernels/relative_error/relative_error.h"

namespace cafx {

Fields describe(LossConfig& c) {
  return {
      field("mae", c.mae, 0, 1e6, "weight of the mean absolute error"),
      field("esr", c.esr, 0, 1e6, "weight of the error to signal ratio"),
      field("pre_emphasis", c.pre_emphasis, 0, 1, "of the error to signal ratio: x[t] - pre_emphasis x[t-1]; 0: none"),
      field("energy_floor", c.energy_floor, 0, 1e3,
            "added to the energy that the error is relative to, in mean energies: how little quiet places count"),
  };
}

Loss::Loss(const LossConfig& config, double mean_energy) : config_(config), mean_energy_(mean_energy) {
  if (config.mae > 0.0 && config.esr > 0.0) throw Error("loss.mae and loss.esr are both set; give one of them");
  if (!(config.mae > 0.0) && !(config.esr > 0.0)) {
    throw Error("loss.mae and loss.esr are both 0; there is nothing to learn from");
  }
}

void Loss::reference(const Context& context, float* reference, const float* target, Shape s) const {
  CAFX_CHECK(context.device == Device::kCpu);
  for (int b = 0; b < s.B; ++b) {
    const float* y = target + b * s.target_stride;
    double energy = 0.0, before = 0.0;
    for (int t = 0; t < s.T; ++t) {
      const double p = y[t] - config_.pre_emphasis * before;
      energy += p * p;
      before = y[t];
    }
    reference[static_cast<long>(b) * kReferences] =
        static_cast<float>(energy / s.T + (config_.energy_floor + 1e-6) * mean_energy_);
  }
}

std::size_t Loss::scratch(const Context&, Shape s) const {
  return relative() ? 2 * sizeof(float) * static_cast<std::size_t>(s.B) : 0;
}

void Loss::operator()(const Context& context, double* losses, float* dy, const float* y, const float* target,
                      const float* reference, float scale, Shape s, void* scratch) const {
  if (!relative()) {
    mae_forward_backward(context, losses, dy, y, target, scale * static_cast<float>(config_.mae),
                         {s.B, s.T, s.K, s.pad, s.target_stride});
    if (config_.mae == 1.0) return;
    CAFX_CHECK(context.device == Device::kCpu);
    for (int b = 0; b < s.B; ++b) losses[b] *= config_.mae;
    return;
  }
  CAFX_CHECK(context.device == Device::kCpu && s.K == 1 && s.pad == 0, s.K, s.pad);
  auto* of_square = static_cast<float*>(scratch);
  float* of_magnitude = of_square + s.B;
  const float factor = scale != 0.0f ? scale : 1.0f;  // the op's losses carry it
  for (int b = 0; b < s.B; ++b) {
    of_square[b] = factor * static_cast<float>(config_.esr) / reference[static_cast<long>(b) * kReferences];
    of_magnitude[b] = 0.0f;
  }
  relative_error_forward_backward(context, losses, dy, y, target, of_square, of_magnitude,
                                  {s.B, s.T, s.target_stride, static_cast<float>(config_.pre_emphasis)});
  for (int b = 0; b < s.B; ++b) losses[b] /= static_cast<double>(factor);
}

}  // namespace cafx
