// The trainer over every type of model in the registry: it learns, gives equal bits for any number of threads and after
// any stop, stops on what it is asked to, learns from a teacher, and turns a model that came out inverted.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "host/train/notes.h"
#include "host/train/optimiser.h"
#include "host/train/run_folder.h"
#include "host/train/train.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "models/play/weights_file.h"
#include "models/registry.h"
#include "tests/temporary_folder.h"
#include "tests/train/synthetic.h"

namespace cafx {
namespace {

using namespace train_test;

// Asks the training to stop after so many of its reports; 0: never.
class StopAfter : public TrainObserver {
 public:
  explicit StopAfter(int epochs) : left_(epochs) {}
  void message(const std::string& text) override { said += text + "\n"; }
  void epoch(const TrainProgress&) override {
    if (--left_ == 0) stop = true;
  }
  std::atomic<bool> stop{false};
  std::string said;

 private:
  int left_;
};

TrainOptions options_for(const std::filesystem::path& folder, int threads = 1) {
  TrainOptions options;
  options.folder = folder;
  options.threads = threads;
  options.checkpoint_seconds = 0.0;  // saves at every step
  return options;
}

TrainOutcome train_here(const RunConfig& config, const TrainOptions& options, Dataset data) {
  const Split split = split_of(data);
  return train(config, data, split, options);
}

std::string bytes(const std::filesystem::path& path) { return RunFolder::read(path); }

void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {"best.safetensors", "checkpoint.safetensors", "metrics.csv", "result.json", "split.json"}) {
    EXPECT_TRUE(bytes(a / file) == bytes(b / file)) << file;
  }
}

std::vector<std::vector<std::string>> table(const std::filesystem::path& csv) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream in(bytes(csv));
  for (std::string line; std::getline(in, line);) {
    rows.emplace_back();
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) rows.back().push_back(cell);
  }
  return rows;
}

std::size_t column(const std::vector<std::vector<std::string>>& rows, const std::string& name) {
  return static_cast<std::size_t>(std::find(rows[0].begin(), rows[0].end(), name) - rows[0].begin());
}

class Trainers : public testing::TestWithParam<const char*> {
 protected:
  const ModelType& type() const { return model_type(GetParam()); }
  TemporaryFolder folder_;
};

TEST_P(Trainers, LearnAndGiveEqualBitsForAnyNumberOfThreads) {
  RunConfig config = tiny_run(type());
  config.train.epochs = 12;
  config.train.lr = 1e-2;
  const TrainOutcome one = train_here(config, options_for(folder_ / "one", 1), notes(4, 700));
  const TrainOutcome three = train_here(config, options_for(folder_ / "three", 3), notes(4, 700));
  ASSERT_TRUE(one.finished && three.finished);
  expect_same_run(folder_ / "one", folder_ / "three");
  const auto rows = table(folder_ / "one" / "metrics.csv");
  const std::size_t stage = column(rows, "stage"), loss = column(rows, training_name(config.train));
  std::vector<double> losses;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i][stage] == "train") losses.push_back(std::stod(rows[i][loss]));
  }
  ASSERT_EQ(losses.size(), 12u);
  EXPECT_LT(losses.back(), 0.95 * losses.front()) << losses.front() << " to " << losses.back();
  const auto result = nlohmann::json::parse(bytes(folder_ / "one" / "result.json"));
  EXPECT_EQ(result["model"], type().name);
  EXPECT_EQ(result[validation_name(config.train)].get<double>(), one.validation);
  EXPECT_TRUE(std::filesystem::file_size(folder_ / "one" / "events.out.tfevents") > 0);
}

TEST_P(Trainers, GoOnAfterAStopToEqualBits) {
  const RunConfig config = tiny_run(type());
  train_here(config, options_for(folder_ / "whole"), notes(4, 900));
  const int all = static_cast<int>(table(folder_ / "whole" / "metrics.csv").size()) - 1;
  ASSERT_GE(all, 4);
  for (int after = 1; after < all; ++after) {
    const auto here = folder_ / ("stopped" + std::to_string(after));
    StopAfter first(after);
    TrainOptions options = options_for(here);
    options.stop = &first.stop;
    options.observer = &first;
    EXPECT_FALSE(train_here(config, options, notes(4, 900)).finished);
    Dataset data = notes(4, 900);
    const Split split = split_of(data);
    EXPECT_TRUE(resume(config, data, split, options_for(here, 2)).finished);
    expect_same_run(folder_ / "whole", here);
  }
  Dataset other = notes(4, 901);
  EXPECT_THROW(resume(config, other, split_of(other), options_for(folder_ / "whole")), Error) << "other audio";
}

TEST_P(Trainers, StopOnTheMetricThatIsAskedFor) {
  RunConfig config = tiny_run(type());
  config.train.stop_on = "esr_emphasis";
  config.train.lr = 3e-2;  // so that the last epoch is not always the best
  config.train.epochs = 8;
  config.train.refine_epochs = 0;
  const TrainOutcome outcome = train_here(config, options_for(folder_ / "run"), notes(4, 900));
  const auto rows = table(folder_ / "run" / "metrics.csv");
  const std::size_t at = column(rows, "validation_esr_emphasis"), stage = column(rows, "stage");
  ASSERT_LT(at, rows[0].size());
  double best = 1e9;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i][stage] == "train") best = std::min(best, std::stod(rows[i][at]));
  }
  EXPECT_NEAR(best, outcome.validation, 1e-6 * best);
  // The weights that were kept are those of that epoch.
  const ModelFile file = load_model(folder_ / "run");
  Dataset data = notes(4, 900);
  const Split split = split_of(data);
  const Corpus validation = take_corpus(data, split.validation);
  Context context;
  context.isa = best_isa();
  EXPECT_NEAR(mean_metric(*file.model, context, whole_notes(validation), "esr_emphasis"), best, 1e-4 * best);
}

TEST_P(Trainers, LearnFromATeacherWhereTheRecordingsOnlyMeasure) {
  RunConfig teacher = tiny_run(model_types().front());
  train_here(teacher, options_for(folder_ / "teacher"), notes(4, 900));
  RunConfig config = tiny_run(type());
  config.teacher.model = (folder_ / "teacher").string();
  train_here(config, options_for(folder_ / "student"), notes(4, 900));
  const auto quality = nlohmann::json::parse(bytes(folder_ / "student" / "result.json"))["quality"];
  for (const char* what : {"student_target", "teacher_target", "student_teacher"}) {
    EXPECT_TRUE(quality.contains(what)) << what;
  }
  // The recordings decide nothing: turned over, they leave the same weights.
  config.teacher.model = (folder_ / "teacher").string();
  train_here(config, options_for(folder_ / "other"), notes(4, 900, -1.0f));
  const auto a = read_safetensors(folder_ / "student" / "best.safetensors"),
             b = read_safetensors(folder_ / "other" / "best.safetensors");
  for (const auto& [name, tensor] : a.tensors) EXPECT_TRUE(tensor.bytes == b.tensors.at(name).bytes) << name;
  EXPECT_TRUE(std::filesystem::exists(folder_ / "student" / "teacher.safetensors"));
}

// As a loss leaves a model that does not see the sign: trained, then negated, then handed to a run that changes
// nothing.
TEST_P(Trainers, TurnAModelThatCameOutInverted) {
  RunConfig config = tiny_run(type());
  config.train.epochs = 8;
  train_here(config, options_for(folder_ / "right"), notes(5, 1500));
  ModelFile file = load_model(folder_ / "right");
  if (!file.model->negate_output()) GTEST_SKIP() << "no sign of its weights turns its output";
  save_model(folder_ / "inverted.safetensors", *file.model, {});
  config.train.init_from = (folder_ / "inverted.safetensors").string();
  config.train.pretrain_epochs = 0;
  config.train.epochs = 1;
  config.train.refine_epochs = 0;
  config.train.lr = 0.0;
  StopAfter observer(0);
  TrainOptions options = options_for(folder_ / "mended");
  options.observer = &observer;
  const TrainOutcome outcome = train_here(config, options, notes(5, 1500));
  EXPECT_NE(observer.said.find("came out inverted"), std::string::npos) << observer.said;
  const auto a = read_safetensors(folder_ / "right" / "best.safetensors"),
             b = read_safetensors(folder_ / "mended" / "best.safetensors");
  for (const auto& [name, tensor] : a.tensors) EXPECT_TRUE(tensor.bytes == b.tensors.at(name).bytes) << name;
  const auto rows = table(folder_ / "mended" / "metrics.csv");
  EXPECT_LT(outcome.validation, std::stod(rows.back()[column(rows, validation_name(config.train))]));
}

TEST(TrainConfig, ABlockBeginsWhereAModulationDoes) {
  RunConfig config;
  config.type = "s4";
  config.train.pretrain_epochs = 0;
  config.model = AnyConfig(model_type("s4").preset("s4-tf-s"));
  config.model->sample_rate = 16000;
  const int unit = config.model->geometry().unit;
  ASSERT_GT(unit, 1);
  config.train.block = 3 * unit;
  EXPECT_NO_THROW(check(config, "here"));
  config.train.block = 3 * unit + 1;
  EXPECT_THROW(check(config, "here"), Error);
}

TEST_P(Trainers, RefuseWhatTheyCannotDo) {
  RunConfig config = tiny_run(type());
  config.train.pretrain_epochs = 1;
  if (type().forms.size() == 1) {
    EXPECT_THROW(check(config, "here"), Error);
  } else {
    EXPECT_NO_THROW(check(config, "here"));
  }
  config = tiny_run(type());
  config.train.precision = "bf16";
  if (config.model->rounds_products()) {
    EXPECT_NO_THROW(check(config, "here"));
  } else {
    EXPECT_THROW(check(config, "here"), Error) << "it would change nothing";
  }
  config = tiny_run(type());
  Dataset silent = notes(4, 900);
  for (Pair& p : silent.pairs) {
    p.dry = Recording(p.dry.size(), 0.0f);
    p.wet = Recording(p.wet.size(), 0.0f);
  }
  EXPECT_THROW(train_here(config, options_for(folder_ / "silent"), silent), Error);
}

std::vector<const char*> all_types() {
  std::vector<const char*> names;
  for (const ModelType& t : model_types()) names.push_back(t.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Registry, Trainers, testing::ValuesIn(all_types()),
                         [](const auto& info) { return std::string(info.param); });

// Multi-resolution STFT alone: it learns, and whatever sign it came to, the finished model has that of the targets.
TEST(Trainer, HasTheSignOfTheTargetsAfterALossOfMagnitudes) {
  TemporaryFolder folder;
  Context context;
  context.isa = best_isa();
  int n_mended = 0;
  for (int seed = 1; seed <= 4; ++seed) {
    RunConfig config = tiny_run(model_type("lstm"));
    config.train.seed = seed;
    config.train.segment_seconds = 0.1;
    config.train.block = 400;
    config.train.epochs = 6;
    config.train.refine_epochs = 0;
    config.train.lr = 1e-2;
    config.train.stop_on = "loss";
    config.train.loss = LossConfig();
    config.train.loss.mae = 0.0;
    config.train.loss.mr_stft = 1.0;
    StopAfter observer(0);
    const auto here = folder / std::to_string(seed);
    TrainOptions options = options_for(here);
    options.observer = &observer;
    train_here(config, options, notes(4, 1500));
    const auto rows = table(here / "metrics.csv");
    const std::size_t loss = column(rows, "training_loss");
    EXPECT_LT(std::stod(rows.back()[loss]), std::stod(rows[1][loss])) << "seed " << seed;
    const ModelFile file = load_model(here);
    Dataset data = notes(4, 1500);
    const Split split = split_of(data);
    const Corpus validation = take_corpus(data, split.validation);
    EXPECT_FALSE(is_inverted(*file.model, context, whole_notes(validation))) << "seed " << seed;
    n_mended += observer.said.find("came out inverted") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(n_mended, 0) << "no seed came out inverted: the test shows nothing";
}

// The optimiser goes through a batch in parts as through the whole, but for rounding; LAMB is not Adam.
TEST(Optimisers, AreATable) {
  EXPECT_EQ(std::string(optimiser("lamb").name), "lamb");
  EXPECT_THROW(optimiser("sgd"), Error);
  TemporaryFolder folder;
  RunConfig config = tiny_run(model_type("lstm"));
  config.train.epochs = 1;
  train_here(config, options_for(folder / "adam"), notes(3, 600));
  config.train.optimizer = "lamb";
  train_here(config, options_for(folder / "lamb"), notes(3, 600));
  EXPECT_FALSE(bytes(folder / "adam" / "best.safetensors") == bytes(folder / "lamb" / "best.safetensors"));
}

}  // namespace
}  // namespace cafx
