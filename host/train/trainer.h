// host/train/trainer.h -- one process working on one run, of any model: what `train` and `resume` (host/train/train.h)
// call.
//
//   The order of `run` is the order of events: for every stage its epochs; in an epoch draw places, step, account, save
//   now and then; at its end validate, keep the best, log; at the end of a stage hand the best weights on; at the end
//   of all check the sign, measure whole notes, write the results.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/train/checkpoint.h"
#include "host/train/company.h"
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
  // Takes the audio of the training and validation notes out of `data`, unless a run of the company has done so.
  Trainer(const RunConfig&, Dataset& data, const Split&, const TrainOptions&, RunFolder&, Company&);

  void start(const std::string& run_hash);  // a run that has no checkpoint
  void restore();                           // from the folder's
  TrainOutcome run();                       // to the end

  // The same in turns, between those of other runs: begin(), then turn() until it returns false.
  void begin();
  bool turn(double seconds);  // about so long, at least a step, into an epoch; on a GPU it leaves steps under way
  void ask();                 // for the steps of the next turn, before those of others
  TrainOutcome outcome() const;
  bool waiting() const { return waiting_; }  // as TrainOptions::waits has it
  bool on_gpu() const { return context_.device == Device::kCuda; }

 private:
  using Clock = std::chrono::steady_clock;

  // Set up.
  void open_device();
  std::shared_ptr<const RunAudio> take_audio(Dataset&, const Split&);
  void choose_places();
  void make_loss();
  StepSettings step_settings() const;
  std::string processor() const;  // determines the bits, with config and data

  // The loop.
  bool stop_wanted() const {
    return (options_.stop && options_.stop->load()) || (options_.stop_all && options_.stop_all->load());
  }
  bool stage_goes_on() const;
  void begin_epoch();   // from the current counters on
  void close_ranks();   // with those that are left of a cohort, where that is worth it
  bool take_portion();  // of the epoch's steps; false: stopped
  bool wait();          // between epochs; true: the run waits
  void account(const std::vector<StepRecord>&);
  [[noreturn]] void fail(const StepRecord&);
  void end_epoch();
  void fetch();  // what the stepper has, to model and checkpoint
  // work() with the weights that are judged and kept in the model: the average, where there is one.
  void with_judged(const std::function<void()>& work);
  void keep_best(double validation);
  double validate();
  const Places& validation_set();
  double validation_loss();

  // Stages.
  void begin_stage(const Model* former);
  void end_stage();
  void make_model();
  void make_stepper_of_stage();
  void drop_device_memory();
  void refuse_what_does_not_fit();

  // The end.
  // work() with these weights in the model; the others are put back.
  void with_weights(const std::vector<float>&, const std::function<void()>& work);
  void mend_polarity();
  void measure();  // quality_, where whole notes decide
  bool best_is_there() const;
  std::vector<Fact> facts_on_places();
  void say_facts();
  void finish();

  void save();
  void before_write() const;
  std::size_t places_at_a_time() const;
  Places places_in_training(std::vector<FrameRef> refs, bool reconstructs);
  int n_gpus() const { return team_ ? team_->size() : 1; }
  Counters& counters() { return checkpoint_.counters; }
  const Counters& counters() const { return checkpoint_.counters; }
  const Stage& stage() const { return schedule_.stage(counters().stage); }

  RunConfig config_;
  const std::string kind_;  // of its steps (cohort.h)
  const TrainOptions& options_;
  RunFolder& folder_;
  TrainingLog log_;
  Company& company_;
  std::unique_ptr<GpuTeam> team_;  // where several GPUs train; context_ is then that of rank 0
  Context context_;
  std::shared_ptr<const RunAudio> audio_;
  Sampler sampler_;                        // places of the training
  std::vector<FrameRef> validation_refs_;  // places of a validation by loss
  Loss loss_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Places> places_, validation_places_;
  std::unique_ptr<Stepper> stepper_;
  Checkpoint checkpoint_;
  std::optional<Quality> quality_;
  Schedule schedule_;
  int updates_of_step_ = 0;  // accounted for, of the step under way
  bool in_epoch_ = false, asked_ = false, waiting_ = false;
  int side_by_side_ = 1, side_by_side_last_ = 1;  // TrainOutcome has them
  long enqueued_ = 0;                             // steps of the epoch under way
  Clock::time_point last_save_;
};

}  // namespace cafx
