// host/sweep/task.h -- the tasks of a sweep; each has a folder that holds its whole state.
//
//   STORE/PRESET-KEY/     the run's own files (host/train/train.h), and of the scheduler:
//     task.json           kind, key, config, settings, parent: all that a worker needs
//     lease.N             who works on it (lease.h)
//     progress.json       current state, for displays
//     rungs.json          validation error at each rung reached
//     verdict.json        what its scheduler made of the last one, while the run waits there in its cohort
//     outcome.json        done, failed or pruned; its existence alone ends the task
//     usage.json          seconds, steps, memory; no result depends on it
//     worker.log          output of its processes
//   STORE/NAME.sweep/     of the sweep: sweep.toml, tasks.jsonl, results.csv, report.html, index.sqlite, stop, slurm/
//
//   The key is the run's hash: config and content of the data. A fine-tuning's covers the key of its pretraining in
//   place of a path. The folder's name is the key, so that sweeps that need the same run share the folder.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/sweep/spec.h"

namespace cafx {

enum class TaskKind { kPretrain, kTrain };
const char* to_string(TaskKind);

enum class State { kWaiting, kQueued, kRunning, kPaused, kDone, kFailed, kPruned, kBlocked };
const char* to_string(State);

struct Task {
  TaskKind kind = TaskKind::kTrain;
  std::string key;       // 12 hex digits
  std::string folder;    // its name in the store
  Point point;           // settings; of a pretraining those of the first run that needs it
  int parent = -1;       // index of its pretraining
  Json config;           // flat, resolved
  double frames = 0.0;   // forward and backward passes if no stage ends early
  double forward = 0.0;  // passes forward alone, of validations and the test; not in tasks.jsonl
  double reading = 0.0;  // seconds until its recordings are read; not in tasks.jsonl
  double seconds = 0.0;  // estimate, on one slot
  // Of them those of its steps, which decide what goes first: the others are measured for each task, so that two equal
  // ones would differ by chance. Nothing: all of them. Not in tasks.jsonl.
  std::optional<double> of_steps = std::nullopt;
  std::size_t bytes = 0;  // of the device's memory, by the memory plan
  // Of them, what runs of one process hold once: a name that they have in common, and its bytes.
  std::vector<std::pair<std::string, std::size_t>> shares;
  double priority = 0.0;  // seconds from its start to the end of the longest chain behind it
  std::string refused;    // why its recordings cannot be trained on; empty: they can. Not in tasks.jsonl
};
// Of tasks in one process.
std::size_t bytes_together(const std::vector<const Task*>& tasks);

// The content of outcome.json and rungs.json.
struct Outcome {
  State state = State::kQueued;  // kDone, kFailed, kPruned; kQueued: there is no outcome
  std::string reason;
  Json metrics = Json::object();              // flat: validation_mae, training_mae, steps, test.mae, test.esr, ...
  std::vector<std::pair<int, double>> rungs;  // supervised epochs, best validation error by then

  // What the run's validation came to, whatever it stops on: "validation_mae", "validation_esr", ...; NaN: none.
  double validation() const;
};

struct Progress {
  std::string stage;
  int epoch = 0, epochs = 0;
  double loss = 0.0, best = 0.0, frames_per_second = 0.0, fraction = 0.0, seconds_left = 0.0;
};

class Store {
 public:
  explicit Store(std::filesystem::path root) : root_(std::move(root)) {}
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path run(const Task& t) const { return root_ / t.folder; }
  std::filesystem::path sweep(const std::string& name) const { return root_ / (name + ".sweep"); }

  // Creates the folder with its task.json, if missing.
  void make(const Task&, const Task* parent, double lease_seconds) const;
  Outcome outcome(const Task& t) const { return read_outcome(run(t)); }

  static Outcome read_outcome(const std::filesystem::path& run);
  static void write_outcome(const std::filesystem::path& run, const Outcome&);
  // Of a run that waits at its n-th rung: up to which epoch it goes on; 0: to the end; less: it leaves.
  static void write_verdict(const std::filesystem::path& run, std::size_t n_rungs, int until_epoch);
  static std::optional<int> read_verdict(const std::filesystem::path& run, std::size_t n_rungs);  // none: not yet
  static Progress read_progress(const std::filesystem::path& run);
  static Json read_json(const std::filesystem::path&);  // discarded if the file is missing
  // Steps in the run's checkpoint; 0 without one.
  static long steps_done(const std::filesystem::path& run);

 private:
  std::filesystem::path root_;
};

}  // namespace cafx
