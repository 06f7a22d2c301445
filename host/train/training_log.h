// host/train/training_log.h -- the outputs of a run while it trains: log.txt, the observer, TensorBoard's event file.
// Nothing of it decides a bit of the result.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "host/train/checkpoint.h"
#include "host/train/config.h"
#include "host/train/corpus.h"
#include "host/train/events.h"
#include "host/train/observer.h"
#include "host/train/run_folder.h"
#include "host/train/schedule.h"
#include "models/model.h"

namespace cafx {

inline constexpr const char* kEventFile = "events.out.tfevents";  // TensorBoard looks for the last word

class TrainingLog {
 public:
  // `observer` may be null. `before_write`, where set, is called before the event file grows.
  TrainingLog(const RunConfig&, const RunFolder&, TrainObserver* observer, std::function<void()> before_write);

  // Chooses and copies the validation notes to write as sound, unless log.events excludes them.
  void choose_notes(const Corpus& validation);

  void say(const std::string& line);

  // Logs how cuDNN runs each convolution, once it has chosen; warns where it has no algorithm.
  void say_convolutions(const Context&);

  // The event file holds what belongs to the checkpoint, `size` bytes, and later events on their way; what a killed
  // process wrote after its last checkpoint is cut off here, since those epochs are repeated.
  bool has_events() const;
  void open_events(std::uint64_t size);
  std::uint64_t sync_events();  // all of them are on the disk: the size to keep in the checkpoint

  void begin();                                     // training, in this process
  double seconds() const;                           // since then
  void step(long places);                           // one was taken
  void progress(const Counters&, const Schedule&);  // to the observer, a few times a second at most

  // At the end of an epoch, with the counters already on the next.
  void epoch(const Counters&, const Schedule&, const std::vector<Fact>&, double rate, double training,
             double validation);
  // At the end of a stage: the output of its best weights for the notes, and once their input and target.
  void notes(const Counters&, const Schedule&, const Context&, Model&, const std::vector<float>& best);

 private:
  using Clock = std::chrono::steady_clock;
  struct Note {
    std::string name;
    std::vector<float> dry, wet;
    double gain;                  // for the ear
    std::vector<float> controls;  // of its knobs
  };
  void scalars(const Counters&, const Stage&, const std::vector<Fact>&, double rate, double training,
               double validation);
  TrainProgress progress_of(const Counters&, const Schedule&, bool end_of_epoch) const;

  const RunConfig& config_;
  const RunFolder& folder_;
  TrainObserver* observer_;
  std::function<void()> before_write_;
  std::set<std::string> said_convolutions_;
  EventFile events_;
  std::vector<Note> notes_;
  double validation_ = std::numeric_limits<double>::quiet_NaN();
  int validated_ = -1;           // the stage that this error is of
  long steps_ = 0, places_ = 0;  // of this process
  Clock::time_point started_, last_shown_, last_events_;
};

}  // namespace cafx
