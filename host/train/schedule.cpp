#include "host/train/schedule.h"

#include <algorithm>
#include <cmath>

namespace cafx {

const char* Schedule::name(int stage) {
  constexpr const char* kNames[kStages] = {"pretrain", "train", "refine"};
  return kNames[stage];
}

int Schedule::epochs(int stage) const {
  const TrainConfig& t = config_;
  return stage == 0 ? t.pretrain_epochs : stage == 1 ? t.epochs : t.epochs > 0 ? t.refine_epochs : 0;
}

double Schedule::learning_rate(int stage, long step, double plateau_scale) const {
  const TrainConfig& t = config_;
  const double of_stage = stage == 0 ? t.pretrain_lr : stage == 1 ? t.lr : t.lr * t.refine_factor;
  const double base = of_stage * rate_scale(t);
  double scale = plateau_scale;
  if (t.schedule == "cosine") {
    const double last = std::max<double>(1.0, static_cast<double>(all_steps(stage) - 1));
    const double along = std::min(1.0, static_cast<double>(step) / last);
    scale = t.final_factor + (1.0 - t.final_factor) * 0.5 * (1.0 + std::cos(3.141592653589793 * along));
  }
  if (step < t.warmup_steps) scale *= static_cast<double>(step + 1) / t.warmup_steps;
  return base * scale;
}

}  // namespace cafx
