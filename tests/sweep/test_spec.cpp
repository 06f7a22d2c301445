// Sweep files: what they say, and how wrong ones are refused.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "host/sweep/plan.h"
#include "host/sweep/spec.h"
#include "kernels/base/error.h"

namespace cafx {
namespace {

Spec spec_of(const std::string& text) { return parse_spec(text, "test.toml"); }

std::string error_of(const std::string& text) {
  try {
    sample_points(spec_of(text));
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Spec, CohortsAndGpusAreWordsOrNumbers) {
  const Spec s = spec_of("[train]\ngpus = 2\n[axes]\n\"train.lr\" = [1e-3]\n[sweep]\ncohort = 3\n");
  EXPECT_EQ(s.sweep.cohort, "3");
  EXPECT_EQ(s.base.train.gpus, "2");
  EXPECT_EQ(spec_of("[axes]\n\"train.lr\" = [1e-3]\n[sweep]\ncohort = \"off\"\n").sweep.cohort, "off");
  EXPECT_NE(error_of("[axes]\n\"train.lr\" = [1e-3]\n[sweep]\ncohort = 2.5\n").find("expected text"),
            std::string::npos);
}

TEST(Spec, GridCrossesListsRangesLogsAndZips) {
  const Spec s = spec_of(R"(
    name = "g"
    [axes]
    train.lr = {log = [1e-4, 1e-2], points = 3}
    model.filters = {range = [8, 24, 8]}
    "data.effect+data.setting" = [["Distortion", 1], ["EQ", 2]]
  )");
  const auto points = sample_points(s);
  ASSERT_EQ(points.size(), 3u * 3u * 2u);
  EXPECT_EQ(label(points[0]), "train.lr=0.0001 model.filters=8 data.effect=Distortion data.setting=1");
  EXPECT_EQ(label(points[1]), "train.lr=0.0001 model.filters=8 data.effect=EQ data.setting=2");
  EXPECT_NEAR(points[6][0].second.get<double>(), 1e-3, 1e-15);  // the middle, on a logarithmic scale
  EXPECT_EQ(label(points[17]), "train.lr=0.01 model.filters=24 data.effect=EQ data.setting=2");
}

TEST(Spec, ConditionalAxesCountOnlyWhereTheirConditionHolds) {
  const Spec s = spec_of(R"(
    [axes]
    train.warmup_steps = {values = [0, 100, 200], when = {train.schedule = "cosine"}}
    train.schedule = ["constant", "cosine"]
  )");
  std::set<std::string> labels;
  for (const Point& p : sample_points(s)) labels.insert(label(p));
  EXPECT_EQ(labels, (std::set<std::string>{"train.schedule=constant", "train.schedule=cosine train.warmup_steps=0",
                                           "train.schedule=cosine train.warmup_steps=100",
                                           "train.schedule=cosine train.warmup_steps=200"}));
}

TEST(Spec, SamplingIsDeterministicAndCrossesSeedsAndData) {
  const std::string text = R"(
    [axes]
    train.lr = {log = [1e-5, 1e-1]}
    train.clip_norm = {linear = [0, 2]}
    train.seed = [1, 2, 3]
    data.setting = [1, 2]
    [sweep]
    sampling = "SAMPLING"
    budget = 16
  )";
  for (const std::string sampling : {"random", "sobol"}) {
    std::string t = text;
    t.replace(t.find("SAMPLING"), 8, sampling);
    const auto a = sample_points(spec_of(t)), b = sample_points(spec_of(t));
    ASSERT_EQ(a.size(), 16u * 6u) << sampling;
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(label(a[i]), label(b[i]));
    std::set<double> rates;
    for (const Point& p : a) {
      for (const auto& [key, value] : p) {
        if (key == "train.lr") rates.insert(value.get<double>());
      }
    }
    EXPECT_EQ(rates.size(), 16u) << sampling;
    EXPECT_GE(*rates.begin(), 1e-5);
    EXPECT_LE(*rates.rbegin(), 1e-1);
    // Log-uniform: about as many in each decade; Sobol: exactly, 16 points in 4 decades.
    if (sampling == "sobol") {
      int below = 0;
      for (const double r : rates) below += r < 1e-3;
      EXPECT_EQ(below, 8);
    }
  }
}

// Every projection on an axis of 2^k Sobol points has one point in each of the 2^k intervals; every plane of the first
// two dimensions has one in each elementary box.
TEST(Spec, SobolPointsFillTheirIntervals) {
  constexpr int n = 64;
  for (int d = 0; d < 16; ++d) {
    std::set<int> cells;
    for (std::uint32_t i = 0; i < n; ++i)
      cells.insert(static_cast<int>(sobol_point(i, 16, 5)[static_cast<std::size_t>(d)] * n));
    EXPECT_EQ(cells.size(), static_cast<std::size_t>(n)) << "dimension " << d;
  }
  std::set<int> boxes;
  for (std::uint32_t i = 0; i < n; ++i) {
    const auto u = sobol_point(i, 2, 5);
    boxes.insert(static_cast<int>(u[0] * 8) * 8 + static_cast<int>(u[1] * 8));
  }
  EXPECT_EQ(boxes.size(), static_cast<std::size_t>(n));
  EXPECT_THROW(sobol_point(0, 17, 1), Error);
}

TEST(Spec, WrongFilesAreRefusedWithTheNearestKey) {
  EXPECT_NE(error_of("[axes]\ntrain.lrr = [1]").find("did you mean 'train.lr'"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.lrr = [1]").find("test.toml:2"), std::string::npos);
  EXPECT_NE(error_of("[sweep]\nsamplin = \"grid\"").find("'sweep.sampling'"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.lr = {logg = [1, 2], points = 2}").find("'log'"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.lr = {log = [0, 1], points = 2}").find("0 < lowest"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.lr = {log = [1e-3, 1]}").find("points"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.batch = [\"x\"]").find("whole number"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.batch = []").find("at least one value"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.batch = 3").find("expected a list"), std::string::npos);
  EXPECT_NE(error_of("[axes]\n\"data.effect+data.setting\" = [[\"EQ\"]]").find("lists of 2 values"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.seed = {range = [1, 5, 0]}").find("step"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.seed = {range = [1, 1e9, 1]}").find("at most"), std::string::npos);
  EXPECT_NE(error_of("[sweep]\nsampling = \"sobol\"").find("budget"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.lr = {value = [1e-3]}").find("did you mean 'values'"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.ema = [0.0]").find("train.ema = 0.0, expected whole number"), std::string::npos);
  EXPECT_NE(error_of("[sweep]\nsampling = \"tpe\"\nbudget = 3\n[axes]\ntrain.seed = [1, 2]").find("is not crossed"),
            std::string::npos);
  EXPECT_NE(error_of("[pretrain]\ntrain.sed = 1").find("'train.seed'"), std::string::npos);
  EXPECT_NE(error_of("name = \"a/b\"").find("letters"), std::string::npos);
  EXPECT_NE(error_of("axes = 3").find("table"), std::string::npos);
  EXPECT_NE(error_of("[axes").find("is not TOML"), std::string::npos);
  EXPECT_NE(error_of("[axes]\npreset = [\"paper\"]").find("preset"), std::string::npos);
  EXPECT_NE(error_of("[axes]\ntrain.schedule = {values=[\"cosine\"], when={train.optimizer=\"lamb\"}}\n"
                     "train.optimizer = {values=[\"lamb\"], when={train.schedule=\"cosine\"}}")
                .find("ask for each other"),
            std::string::npos);
}

TEST(Spec, AnObjectiveIsWhatRunsOfTheTypeHave) {
  const auto asks = [](const char* preset, const char* objective) {
    return error_of(std::string("name = \"o\"\npreset = \"") + preset + "\"\n[sweep]\nobjective = \"" + objective +
                    "\"\n[axes]\ntrain.seed = [1]\n");
  };
  EXPECT_EQ(asks("default", "saaf_penalty"), "no error");
  EXPECT_EQ(asks("default", "saaf_input_peak"), "no error");  // which takes a signal
  EXPECT_EQ(asks("lstm", "validation_esr"), "no error");
  EXPECT_NE(asks("lstm", "saaf_penalty").find("no run has such a result"), std::string::npos);
}

TEST(Spec, AnObjectiveThatAxesMakeAnotherMeasureIsTold) {
  const auto why = [](const std::string& text) { return why_incomparable(spec_of("name = \"o\"\n" + text)); };
  const std::string varied = "[axes]\ntrain.loss.esr = [0.0, 1.0]\n";
  EXPECT_NE(why(varied).find("validation_mae says not which run is best, since train.loss.esr decides"),
            std::string::npos);
  EXPECT_EQ(why("[train]\nstop_on = \"esr\"\n" + varied), "");
  EXPECT_EQ(why("[data]\ntest = 0.2\n[sweep]\nobjective = \"test.mae\"\n" + varied), "");
  EXPECT_NE(why("[sweep]\nobjective = \"training_loss\"\n[train]\nstop_on = \"esr\"\n" + varied), "");
  EXPECT_NE(why("[axes]\ntrain.stop_on = [\"mae\", \"esr\"]\n"), "");
  EXPECT_EQ(why("[axes]\ntrain.lr = [1e-3, 1e-2]\ntrain.loss.esr = [0.5]\n"), "");
  const std::string tpe =
      "name = \"o\"\n[sweep]\nsampling = \"tpe\"\nbudget = 3\n[axes]\ntrain.lr = {log = [1e-4, 1e-2]}\n";
  EXPECT_NE(error_of(tpe + "train.loss.esr = [0.0, 1.0]\n").find("train.loss.esr decides"), std::string::npos);
  EXPECT_EQ(error_of(tpe + "train.loss.esr = {values = [0.0, 1.0], cross = true}\n"), "no error");
}

TEST(Plan, PretrainingDependsOnWhatItNeedsAlone) {
  RunConfig a = run_preset("default"), b = a;
  b.train.lr *= 2.0;
  b.train.epochs += 5;
  b = with_settings(b, {{"model.dnn", {16, 32}}, {"model.saaf.segments", 25}, {"model.activation", "tanh"}}, "test");
  EXPECT_EQ(run_hash(pretraining_of(a, {}), "x"), run_hash(pretraining_of(b, {}), "x"));
  for (const auto& change : std::vector<Setting>{{"train.pretrain_lr", 1e-5},
                                                 {"train.seed", 2},
                                                 {"model.taps", 32},
                                                 {"train.batch", 8},
                                                 {"model.conv_init", "glorot_uniform"},
                                                 {"train.pretrain_epochs", 3},
                                                 {"model.deconv", "correlate"}}) {
    EXPECT_NE(run_hash(pretraining_of(a, {}), "x"),
              run_hash(pretraining_of(with_settings(a, {change}, "test"), {}), "x"))
        << change.first;
  }
  EXPECT_NE(run_hash(pretraining_of(a, {}), "x"), run_hash(pretraining_of(a, {}), "y"));
  // As former versions hashed it: pretrainings in stores are found again.
  EXPECT_EQ(run_hash(pretraining_of(run_preset("paper"), {}), "0123"), "e1b9553b5655");
  // [pretrain] makes what would differ the same.
  b.train.seed = 7;
  EXPECT_EQ(run_hash(pretraining_of(a, {{"train.seed", 1}}), "x"),
            run_hash(pretraining_of(b, {{"train.seed", 1}}), "x"));
}

TEST(Plan, AHashTakesTheWeightsIdentityAndNotTheirPath) {
  RunConfig a = run_preset("default"), b = a;
  a.train.init_from = "/one/place.safetensors";
  b.train.init_from = "/another.safetensors";
  EXPECT_EQ(run_hash(a, "x", "p/pretrained"), run_hash(b, "x", "p/pretrained"));
  EXPECT_NE(run_hash(a, "x", "p/pretrained"), run_hash(a, "x", "q/pretrained"));
}

TEST(Plan, PrioritiesFollowTheLongestChain) {
  std::vector<Task> tasks(4);
  tasks[0].seconds = 1.0;  // pretraining of 1 and 2
  tasks[1].seconds = 10.0, tasks[1].parent = 0;
  tasks[2].seconds = 50.0, tasks[2].parent = 0;
  tasks[3].seconds = 20.0;
  prioritise(tasks, {});
  EXPECT_DOUBLE_EQ(tasks[0].priority, 51.0);
  EXPECT_GT(tasks[2].priority, tasks[3].priority);
  EXPECT_GT(tasks[3].priority, tasks[1].priority);
  tasks[1].of_steps = tasks[1].seconds;
  tasks[1].seconds += 60.0;  // measured beside its steps, which decides no order
  prioritise(tasks, {});
  EXPECT_DOUBLE_EQ(tasks[0].priority, 51.0);
  EXPECT_GT(tasks[3].priority, tasks[1].priority);
  tasks[1].point = {{"data.effect", "EQ"}};
  prioritise(tasks, {"data.effect=EQ"});
  EXPECT_GT(tasks[1].priority, tasks[2].priority);
  EXPECT_GT(tasks[0].priority, tasks[2].priority);
}

}  // namespace
}  // namespace cafx
