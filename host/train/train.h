// host/train/train.h -- trains CAFx in a run folder; what it writes there is enough to go on from, to the same bits.
//
//   config.toml              resolved config, with hashes, device and version as comments
//   split.json               which note is in training, validation, test
//   metrics.csv              a line for each epoch
//   events.out.tfevents      the same and more for TensorBoard, unless log.events = "off" (host/report/events.h)
//   checkpoint.safetensors   weights, best weights, moments, counters: all that a resume needs
//   init.safetensors         a copy of train.init_from, where that is set: the folder is complete without it
//   pretrained.safetensors   the convolutions after the first stage
//   best.safetensors         the best weights so far, as `cafx export` writes them
//   result.json              once finished
//   log.txt                  what was said, with times
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
#include <vector>

#include "host/train/config.h"
#include "kernels/device/context.h"
#include "models/cafx/cafx.h"

namespace cafx {

struct TrainProgress {
  std::string stage;          // "pretrain", "train", "refine"
  int epoch = 0, epochs = 0;  // of this stage: epoch counts from 1, at most `epochs`
  long step = 0, steps = 0;   // of this epoch
  double loss = 0.0;          // mean over this epoch so far
  double validation = 0.0;    // of the last epoch that was validated; NaN before
  double best = 0.0;          // best so far of this stage; NaN before
  double frames_per_second = 0.0;
  double fraction = 0.0;      // of the whole run, counting every epoch of every stage
  double seconds_left = 0.0;  // by that fraction; early stopping ends sooner
};

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void message(const std::string&) {}     // one line worth keeping; it is in log.txt already
  virtual void progress(const TrainProgress&) {}  // a few times a second at most
  virtual void epoch(const TrainProgress&) {}     // after each
};

struct TrainOptions {
  std::filesystem::path folder;             // of the run
  int threads = 0;                          // 0: all that this process may use
  std::string isa;                          // empty: the best there is
  std::string device = "cpu";               // as use_device takes it
  std::string gpus;                         // as choose_gpus takes it; empty: as the config says
  std::string precision;                    // resume: refused where it is not the run's; empty: the run's
  const std::atomic<bool>* stop = nullptr;  // set: finish the step, save, return
  TrainObserver* observer = nullptr;
  // Called before what others may see is written; what it throws ends the run. A sweep asks here whether the run is
  // still this process's.
  std::function<void()> before_write;
  double checkpoint_seconds = 20.0;  // between checkpoints; one is also written at the end of each stage
};

struct TrainOutcome {
  bool finished = false;  // false: stopped by request, to be resumed
  std::filesystem::path folder;
  double validation = 0.0;  // best mean absolute error over validation frames
  double training = 0.0;    // mean absolute error of the last epoch
  long steps = 0;
  double seconds = 0.0;  // of this process
};

// Starts a run. `data` must be what config.data describes. Error if the folder already holds a run.
TrainOutcome train(const RunConfig&, const Dataset&, const Split&, const TrainOptions&);
// Goes on with the run in options.folder; a finished run is only reported.
TrainOutcome resume(const TrainOptions&);

// What a run takes of the device's memory, in bytes, and what is free there.
struct MemoryPlan {
  std::size_t weights = 0;  // parameters, gradient, moments, mask
  std::size_t activations = 0;
  std::size_t audio = 0;     // notes and the places of their frames
  std::size_t exchange = 0;  // what other GPUs send; NCCL's own buffers are not counted
  std::size_t free = 0;
  std::size_t total() const { return weights + activations + audio + exchange; }
};
// `batch`: the frames that it works on at a time (frames_at_once); `gpus`: that share a step's.
MemoryPlan plan_memory(const Context&, const CafxConfig&, int batch, std::size_t n_samples, std::size_t n_frames,
                       int gpus = 1);
// The largest power of two that fits into nine tenths of what is free and is not more than n_frames; 0: not even one.
int largest_batch(const Context&, const CafxConfig&, std::size_t n_samples, std::size_t n_frames, int gpus = 1);

// The resolved config of the run in a folder.
RunConfig read_run_config(const std::filesystem::path& folder);

// Frames of the notes `which`, at every `hop` samples, over concatenated audio of all pairs. For tools and benchmarks.
struct FrameSet {
  std::vector<float> dry, wet;
  std::vector<FrameRef> refs;
};
FrameSet make_frames(const Dataset&, const std::vector<int>& which, int frame, int hop, double silence_db);

}  // namespace cafx
