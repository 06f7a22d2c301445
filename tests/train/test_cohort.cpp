// Runs side by side: each leaves the files that it leaves alone, to the bit, whatever becomes of the others.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "host/metrics/interval.h"
#include "host/train/cohort.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/device/memory.h"
#include "tests/temporary_folder.h"
#include "tests/train/synthetic.h"

namespace cafx {
namespace {

using namespace train_test;

std::string bytes(const std::filesystem::path& path) { return RunFolder::read(path); }

void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {"best.safetensors", "checkpoint.safetensors", "metrics.csv", "result.json", "split.json",
                           "data.json", "config.toml"}) {
    EXPECT_TRUE(bytes(a / file) == bytes(b / file)) << b << " " << file;
  }
}

// Stops the cohort after so many epochs of this member; 0: never.
class StopAfter : public TrainObserver {
 public:
  StopAfter(int epochs, std::atomic<bool>& stop) : left_(epochs), stop_(stop) {}
  void epoch(const TrainProgress&) override {
    if (--left_ == 0) stop_ = true;
  }

 private:
  int left_;
  std::atomic<bool>& stop_;
};

bool on_cuda() {
  const char* device = std::getenv("CAFX_TEST_DEVICE");
  return device && std::string(device) == "cuda";
}

// Runs of a type that differ in all that members may differ in, alone and in company.
class Cohorts : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (on_cuda() && !cuda_info().reason.empty()) GTEST_SKIP() << cuda_info().reason;
  }
  Cohorts() : data_(notes(4, 700)), split_(split_of(data_)) {
    RunConfig config = tiny_run(model_type(tiny::type_of(GetParam())));
    config.model = AnyConfig(tiny::config(GetParam()));
    config.data.knobs = config.model->knobs;
    for (int k = 0; k < 3; ++k) {
      config.train.seed = 10 + k;
      config.train.lr = 1e-3 * (1 + k);
      config.train.epochs = 3 + k;
      config.train.schedule = k == 1 ? "constant" : "cosine";
      config.train.optimizer = k == 2 ? "lamb" : "adam";
      configs_.push_back(config);
    }
  }
  // Where the model has knobs, each note is at a position of its own.
  Dataset notes(int n_notes, int samples, float sign = 1.0f) const {
    Dataset data = train_test::notes(n_notes, samples, sign);
    const std::vector<Knob> knobs = parse_knobs(tiny::config(GetParam())->knobs, "test");
    for (std::size_t i = 0; i < data.pairs.size() && !knobs.empty(); ++i) {
      data.pairs[i].controls = controls_at(knobs, {1.0 + 2.0 * static_cast<double>(i), i % 2 == 0 ? 0.0 : 2.0});
    }
    return data;
  }
  TrainOptions options(const std::string& folder) const {
    TrainOptions o;
    o.folder = folder_ / folder;
    o.threads = 1;
    if (on_cuda()) o.device = "cuda";
    return o;
  }
  static std::string name(const std::string& of, std::size_t k) { return of + std::to_string(k); }
  void train_alone(const std::string& of = "alone") {
    for (std::size_t k = 0; k < configs_.size(); ++k) {
      Dataset data = notes(4, 700);
      train(configs_[k], data, split_, options(name(of, k)));
    }
  }
  std::vector<Member> members(const std::string& of) {
    data_ = notes(4, 700);
    std::vector<Member> all;
    for (std::size_t k = 0; k < configs_.size(); ++k)
      all.push_back({configs_[k], &data_, &split_, options(name(of, k))});
    return all;
  }

  TemporaryFolder folder_;
  Dataset data_;
  Split split_;
  std::vector<RunConfig> configs_;
};

TEST_P(Cohorts, LeaveTheFilesOfRunsAlone) {
  train_alone();
  for (const MemberOutcome& o : train_cohort(members("side"), 0.0)) EXPECT_TRUE(o.trained.finished) << o.error;
  for (std::size_t k = 0; k < configs_.size(); ++k)
    expect_same_run(folder_ / name("alone", k), folder_ / name("side", k));
}

TEST_P(Cohorts, GoOnAloneOrInAnotherCohort) {
  train_alone();
  std::atomic<bool> stop{false};
  StopAfter observer(2, stop);
  std::vector<Member> all = members("part");
  all[1].options.observer = &observer;
  for (Member& m : all) m.options.stop = &stop;
  EXPECT_FALSE(train_cohort(all, 0.0)[1].trained.finished);  // on a GPU others may be an epoch ahead
  Dataset data = notes(4, 700);
  EXPECT_TRUE(resume(configs_[0], data, split_, options("part0")).finished);
  all = members("part");
  for (const MemberOutcome& o : train_cohort({all[2], all[1]}, 0.0)) EXPECT_TRUE(o.trained.finished) << o.error;
  for (std::size_t k = 0; k < configs_.size(); ++k)
    expect_same_run(folder_ / name("alone", k), folder_ / name("part", k));
}

TEST_P(Cohorts, DoNotNoticeAMemberThatFails) {
  train_alone();
  std::vector<Member> all = members("side");
  int writes = 0;
  all[1].options.before_write = [&writes] {
    if (++writes == 4) throw Error("the disk is full");
  };
  const std::vector<MemberOutcome> outcomes = train_cohort(all, 0.0);
  EXPECT_EQ(outcomes[1].error, "the disk is full");
  EXPECT_FALSE(outcomes[1].trained.finished);
  for (const std::size_t k : {0u, 2u}) {
    EXPECT_TRUE(outcomes[k].trained.finished) << outcomes[k].error;
    expect_same_run(folder_ / name("alone", k), folder_ / name("side", k));
  }
}

// One is pruned, the others are of unequal length. On a GPU its neighbours take their steps in one launch again once
// the last has moved into the gap; without that the first one's launches would hold itself alone.
TEST_P(Cohorts, CloseRanksWhenAMemberLeaves) {
  configs_.push_back(configs_[0]);
  for (std::size_t k = 0; k < configs_.size(); ++k) {
    configs_[k].train.seed = 20 + static_cast<int>(k);
    configs_[k].train.optimizer = "adam";
    configs_[k].train.epochs = 3 + static_cast<int>(k);
    configs_[k].train.refine_epochs = 0;  // a new stage takes the seat that leaves no gap
  }
  train_alone();
  for (const bool close : {true, false}) {
    const std::string of = close ? "closed" : "open";
    std::atomic<bool> pruned{false};
    StopAfter observer(2, pruned);
    std::vector<Member> all = members(of);
    all[1].options.stop = &pruned;
    all[1].options.observer = &observer;
    int moves = 0;
    const std::vector<MemberOutcome> outcomes = train_cohort(all, 0.0, [&](const Closing& c) {
      moves += close ? 1 : 0;
      EXPECT_EQ(c.launches, 2);
      EXPECT_EQ(c.after, 1);
      EXPECT_GT(c.costs_seconds, 0.0);
      return close;
    });
    EXPECT_FALSE(outcomes[1].trained.finished);
    EXPECT_EQ(moves, on_cuda() && close ? 1 : 0);
    if (on_cuda()) {
      EXPECT_EQ(outcomes[0].trained.side_by_side, 4);
      EXPECT_EQ(outcomes[0].trained.side_by_side_last, close ? 3 : 1);
      EXPECT_EQ(outcomes[2].trained.side_by_side_last, 2);
    }
    for (const std::size_t k : {0u, 2u, 3u}) {
      EXPECT_TRUE(outcomes[k].trained.finished) << outcomes[k].error;
      expect_same_run(folder_ / name("alone", k), folder_ / name(of, k));
    }
  }
  // The pruned one has what it needs to go on.
  Dataset data = notes(4, 700);
  EXPECT_TRUE(resume(configs_[1], data, split_, options("closed1")).finished);
  expect_same_run(folder_ / "alone1", folder_ / "closed1");
}

TEST_P(Cohorts, LearnFromRecordingsOfTheirOwn) {
  Dataset other = notes(5, 600, -1.0f);
  const Split split = split_of(other);
  train(configs_[0], other, split, options("alone"));
  other = notes(5, 600, -1.0f);
  std::vector<Member> all = members("side");
  all[0].data = &other;
  all[0].split = &split;
  for (const MemberOutcome& o : train_cohort(all, 0.0)) EXPECT_TRUE(o.trained.finished) << o.error;
  expect_same_run(folder_ / "alone", folder_ / "side0");
}

// Several effects on the same dry notes: a pretraining reads dry and wet as input, wherever either lies.
TEST_P(Cohorts, LearnOtherEffectsOfTheSameDryNotes) {
  const float signs[] = {1.0f, -1.0f, 0.5f};
  std::vector<Dataset> data;
  for (std::size_t k = 0; k < configs_.size(); ++k) {
    configs_[k].train.optimizer = "adam";
    configs_[k].train.epochs = 2;
    Dataset alone = notes(4, 700, signs[k]);
    train(configs_[k], alone, split_, options(name("alone", k)));
    data.push_back(notes(4, 700, signs[k]));
    for (std::size_t i = 0; i < 4; ++i) data[k].pairs[i].dry = data[0].pairs[i].dry;
  }
  std::vector<Member> all = members("side");
  for (std::size_t k = 0; k < all.size(); ++k) all[k].data = &data[k];
  for (const MemberOutcome& o : train_cohort(all, 0.0)) EXPECT_TRUE(o.trained.finished) << o.error;
  for (std::size_t k = 0; k < configs_.size(); ++k)
    expect_same_run(folder_ / name("alone", k), folder_ / name("side", k));
}

// On a GPU one graph takes the steps of models that differ in all that is no part of the graph.
TEST_P(Cohorts, TakeOneGraphWhateverTheirConstants) {
  for (std::size_t k = 0; k < configs_.size(); ++k) {
    TrainConfig& t = configs_[k].train;
    t.optimizer = "adam";
    t.epochs = 2;
    t.beta1 = 0.9 - 0.1 * static_cast<double>(k);
    t.beta2 = 0.999 - 0.01 * static_cast<double>(k);
    t.epsilon = 1e-8 * static_cast<double>(1 + k);
    t.weight_decay = 1e-3 * static_cast<double>(k);
    t.clip_norm = k == 0 ? 0.0 : 0.05 * static_cast<double>(k);
    t.loss.mae = 0.25 + 0.5 * static_cast<double>(k);
    t.loss.esr = 0.1 + 0.3 * static_cast<double>(k);
    t.loss.log_cosh = k == 2 ? 0.5 : 0.0;
    t.loss.energy_floor = 0.05 * static_cast<double>(1 + k);
  }
  const auto own_notes = [this](std::size_t k) { return notes(9 + static_cast<int>(k), 400, k == 1 ? -1.0f : 1.0f); };
  std::vector<Dataset> data;
  std::vector<Split> splits;
  for (std::size_t k = 0; k < configs_.size(); ++k) {
    data.push_back(own_notes(k));
    splits.push_back(split_of(data[k]));
    Dataset alone = own_notes(k);
    train(configs_[k], alone, splits[k], options(name("alone", k)));
  }
  std::vector<Member> all = members("side");
  for (std::size_t k = 0; k < all.size(); ++k) {
    all[k].data = &data[k];
    all[k].split = &splits[k];
  }
  for (const MemberOutcome& o : train_cohort(all, 0.0)) {
    EXPECT_TRUE(o.trained.finished) << o.error;
    EXPECT_EQ(o.trained.side_by_side, on_cuda() ? static_cast<int>(all.size()) : 1);
  }
  for (std::size_t k = 0; k < configs_.size(); ++k)
    expect_same_run(folder_ / name("alone", k), folder_ / name("side", k));
}

TEST_P(Cohorts, SayWhyTwoRunsCannotShare) {
  RunConfig other = configs_[0];
  other.train.batch = 5;
  EXPECT_EQ(why_apart(configs_[0], other), "train.batch is 4 in one and 5 in the other");
  EXPECT_EQ(why_apart(configs_[0], configs_[1]), "");
  std::vector<Member> all = members("apart");
  all[1].config = other;
  EXPECT_THROW(train_cohort(all, 0.0), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "apart0"));
}

// And those that leave out, by the seed of each member.
std::vector<std::string> all_types() {
  std::vector<std::string> names = model_type_names();
  for (const std::string& variant : tiny::variants()) {
    if (variant.ends_with("+dropout")) names.push_back(variant);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(Registry, Cohorts, testing::ValuesIn(all_types()),
                         [](const auto& info) { return tiny::Case::letters(info.param); });

// Every member has knobs that stand elsewhere at each of its places; in 16 bits too, where the type has them.
using CohortsOfVariants = Cohorts;
TEST_P(CohortsOfVariants, LeaveTheFilesOfRunsAloneInEveryPrecision) {
  const bool rounds = configs_[0].model->rounds_products();
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    SCOPED_TRACE(precision);
    if (precision != std::string("fp32") && !rounds) break;
    for (std::size_t k = 0; k < configs_.size(); ++k) {
      configs_[k].train.precision = precision;
      configs_[k].train.epochs = 2;
    }
    train_alone(precision);
    const std::vector<MemberOutcome> outcomes = train_cohort(members(std::string("side") + precision), 0.0);
    for (std::size_t k = 0; k < outcomes.size(); ++k) {
      EXPECT_TRUE(outcomes[k].trained.finished) << outcomes[k].error;
      const bool alone = !on_cuda() || configs_[k].train.optimizer == "lamb";  // there is one such run
      EXPECT_EQ(outcomes[k].trained.side_by_side, alone ? 1 : 2);
    }
    for (std::size_t k = 0; k < configs_.size(); ++k)
      expect_same_run(folder_ / name(precision, k), folder_ / name(std::string("side") + precision, k));
  }
}
INSTANTIATE_TEST_SUITE_P(Registry, CohortsOfVariants, testing::ValuesIn(tiny::variants()),
                         [](const auto& info) { return tiny::Case::letters(info.param); });

TEST(Ranks, CountTheLaunchesOfAStep) {
  EXPECT_EQ(launches_of({}), 0);
  EXPECT_EQ(launches_of({0, 7, 7, 0, 7}), 2);
  EXPECT_EQ(launches_of({7, 8, 8, 7}), 3);  // of unlike layouts
}

TEST(Ranks, AreJoinedWhereNoGapIsMade) {
  EXPECT_EQ(best_seat({false, false}), 0u);
  EXPECT_EQ(best_seat({true, false, false}), 1u);
  EXPECT_EQ(best_seat({false, false, false, true}), 2u);
  EXPECT_EQ(best_seat({true, false, true, false}), 1u);
  EXPECT_EQ(best_seat({true, true}), 2u);
  EXPECT_EQ(best_seat({}), 0u);
}

TEST(Ranks, AreClosedByTheLastMembers) {
  const auto text = [](const std::vector<std::uint64_t>& seats, std::size_t who) {
    const Closing c = closing_of(seats, who);
    return fmt::format("{} moves {}->{}", c.moves, c.launches, c.after);
  };
  EXPECT_EQ(text({7, 0, 7, 7}, 3), "1 moves 2->1");
  EXPECT_EQ(text({7, 0, 7, 7}, 2), "0 moves 2->2");  // it is in the ranks to be closed
  EXPECT_EQ(text({7, 0, 0, 7, 7}, 4), "2 moves 2->1");
  EXPECT_EQ(text({7, 7, 0, 0}, 1), "0 moves 1->1");
  EXPECT_EQ(text({0, 7, 7}, 2), "0 moves 1->1");  // no launch less
  EXPECT_EQ(text({8, 0, 7, 7}, 3), "0 moves 2->2");
}

// 40 us a launch and 30 us a member, with an error of 0.5 %, of four members in one launch and then of three in two.
TEST(Ranks, LearnFromStepsWhatALaunchTakes) {
  StepTimes times;
  EXPECT_EQ(times.of_launch(), 0.0);
  for (int i = 0; i < 20; ++i) times.add(50, 50, 200, 50 * (i % 2 ? 1.005 : 0.995) * 160e-6);
  EXPECT_EQ(times.of_launch(), 0.0);  // steps that are all alike do not tell
  for (int i = 0; i < 20; ++i) times.add(10, 20, 30, 10 * (i % 2 ? 1.005 : 0.995) * 170e-6);
  EXPECT_NEAR(times.of_launch(), 40e-6, 1e-6);
  Closing c;
  c.saves_seconds = 0.4;
  c.costs_seconds = 0.5;
  EXPECT_FALSE(saves_time(c));
  c.saves_seconds = 0.6;
  EXPECT_TRUE(saves_time(c));
}

// Quantiles of tables of Student's t; scipy.stats.t.interval of the four values.
TEST(Interval, IsStudents) {
  for (const auto& [degrees, t] : {std::pair(1, 12.7062),
                                   {2, 4.30265},
                                   {3, 3.18245},
                                   {4, 2.77645},
                                   {7, 2.36462},
                                   {20, 2.08596},
                                   {30, 2.04227},
                                   {100, 1.98397}}) {
    EXPECT_NEAR(student_t_975(degrees), t, 2e-4 * t) << degrees;
  }
  const Interval i = interval_of({1.0, 2.0, 4.0, 5.0});
  EXPECT_DOUBLE_EQ(i.mean, 3.0);
  EXPECT_NEAR(i.half_width, 2.90517, 1e-3);
  EXPECT_TRUE(std::isinf(interval_of({1.0}).half_width));
}

}  // namespace
}  // namespace cafx
