#include "host/sweep/scheduler.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "host/sweep/worker.h"
#include "host/train/cohort.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

constexpr double kLookSeconds = 2.0;  // between checks of runs that other processes hold
constexpr double kRungSeconds = 0.3;  // between checks of cohorts whose members come to rungs
const char* const kWorseThanMedian = "worse than the median of the others at its rung";
constexpr int kCandidates = 64;  // ready tasks that are tried for free memory

// How many GPUs a task asks for: its config's train.gpus is a number, "all", or a list.
int gpus_wanted(const Task& t, int n_gpus) {
  if (!t.config.is_object()) return 1;
  const std::string text = t.config.value("train.gpus", "");
  if (text.empty() || n_gpus == 0) return 1;
  if (text == "all") return n_gpus;
  const bool list = text.find(',') != std::string::npos;
  const long n = list ? std::count(text.begin(), text.end(), ',') + 1 : std::strtol(text.c_str(), nullptr, 10);
  return static_cast<int>(std::clamp<long>(n, 1, n_gpus));
}

// What decides how large a run's validation is, beside its weights: the recordings, and the measure.
bool decides_validation(const nlohmann::json& config, const std::string& key) {
  const bool by_loss = config.value("train.stop_on", "loss") == "loss";
  return key.rfind("data.", 0) == 0 || key == "train.stop_on" || (by_loss && key.rfind("train.loss.", 0) == 0);
}

double value_of(const Outcome& o, const std::string& objective) {
  if (objective.empty()) return o.validation();
  const auto found = o.metrics.find(objective);
  return found != o.metrics.end() && found->is_number() ? found->get<double>() : std::nan("");
}

}  // namespace

void FolderBoard::close(const Task& t, State state, const std::string& reason) {
  const auto lease = Lease::claim(store_.run(t), lease_seconds_, 0);
  if (!lease) return;
  Outcome o = store_.outcome(t);
  if (o.state == State::kQueued) {
    o.state = state;
    o.reason = reason;
    Store::write_outcome(store_.run(t), o);
  }
  lease->give_back();
}

void FolderBoard::end_pruned(const Task& t, const std::string& reason) {
  write_file_atomically(store_.run(t) / "prune", reason.data(), reason.size());
}

bool FolderBoard::space() {
  const auto probe = store_.root() / fmt::format(".space.{}", getpid());
  const int fd = open(probe.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  const std::vector<char> block(1 << 20);  // of a few checkpoints
  bool good = true;
  for (int i = 0; i < 8 && good; ++i)
    good = ::write(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size());
  good = good && fsync(fd) == 0;
  ::close(fd);
  unlink(probe.c_str());
  return good;
}

Scheduler::Scheduler(std::vector<Task>& tasks, std::vector<DeviceSlots> devices, Board& board, Launcher& launcher,
                     Pruner* pruner, Proposer* proposer, SchedulerOptions options)
    : tasks_(tasks),
      devices_(std::move(devices)),
      board_(board),
      launcher_(launcher),
      pruner_(pruner),
      proposer_(proposer),
      options_(std::move(options)),
      load_(devices_.size()),
      cohorts_(std::any_of(devices_.begin(), devices_.end(), [](const auto& d) { return d.cohort > 1; })) {}

int Scheduler::n_running() const {
  return static_cast<int>(std::count_if(status_.begin(), status_.end(),
                                        [](const Status& s) { return s.state == State::kRunning && !s.elsewhere; }));
}

void Scheduler::add_new_tasks() {
  const auto from = static_cast<int>(status_.size());
  status_.resize(tasks_.size());
  children_.resize(tasks_.size());
  for (int i = from; i < static_cast<int>(tasks_.size()); ++i) {
    const int parent = tasks_[static_cast<std::size_t>(i)].parent;
    if (parent >= 0) children_[static_cast<std::size_t>(parent)].push_back(i);
    Status& s = status_[static_cast<std::size_t>(i)];
    const Task& t = tasks_[static_cast<std::size_t>(i)];
    for (const auto& [key, value] : t.config.items()) {
      if (key == "train.epochs" && value.is_number()) s.epochs = value.get<int>();
      if (decides_validation(t.config, key)) s.group += value.dump() + "\n";
    }
    if (cohorts_ && t.kind == TaskKind::kTrain && gpus_wanted(t, n_gpus()) < 2) s.kin = kinship(t.config);
    read_state(i);
  }
}

void Scheduler::set_state(int task, State state) {
  Status& s = status_[static_cast<std::size_t>(task)];
  if (s.state == State::kQueued) ready_.erase({s.rank, task});
  s.state = state;
  if (options_.changed) options_.changed(task, state);
}

void Scheduler::queue(int task) {
  set_state(task, State::kQueued);
  Status& s = status_[static_cast<std::size_t>(task)];
  s.rank = -tasks_[static_cast<std::size_t>(task)].priority;
  ready_.insert({s.rank, task});
}

void Scheduler::read_state(int task) {
  Status& s = status_[static_cast<std::size_t>(task)];
  s.outcome = board_.outcome(tasks_[static_cast<std::size_t>(task)]);
  settle(task);
}

void Scheduler::settle(int task) {
  const Task& t = tasks_[static_cast<std::size_t>(task)];
  Status& s = status_[static_cast<std::size_t>(task)];
  if (s.outcome.state == State::kDone) {
    set_state(task, State::kDone);
    release_children(task);
    return;
  }
  if (s.outcome.state == State::kFailed) {
    set_state(task, State::kFailed);
    block_children(task, "its pretraining failed: " + s.outcome.reason);
    return;
  }
  if (s.outcome.state == State::kPruned) return set_state(task, State::kPruned);
  if (t.parent >= 0) {
    const Status& p = status_[static_cast<std::size_t>(t.parent)];
    if (p.state == State::kFailed) {
      s.outcome.reason = "its pretraining failed: " + p.outcome.reason;
      return set_state(task, State::kBlocked);
    }
    if (p.state != State::kDone) return set_state(task, State::kWaiting);
  }
  if (pruner_ && t.kind == TaskKind::kTrain) {
    s.until_epoch = pruner_->next_rung(static_cast<int>(s.outcome.rungs.size()), s.epochs);
    if (!s.outcome.rungs.empty()) return set_state(task, State::kPaused);
  }
  queue(task);
}

void Scheduler::release_children(int task) {
  for (const int child : children_[static_cast<std::size_t>(task)]) {
    const State state = status_[static_cast<std::size_t>(child)].state;
    if (state == State::kWaiting || state == State::kBlocked) settle(child);
  }
}

void Scheduler::block_children(int task, const std::string& reason) {
  for (const int child : children_[static_cast<std::size_t>(task)]) {
    Status& c = status_[static_cast<std::size_t>(child)];
    if (c.state != State::kWaiting) continue;
    c.outcome.reason = reason;
    set_state(child, State::kBlocked);
  }
}

int Scheduler::device_for(const Task& t) const {
  int best = -1;
  for (int d = 0; d < static_cast<int>(devices_.size()); ++d) {
    const DeviceSlots& device = devices_[static_cast<std::size_t>(d)];
    const Load& load = load_[static_cast<std::size_t>(d)];
    if (load.running >= device.slots) continue;
    // A task that fits nowhere still gets a device to itself: the plan may overestimate it.
    if (load.running > 0 && device.bytes > 0 && load.bytes + t.bytes > device.bytes) continue;
    if (best < 0 || load.running < load_[static_cast<std::size_t>(best)].running) best = d;
  }
  return best;
}

int Scheduler::n_gpus() const {
  return static_cast<int>(std::count_if(devices_.begin(), devices_.end(),
                                        [](const DeviceSlots& d) { return d.name.rfind("cuda", 0) == 0; }));
}

// Devices on which a task can start now; empty: none.
std::vector<int> Scheduler::team_for(const Task& t) const {
  const auto wanted = static_cast<std::size_t>(gpus_wanted(t, n_gpus()));
  if (wanted < 2) {
    const int d = device_for(t);
    return d < 0 ? std::vector<int>{} : std::vector<int>{d};
  }
  std::vector<int> free;
  for (int d = 0; d < static_cast<int>(devices_.size()); ++d) {
    const auto i = static_cast<std::size_t>(d);
    if (devices_[i].name.rfind("cuda", 0) == 0 && load_[i].running == 0) free.push_back(d);
  }
  if (free.size() < wanted) return {};
  free.resize(wanted);
  return free;
}

// The tasks that start in one process with `task`: itself, then ready ones of its kin, in their order; no more than
// leave every device that does nothing yet its part of them.
std::vector<int> Scheduler::company_of(int task, int device) const {
  const DeviceSlots& d = devices_[static_cast<std::size_t>(device)];
  const Status& first = status_[static_cast<std::size_t>(task)];
  std::vector<int> members{task};
  if (d.cohort < 2 || first.kin.empty() || first.alone) return members;
  std::vector<int> kin;
  for (const auto& [rank, other] : ready_) {
    const Status& s = status_[static_cast<std::size_t>(other)];
    if (other != task && !s.alone && s.kin == first.kin && s.until_epoch == first.until_epoch) kin.push_back(other);
  }
  if (kin.empty()) return members;
  const bool nothing_runs = load_[static_cast<std::size_t>(device)].running == 0;
  std::optional<int> by_speed;
  if (!d.speed_of.empty() && options_.cohort_by_speed) {
    by_speed = options_.cohort_by_speed(tasks_[static_cast<std::size_t>(task)], d, nothing_runs);
  }
  std::size_t idle = nothing_runs ? 0 : 1;
  for (const Load& l : load_) idle += l.running == 0 ? 1 : 0;
  const std::size_t part = (kin.size() + 1 + idle - 1) / idle,
                    most = std::min<std::size_t>(part, by_speed.value_or(d.cohort));
  const std::size_t taken = load_[static_cast<std::size_t>(device)].bytes;
  std::vector<const Task*> together{&tasks_[static_cast<std::size_t>(task)]};
  for (const int other : kin) {
    if (members.size() >= most) break;
    together.push_back(&tasks_[static_cast<std::size_t>(other)]);
    if (d.bytes > 0 && taken + bytes_together(together) > d.bytes) {
      together.pop_back();
      continue;
    }
    members.push_back(other);
  }
  return members;
}

void Scheduler::start(int task, std::vector<int> team) {
  const int d = team[0];
  Status& s = status_[static_cast<std::size_t>(task)];
  Load& load = load_[static_cast<std::size_t>(d)];
  const DeviceSlots& device = devices_[static_cast<std::size_t>(d)];
  // Free threads, divided among the processes that could still start here.
  const auto waiting = (static_cast<int>(ready_.size()) + device.cohort - 1) / device.cohort;
  const int could = std::clamp(waiting, 1, device.slots - load.running);
  Job job;
  job.task = task;
  job.device = d;
  job.device_name = device.name;
  job.threads = std::max(1, (device.threads - load.threads) / could);
  job.until_epoch = s.until_epoch;
  for (const int member : team) {
    if (team.size() < 2) break;
    const std::string& name = devices_[static_cast<std::size_t>(member)].name;
    job.gpus += (job.gpus.empty() ? "" : ",") + name.substr(name.find(':') + 1);
  }
  s.members = team.size() > 1 ? std::vector<int>{task} : company_of(task, d);
  job.verdicts = pruner_ && s.members.size() > 1 && job.until_epoch > 0;
  std::vector<const Task*> members;
  for (const int m : s.members) {
    const Task& t = tasks_[static_cast<std::size_t>(m)];
    board_.prepare(t, t.parent >= 0 ? &tasks_[static_cast<std::size_t>(t.parent)] : nullptr);
    members.push_back(&t);
  }
  s.bytes = bytes_together(members);
  launcher_.start(members, job);
  s.device = d;
  s.threads = job.threads;
  load.threads += job.threads;
  for (const int member : team) {
    Load& m = load_[static_cast<std::size_t>(member)];
    m.bytes += s.bytes;
    m.running += team.size() > 1 ? devices_[static_cast<std::size_t>(member)].slots : 1;  // to itself
  }
  s.team = std::move(team);
  ++n_running_;
  for (const int m : s.members) {
    Status& member = status_[static_cast<std::size_t>(m)];
    member.leader = task;
    member.at_rung = member.leaving = false;
    set_state(m, State::kRunning);
  }
}

void Scheduler::start_ready() {
  for (bool any = true; any;) {
    any = false;
    int looked = 0;
    for (const auto& [priority, task] : ready_) {
      if (++looked > kCandidates) break;
      const Task& t = tasks_[static_cast<std::size_t>(task)];
      std::vector<int> team = team_for(t);
      if (team.empty() && looked == 1 && gpus_wanted(t, n_gpus()) > 1) break;
      if (team.empty()) continue;
      start(task, std::move(team));
      any = true;
      break;
    }
  }
}

void Scheduler::ended(const Exit& e) {
  Status& s = status_[static_cast<std::size_t>(e.task)];
  Load& load = load_[static_cast<std::size_t>(s.device)];
  load.threads -= s.threads;
  for (const int member : s.team) {
    Load& m = load_[static_cast<std::size_t>(member)];
    m.bytes -= s.bytes;
    m.running -= s.team.size() > 1 ? devices_[static_cast<std::size_t>(member)].slots : 1;
  }
  s.team.clear();
  --n_running_;
  s.device = -1;
  const std::vector<int> members = std::exchange(s.members, {});
  for (const int m : members) {
    Status& member = status_[static_cast<std::size_t>(m)];
    if (member.leader != e.task) continue;
    member.leader = -1;
    if (member.state == State::kRunning) conclude(m, e, members.size() > 1);
  }
}

// What becomes of a task whose process has ended.
void Scheduler::conclude(int task, const Exit& e, bool in_company) {
  Status& s = status_[static_cast<std::size_t>(task)];
  const Task& t = tasks_[static_cast<std::size_t>(task)];
  const auto say = [&](const std::string& text) {
    if (options_.say) options_.say(fmt::format("{}: {}", t.folder, text));
  };
  s.outcome = board_.outcome(t);
  if (s.outcome.state != State::kQueued) {
    if (s.outcome.state == State::kFailed) say("failed: " + s.outcome.reason);
    return settle(task);
  }
  const bool held = in_company && e.signal == 0 && board_.lease(t).held;
  if (held || (e.signal == 0 && e.code == kExitBusy)) {
    s.elsewhere = true;
    elsewhere_.insert(task);
    return set_state(task, State::kRunning);
  }
  if (e.signal == 0 && e.code == kExitDiskFull) full_ = true;
  if ((e.signal == 0 && e.code == kExitRequeue) || at_its_rung(s)) return settle(task);
  if (e.signal == 0 && e.code == kExitDiskFull) return queue(task);
  if (e.signal == 0 && e.code == 130) return queue(task);
  if (in_company && e.signal == 0) {  // not begun, or a fault of the process that need not be this run's
    s.alone = true;
    return queue(task);
  }
  s.last_end = e.signal ? fmt::format("killed by signal {} ({})", e.signal, strsignal(e.signal))
                        : fmt::format("ended with code {}", e.code);
  const int deaths = board_.deaths(t);
  s.alone = s.alone || (in_company && deaths > 1);
  if (e.signal == 0 || deaths > options_.retries) {
    board_.close(
        t, State::kFailed,
        fmt::format("its process {}, {} times in a row without progress; worker.log in its folder may tell why",
                    s.last_end, std::max(1, deaths)));
    s.outcome = board_.outcome(t);
    say("failed: " + s.outcome.reason);
    if (s.outcome.state != State::kQueued) return settle(task);
  } else {
    say(fmt::format("{}; it goes on from its checkpoint", s.last_end));
  }
  queue(task);
}

// Runs that another process holds: did it finish or abandon them?
void Scheduler::look_elsewhere() {
  for (const int task : std::vector<int>(elsewhere_.begin(), elsewhere_.end())) {
    Status& s = status_[static_cast<std::size_t>(task)];
    const Task& t = tasks_[static_cast<std::size_t>(task)];
    s.outcome = board_.outcome(t);
    if (s.outcome.state == State::kQueued && board_.lease(t).held) continue;
    elsewhere_.erase(task);
    s.elsewhere = false;
    s.outcome = board_.outcome(t);
    settle(task);
  }
}

// The rung that it was started for is behind it.
bool Scheduler::at_its_rung(const Status& s) const {
  return pruner_ && s.until_epoch > 0 && !s.outcome.rungs.empty() && s.outcome.rungs.back().first >= s.until_epoch;
}

// Members that have left a cohort whose process goes on: those that wait for them need not. And those at their rung.
void Scheduler::look_into_cohorts() {
  for (std::size_t i = 0; i < status_.size(); ++i) {
    if (status_[i].members.size() < 2) continue;
    const std::vector<int> members = status_[i].members;
    for (const int task : members) {
      const Status& s = status_[static_cast<std::size_t>(task)];
      if (s.leader == static_cast<int>(i) && s.state == State::kRunning && !s.elsewhere) look_at_member(task);
    }
  }
}

void Scheduler::look_at_member(int task) {
  Status& s = status_[static_cast<std::size_t>(task)];
  const Task& t = tasks_[static_cast<std::size_t>(task)];
  const Outcome outcome = board_.outcome(t);
  if (outcome.state == State::kQueued) {
    if (outcome.rungs.size() == s.outcome.rungs.size() && !s.leaving) return;
    s.outcome = outcome;
    if (!s.leaving) {
      s.at_rung = at_its_rung(s);
    } else if (!board_.lease(t).held) {
      settle(task);
    }
    return;
  }
  s.outcome = outcome;
  s.at_rung = s.leaving = false;
  if (outcome.state == State::kFailed && options_.say) {
    options_.say(fmt::format("{}: failed: {}", t.folder, outcome.reason));
  }
  settle(task);
}

// Whether another member of its process can still come to that rung.
bool Scheduler::comes_to_rung_of(int task) const {
  const Status& s = status_[static_cast<std::size_t>(task)];
  const std::vector<int>& members = status_[static_cast<std::size_t>(s.leader)].members;
  return std::any_of(members.begin(), members.end(), [&](int other) {
    const Status& o = status_[static_cast<std::size_t>(other)];
    if (o.leader != s.leader || o.state != State::kRunning || o.elsewhere || o.leaving || o.until_epoch == 0)
      return false;
    return o.until_epoch < s.until_epoch || (o.until_epoch == s.until_epoch && !o.at_rung);
  });
}

void Scheduler::judge_at_rung(int task, Pruner::Verdict verdict) {
  Status& s = status_[static_cast<std::size_t>(task)];
  const Task& t = tasks_[static_cast<std::size_t>(task)];
  const bool at_once = verdict == Pruner::Verdict::kContinue && pruner_->asynchronous();
  if (!at_once && comes_to_rung_of(task)) return;
  s.at_rung = false;
  s.leaving = verdict != Pruner::Verdict::kContinue;
  if (verdict == Pruner::Verdict::kStop) return board_.end_pruned(t, kWorseThanMedian);
  const auto n = static_cast<int>(s.outcome.rungs.size());
  if (!s.leaving) s.until_epoch = pruner_->next_rung(n, s.epochs);
  board_.verdict(t, s.outcome.rungs.size(), s.leaving ? -1 : s.until_epoch);
}

void Scheduler::prune() {
  std::vector<Trial> trials;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].kind != TaskKind::kTrain) continue;
    const Status& s = status_[i];
    trials.push_back({static_cast<int>(i), s.state, s.outcome.rungs, std::nan(""), s.epochs, s.group});
    if (s.at_rung) trials.back().state = State::kPaused;
    if (s.state == State::kDone) trials.back().value = value_of(s.outcome, options_.objective);
  }
  if (pruner_) {
    const auto verdicts = pruner_->judge(trials);
    for (std::size_t i = 0; i < trials.size(); ++i) {
      const int task = trials[i].task;
      if (status_[static_cast<std::size_t>(task)].at_rung) {
        judge_at_rung(task, verdicts[i]);
        continue;
      }
      if (trials[i].state != State::kPaused || verdicts[i] == Pruner::Verdict::kStay) continue;
      if (!status_[static_cast<std::size_t>(task)].members.empty()) continue;  // it leads a process that goes on
      if (verdicts[i] == Pruner::Verdict::kContinue) {
        queue(task);
      } else {
        board_.close(tasks_[static_cast<std::size_t>(task)], State::kPruned, kWorseThanMedian);
        status_[static_cast<std::size_t>(task)].outcome.reason = kWorseThanMedian;
        set_state(task, State::kPruned);
      }
    }
  }
  if (proposer_) {
    if (proposer_->propose(tasks_, trials, free_places() - static_cast<int>(ready_.size()))) add_new_tasks();
  }
}

// Runs that could start at once: a slot holds one, and one slot of a device is enough for a whole cohort.
int Scheduler::free_places() const {
  std::vector<int> runs(devices_.size());
  for (const Status& s : status_) {
    if (s.state == State::kRunning && s.leader >= 0) {
      const int device = status_[static_cast<std::size_t>(s.leader)].device;
      if (device >= 0) ++runs[static_cast<std::size_t>(device)];
    }
  }
  int free = 0;
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    const int slots = devices_[d].slots - load_[d].running;
    free += slots < 1 ? 0 : std::max(slots, devices_[d].cohort - runs[d]);
  }
  return free;
}

void Scheduler::wait_for_space() {
  if (!full_) return;
  if (board_.space()) {
    if (options_.say) options_.say("there is space on the disk again: the sweep goes on");
    full_ = false;
  }
}

bool Scheduler::anything_left() const {
  return n_running_ > 0 || !ready_.empty() || !elsewhere_.empty() || (proposer_ && !proposer_->finished());
}

bool Scheduler::run() {
  add_new_tasks();
  bool stopping = false, told_full = false;
  double full_since = 0.0, full_wait = 1.0;
  for (;;) {
    const double now = launcher_.now();
    if (!stopping) {
      if (pruner_ || proposer_) prune();
      if (full_ && !told_full) {
        if (options_.say) {
          options_.say(
              "the disk is full: the sweep is paused, nothing is lost; once 8 MiB are free it goes on by itself");
        }
        told_full = true;
        full_since = now;
      }
      if (full_ && now - full_since >= full_wait) {
        full_since = now;
        full_wait = std::min(60.0, 2.0 * full_wait);
        wait_for_space();
        told_full = full_;
      }
      try {
        if (!full_) start_ready();
      } catch (const WriteError& e) {
        if (!e.disk_full()) throw;
        full_ = true;
      }
    }
    if (!anything_left() || (stopping && n_running_ == 0)) break;
    const bool wanted = (options_.stop && *options_.stop) || (options_.asked_to_stop && options_.asked_to_stop());
    if (wanted && !stopping) {
      stopping = true;
      if (options_.say) options_.say("stopping: every run saves and ends");
      launcher_.stop();
    }
    for (const Exit& e : launcher_.wait(n_running_ > 0 ? 0.2 : 0.5)) ended(e);
    if (now - last_look_ >= kLookSeconds && !elsewhere_.empty()) {
      last_look_ = now;
      look_elsewhere();
    }
    if (cohorts_ && now - last_cohorts_ >= (pruner_ ? kRungSeconds : kLookSeconds)) {
      last_cohorts_ = now;
      look_into_cohorts();
    }
    if (options_.tick && now - last_tick_ >= options_.tick_seconds) {
      last_tick_ = now;
      options_.tick();
    }
  }
  if (options_.tick) options_.tick();
  return !stopping;
}

}  // namespace cafx
