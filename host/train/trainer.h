// host/train/trainer.h -- one process working on one run, of any model: what `train` and `resume` (host/train/train.h)
// call.
//
//   The order of `run` is the order of events: for every stage its epochs; in an epoch draw places, step, account, save
//   now and then; at its end validate, keep the best, log; at the end of a stage hand the best weights on; at the end
//   of all check the sign, measure whole notes, write the results.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/train/checkpoint.h"
#include "host/train/corpus.h"
#include "host/train/gpu_team.h"
#include "host/train/quality.h"
#include "host/train/run_folder.h"
#include "host/train/schedule.h"
#include "host/train/stepper.h"
#include "host/train/train.h"
#include "host/train/training_log.h"

namespace cafx {

class Trainer {
 public:
  // Takes the audio of the training and validation notes out of `data`.
  Trainer(const RunConfig&, Dataset& data, const Split&, const TrainOptions&, RunFolder&);

  void start(const std::string& run_hash);  // a run that has no checkpoint
  void restore();                           // from the folder's
  TrainOutcome run();

 private:
  using Clock = std::chrono::steady_clock;

  // Set up.
  void open_device();
  void teach_notes(Dataset&, const Split&);
  void choose_places();
  void make_loss();
  StepSettings step_settings() const;
  std::string processor() const;  // determines the bits, with config and data

  // The loop.
  bool run_epoch();  // from the current counters on; false: stopped
  void account(const std::vector<StepRecord>&);
  [[noreturn]] void fail(const StepRecord&);
  void end_epoch();
  void keep_best(double validation);
  double validate();
  const Places& validation_set();
  double validation_loss();

  // Stages.
  void begin_stage(const Model* former);
  void end_stage();
  void make_model();
  void make_stepper_of_stage();
  void refuse_what_does_not_fit();

  // The end.
  template <class Work>
  void with_best(Work);  // work() with the best weights in the model; the others are put back
  void mend_polarity();
  void measure();  // quality_, where whole notes decide
  std::vector<Fact> facts_on_places();
  void say_facts();
  void finish();

  void save();
  void before_write() const;
  TrainOutcome outcome() const;

  std::size_t places_at_a_time() const;
  Signals signals(bool reconstructs) const;
  int n_gpus() const { return team_ ? team_->size() : 1; }
  Counters& counters() { return checkpoint_.counters; }
  const Counters& counters() const { return checkpoint_.counters; }
  const Stage& stage() const { return schedule_.stage(counters().stage); }

  RunConfig config_;
  const TrainOptions& options_;
  RunFolder& folder_;
  TrainingLog log_;
  ThreadPool pool_;
  std::unique_ptr<GpuTeam> team_;  // where several GPUs train; context_ is then that of rank 0
  Context context_;
  Corpus training_, validation_;
  Sampler sampler_;                           // places of the training
  std::vector<FrameRef> validation_refs_;     // places of a validation by loss
  std::vector<WholeNote> measured_;           // notes of the validation; of the training where there are none
  std::vector<std::vector<float>> recorded_;  // of those notes, where a teacher made the targets
  Loss loss_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Places> places_, validation_places_;
  std::unique_ptr<Stepper> stepper_;
  Checkpoint checkpoint_;
  std::optional<Quality> quality_;
  Schedule schedule_;
  int updates_of_step_ = 0;  // accounted for, of the step under way
  Clock::time_point last_save_;
};

}  // namespace cafx
