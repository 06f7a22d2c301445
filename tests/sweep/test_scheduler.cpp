// The scheduler's order and packing, on a clock and devices that are only numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "host/sweep/scheduler.h"

namespace cafx {
namespace {

// Tasks take their `seconds`; ends are reported in the order of time.
class World : public Board, public Launcher {
 public:
  explicit World(const std::vector<Task>& tasks) : tasks_(tasks), done_(tasks.size(), false) {}

  Outcome outcome(const Task& t) override {
    Outcome o;
    if (done_[index(t)]) o.state = State::kDone;
    return o;
  }
  void prepare(const Task&, const Task*) override {}
  LeaseState lease(const Task&) override { return {}; }
  int deaths(const Task&) override { return dies_in_company ? 2 : 0; }
  void close(const Task&, State, const std::string&) override {}
  void verdict(const Task&, std::size_t, int) override {}
  void end_pruned(const Task&, const std::string&) override {}
  bool space() override { return true; }

  void start(const std::vector<const Task*>& members, const Job& job) override {
    Running process{job.task, now_, {}};
    std::string names;
    for (const Task* t : members) {
      process.end = std::max(process.end, now_ + t->seconds);
      process.members.push_back(index(*t));
      names += (names.empty() ? "" : "+") + t->folder;
    }
    running_.push_back(process);
    order.push_back(names + "@" + (job.gpus.empty() ? job.device_name : job.gpus));
    std::size_t bytes = 0;
    for (const Running& r : running_) {
      for (const std::size_t i : r.members) bytes += tasks_[i].bytes;
    }
    most_bytes = std::max(most_bytes, bytes);
    most_running = std::max(most_running, running_.size());
  }
  std::vector<Exit> wait(double) override {
    if (running_.empty()) return {};
    const auto first = std::min_element(running_.begin(), running_.end(),
                                        [](const Running& a, const Running& b) { return a.end < b.end; });
    now_ = first->end;
    const Running process = *first;
    running_.erase(first);
    if (dies_in_company && process.members.size() > 1) return {{process.task, 0, 9}};
    for (const std::size_t i : process.members) done_[i] = true;
    return {{process.task, 0, 0}};
  }
  void stop() override {}
  double now() const override { return now_; }

  std::vector<std::string> order;  // "folder@device" as they were started
  std::size_t most_bytes = 0, most_running = 0;
  bool dies_in_company = false;  // a process of several runs ends by signal 9, at its end

 private:
  struct Running {
    int task;
    double end;
    std::vector<std::size_t> members;
  };
  std::size_t index(const Task& t) const {
    const auto at = std::find_if(tasks_.begin(), tasks_.end(), [&](const Task& u) { return u.folder == t.folder; });
    return static_cast<std::size_t>(at - tasks_.begin());
  }
  const std::vector<Task>& tasks_;
  std::vector<bool> done_;
  std::vector<Running> running_;
  double now_ = 0.0;
};

Task task(const std::string& folder, double seconds, int parent = -1, Point point = {}) {
  Task t;
  t.folder = folder;
  t.seconds = seconds;
  t.parent = parent;
  t.point = std::move(point);
  t.config = Json::object();
  return t;
}

using Texts = std::vector<std::string>;

World run(std::vector<Task>& tasks, std::vector<DeviceSlots> devices, const std::vector<std::string>& first = {}) {
  prioritise(tasks, first);
  World world(tasks);
  Scheduler scheduler(tasks, std::move(devices), world, world, nullptr, nullptr, {});
  EXPECT_TRUE(scheduler.run());
  for (std::size_t i = 0; i < tasks.size(); ++i) EXPECT_EQ(scheduler.state(static_cast<int>(i)), State::kDone) << i;
  return world;
}

// Longest first; a pretraining counts with the longest work behind it, and what waits for it comes after it.
TEST(Scheduler, StartsTheLongestChainFirst) {
  std::vector<Task> tasks{task("short", 2), task("pre", 1), task("long", 5), task("child", 9, 1), task("middle", 3)};
  EXPECT_EQ(run(tasks, {{"cpu", 1, 1, 0}}).order,
            (Texts{"pre@cpu", "child@cpu", "long@cpu", "middle@cpu", "short@cpu"}));
}

TEST(Scheduler, RunsSweepFirstBeforeOthersWithItsPretraining) {
  const Point eq{{"data.effect", "EQ"}}, drive{{"data.effect", "Overdrive"}};
  std::vector<Task> tasks{task("pre-drive", 5, -1, drive), task("pre-eq", 1, -1, eq), task("drive", 50, 0, drive),
                          task("eq", 1, 1, eq)};
  EXPECT_EQ(run(tasks, {{"cpu", 1, 1, 0}}, {"data.effect=EQ"}).order,
            (Texts{"pre-eq@cpu", "eq@cpu", "pre-drive@cpu", "drive@cpu"}));
}

TEST(Scheduler, RunsSweepFirstInItsOrder) {
  const auto of = [](const char* effect, int seed) { return Point{{"data.effect", effect}, {"train.seed", seed}}; };
  std::vector<Task> tasks{task("drive1", 5, -1, of("Overdrive", 1)), task("drive2", 50, -1, of("Overdrive", 2)),
                          task("eq1", 1, -1, of("EQ", 1)), task("eq2", 2, -1, of("EQ", 2)),
                          task("fuzz", 9, -1, of("Distortion", 2))};
  EXPECT_EQ(run(tasks, {{"cpu", 1, 1, 0}}, {"data.effect=EQ", "train.seed=1"}).order,
            (Texts{"eq1@cpu", "eq2@cpu", "drive1@cpu", "drive2@cpu", "fuzz@cpu"}));
}

// Graham's bound for longest first on m machines: at most 4/3 - 1/(3m) of the best.
TEST(Scheduler, EndsNearTheLowerBound) {
  std::vector<Task> tasks;
  double work = 0.0;
  for (int i = 0; i < 40; ++i) {
    const double seconds = 1.0 + (i * 37 % 40) * 0.5;
    tasks.push_back(task("run" + std::to_string(i), seconds));
    work += seconds;
  }
  const World world = run(tasks, {{"cuda:0", 2, 1, 0}, {"cuda:1", 2, 1, 0}});
  EXPECT_LE(world.now(), work / 4.0 * (4.0 / 3.0 - 1.0 / 12.0));
  EXPECT_EQ(world.most_running, 4u);
}

TEST(Scheduler, PacksByMemoryAndLetsTheLargestRunAlone) {
  std::vector<Task> tasks;
  for (int i = 0; i < 8; ++i) {
    tasks.push_back(task("run" + std::to_string(i), 1.0 + i));
    tasks.back().bytes = i == 3 ? 150 : 40;
  }
  const World world = run(tasks, {{"cuda:0", 4, 1, 100}});
  EXPECT_EQ(world.most_bytes, 150u);  // alone, although it is over what there is
  EXPECT_EQ(world.most_running, 2u);
}

// A pretraining on all GPUs has them to itself, and small runs do not keep it waiting.
TEST(Scheduler, GivesSeveralGpusToATaskThatAsksForThem) {
  std::vector<Task> tasks{task("pre", 4), task("a", 1, 0), task("b", 1, 0), task("other", 30), task("small", 1)};
  tasks[0].config["train.gpus"] = "all";
  const std::vector<DeviceSlots> gpus{{"cuda:0", 2, 1, 0}, {"cuda:1", 2, 1, 0}};
  EXPECT_EQ(run(tasks, gpus).order, (Texts{"other@cuda:0", "pre@0,1", "a@cuda:0", "b@cuda:1", "small@cuda:0"}));
  tasks[0].config["train.gpus"] = "2";
  tasks[0].seconds = 100;
  EXPECT_EQ(run(tasks, gpus).order[0], "pre@0,1");
  EXPECT_EQ(run(tasks, {{"cpu", 2, 1, 0}}).order[0], "pre@cpu");  // no GPUs: as any other
  EXPECT_EQ(run(tasks, {{"cuda:3", 2, 1, 0}}).order[0], "pre@cuda:3");
}

Task kin(const std::string& folder, int frame, int batch = 8) {
  Task t = task(folder, 1.0);
  t.config = {{"model.type", "cafx"}, {"model.frame", frame}, {"train.batch", batch}, {"train.seed", folder}};
  return t;
}

DeviceSlots cohorts_of(int n, std::size_t bytes = 0) { return {"cuda:0", 1, 1, bytes, n}; }

// What decides kinship: the model and the batch; seeds do not.
TEST(Scheduler, StartsTasksOfOneArchitectureInOneProcess) {
  std::vector<Task> tasks{kin("a", 64), kin("b", 64), kin("c", 32), kin("d", 64), kin("e", 64), kin("f", 64, 16)};
  EXPECT_EQ(run(tasks, {cohorts_of(3)}).order, (Texts{"a+b+d@cuda:0", "c@cuda:0", "e@cuda:0", "f@cuda:0"}));
  EXPECT_EQ(run(tasks, {cohorts_of(1)}).order.size(), 6u);
}

// It is asked when the device is idle and a run has kin; without an answer the device's number counts.
TEST(Scheduler, ChoosesCohortsBySpeed) {
  std::vector<Task> tasks{kin("a", 64), kin("b", 64), kin("c", 32), kin("d", 64), kin("e", 64), kin("f", 32)};
  prioritise(tasks, {});
  World world(tasks);
  DeviceSlots gpu = cohorts_of(16);
  gpu.speed_of = "H100";
  SchedulerOptions options;
  Texts asked;
  options.cohort_by_speed = [&](const Task& t, const DeviceSlots& d, bool idle) {
    asked.push_back(t.folder + " " + d.speed_of + (idle ? " idle" : ""));
    return t.config["model.frame"] == 64 ? std::optional(3) : std::nullopt;
  };
  Scheduler scheduler(tasks, {gpu}, world, world, nullptr, nullptr, options);
  EXPECT_TRUE(scheduler.run());
  EXPECT_EQ(world.order, (Texts{"a+b+d@cuda:0", "c+f@cuda:0", "e@cuda:0"}));
  EXPECT_EQ(asked, (Texts{"a H100 idle", "c H100 idle"}));
}

TEST(Scheduler, LeavesIdleDevicesTheirPartOfACohort) {
  std::vector<Task> tasks{kin("a", 64), kin("b", 64), kin("c", 64), kin("d", 64)};
  DeviceSlots second = cohorts_of(16);
  second.name = "cuda:1";
  EXPECT_EQ(run(tasks, {cohorts_of(16), second}).order, (Texts{"a+b@cuda:0", "c+d@cuda:1"}));
}

TEST(Scheduler, FillsACohortAsFarAsTheMemoryGoes) {
  std::vector<Task> tasks{kin("a", 64), kin("b", 64), kin("c", 64), kin("d", 64)};
  for (Task& t : tasks) t.bytes = 40;
  const World world = run(tasks, {cohorts_of(8, 100)});
  EXPECT_EQ(world.order, (Texts{"a+b@cuda:0", "c+d@cuda:0"}));
  EXPECT_EQ(world.most_bytes, 80u);
}

// 30 bytes of each are notes: those that a company shares count once, others for each.
TEST(Scheduler, CountsOnceWhatACohortHoldsOnce) {
  std::vector<Task> tasks{kin("a", 64), kin("b", 64), kin("c", 64), kin("d", 64), kin("e", 64)};
  for (Task& t : tasks) t.bytes = 40, t.shares = {{"dry", 20}, {"wet " + t.folder, 10}};
  EXPECT_EQ(run(tasks, {cohorts_of(8, 100)}).order, (Texts{"a+b+c+d@cuda:0", "e@cuda:0"}));
  for (Task& t : tasks) t.shares[1].first = "wet";
  EXPECT_EQ(run(tasks, {cohorts_of(8, 80)}).order, (Texts{"a+b+c+d+e@cuda:0"}));
  EXPECT_EQ(bytes_together({&tasks[0], &tasks[1]}), 50u);
  tasks[1].shares = {{"dry", 90}};  // more than it has in all
  EXPECT_EQ(bytes_together({&tasks[0], &tasks[1]}), 60u);
}

// One member that takes the process down twice must not hold the others up for ever.
TEST(Scheduler, RunsWhoseCompanyDiesGoOnAlone) {
  std::vector<Task> tasks{kin("a", 64), kin("b", 64)};
  prioritise(tasks, {});
  World world(tasks);
  world.dies_in_company = true;
  Scheduler scheduler(tasks, {cohorts_of(8)}, world, world, nullptr, nullptr, {});
  EXPECT_TRUE(scheduler.run());
  EXPECT_EQ(world.order, (Texts{"a+b@cuda:0", "a@cuda:0", "b@cuda:0"}));
}

// Runs of nine epochs whose error is their index; a process ends when its last member has. The last run is slow: it
// does an epoch where the others do three.
class RungWorld : public Board, public Launcher {
 public:
  explicit RungWorld(const std::vector<Task>& tasks) : tasks_(tasks), runs_(tasks.size()) {}

  Outcome outcome(const Task& t) override { return run(t).outcome; }
  void prepare(const Task&, const Task*) override {}
  LeaseState lease(const Task& t) override {
    LeaseState state;
    state.held = run(t).process >= 0;
    return state;
  }
  int deaths(const Task&) override { return 1; }
  void close(const Task& t, State state, const std::string&) override {
    run(t).outcome.state = state;
    events.push_back(t.folder + " closed");
  }
  void verdict(const Task& t, std::size_t n_rungs, int until_epoch) override {
    EXPECT_EQ(n_rungs, run(t).outcome.rungs.size());
    EXPECT_TRUE(run(t).waits) << t.folder;
    events.push_back(fmt::format("{}: {}", t.folder, until_epoch));
    if (until_epoch < 0) return leave(run(t));
    run(t).waits = false;
    run(t).until = until_epoch;
  }
  void end_pruned(const Task& t, const std::string&) override {
    EXPECT_TRUE(run(t).waits) << t.folder;
    events.push_back(t.folder + " pruned");
    run(t).outcome.state = State::kPruned;
    leave(run(t));
  }
  bool space() override { return true; }

  void start(const std::vector<const Task*>& members, const Job& job) override {
    std::string names;
    for (const Task* t : members) {
      Run& r = run(*t);
      EXPECT_EQ(r.process, -1) << t->folder;
      r.process = job.task;
      r.until = job.until_epoch;
      names += t->folder;
    }
    EXPECT_EQ(job.verdicts, members.size() > 1 && job.until_epoch > 0);
    verdicts_[job.task] = job.verdicts;
    events.push_back("start " + names);
  }
  std::vector<Exit> wait(double) override {
    now_ += 1.0;
    ++tick_;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      Run& r = runs_[i];
      if (r.process < 0 || r.waits || (i + 1 == runs_.size() && tick_ % 3 > 0)) continue;
      ++r.epoch;
      if (r.epoch == 9) {
        r.outcome.state = State::kDone;
        leave(r);
      } else if (r.epoch == r.until) {
        r.outcome.rungs.emplace_back(r.epoch, static_cast<double>(i));
        if (verdicts_[r.process]) {
          r.waits = true;
        } else {
          leave(r);
        }
      }
      if (tasks_[i].folder == dies_at_rung && r.waits) {
        dies_at_rung.clear();
        const int process = r.process;
        for (Run& other : runs_) {
          if (other.process == process) leave(other);
        }
        ended_.clear();
        return {{process, 0, 9}};
      }
    }
    std::vector<Exit> exits;
    for (const int process : std::exchange(ended_, {})) {
      if (std::none_of(runs_.begin(), runs_.end(), [&](const Run& r) { return r.process == process; })) {
        exits.push_back({process, 85, 0});
      }
    }
    return exits;
  }
  void stop() override {}
  double now() const override { return now_; }

  std::vector<std::string> events;
  std::string dies_at_rung;  // the run whose process is killed while it waits there

 private:
  struct Run {
    Outcome outcome;
    int process = -1, epoch = 0, until = 0;
    bool waits = false;
  };
  Run& run(const Task& t) { return runs_[static_cast<std::size_t>(&t - tasks_.data())]; }
  void leave(Run& r) {
    ended_.insert(r.process);
    r.process = -1;
    r.waits = false;
  }
  const std::vector<Task>& tasks_;
  std::vector<Run> runs_;
  std::map<int, bool> verdicts_;
  std::set<int> ended_;
  double now_ = 0.0;
  int tick_ = 0;
};

std::vector<Task> six_kin() {
  std::vector<Task> tasks;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    tasks.push_back(kin(name, 64));
    tasks.back().config["train.epochs"] = 9;
  }
  prioritise(tasks, {});
  return tasks;
}

// Who is promoted goes on in its process, at once where the rule is asynchronous; others leave when the last has come.
TEST(Scheduler, JudgesACohortAtItsRungsWhileItRuns) {
  std::vector<Task> tasks = six_kin();
  RungWorld world(tasks);
  const auto asha = make_asha(1, 3);
  Scheduler scheduler(tasks, {cohorts_of(6)}, world, world, asha.get(), nullptr, {});
  EXPECT_TRUE(scheduler.run());
  EXPECT_EQ(world.events, (Texts{"start abcdef", "a: 3", "b: 3", "c: -1", "d: -1", "e: -1", "f: -1", "a: 0", "b: -1"}));
  EXPECT_EQ(scheduler.state(0), State::kDone);
  for (int i = 1; i < 6; ++i) EXPECT_EQ(scheduler.state(i), State::kPaused) << i;
}

TEST(Scheduler, StopsMembersThatAreWorseThanTheMedian) {
  std::vector<Task> tasks = six_kin();
  RungWorld world(tasks);
  const auto median = make_median(3, 3);
  Scheduler scheduler(tasks, {cohorts_of(6)}, world, world, median.get(), nullptr, {});
  EXPECT_TRUE(scheduler.run());
  EXPECT_EQ(world.events, (Texts{"start abcdef", "a: 0", "b: 0", "c: 0", "d pruned", "e pruned", "f pruned"}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(scheduler.state(i), i < 3 ? State::kDone : State::kPruned) << i;
}

// A death there is no second visit to the rung: what is in rungs.json has been reached.
TEST(Scheduler, JudgesRunsThatDiedAtTheirRung) {
  std::vector<Task> tasks = six_kin();
  RungWorld world(tasks);
  world.dies_at_rung = "e";
  const auto asha = make_asha(1, 3);
  Scheduler scheduler(tasks, {cohorts_of(6)}, world, world, asha.get(), nullptr, {});
  EXPECT_TRUE(scheduler.run());
  EXPECT_EQ(world.events[0], "start abcdef");
  EXPECT_EQ(world.events[1], "start a");  // promoted by what the five had written
  EXPECT_EQ(world.events[2], "start f");  // it had not come to the rung
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(scheduler.state(i), i == 0 ? State::kDone : State::kPaused) << i;
    const auto& rungs = scheduler.outcome(i).rungs;
    for (std::size_t k = 0; k < rungs.size(); ++k) EXPECT_EQ(rungs[k].first, k == 0 ? 1 : 3) << i;
  }
}

// Two losses: of each its own best third goes on, unless all runs stop on the same metric.
TEST(Scheduler, ComparesOnlyRunsWhoseValidationMeasuresTheSame) {
  for (const char* stop_on : {"loss", "esr"}) {
    std::vector<Task> tasks = six_kin();
    for (std::size_t i = 0; i < 6; ++i) {
      tasks[i].config["train.stop_on"] = stop_on;
      tasks[i].config["train.loss.esr"] = i < 3 ? 0.0 : 1.0;
    }
    RungWorld world(tasks);
    const auto asha = make_asha(1, 3);
    Scheduler scheduler(tasks, {cohorts_of(6)}, world, world, asha.get(), nullptr, {});
    EXPECT_TRUE(scheduler.run());
    const bool apart = std::string(stop_on) == "loss";
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(scheduler.state(i), i == 0 || (apart && i == 3) ? State::kDone : State::kPaused) << stop_on << i;
    }
  }
}

class MeasuredWorld : public World {
 public:
  using World::World;
  Outcome outcome(const Task& t) override {
    Outcome o = World::outcome(t);
    if (o.state == State::kDone) o.metrics = {{"validation_mae", 1.0}, {"test.esr", 2.0}};
    return o;
  }
};

struct Listener : Proposer {
  bool propose(std::vector<Task>&, const std::vector<Trial>& trials, int) override {
    last = trials;
    return false;
  }
  bool finished() const override { return true; }
  std::vector<Trial> last;
};

TEST(Scheduler, TellsAProposerOfTheObjective) {
  for (const auto& [objective, value] : std::map<std::string, double>{{"", 1.0}, {"test.esr", 2.0}, {"other", NAN}}) {
    std::vector<Task> tasks{kin("a", 64)};
    prioritise(tasks, {});
    MeasuredWorld world(tasks);
    Listener listener;
    SchedulerOptions options;
    options.objective = objective;
    Scheduler scheduler(tasks, {cohorts_of(1)}, world, world, nullptr, &listener, options);
    EXPECT_TRUE(scheduler.run());
    ASSERT_EQ(listener.last.size(), 1u);
    const double told = listener.last[0].value;
    EXPECT_TRUE(std::isnan(value) ? std::isnan(told) : told == value) << objective << " " << told;
  }
}

TEST(SweepSpec, RefusesACohortThatIsNoNumber) {
  EXPECT_EQ(cohort_size("auto", false), 1);
  EXPECT_GT(cohort_size("auto", true), 1);
  EXPECT_EQ(cohort_size("off", true), 1);
  EXPECT_EQ(cohort_size("12", false), 12);
  for (const char* text : {"", "0", "-1", "257", "4x", "on"}) EXPECT_THROW(cohort_size(text, true), Error) << text;
}

}  // namespace
}  // namespace cafx
