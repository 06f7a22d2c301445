// host/sweep/sweep.h -- a sweep from its file to its results: planned and run on this host, or submitted to Slurm.
//
//   `cafx sweep` and `cafx reproduce` both call run_sweep. Device, slots, threads and store are settings of the spec; a
//   caller that overrides them writes them there.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "host/sweep/plan.h"
#include "host/sweep/results.h"

namespace cafx {

// The spec of a sweep, by its TOML file, by its folder STORE/NAME.sweep, or by its name in `store` (empty: runs).
// A store that is given replaces the spec's own.
Spec find_sweep(const std::string& name, const std::string& store);

struct SweepOptions {
  std::string isa;      // empty: the best of this CPU
  bool measure = true;  // measure speeds that no finished run has recorded
  bool fresh = false;   // run again what the store has already; the old folders move to STORE/.replaced
  // Called once, when runs are about to start: returns a flag that stops them, saved. Null: nothing stops them.
  std::function<const std::atomic<bool>*()> catch_stop;
  std::function<void(const std::string&)> say;               // a line worth keeping
  std::function<void(double, const std::string&)> progress;  // share of the work that is done, with a text
};

struct PlannedSweep {
  Plan plan;
  std::vector<std::string> sources;  // a line for each speed that the estimates come from
};
// Cheap to repeat: what the recordings hold is remembered.
PlannedSweep plan_sweep(const Spec&, DataCatalogue&, const SweepOptions&);
// Tasks, states and times, as `cafx sweep plan` prints them; at most `lines` tasks.
std::string plan_text(const Spec&, const PlannedSweep&, int lines);
std::string plan_json(const Spec&, const PlannedSweep&);

struct SweepResult {
  bool finished = false;  // false: stopped, saved, to be continued by the same call
  std::vector<Task> tasks;
  std::vector<Row> rows;  // of `tasks`
  int n_failed = 0;       // runs that failed, and those that wait for a failed one
};
// Plans, runs all that the store does not have, and writes results.csv and results.json into STORE/NAME.sweep.
SweepResult run_sweep(const Spec&, const SweepOptions&);

void write_sweep_tables(const Spec&, const std::vector<Row>&);
// Runs that ended in this state (kFailed, kPruned) are to be tried again: outcomes go, deaths are counted anew.
// Returns how many.
int put_back(const Spec&, const std::vector<Task>&, State);

// Submits the sweep and returns text for the user; Slurm's last job writes the tables. `dry` only prints the scripts.
std::string submit_sweep(const Spec&, const SweepOptions&, const std::string& device, bool dry);

}  // namespace cafx
