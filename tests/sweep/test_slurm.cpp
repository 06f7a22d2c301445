// What a sweep becomes on a Slurm cluster; the cluster itself is in cli/slurm.sh.
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "host/sweep/cohort_sizes.h"
#include "host/sweep/slurm.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

// The forms that the manual page of sbatch lists under --time.
TEST(SlurmTime, ReadsEveryFormOfSbatch) {
  EXPECT_EQ(slurm_seconds("90"), 90 * 60);
  EXPECT_EQ(slurm_seconds("90:30"), 90 * 60 + 30);
  EXPECT_EQ(slurm_seconds("4:00:00"), 4 * 3600);
  EXPECT_EQ(slurm_seconds("2-12"), 60 * 3600);
  EXPECT_EQ(slurm_seconds("2-12:30"), 60 * 3600 + 30 * 60);
  EXPECT_EQ(slurm_seconds("2-12:30:15"), 60 * 3600 + 30 * 60 + 15);
  EXPECT_EQ(slurm_seconds(""), 0);
  EXPECT_EQ(slurm_seconds("UNLIMITED"), 0);
  for (const char* bad : {"1h", "4:00:00:00", "-1", "1:", ":1", "1-", "2-x", "1.5", "99999999999"}) {
    EXPECT_EQ(slurm_seconds(bad), -1) << bad;
  }
}

// Two pretrainings with two and three trainings.
class SlurmArrays : public testing::Test {
 protected:
  SlurmArrays() : tasks(7) {
    const int parents[] = {-1, -1, 0, 1, 0, 1, 1};
    const double priorities[] = {10, 20, 1, 2, 3, 1, 5};
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      tasks[i].kind = parents[i] < 0 ? TaskKind::kPretrain : TaskKind::kTrain;
      tasks[i].folder = "run" + std::to_string(i);
      tasks[i].parent = parents[i];
      tasks[i].priority = priorities[i];
    }
    for (const Task& t : tasks) {
      rows.emplace_back();
      rows.back().task = &t;
      rows.back().state = t.parent < 0 ? State::kQueued : State::kWaiting;
    }
  }
  // Each array as "name: tasks < parent".
  std::vector<std::string> arrays(const SlurmQueue& queue, int most, int cohort = 1) const {
    std::vector<std::string> text;
    for (const SlurmArray& a : slurm_arrays(rows, queue, most, [=](const Task&) { return cohort; })) {
      text.push_back(a.name + ":");
      for (const std::vector<int>& members : a.tasks) text.back() += fmt::format(" {}", fmt::join(members, "+"));
      if (a.parent >= 0) text.back() += fmt::format(" < {}", a.parent);
      if (!a.parent_job.empty()) text.back() += fmt::format(" {}", a.parent_job);
    }
    return text;
  }
  std::vector<Task> tasks;
  std::vector<Row> rows;
};

using Texts = std::vector<std::string>;

TEST_F(SlurmArrays, TrainingsWaitForTheirPretrainingLongestFirst) {
  EXPECT_EQ(arrays({}, 1001), (Texts{"pretrain: 1 0", "train.0: 4 2 < 0", "train.1: 6 3 5 < 1"}));
}

TEST_F(SlurmArrays, AreNoLongerThanTheClusterAllows) {
  EXPECT_EQ(arrays({}, 2), (Texts{"pretrain: 1 0", "train.0: 4 2 < 0", "train.1: 6 3 < 1", "train.2: 5 < 1"}));
  EXPECT_EQ(arrays({}, 1).size(), 7u);
}

TEST_F(SlurmArrays, HoldOnlyWhatIsNeitherFinishedNorQueued) {
  rows[0].state = State::kDone;
  rows[2].state = State::kFailed;
  const SlurmQueue queue{{"run1", {"12_0", "RUNNING", "None"}}, {"run5", {"13_2", "PENDING", "Dependency"}}};
  EXPECT_EQ(arrays(queue, 1001), (Texts{"train.0: 4", "train.1: 6 3 < 1 12_0"}));
  for (Row& r : rows) r.state = State::kDone;
  EXPECT_TRUE(arrays({}, 1001).empty());
}

TEST_F(SlurmArrays, RunsOfOneArchitectureShareATask) {
  for (Task& t : tasks) t.config = {{"model.filters", 8}, {"train.lr", 1e-3}, {"train.gpus", ""}};
  tasks[3].config["model.filters"] = 16;
  tasks[5].config["train.lr"] = 1e-2;
  // Task 6 leads by its length, 3 is of another architecture, and pretrainings stay alone.
  EXPECT_EQ(arrays({}, 1001, 4), (Texts{"pretrain: 1 0", "train.0: 4+2 < 0", "train.1: 6+5 3 < 1"}));
  EXPECT_EQ(arrays({}, 1, 4),
            (Texts{"pretrain: 1", "pretrain.1: 0", "train.0: 4+2 < 0", "train.1: 6+5 < 1", "train.2: 3 < 1"}));
  tasks[6].config["train.gpus"] = "2";  // a run of several GPUs shares none
  EXPECT_EQ(arrays({}, 1001, 4), (Texts{"pretrain: 1 0", "train.0: 4+2 < 0", "train.1: 6 3 5 < 1"}));
  EXPECT_EQ(folders_of_line("a-1 b"), (Texts{"a-1", "b"}));
}

// Where a sweep is submitted no GPU is at hand: what others of the same store measured says how many runs share a task.
TEST(SlurmCohorts, AreAsLargeAsMeasured) {
  TemporaryFolder store;
  const auto task_of = [](int filters) {
    Task t;
    t.kind = TaskKind::kTrain;
    t.config = {{"model.type", "cafx"}, {"model.filters", filters}, {"train.batch", 8}, {"train.lr", 1e-3}};
    return t;
  };
  Spec spec;
  spec.slurm.gres = "gpu:1";
  Plan plan;
  for (int i = 0; i < 40; ++i) plan.tasks.push_back(task_of(8));
  const auto size = [&](const Task& t, const std::string& device = "") {
    return slurm_cohorts(spec, plan, store.path(), device)(t);
  };
  EXPECT_EQ(size(task_of(8)), 16);  // nothing is measured
  CohortSizes sizes(
      store / "cohorts.json",
      [](const Json& config, const std::string& device) {
        return CohortSize{config["model.filters"] == 16 ? 1 : device == "cuda:1" ? 24 : 4, {}};
      },
      nullptr);
  sizes.of(task_of(8), "cuda:0", "cuda 8.0 (NVIDIA A100-SXM4-80GB)", true);
  sizes.of(task_of(8), "cuda:1", "cuda 9.0 (NVIDIA H100 80GB HBM3)", true);
  sizes.of(task_of(16), "cuda:1", "cuda 9.0 (NVIDIA H100 80GB HBM3)", true);
  EXPECT_EQ(size(task_of(8)), 4);  // the job may get either
  EXPECT_EQ(size(task_of(16)), 1);
  EXPECT_EQ(size(task_of(32)), 16);  // of another architecture
  for (const char* gres : {"gpu:h100:1", "gpu:nvidia_h100_80gb_hbm3:2", "gpu:H100", "license:2,gpu:h100:1"}) {
    spec.slurm.gres = gres;
    EXPECT_EQ(size(task_of(8)), 24) << gres;
  }
  spec.slurm.gres = "gpu:v100:1";
  EXPECT_EQ(size(task_of(8)), 16);
  spec.slurm.gres = "gpu:h100:1";
  spec.slurm.parallel = 4;  // 40 runs
  EXPECT_EQ(size(task_of(8)), 10);
  EXPECT_EQ(size(task_of(8), "cpu"), 1);
  spec.sweep.cohort = "6";
  EXPECT_EQ(size(task_of(8)), 6);
  spec.sweep.cohort = "off";
  EXPECT_EQ(size(task_of(8)), 1);
}

}  // namespace
}  // namespace cafx
