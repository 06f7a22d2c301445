#include "host/sweep/simulate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>

#include "host/sweep/worker.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

// Streams of random numbers, one for each use.
enum Stream : std::uint64_t { kDuration = 1, kFailure, kDeath, kHostTime, kHost, kSeconds, kBytes };

double exponential(const Rng& rng, std::uint64_t i) { return -std::log(1.0 - rng.uniform(i)); }

class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), began_(Clock::now()) {}
  ~Stopwatch() { total_ += std::chrono::duration<double>(Clock::now() - began_).count(); }

 private:
  double& total_;
  Clock::time_point began_;
};

}  // namespace

Simulation::Simulation(const std::vector<Task>& tasks, const std::vector<DeviceSlots>& devices,
                       const SimulationModel& model)
    : tasks_(tasks),
      devices_(devices),
      model_(model),
      lives_(tasks.size()),
      on_device_(devices.size()),
      bytes_(devices.size()) {
  const Rng duration{model.seed, kDuration}, failure{model.seed, kFailure};
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    Life& life = lives_[i];
    life.seconds = std::max(1.0, tasks[i].seconds * std::exp(model.jitter * duration.normal(i)));
    life.value = duration.uniform(i);
    if (failure.uniform(2 * i) < model.failures) life.fails_at = life.seconds * failure.uniform(2 * i + 1);
  }
  next_host_death_ = INFINITY;
  if (model.host_deaths_per_hour > 0.0 && !devices.empty()) {
    next_host_death_ = 0.0;
    const double hosts = std::ceil(static_cast<double>(devices.size()) / model.devices_per_host);
    next_host_death_ = 3600.0 / (model.host_deaths_per_hour * hosts) * exponential({model.seed, kHostTime}, 0);
  }
}

int Simulation::index(const Task& t) const { return static_cast<int>(&t - tasks_.data()); }

Outcome Simulation::outcome(const Task& t) {
  const Stopwatch watch(counts_.own_seconds);
  const Life& life = lives_[static_cast<std::size_t>(index(t))];
  Outcome o;
  o.state = life.state;
  if (life.state == State::kDone) o.metrics["validation_mae"] = life.value;
  if (life.state == State::kFailed) o.reason = "simulated";
  return o;
}

void Simulation::prepare(const Task& t, const Task* parent) {
  if (parent) {
    const State state = lives_[static_cast<std::size_t>(index(*parent))].state;
    CAFX_CHECK(state == State::kDone, index(t), to_string(state));
  }
}

int Simulation::deaths(const Task& t) { return lives_[static_cast<std::size_t>(index(t))].deaths; }

void Simulation::close(const Task& t, State state, const std::string&) {
  Life& life = lives_[static_cast<std::size_t>(index(t))];
  CAFX_CHECK(life.state == State::kQueued && life.device < 0, index(t));
  life.state = state;
  if (state == State::kFailed) ++counts_.given_up;
}

void Simulation::start(const std::vector<const Task*>& members, const Job& job) {
  const Stopwatch watch(counts_.own_seconds);
  CAFX_CHECK(members.size() == 1, members.size(), 1);  // no cohorts here
  const Task& t = *members[0];
  const auto d = static_cast<std::size_t>(job.device);
  Life& life = lives_[static_cast<std::size_t>(job.task)];
  CAFX_CHECK(index(t) == job.task && life.state == State::kQueued && life.device < 0, job.task, life.device);
  CAFX_CHECK(static_cast<int>(on_device_[d].size()) < devices_[d].slots, job.task, job.device);
  CAFX_CHECK(on_device_[d].empty() || devices_[d].bytes == 0 || bytes_[d] + t.bytes <= devices_[d].bytes, job.task,
             job.device, bytes_[d], t.bytes);
  on_device_[d].push_back(job.task);
  bytes_[d] += t.bytes;
  life.device = job.device;
  life.began = now_;
  ++life.starts;
  ++counts_.starts;
  const double to_end = model_.start_seconds + (life.fails_at > 0.0 ? life.fails_at : life.seconds) - life.done;
  double death = INFINITY;
  if (model_.deaths_per_hour > 0.0) {
    const auto draw = static_cast<std::uint64_t>(job.task) << 20 | static_cast<std::uint64_t>(life.starts);
    death = 3600.0 / model_.deaths_per_hour * exponential({model_.seed, kDeath}, draw);
  }
  events_.push({now_ + std::min(to_end, death), job.task, life.starts, death < to_end ? SIGKILL : 0});
}

void Simulation::end(Life& life, int signal, std::vector<Exit>& exits, int task) {
  const auto d = static_cast<std::size_t>(life.device);
  on_device_[d].erase(std::find(on_device_[d].begin(), on_device_[d].end(), task));
  bytes_[d] -= tasks_[static_cast<std::size_t>(task)].bytes;
  life.device = -1;
  const double ran = now_ - life.began, worked = std::max(0.0, ran - model_.start_seconds);
  counts_.busy_seconds += ran;
  int code = 0;
  if (signal != 0) {
    const double kept = std::floor(worked / model_.checkpoint_seconds) * model_.checkpoint_seconds;
    life.deaths = kept > 0.0 ? 1 : life.deaths + 1;
    life.done += kept;
    counts_.lost_seconds += ran - kept;
  } else if (life.fails_at > 0.0) {
    life.state = State::kFailed;
    code = kExitFailed;
    ++counts_.failures;
    counts_.lost_seconds += ran;
  } else {
    life.state = State::kDone;
    ++counts_.done;
  }
  exits.push_back({task, code, signal});
}

std::vector<Exit> Simulation::wait(double seconds) {
  const Stopwatch watch(counts_.own_seconds);
  std::vector<Exit> exits;
  const auto stale = [&](const Event& e) {
    const Life& life = lives_[static_cast<std::size_t>(e.task)];
    return life.device < 0 || life.starts != e.start;
  };
  while (!events_.empty() && stale(events_.top())) events_.pop();
  if (events_.empty()) {
    now_ += seconds;
    return exits;
  }
  const double first = events_.top().time;
  if (next_host_death_ < first) {
    now_ = std::max(now_, next_host_death_);
    const auto n_hosts = static_cast<int>(devices_.size() + static_cast<std::size_t>(model_.devices_per_host) - 1) /
                         model_.devices_per_host;
    const auto host = static_cast<int>(Rng{model_.seed, kHost}.uniform(host_deaths_) * n_hosts);
    ++host_deaths_;
    ++counts_.host_deaths;
    next_host_death_ +=
        3600.0 / (model_.host_deaths_per_hour * n_hosts) * exponential({model_.seed, kHostTime}, host_deaths_);
    const int last = std::min(static_cast<int>(devices_.size()), (host + 1) * model_.devices_per_host);
    for (int d = host * model_.devices_per_host; d < last; ++d) {
      const auto running = on_device_[static_cast<std::size_t>(d)];
      for (const int task : running) end(lives_[static_cast<std::size_t>(task)], SIGKILL, exits, task);
    }
    counts_.killed_by_hosts += static_cast<long>(exits.size());
    return exits;
  }
  now_ = std::max(now_, first);
  while (!events_.empty() && events_.top().time <= now_) {
    const Event e = events_.top();
    events_.pop();
    if (stale(e)) continue;
    counts_.worker_deaths += e.signal != 0;
    end(lives_[static_cast<std::size_t>(e.task)], e.signal, exits, e.task);
  }
  return exits;
}

double Simulation::lower_bound() const {
  double work = 0.0, chain = 0.0, slots = 0.0;
  for (const DeviceSlots& d : devices_) slots += d.slots;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    const Life& life = lives_[i];
    const double own = life.fails_at > 0.0 ? life.fails_at : life.seconds;
    double before = 0.0;
    if (tasks_[i].parent >= 0) {
      const Life& parent = lives_[static_cast<std::size_t>(tasks_[i].parent)];
      if (parent.state == State::kFailed) continue;  // it never runs
      before = parent.seconds;
    }
    work += own;
    chain = std::max(chain, before + own);
  }
  return std::max(work / std::max(1.0, slots), chain);
}

std::vector<Task> synthetic_tasks(int n_pretrain, int n_children, double least_seconds, double most_seconds,
                                  std::size_t least_bytes, std::size_t most_bytes, std::uint64_t seed) {
  const auto between = [](double lo, double hi, double u) { return lo * std::pow(hi / lo, u); };
  const Rng seconds{seed, kSeconds}, bytes{seed, kBytes};
  std::vector<Task> tasks;
  for (int p = 0; p < n_pretrain; ++p) {
    const auto parent = static_cast<int>(tasks.size());
    const auto memory =
        static_cast<std::size_t>(between(static_cast<double>(least_bytes), static_cast<double>(most_bytes),
                                         bytes.uniform(static_cast<std::uint64_t>(p))));
    for (int c = -1; c < n_children; ++c) {
      Task t;
      t.kind = c < 0 ? TaskKind::kPretrain : TaskKind::kTrain;
      t.parent = c < 0 ? -1 : parent;
      t.key = fmt::format("{:012x}", tasks.size());
      t.folder = (c < 0 ? "pretrain-" : "default-") + t.key;
      t.point = {{"train.seed", c + 1}};
      t.seconds = between(least_seconds, most_seconds, seconds.uniform(tasks.size()));
      t.bytes = memory;
      tasks.push_back(std::move(t));
    }
  }
  prioritise(tasks, {});
  return tasks;
}

}  // namespace cafx
