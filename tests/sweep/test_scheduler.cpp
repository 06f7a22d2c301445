// The scheduler's order and packing, on a clock and devices that are only numbers.
#include <gtest/gtest.h>

#include <algorithm>

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

TEST(SweepSpec, RefusesACohortThatIsNoNumber) {
  EXPECT_EQ(cohort_size("auto", false), 1);
  EXPECT_GT(cohort_size("auto", true), 1);
  EXPECT_EQ(cohort_size("off", true), 1);
  EXPECT_EQ(cohort_size("12", false), 12);
  for (const char* text : {"", "0", "-1", "257", "4x", "on"}) EXPECT_THROW(cohort_size(text, true), Error) << text;
}

}  // namespace
}  // namespace cafx
