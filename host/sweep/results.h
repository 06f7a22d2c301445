// host/sweep/results.h -- the table of a sweep, finished or not.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "host/sweep/task.h"

namespace cafx {

// One task with its state and results.
struct Row {
  const Task* task = nullptr;
  State state = State::kQueued;
  Outcome outcome;
  Progress progress;  // while it runs
  double seconds = 0.0;
};

// From the run folders alone. A run counts as running where a lease is held.
std::vector<Row> read_rows(const std::vector<Task>&, const Store&, double lease_seconds);

// The objective of a row; NaN where it has none (yet).
double objective_of(const Row&, const std::string& objective);
// Names of settings and of metrics that occur, in order.
std::vector<std::string> setting_names(const std::vector<Row>&);
std::vector<std::string> metric_names(const std::vector<Row>&);
std::string setting_text(const Task&, const std::string& name);  // empty if the run has no such setting

// Training runs in the order of the plan; only what config and data determine, so that equal sweeps give equal bytes.
std::string results_csv(const std::vector<Row>&);
std::string results_json(const std::vector<Row>&, const std::string& name, const std::string& objective);

struct Summary {
  std::map<State, int> count;
  int n = 0;
  double seconds_done = 0.0, seconds_left = 0.0;  // of work, on one slot
  int best = -1;                                  // row
};
Summary summarise(const std::vector<Row>&, const std::string& objective);
// The table of `cafx sweep status`, at most `lines` runs.
std::string status_text(const std::vector<Row>&, const std::string& name, const std::string& objective, int lines,
                        int columns);

}  // namespace cafx
