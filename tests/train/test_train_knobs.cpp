// Models that learn where knobs stand: better at a position that they never saw than at any other that one could take
// for it, equal bits for any number of threads and after a stop, and what is refused.
#include <gtest/gtest.h>

#include "host/eval/eval.h"
#include "host/train/run_folder.h"
#include "host/train/targets.h"
#include "host/train/train.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "models/play/weights_file.h"
#include "tests/temporary_folder.h"
#include "tests/train/synthetic.h"

namespace cafx {
namespace {

using namespace train_test;

// Two notes at each gain, in one position of the switch; those of the last gain validate.
Dataset at_gains(const std::vector<Knob>& knobs, const std::vector<double>& gains) {
  Dataset data;
  for (const double gain : gains) {
    for (Pair& p : notes(2, 900).pairs) {
      Recording& wet = p.wet.edit();
      for (std::size_t t = 0; t < p.dry.size(); ++t) {
        wet[t] = 0.6f * std::tanh((0.3f + 0.5f * static_cast<float>(gain)) * p.dry[t]);
      }
      p.controls = controls_at(knobs, {gain, 1.0});
      data.pairs.push_back(std::move(p));
    }
  }
  return data;
}

Split last_position_validates(const Dataset& data) {
  Split split;
  const int n = static_cast<int>(data.pairs.size());
  for (int i = 0; i < n; ++i) (i < n - 2 ? split.train : split.validation).push_back(i);
  return split;
}

RunConfig run_of(const std::string& variant) {
  RunConfig c = tiny_run(model_type(tiny::type_of(variant)));
  c.model = AnyConfig(tiny::config(variant));
  c.data.knobs = c.model->knobs;
  c.train.epochs = 40;
  c.train.refine_epochs = 0;
  c.train.lr = 1e-2;
  c.train.stop_on = "esr";
  return c;
}

class KnobTraining : public testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path train_here(const RunConfig& config, const std::string& name, int threads,
                                   std::atomic<bool>* stop = nullptr) {
    TrainOptions options;
    options.folder = folder_ / name;
    options.threads = threads;
    options.stop = stop;
    Dataset data = at_gains(parse_knobs(config.data.knobs, "test"), kGains);
    const Split split = last_position_validates(data);
    train(config, data, split, options);
    return options.folder;
  }
  TemporaryFolder folder_;
  const std::vector<double> kGains = {0.0, 2.0, 4.0, 8.0, 10.0, 6.0};
};

TEST_P(KnobTraining, IsJudgedAtAPositionThatItNeverSaw) {
  const RunConfig config = run_of(GetParam());
  const auto run = train_here(config, "one", 1);
  const ModelFile file = load_model(run);
  EXPECT_EQ(file.model->config().knobs, config.data.knobs) << "the weights' file tells its knobs";
  const std::vector<Knob> knobs = parse_knobs(config.data.knobs, "test");
  Context context;
  context.isa = best_isa();
  const auto esr_at = [&](double gain) {
    Dataset data = at_gains(knobs, {6.0});
    for (Pair& p : data.pairs) p.controls = controls_at(knobs, {gain, 1.0});
    return evaluate(*file.model, context, data, {0, 1}, "validation", 0).mean.esr;
  };
  const double here = esr_at(6.0);
  EXPECT_LT(here, 0.5 * esr_at(0.0));
  EXPECT_LT(here, 0.9 * esr_at(3.0));
  EXPECT_LT(here, 0.9 * esr_at(10.0));
  Dataset none = at_gains(knobs, {6.0});
  for (Pair& p : none.pairs) p.controls.clear();
  EXPECT_THROW(evaluate(*file.model, context, none, {0, 1}, "validation", 0), Error) << "another list of knobs";
}

TEST_P(KnobTraining, HasEqualBitsForAnyThreadsAndAfterAStop) {
  RunConfig config = run_of(GetParam());
  config.train.epochs = 3;
  const auto one = train_here(config, "one", 1), three = train_here(config, "three", 3);
  std::atomic<bool> stop{true};
  train_here(config, "stopped", 1, &stop);
  TrainOptions options;
  options.folder = folder_ / "stopped";
  options.threads = 2;
  Dataset data = at_gains(parse_knobs(config.data.knobs, "test"), kGains);
  EXPECT_TRUE(resume(config, data, last_position_validates(data), options).finished);
  for (const char* name : {"three", "stopped"}) {
    EXPECT_TRUE(RunFolder::read(one / "best.safetensors") == RunFolder::read(folder_ / name / "best.safetensors"))
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, KnobTraining,
                         ::testing::Values("lstm+knobs", "s4+knobs", "s4+film_knobs", "wavenet+knobs",
                                           "cafx+film_knobs", "cafx+latent_knobs"),
                         [](const auto& c) { return tiny::Case::letters(c.param); });

TEST(Knobs, GoFromTheDataToAModelThatHasSome) {
  RunConfig c = run_preset("lstm-nano");
  c.data.knobs = {"gain: 0..10"};
  choose_knobs(c);
  EXPECT_EQ(c.model->knobs, c.data.knobs);
  EXPECT_EQ(c.model->geometry().knobs, 1);
  const auto refusal = [](RunConfig config) {
    try {
      choose_knobs(config);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  c.model->knobs = {"tone: 0..10"};
  EXPECT_NE(refusal(c).find("leave one of them out"), std::string::npos);
  for (const char* preset : {"crafx", "eq-net"}) {
    RunConfig other = run_preset(preset);
    EXPECT_EQ(refusal(other), "");
    other.data.knobs = {"gain: 0..10"};
    EXPECT_NE(refusal(other).find("have no knobs; those of type cafx, lstm, s4 and wavenet have"), std::string::npos)
        << refusal(other);
  }
}

}  // namespace
}  // namespace cafx
