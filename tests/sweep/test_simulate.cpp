// The real scheduler on simulated devices. The simulation itself checks at each start that slots, memory and order
// hold.
#include "host/sweep/simulate.h"

#include <gtest/gtest.h>

#include <map>

namespace cafx {
namespace {

constexpr std::size_t kGb = std::size_t{1} << 30;

std::vector<DeviceSlots> gpus(int n, int slots) {
  std::vector<DeviceSlots> devices;
  for (int i = 0; i < n; ++i) devices.push_back({fmt::format("cuda:{}", i), slots, slots, 80 * kGb});
  return devices;
}

struct Result {
  double makespan = 0.0, bound = 0.0;
  Simulation::Counts counts;
  std::map<State, int> states;
  std::vector<State> each;
};

Result run(std::vector<Task> tasks, const std::vector<DeviceSlots>& devices, const SimulationModel& model) {
  Simulation simulation(tasks, devices, model);
  Scheduler scheduler(tasks, devices, simulation, simulation, nullptr, nullptr, {});
  EXPECT_TRUE(scheduler.run());
  Result r{simulation.now(), simulation.lower_bound(), simulation.counts(), {}, {}};
  for (int i = 0; i < static_cast<int>(tasks.size()); ++i) {
    ++r.states[scheduler.state(i)];
    r.each.push_back(scheduler.state(i));
  }
  return r;
}

TEST(Simulate, EveryTaskEndsOnceThroughDeathsAndFailures) {
  SimulationModel model;
  model.failures = 0.05;
  model.deaths_per_hour = 1.0;  // some runs die several times
  model.host_deaths_per_hour = 0.2;
  const auto tasks = synthetic_tasks(40, 74, 60.0, 3600.0, 4 * kGb, 40 * kGb, 5);
  const auto devices = gpus(16, 4);
  const Result r = run(tasks, devices, model);
  ASSERT_EQ(tasks.size(), 3000u);
  int n = 0;
  for (const auto& [state, count] : r.states) {
    EXPECT_TRUE(state == State::kDone || state == State::kFailed || state == State::kBlocked) << to_string(state);
    n += count;
  }
  EXPECT_EQ(n, 3000);
  EXPECT_EQ(r.counts.done, r.states.at(State::kDone));
  EXPECT_EQ(r.counts.failures + r.counts.given_up, r.states.at(State::kFailed));
  EXPECT_GT(r.counts.worker_deaths, 500);
  EXPECT_GT(r.counts.killed_by_hosts, 10);
  EXPECT_GT(r.states.at(State::kFailed), 75);
  EXPECT_LT(r.states.at(State::kFailed), 300);
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const bool orphan = tasks[i].parent >= 0 && r.each[static_cast<std::size_t>(tasks[i].parent)] == State::kFailed;
    ASSERT_EQ(r.each[i] == State::kBlocked, orphan) << i;
  }
  const Result again = run(tasks, devices, model);
  EXPECT_EQ(again.makespan, r.makespan);
  EXPECT_EQ(again.each, r.each);
}

// Longest chains first: little more than no schedule can undercut, where memory does not bind and nothing dies.
TEST(Simulate, MakespanIsNearTheLowerBound) {
  SimulationModel model;
  model.failures = model.deaths_per_hour = model.host_deaths_per_hour = model.start_seconds = 0.0;
  const Result r = run(synthetic_tasks(20, 99, 60.0, 3600.0, kGb, 2 * kGb, 7), gpus(8, 4), model);
  EXPECT_EQ(r.states.at(State::kDone), 2000);
  EXPECT_GE(r.makespan, r.bound);
  EXPECT_LE(r.makespan, 1.05 * r.bound) << r.makespan << " " << r.bound;
  EXPECT_NEAR(r.counts.lost_seconds, 0.0, 1e-9);
}

TEST(Simulate, ARunThatDiesWithoutProgressIsGivenUp) {
  SimulationModel model;
  model.failures = model.host_deaths_per_hour = 0.0;
  model.deaths_per_hour = 1e7;
  const Result r = run(synthetic_tasks(2, 3, 600.0, 601.0, kGb, kGb + 1, 1), gpus(2, 2), model);
  EXPECT_EQ(r.states.at(State::kFailed), 2);
  EXPECT_EQ(r.states.at(State::kBlocked), 6);
  EXPECT_EQ(r.counts.given_up, 2);
  EXPECT_EQ(r.counts.starts, 2 * (SchedulerOptions().retries + 1));
}

}  // namespace
}  // namespace cafx
