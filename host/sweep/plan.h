// host/sweep/plan.h -- from a spec to tasks: resolved configs, shared pretraining, keys from content, estimates.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "host/sweep/task.h"
#include "kernels/device/context.h"

namespace cafx {

// Facts about the recordings of a data config.
struct RecordingFacts {
  std::string hash;                         // content_hash
  double samples = 0;                       // of all dry notes
  double training = 1.0, validation = 0.0;  // shares of the samples
  double seconds = 0.0;                     // that reading and checking them took
  std::vector<std::string> warnings;        // files that were left out, and what the doctor warns of
};

// Reads each set of recordings once; the facts are cached in STORE/.content, by names, sizes and times of the files.
class DataCatalogue {
 public:
  explicit DataCatalogue(std::filesystem::path store) : store_(std::move(store)) {}
  // Both throw an Error about recordings that cannot be read or trained on; facts() reads those once, too.
  const RecordingFacts& facts(const DataConfig&, int sample_rate);
  int rate(RunConfig);  // that the model works at; where none is asked for, that of the teacher or the recordings

 private:
  RecordingFacts read_facts(const DataConfig&, int sample_rate, const std::string& exact) const;

  std::filesystem::path store_;
  std::map<std::string, RecordingFacts> known_;
  std::map<std::string, int> rates_;
  std::map<std::string, std::string> refused_;  // by the keys of known_: the Error's text
};

// Of the recordings of a sweep: what is said once, however many sets it is true of.
struct RecordingWarning {
  std::string text, settings;  // the settings of the first such set that are on axes; empty: none
  int n_sets = 1;
};
std::string text_of(const RecordingWarning&);

struct Plan {
  std::vector<Task> tasks;  // parents come before their children
  int n_points = 0;         // more than training tasks if several points are the same run
  std::vector<RecordingWarning> warnings;
  int add(const Spec&, DataCatalogue&, const Point&);  // the training task of the point, new or known

 private:
  void warn(const RecordingFacts&, const Point&);

  std::map<std::string, int> by_key_;
  std::set<std::string> warned_;
};

// Runs whose recordings are refused are in it, with the reason; where no run is left, an Error says the first's.
Plan make_plan(const Spec&, DataCatalogue&);
// Ends the tasks from `first` on whose recordings are refused: failed, with the reason, in their folders.
void close_refused(const std::vector<Task>&, std::size_t first, const Store&, double lease_seconds);

// The pretraining that a config needs: fields without influence are at their defaults, so that more runs share it.
RunConfig pretraining_of(const RunConfig&, const std::vector<Setting>& pretrain);

// Fills seconds and bytes of every task, and priorities. Speeds come from finished runs of the same model and batch in
// the store, else from a measurement of a few steps here; models that were not measured are scaled by their
// multiply-adds. `sources` gets a line for each speed.
void estimate(Plan&, const Store&, const Context&, bool measure, std::vector<std::string>& sources);
// Priorities from the seconds, and what `sweep.first` says.
void prioritise(std::vector<Task>&, const std::vector<std::string>& first);

// STORE/NAME.sweep/tasks.jsonl, a line for each task. Error with the line where one is damaged.
void write_tasks(const std::filesystem::path&, const std::vector<Task>&);
std::vector<Task> read_tasks(const std::filesystem::path&);

}  // namespace cafx
