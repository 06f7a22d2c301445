// host/train/schedule.h -- the stages of a run: their epochs, steps and updates, and the learning rate of every update.
//
//   pretrain   the form kPretrain of a model that has it: learns to reproduce its input, dry notes and targets alike
//   train      the model itself, from the pretrained tensors of the same names where there are some
//   refine     from the best weights of `train`, at a fraction of its rate
//
//   A stage's id is what checkpoints keep and what the order of its places is drawn with.
#pragma once

#include <string>
#include <vector>

#include "host/train/config.h"

namespace cafx {

struct Stage {
  enum Id { kPretrain = 0, kTrain = 1, kRefine = 2 };
  Id id;
  const char* name;
  const char* form;  // of the model
  int epochs;        // at most; 0: the stage is passed over
  double lr;
  bool reconstructs;  // learns to reproduce its input, without validation
};
// Those that a model of the config's type has, in their order.
std::vector<Stage> stages_of(const RunConfig&);

class Schedule {
 public:
  Schedule() = default;
  // `places` of an epoch of `train`, `updates` of the weights in each step.
  Schedule(const RunConfig&, std::size_t places, int updates);

  const std::vector<Stage>& stages() const { return stages_; }
  const Stage& stage(int id) const;
  bool is_last(int id) const { return stages_.back().id == id; }
  const Stage& after(int id) const;
  // A reconstructing stage learns from dry notes and targets: twice as many.
  long places(const Stage& s) const { return s.reconstructs ? 2 * n_places_ : n_places_; }
  long steps(const Stage& s) const { return (places(s) + config_.batch - 1) / config_.batch; }  // of an epoch
  int updates() const { return updates_; }                                                      // of a step
  long all_steps(const Stage& s) const { return steps(s) * s.epochs; }  // were the stage not to end early
  // `update` counts from 0 over the stage; `plateau_scale` is the factor of schedule "plateau" so far.
  double learning_rate(const Stage&, long update, double plateau_scale) const;

 private:
  TrainConfig config_;
  std::vector<Stage> stages_;
  long n_places_ = 0;
  int updates_ = 1;
};

}  // namespace cafx
