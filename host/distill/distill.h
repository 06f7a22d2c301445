// host/distill/distill.h -- trains a student in a run folder, from a teacher or from recordings.
//
//   The folder holds what a run of `cafx train` holds (train/train.h) but event files: config.toml, split.json, metrics.csv,
//   checkpoint.safetensors, best.safetensors, result.json, log.txt; teacher.safetensors is a copy of the teacher's weights.
//
//   With a teacher the targets are what it makes of the dry notes, at its own rate and resampled where the student's is
//   another; the wet recordings then only measure. Notes follow the split of the teacher's run, so that nobody has heard
//   the test.
//
// Bits     same config, data, teacher and instruction set: same weights, for any number of threads and however often it was
//          killed and resumed.
// Errors   Error names file and key. Non-finite loss or gradient: Error with tensor and step, last checkpoint kept.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include "host/distill/config.h"
#include "host/distill/quality.h"

namespace cafx {

struct DistillProgress {
  int epoch = 0, epochs = 0;        // counts from 1
  double loss = 0.0;                // mean over this epoch so far
  double validation = 0.0;          // ESR after the last epoch; NaN before
  double best = 0.0;                // NaN before the first
  double seconds_per_second = 0.0;  // of audio learned from, of time
  double fraction = 0.0;
  double seconds_left = 0.0;  // early stopping ends sooner
};

class DistillObserver {
 public:
  virtual ~DistillObserver() = default;
  virtual void message(const std::string&) {}       // one line worth keeping; it is in log.txt already
  virtual void progress(const DistillProgress&) {}  // a few times a second at most
};

struct DistillOptions {
  std::filesystem::path folder;
  int threads = 0;
  std::string isa;
  const std::atomic<bool>* stop = nullptr;  // set: finish the segments under way, save, return
  DistillObserver* observer = nullptr;
  double checkpoint_seconds = 20.0;
};

struct DistillOutcome {
  bool finished = false;  // false: stopped by request, to be resumed
  std::filesystem::path folder;
  double validation = 0.0;  // best ESR over the validation notes
  int epochs = 0;
  double seconds = 0.0;  // of this process
  Quality quality;       // once finished
};

// `data` must be what config.data describes, at config.student.sample_rate. Error if the folder already holds a run.
DistillOutcome distill(const DistillConfig&, const Dataset&, const Split&, const DistillOptions&);
// Goes on with the run in options.folder; a finished run is only reported.
DistillOutcome resume_distill(const DistillOptions&);
// Where the teacher's weights lie: the file itself, or the best ones of a run.
std::filesystem::path weights_of_teacher(const DistillConfig&);
DistillConfig read_distill_config(const std::filesystem::path& folder);

}  // namespace cafx
