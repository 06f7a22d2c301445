#include "host/train/schedule.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "models/registry.h"

namespace cafx {

std::vector<Stage> stages_of(const RunConfig& config) {
  const TrainConfig& t = config.train;
  const std::vector<std::string>& forms = model_type(config.model->type()).forms;
  std::vector<Stage> stages;
  if (std::find(forms.begin(), forms.end(), kPretrain) != forms.end()) {
    stages.push_back({Stage::kPretrain, "pretrain", kPretrain, t.pretrain_epochs, t.pretrain_lr, true});
  }
  stages.push_back({Stage::kTrain, "train", kSupervised, t.epochs, t.lr, false});
  stages.push_back(
      {Stage::kRefine, "refine", kSupervised, t.epochs > 0 ? t.refine_epochs : 0, t.lr * t.refine_factor, false});
  return stages;
}

Schedule::Schedule(const RunConfig& config, std::size_t places, int updates)
    : config_(config.train), stages_(stages_of(config)), n_places_(static_cast<long>(places)), updates_(updates) {}

const Stage& Schedule::stage(int id) const {
  const auto found = std::find_if(stages_.begin(), stages_.end(), [id](const Stage& s) { return s.id == id; });
  CAFX_CHECK(found != stages_.end(), id);
  return *found;
}

const Stage& Schedule::after(int id) const {
  CAFX_CHECK(!is_last(id), id);
  return *(&stage(id) + 1);
}

double Schedule::learning_rate(const Stage& stage, long update, double plateau_scale) const {
  const TrainConfig& t = config_;
  const double base = stage.lr * rate_scale(t);
  double scale = plateau_scale;
  if (t.schedule == "cosine") {
    const double last = std::max<double>(1.0, static_cast<double>(all_steps(stage) * updates_ - 1));
    const double along = std::min(1.0, static_cast<double>(update) / last);
    scale = t.final_factor + (1.0 - t.final_factor) * 0.5 * (1.0 + std::cos(3.141592653589793 * along));
  }
  if (update < t.warmup_steps) scale *= static_cast<double>(update + 1) / t.warmup_steps;
  return base * scale;
}

}  // namespace cafx
