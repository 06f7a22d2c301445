// host/train/schedule.h -- the stages of a run: their epochs and steps, and the learning rate of every step.
#pragma once

#include "host/train/config.h"

namespace cafx {

class Schedule {
 public:
  static constexpr int kStages = 3;
  Schedule() = default;
  Schedule(const TrainConfig& config, std::size_t training_frames)
      : config_(config), n_frames_(static_cast<long>(training_frames)) {}

  static const char* name(int stage);
  int epochs(int stage) const;
  // Pretraining learns to give back what it hears, dry and wet alike: twice as many frames.
  long frames(int stage) const { return stage == 0 ? 2 * n_frames_ : n_frames_; }
  long steps(int stage) const { return (frames(stage) + config_.batch - 1) / config_.batch; }  // of an epoch
  long all_steps(int stage) const { return steps(stage) * epochs(stage); }  // were the stage not to end early
  // `step` counts from 0 over the stage; `plateau_scale` is what schedule "plateau" has made of the rate so far.
  double learning_rate(int stage, long step, double plateau_scale) const;

 private:
  TrainConfig config_;
  long n_frames_ = 0;
};

}  // namespace cafx
