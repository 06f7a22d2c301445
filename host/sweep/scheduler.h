// host/sweep/scheduler.h -- starts tasks in the best order on the available devices and handles their ends.
//
//   A task is ready when its pretraining is done. Ready ones start by priority: the longest chain of work behind them
//   first. A task goes to a device with a free slot and enough memory; a CPU's threads are divided among its runs, so
//   that a lone pretraining gets them all and many small runs get one each.
//
//   Tasks of one architecture share a process where the device takes cohorts (host/train/cohort.h): the first in line,
//   and those of its kin behind it, as far as the memory goes. A cohort takes one slot. A member that ends leaves it,
//   one whose company died twice goes on alone.
//
//   At a rung a member of a cohort waits in its process for the pruner. One that is promoted goes on where it is; one
//   that is not leaves as soon as no other of its process can come to that rung, and may be promoted later, in another.
//
//   A task with `train.gpus` gets that many GPUs to itself. While it is first in line and waits for them, nothing else
//   starts, so that small runs cannot starve it.
//
//   The run folders hold the state: it is read from them at the start and after each end of a worker. So the process
//   may be killed at any moment, and several processes may work on one sweep over a shared folder.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "host/sweep/launcher.h"
#include "host/sweep/lease.h"
#include "host/sweep/plan.h"
#include "host/sweep/search.h"

namespace cafx {

struct DeviceSlots {
  std::string name;  // "cpu", "cuda:0"
  int slots = 1;
  int threads = 1;            // to be divided among its runs
  std::size_t bytes = 0;      // memory for runs; 0: not limited
  int cohort = 1;             // most runs in one process; of those whose speed is not known, where speed decides
  std::string speed_of = "";  // whose speed decides instead: the name of the GPU; empty: nobody's
};
// Resolves the spec's device, slots, threads and memory on this host. CUDA_VISIBLE_DEVICES (Slurm's or the user's)
// limits the GPUs.
std::vector<DeviceSlots> find_devices(const SweepConfig&);

// The state of tasks: run folders (FolderBoard), or a simulation's memory.
class Board {
 public:
  virtual ~Board() = default;
  virtual Outcome outcome(const Task&) = 0;
  virtual void prepare(const Task&, const Task* parent) = 0;  // before it is started
  virtual LeaseState lease(const Task&) = 0;
  virtual int deaths(const Task&) = 0;                                    // in a row, without progress between them
  virtual void close(const Task&, State, const std::string& reason) = 0;  // kFailed or kPruned
  // Of a run that waits at its rung, the n-th: Store::write_verdict; and that it ends as pruned.
  virtual void verdict(const Task&, std::size_t n_rungs, int until_epoch) = 0;
  virtual void end_pruned(const Task&, const std::string& reason) = 0;
  virtual bool space() = 0;  // on the disk
};

class FolderBoard : public Board {
 public:
  FolderBoard(const Store& store, double lease_seconds) : store_(store), lease_seconds_(lease_seconds) {}
  Outcome outcome(const Task& t) override { return store_.outcome(t); }
  void prepare(const Task& t, const Task* parent) override { store_.make(t, parent, lease_seconds_); }
  LeaseState lease(const Task& t) override { return inspect_lease(store_.run(t), lease_seconds_); }
  int deaths(const Task& t) override { return deaths_without_progress(store_.run(t)); }
  void close(const Task&, State, const std::string& reason) override;
  void verdict(const Task& t, std::size_t n_rungs, int until_epoch) override {
    Store::write_verdict(store_.run(t), n_rungs, until_epoch);
  }
  void end_pruned(const Task&, const std::string& reason) override;
  bool space() override;

 private:
  const Store& store_;
  double lease_seconds_;
};

struct SchedulerOptions {
  int retries = 3;
  std::string objective;  // metric that the proposer is told of; empty: the validation
  const std::atomic<bool>* stop = nullptr;
  std::function<bool()> asked_to_stop;           // by another process
  std::function<void(const std::string&)> say;   // a line worth keeping
  std::function<void(int task, State)> changed;  // for the index
  // Most runs in one process of this device by speed (cohort_sizes.h); `idle`: nothing is at work on it.
  std::function<std::optional<int>(const Task&, const DeviceSlots&, bool idle)> cohort_by_speed;
  std::function<void()> tick;  // now and then, for the display
  double tick_seconds = 1.0;
};

class Scheduler {
 public:
  Scheduler(std::vector<Task>& tasks, std::vector<DeviceSlots> devices, Board&, Launcher&, Pruner*, Proposer*,
            SchedulerOptions);
  // Runs until nothing is left to do. False: stopped before.
  bool run();

  State state(int task) const { return status_[static_cast<std::size_t>(task)].state; }
  const Outcome& outcome(int task) const { return status_[static_cast<std::size_t>(task)].outcome; }
  int n_running() const;  // tasks, in processes of this one

 private:
  struct Status {
    State state = State::kWaiting;
    Outcome outcome;
    double rank = 0.0;  // its key in ready_
    int until_epoch = 0;
    int device = -1;
    int threads = 0;
    bool elsewhere = false;  // another process works on it
    int epochs = 0;          // supervised, of the config
    std::string group;       // of trials that are compared (search.h)
    std::vector<int> team;   // its exclusive devices, the first is `device`
    std::string last_end;
    std::string kin;           // of tasks that can share a process; empty: it goes alone
    std::vector<int> members;  // of the process that it leads, itself first, also those that have left
    int leader = -1;           // of the process that it is in
    bool at_rung = false;      // it waits there, and its process goes on
    bool leaving = false;      // it has been told to leave that process
    std::size_t bytes = 0;     // that this process holds
    bool alone = false;        // after deaths in company
  };
  struct Load {
    int running = 0, threads = 0;
    std::size_t bytes = 0;
  };

  void add_new_tasks();
  void read_state(int task);
  void settle(int task);  // after its outcome was read: done, failed, paused or to be queued
  void set_state(int task, State);
  void release_children(int task);
  void block_children(int task, const std::string& reason);
  void queue(int task);
  void start_ready();
  int device_for(const Task&) const;
  std::vector<int> team_for(const Task&) const;
  int n_gpus() const;
  std::vector<int> company_of(int task, int device) const;
  void start(int task, std::vector<int> team);
  void ended(const Exit&);
  void conclude(int task, const Exit&, bool in_company);
  void look_elsewhere();
  void look_into_cohorts();
  void look_at_member(int task);
  bool comes_to_rung_of(int task) const;
  void judge_at_rung(int task, Pruner::Verdict);
  bool at_its_rung(const Status&) const;
  void prune();
  int free_places() const;
  void wait_for_space();
  bool anything_left() const;

  std::vector<Task>& tasks_;
  std::vector<DeviceSlots> devices_;
  Board& board_;
  Launcher& launcher_;
  Pruner* pruner_;
  Proposer* proposer_;
  SchedulerOptions options_;
  std::vector<Status> status_;
  std::vector<std::vector<int>> children_;
  std::vector<Load> load_;
  std::set<std::pair<double, int>> ready_;  // (-priority, task)
  std::set<int> elsewhere_;
  int n_running_ = 0;     // processes
  bool cohorts_ = false;  // a device takes them
  bool full_ = false;
  double last_tick_ = -1e9, last_look_ = -1e9, last_cohorts_ = -1e9;
};

}  // namespace cafx
