// host/train/observer.h -- callbacks for the progress of a run.
#pragma once

#include <string>

namespace cafx {

struct TrainProgress {
  std::string stage;               // "pretrain", "train", "refine"
  int epoch = 0, epochs = 0;       // of this stage: epoch counts from 1, at most `epochs`
  long step = 0, steps = 0;        // of this epoch
  double loss = 0.0;               // mean over this epoch so far
  double validation = 0.0;         // of the last epoch that was validated; NaN before
  double best = 0.0;               // best so far of this stage; NaN before
  double frames_per_second = 0.0;  // segments a second, where the model learns from those
  bool segments = false;
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

}  // namespace cafx
