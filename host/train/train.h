// host/train/train.h -- trains a model of any type in a run folder; what it writes there is enough to go on from, to
// the same bits.
//
//   config.toml              resolved config, with hashes, device and version as comments
//   split.json               which note is in training, validation, test
//   data.json                what was found in the recordings and done to them
//   metrics.csv              a line for each epoch
//   events.out.tfevents      the same and more for TensorBoard, unless log.events = "off" (host/train/events.h)
//   checkpoint.safetensors   weights, best weights, moments, counters: all that a resume needs
//   init.safetensors         a copy of train.init_from, where that is set: the folder is complete without it
//   teacher.safetensors      a copy of the teacher's weights, where one makes the targets
//   pretrained.safetensors   the form that was pretrained, after the first stage
//   best.safetensors         the best weights so far, as `cafx export` writes them
//   result.json              once finished
//   log.txt                  every message, with its time
//   run.lock                 held while a process works in the folder
//
// Bits     same config, data and instruction set: same weights, for any number of threads and however often it was
//          killed and resumed. Several GPUs: same bits for the same number of them; another number rounds differently.
// Errors   Error names file and key. Non-finite loss or gradient: Error with tensor and step, last checkpoint kept.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "datasets/dataset.h"
#include "host/train/config.h"
#include "host/train/observer.h"

namespace cafx {

struct TrainOptions {
  std::filesystem::path folder;                 // of the run
  int threads = 0;                              // 0: all that this process may use
  std::string isa;                              // empty: the best there is
  std::string device = "cpu";                   // as use_device takes it
  std::string gpus;                             // as choose_gpus takes it; empty: as the config says
  std::string precision;                        // resume: refused where it is not the run's; empty: the run's
  const std::atomic<bool>* stop = nullptr;      // set: finish the step, save, return
  const std::atomic<bool>* stop_all = nullptr;  // the same, of all members of a cohort
  // Asked behind an epoch, and again until it says no: whether the run waits there while others of its cohort go on.
  // Before it is asked again the run is saved.
  std::function<bool()> waits;
  TrainObserver* observer = nullptr;
  // Called before every write that others can see; an exception ends the run. A sweep asks here whether the run is
  // still this process's.
  std::function<void()> before_write;
  std::string chosen;  // a JSON object on how `--preset auto` chose, for data.json and result.json; empty: it did not
  double checkpoint_seconds = 20.0;  // between checkpoints; one is also written at the end of each stage
};

struct TrainOutcome {
  bool finished = false;  // false: stopped by request, to be resumed
  std::filesystem::path folder;
  double validation = 0.0;    // best so far of what train.stop_on names, over the validation
  double training = 0.0;      // mean loss of the last epoch
  int epochs = 0;             // of all stages
  long steps = 0;             // updates of the weights, of all stages
  double seconds = 0.0;       // of this process
  int side_by_side = 1;       // most members of a cohort that took steps in one launch with this run, itself included
  int side_by_side_last = 1;  // the same of its last step
};

// Starts a run. `data` must be what config.data describes, at the model's rate; the audio of the training and
// validation notes is moved out of it, so that it is in memory once; that of the test notes stays. Error if the folder
// already holds a run.
TrainOutcome train(const RunConfig&, Dataset& data, const Split&, const TrainOptions&);
// Goes on with the run in options.folder, whose config and data these are; a finished run is only reported. Error where
// they are not those that it began with.
TrainOutcome resume(const RunConfig&, Dataset& data, const Split&, const TrainOptions&);
// The same, with the config.toml of the folder.
TrainOutcome resume(const TrainOptions&);

// The resolved config of the run in a folder.
RunConfig read_run_config(const std::filesystem::path& folder);

}  // namespace cafx
