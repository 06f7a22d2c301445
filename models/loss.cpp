#include "models/loss.h"

#include "kernels/base/error.h"

namespace cafx {

namespace {

// What a target of digital silence counts as, in mean energies of the training set, where the floor is 0.
constexpr double kLeast = 1e-6;
constexpr int kShortestStft = 256;

LossDims dims_of(const Loss::Shape& s) { return {s.B, s.T, s.K, s.pad, s.target_stride}; }

}  // namespace

Fields describe(LossConfig& c) {
  return {
      field("mae", c.mae, 0, 1e6, "weight of the mean absolute error"),
      field("mse", c.mse, 0, 1e6, "weight of the mean squared error"),
      field("esr", c.esr, 0, 1e6, "weight of the error to signal ratio"),
      field("dc", c.dc, 0, 1e6, "weight of the squared mean error, relative to the target's energy"),
      field("log_cosh", c.log_cosh, 0, 1e6, "weight of the mean of log cosh of the error"),
      field("mr_stft", c.mr_stft, 0, 1e6, "weight of the multi-resolution STFT loss; places of over 256 samples"),
      field("pre_emphasis", c.pre_emphasis, 0, 1,
            "of the error to signal ratio and the STFT loss: x[t] - pre_emphasis x[t-1]; 0: none"),
      field("energy_floor", c.energy_floor, 0, 1e3,
            "added to the energy that an error is relative to, in mean energies: how little quiet places count"),
  };
}

Loss::Loss(const LossConfig& config, double mean_energy) : config_(config) {
  if (!(config.mae + config.mse + config.esr + config.dc + config.log_cosh + config.mr_stft > 0.0)) {
    throw Error(
        "the weights loss.mae, loss.mse, loss.esr, loss.dc, loss.log_cosh and loss.mr_stft are all 0; there is nothing "
        "to learn from");
  }
  const auto floor = static_cast<float>((config.energy_floor + kLeast) * mean_energy);
  floors_ = {floor, floor, 0.0f};
}

static bool mae_alone(const LossConfig& c) {
  return c.mae == 1.0 && c.mse + c.esr + c.dc + c.log_cosh + c.mr_stft == 0.0;
}

bool Loss::is_mae() const { return mae_alone(config_); }

std::array<float, Loss::kConstants> Loss::constants() const {
  const LossWeights w = weights(kShortestStft + 1);
  return {floors_[0], floors_[1], floors_[2], w.mae, w.mse, w.esr, w.dc, w.log_cosh, w.mr_stft};
}

std::string loss_structure(const LossConfig& c) {
  return fmt::format("{} {} {} {}", mae_alone(c), c.mr_stft > 0.0, c.esr > 0.0 || c.dc > 0.0, c.pre_emphasis);
}

// The shortest resolution of the STFT loss needs over half its samples; shorter places, the last blocks of segments, go
// without.
LossWeights Loss::weights(int T) const {
  LossWeights w;
  w.mae = static_cast<float>(config_.mae);
  w.mse = static_cast<float>(config_.mse);
  w.esr = static_cast<float>(config_.esr);
  w.dc = static_cast<float>(config_.dc);
  w.log_cosh = static_cast<float>(config_.log_cosh);
  w.mr_stft = T > kShortestStft ? static_cast<float>(config_.mr_stft) : 0.0f;
  w.pre_emphasis = static_cast<float>(config_.pre_emphasis);
  return w;
}

void Loss::reference(const Context& context, float* reference, const float* target, const float* floors,
                     Shape s) const {
  loss_reference(context, reference, target, floors, static_cast<float>(config_.pre_emphasis), dims_of(s));
}

void Loss::operator()(const Context& context, double* losses, float* dy, const float* y, const float* target,
                      const float* reference, const float* constants, float scale, Shape s, void* scratch) const {
  LossWeights w = weights(s.T);
  if (context.device == Device::kCuda) w.own = constants + kReferences;
  loss_forward_backward(context, losses, dy, y, target, relative() ? reference : nullptr, scale, w, scratch,
                        dims_of(s));
}

std::size_t Loss::scratch(const Context& context, Shape s) const {
  return loss_scratch(context, weights(s.T), dims_of(s));
}

}  // namespace cafx
