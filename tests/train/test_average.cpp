// train.ema: the average of the weights is what is validated, kept and finished, for every type of model; a run with
// one has equal bits for any number of threads, after a stop at any update, and in a cohort.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "host/train/checkpoint.h"
#include "host/train/checkpoint_files.h"
#include "host/train/cohort.h"
#include "host/train/notes.h"
#include "host/train/run_folder.h"
#include "host/train/stepper.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "models/cafx/cafx.h"
#include "models/play/weights_file.h"
#include "tests/temporary_folder.h"
#include "tests/train/synthetic.h"

namespace cafx {
namespace {

using namespace train_test;

TrainOptions average_options(const std::filesystem::path& folder, int threads = 1) {
  TrainOptions options;
  options.folder = folder;
  options.threads = threads;
  return options;
}

// Stops after so many saves, of which there is one at every step.
class StopAfterSaves {
 public:
  StopAfterSaves(const std::filesystem::path& folder, int saves) : options(average_options(folder)) {
    options.checkpoint_seconds = 0.0;
    options.stop = &stop_;
    options.before_write = [this, saves] { stop_ = stop_ || ++n_ > saves; };
  }
  TrainOptions options;

 private:
  std::atomic<bool> stop_{false};
  int n_ = 0;
};

void train_on_notes(const RunConfig& config, const TrainOptions& options) {
  Dataset data = notes(4, 900);
  const Split split = split_of(data);
  train(config, data, split, options);
}

void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* file : {"best.safetensors", "checkpoint.safetensors", "metrics.csv", "result.json"}) {
    EXPECT_TRUE(RunFolder::read(a / file) == RunFolder::read(b / file)) << b << " " << file;
  }
}

// Stopped after so many saves and gone on with, a run ends as the one in "whole".
void expect_same_after_stops(const RunConfig& config, const TemporaryFolder& folder, const std::vector<int>& saves) {
  for (const int after : saves) {
    const auto here = folder / ("stopped" + std::to_string(after));
    StopAfterSaves stopped(here, after);
    train_on_notes(config, stopped.options);
    ASSERT_FALSE(std::filesystem::exists(here / "result.json"));
    Dataset data = notes(4, 900);
    const Split split = split_of(data);
    EXPECT_TRUE(resume(config, data, split, average_options(here, 2)).finished);
    expect_same_run(folder / "whole", here);
  }
}

// Of each epoch before refining, what its steps alone decide: stage, epoch, steps, rate and training loss.
std::vector<std::string> trained(const std::filesystem::path& folder) {
  std::vector<std::string> epochs;
  std::istringstream in(RunFolder::read(folder / "metrics.csv"));
  for (std::string line; std::getline(in, line);) {
    std::size_t end = 0;
    for (int column = 0; column < 5; ++column) end = line.find(',', end) + 1;
    if (line.rfind("refine", 0) != 0) epochs.push_back(line.substr(0, end));
  }
  return epochs;
}

class AtTheEndOfAnEpoch : public TrainObserver {
 public:
  void epoch(const TrainProgress&) override { stop = true; }
  std::atomic<bool> stop{false};
};

class Averages : public testing::TestWithParam<const char*> {
 protected:
  Averages() : config_(tiny_run(model_type(GetParam()))) { config_.train.ema = 7; }
  RunConfig config_;
  TemporaryFolder folder_;
};

// Step by step, against an average of the weights that every update left, in double.
TEST_P(Averages, AreOfTheWeightsOfEveryUpdate) {
  Context context;
  context.isa = best_isa();
  const std::unique_ptr<Model> model = make_model(*config_.model);
  model->initialize(3);
  Dataset data = notes(4, 900);
  const Corpus corpus = take_corpus(data, {0, 1, 2});
  const Geometry g = model->geometry();
  Sampler sampler =
      g.frame > 0 ? Sampler(grid_of(corpus, g.frame, g.hop, -200), g.frame) : Sampler(corpus, 0.05, kRate, -200, 1);
  Places places(context, signals_of(corpus), sampler.draw(1));
  StepSettings settings;
  settings.batch = 1;
  settings.length = sampler.length();
  settings.warm_up = g.frame > 0 ? 0 : std::max(64, g.warm_up);
  settings.loss = Loss(config_.train.loss, 1e-2);
  settings.ema = 3;
  const auto n = static_cast<std::size_t>(model->n_floats());
  const std::vector<float> zeros(n, 0.0f);
  std::vector<double> want(model->data(), model->data() + n);
  const auto stepper = make_stepper(context, *model, places, settings, zeros, zeros);
  const long steps = 6, before = 11;  // as after a resume: rates go by updates of the stage
  stepper->begin_epoch(Rng{1, 2}, std::vector<float>(steps, 1e-2f), before, 0);
  for (long t = before + 1; t <= before + steps; ++t) {
    stepper->enqueue(1);
    stepper->collect(true);
    const std::vector<float> weights = stepper->replicas()[0];
    const double rate = std::max(1.0 / 3.0, 9.0 / (10.0 + static_cast<double>(t)));
    for (std::size_t i = 0; i < n; ++i) want[i] += rate * (weights[i] - want[i]);
  }
  const std::vector<float> average = stepper->average(), weights = stepper->replicas()[0];
  ASSERT_EQ(average.size(), n);
  double apart = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_NEAR(average[i], want[i], 1e-6 * (1.0 + std::abs(want[i]))) << i;
    apart = std::max(apart, std::abs(want[i] - static_cast<double>(weights[i])));
  }
  EXPECT_GT(apart, 1e-3) << "the weights stood still: the test shows nothing";
}

TEST_P(Averages, GoOnAfterAStopToEqualBits) {
  train_on_notes(config_, average_options(folder_ / "whole", 3));
  RunConfig plain = config_;
  plain.train.ema = 0;
  train_on_notes(plain, average_options(folder_ / "plain"));
  const auto tensors = read_safetensors(folder_ / "plain" / kCheckpointFile).tensors;
  EXPECT_TRUE(
      std::none_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.first.rfind("average/", 0) == 0; }));
  EXPECT_FALSE(RunFolder::read(folder_ / "plain" / "best.safetensors") ==
               RunFolder::read(folder_ / "whole" / "best.safetensors"));
  EXPECT_EQ(trained(folder_ / "whole"), trained(folder_ / "plain")) << "the steps go on from the weights themselves";
  expect_same_after_stops(config_, folder_, {1, 2, 4, 5});  // in the middle of an epoch and at its end
}

// Stopped at the end of its only epoch: the best weights are the average, and the validation is theirs.
TEST_P(Averages, AreJudgedAndKept) {
  config_.train.stop_on = "esr_emphasis";
  config_.train.epochs = 1;
  config_.train.pretrain_epochs = config_.train.refine_epochs = 0;
  config_.train.lr = 1e-2;
  AtTheEndOfAnEpoch observer;
  TrainOptions options = average_options(folder_ / "run");
  options.observer = &observer;
  options.stop = &observer.stop;
  Dataset data = notes(4, 900);
  const Split split = split_of(data);
  const double validation = train(config_, data, split, options).validation;
  const ModelFile file = load_model(folder_ / "run");
  const Checkpoint end = read_checkpoint(folder_ / "run" / kCheckpointFile, file.model->params());
  ASSERT_EQ(end.average.size(), end.model.size());
  EXPECT_TRUE(end.best == end.average);
  EXPECT_FALSE(end.best == end.model);
  for (std::size_t i = 0; i < end.best.size(); ++i) ASSERT_EQ(file.model->data()[i], end.best[i]) << i;
  data = notes(4, 900);
  const Corpus held_out = take_corpus(data, split.validation);
  Context context;
  context.isa = best_isa();
  EXPECT_NEAR(mean_metric(*file.model, context, whole_notes(held_out), "esr_emphasis"), validation, 1e-4 * validation);
}

TEST_P(Averages, OfACohortAreThoseOfRunsAlone) {
  std::vector<Member> members;
  Dataset data = notes(4, 900);
  const Split split = split_of(data);
  for (int k = 0; k < 2; ++k) {
    config_.train.seed = 5 + k;
    config_.train.ema = 7 * k;  // the first keeps none
    train_on_notes(config_, average_options(folder_ / ("alone" + std::to_string(k))));
    members.push_back({config_, &data, &split, average_options(folder_ / ("side" + std::to_string(k)))});
  }
  for (const MemberOutcome& o : train_cohort(members, 0.0)) EXPECT_TRUE(o.trained.finished) << o.error;
  for (const char* k : {"0", "1"}) {
    expect_same_run(folder_ / (std::string("alone") + k), folder_ / (std::string("side") + k));
  }
}

std::vector<const char*> types_that_average() {
  std::vector<const char*> names;
  for (const ModelType& t : model_types()) names.push_back(t.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Registry, Averages, testing::ValuesIn(types_that_average()),
                         [](const auto& info) { return std::string(info.param); });

// Of every type that leaves out: the masks of a resumed run, of other threads and of a batch in parts are the same; the
// validation hears the whole model.
TEST(Dropout, GoesOnToEqualBits) {
  int n_types = 0;
  for (const ModelType& type : model_types()) {
    RunConfig config = tiny_run(type);
    Fields fields = config.model->fields();
    if (std::none_of(fields.begin(), fields.end(), [](const Field& f) { return f.name == "dropout"; })) continue;
    SCOPED_TRACE(type.name);
    ++n_types;
    TemporaryFolder folder;
    train_on_notes(config, average_options(folder / "plain"));
    set_field(fields, "dropout", "0.2", "test");
    train_on_notes(config, average_options(folder / "whole", 3));
    EXPECT_FALSE(RunFolder::read(folder / "plain" / "best.safetensors") ==
                 RunFolder::read(folder / "whole" / "best.safetensors"));
    expect_same_after_stops(config, folder, {2, 5});
    config.train.stop_on = "esr_emphasis";
    Dataset data = notes(4, 900);
    const Split split = split_of(data);
    const double validation = train(config, data, split, average_options(folder / "judged")).validation;
    const ModelFile file = load_model(folder / "judged");
    data = notes(4, 900);
    const Corpus held_out = take_corpus(data, split.validation);
    Context context;
    context.isa = best_isa();
    EXPECT_NEAR(mean_metric(*file.model, context, whole_notes(held_out), "esr_emphasis"), validation,
                1e-4 * validation);
  }
  EXPECT_EQ(n_types, 3);
}

TEST(Dropout, IsTheSameForABatchInParts) {
  RunConfig config = tiny_run(model_type("cafx"));
  Fields fields = config.model->fields();
  set_field(fields, "dropout", "0.2", "test");
  config.train.pretrain_epochs = config.train.refine_epochs = 0;
  config.train.epochs = 1;
  TemporaryFolder folder;
  std::vector<double> losses;  // of the one epoch
  for (const int parts : {1, 3}) {
    config.train.accumulate = parts;
    Dataset data = notes(4, 900);
    const Split split = split_of(data);
    losses.push_back(train(config, data, split, average_options(folder / std::to_string(parts))).training);
  }
  EXPECT_NEAR(losses[1], losses[0], 1e-5 * losses[0]);
}

TEST(Average, KeepsTheBoundOnSlopes) {
  TemporaryFolder folder;
  RunConfig config = tiny_run(model_type("cafx"));
  Fields fields = config.model->fields();
  set_field(fields, "saaf.lipschitz", "0.2", "test");
  config.train.ema = 4;
  config.train.lr = 3e-2;
  train_on_notes(config, average_options(folder / "run"));
  const ModelFile file = load_model(folder / "run");
  const double slope = dynamic_cast<const CafxModel&>(*file.model).lipschitz();
  EXPECT_LE(slope, 0.2);
  EXPECT_GT(slope, 0.1) << "no curve reached the bound: the test shows nothing";
}

}  // namespace
}  // namespace cafx
