// host/sweep/simulate.h -- a simulated cluster: the real Scheduler on a Board and a Launcher whose tasks only take
// time, by a model of durations, memory, failures and deaths.
//
//   A task takes its estimate times exp(jitter N(0,1)), and as much memory as the plan says; a share of `failures`
//   fails on the way (NaN). Workers die at random, sometimes a whole host with all its runs; work since the last
//   checkpoint is repeated. The clock jumps from one event to the next.
//
// Bits     the same tasks, model and seed: the same events, whatever the machine.
// Errors   CheckError where the scheduler breaks a rule: more runs or memory on a device than it has, a task before its
//          pretraining, one that runs already, one that is over.
#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "host/sweep/scheduler.h"

namespace cafx {

struct SimulationModel {
  double jitter = 0.2;
  double failures = 0.01;         // share of tasks
  double deaths_per_hour = 0.02;  // of a worker
  double host_deaths_per_hour = 0.002;
  int devices_per_host = 8;
  double checkpoint_seconds = 20.0;
  double start_seconds = 8.0;  // of a process, before its first step
  std::uint64_t seed = 1;
};

class Simulation : public Board, public Launcher {
 public:
  Simulation(const std::vector<Task>&, const std::vector<DeviceSlots>&, const SimulationModel&);

  Outcome outcome(const Task&) override;
  void prepare(const Task&, const Task* parent) override;
  LeaseState lease(const Task&) override { return {}; }
  int deaths(const Task&) override;
  void close(const Task&, State, const std::string& reason) override;
  void verdict(const Task&, std::size_t, int) override {}
  void end_pruned(const Task&, const std::string&) override {}
  bool space() override { return true; }

  void start(const std::vector<const Task*>& members, const Job&) override;
  std::vector<Exit> wait(double seconds) override;
  void stop() override {}
  double now() const override { return now_; }

  struct Counts {
    long starts = 0, worker_deaths = 0, host_deaths = 0, killed_by_hosts = 0, failures = 0, given_up = 0, done = 0;
    double busy_seconds = 0.0, lost_seconds = 0.0;  // of slots: all, and repeated or discarded work
    double own_seconds = 0.0;                       // real time spent in the simulation itself
  };
  const Counts& counts() const { return counts_; }
  // No schedule ends sooner: the work of all tasks that run, spread over all slots without a gap, or the longest chain
  // of a pretraining and a run behind it; deaths and the start of processes left out.
  double lower_bound() const;

 private:
  struct Life {
    State state = State::kQueued;
    double seconds = 0.0, fails_at = 0.0;  // of undisturbed work; fails_at 0: never
    double done = 0.0;                     // that a checkpoint holds
    double began = 0.0;
    int deaths = 0, device = -1, starts = 0;
    double value = 0.0;
  };
  struct Event {
    double time;
    int task, start;  // which of its starts; events of older starts are ignored
    int signal;
    bool operator>(const Event& other) const { return time > other.time || (time == other.time && task > other.task); }
  };
  int index(const Task& t) const;
  void end(Life&, int signal, std::vector<Exit>&, int task);

  const std::vector<Task>& tasks_;
  const std::vector<DeviceSlots>& devices_;
  SimulationModel model_;
  std::vector<Life> lives_;
  std::vector<std::vector<int>> on_device_;
  std::vector<std::size_t> bytes_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  double now_ = 0.0, next_host_death_ = 0.0;
  std::uint64_t host_deaths_ = 0;
  Counts counts_;
};

// n_pretrain pretrainings with n_children runs each, without configs: seconds and bytes log-uniform between the bounds,
// for each pretraining's runs the same bytes.
std::vector<Task> synthetic_tasks(int n_pretrain, int n_children, double least_seconds, double most_seconds,
                                  std::size_t least_bytes, std::size_t most_bytes, std::uint64_t seed);

}  // namespace cafx
