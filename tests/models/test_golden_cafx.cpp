// The whole of CAFx, its pretrained form, and EQ net: against PyTorch, and at further sizes against the oracle.
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/optimizer/optimizer.h"
#include "models/cafx/cafx.h"
#include "models/eq_net/eq_net.h"
#include "tests/ops/golden.h"
#include "tests/reference/reference_cafx.h"

namespace cafx {
namespace {

using namespace op_test;
using reference::Tensors;

// A chain of a dozen ops in float.
constexpr Tolerance kChain{2e-6, 2e-5};
constexpr const char* kCases[] = {"cafx_paper", "cafx_journal", "cafx_odd", "cafx_default",
                                  "cafx_plain", "cafx_dense",   "eq_net"};

CafxConfig config_of(const Golden& golden) {
  const auto j = nlohmann::json::parse(golden.metadata("config"));
  CafxConfig c;
  c.frame = j["frame"];
  c.hop = c.frame / 2;
  c.filters = j["filters"];
  c.taps = j["taps"];
  c.local_taps = j["local_taps"];
  c.pool = j["pool"];
  c.latent = j["latent"];
  c.latent_layer = j.value("latent_layer", "local");
  c.dnn = j["dnn"].get<std::vector<int>>();
  c.activation = j["activation"];
  c.unpool = j["unpool"];
  c.deconv = j["deconv"];
  c.saaf = j["saaf"];
  c.saaf_segments = j["saaf_segments"];
  c.saaf_order = j["saaf_order"];
  c.saaf_lo = j["saaf_lo"];
  c.saaf_hi = j["saaf_hi"];
  c.saaf_every_second = j["saaf_every_second"];
  c.saaf_has_v0 = j["saaf_has_v0"];
  c.saaf_scale = j["saaf_scale"];
  c.saaf_l2 = j["saaf_l2"];
  return c;
}

// Frames that stand one after another, each a note of its own.
struct Frames {
  Frames(const Vec& x, const Vec& y, int frame) : input(x), target(y), refs(refs_of(x, frame)), T(frame) {}
  static std::vector<FrameRef> refs_of(const Vec& x, int frame) {
    std::vector<FrameRef> refs;
    for (std::int64_t at = 0; at < static_cast<std::int64_t>(x.size()); at += frame)
      refs.push_back({at, at, at + frame});
    return refs;
  }
  Batch batch() { return {input, target, refs, B(), T}; }
  int B() const { return static_cast<int>(refs.size()); }
  Floats input, target;
  Items<FrameRef> refs;
  int T;
};

// g null: the loss alone.
double loss_and_gradient(Model& model, const Context& context, float* g, const Batch& batch) {
  model.gradient(context, g, batch, Loss());
  return model.mean_loss(context, batch);
}

struct Form {
  CafxForm form;
  std::string name;
  bool supervised() const { return form == CafxForm::kSupervised; }
};
const Form kForms[] = {{CafxForm::kSupervised, "supervised"}, {CafxForm::kPretrain, "pretrain"}};

Frames golden_frames(const Golden& golden, const Form& form, int frame) {
  const Vec dry = golden.values("x"), wet = golden.values("target");
  if (form.supervised()) return Frames(dry, wet, frame);
  Vec both = dry;
  both.insert(both.end(), wet.begin(), wet.end());
  return Frames(both, both, frame);
}

// Without layers after unpooling it is EQ net.
std::unique_ptr<Model> model_of(const CafxConfig& c, const Form& form) {
  if (!c.dnn.empty()) return std::make_unique<CafxModel>(c, form.form);
  EqNetConfig e;
  e.frame = c.frame;
  e.hop = c.hop;
  e.filters = c.filters;
  e.taps = c.taps;
  e.local_taps = c.local_taps;
  e.pool = c.pool;
  e.latent = c.latent;
  e.unpool = c.unpool;
  return make_eq_net(e, form.name);
}

template <class Values>
void load(Model& model, Values values) {
  for (const ParamSpec& p : model.params()) {
    const Vec v = values(p.name);
    ASSERT_EQ(v.size(), static_cast<std::size_t>(p.size)) << p.name;
    std::copy(v.begin(), v.end(), model.data() + p.offset);
  }
}

TEST(GoldenModel, ForwardAndEveryGradientMatchPytorch) {
  for (const char* name : kCases) {
    const Golden golden(std::string(name) + ".safetensors");
    const CafxConfig config = config_of(golden);
    for (const Form& form : kForms) {
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} {} {}", name, form.name, label(context)));
        const auto of_case = model_of(config, form);
        Model& model = *of_case;
        load(model, [&](const std::string& tensor) { return golden.values("param." + tensor); });
        Frames frames = golden_frames(golden, form, config.frame);
        Floats y(frames.input.size(), kNan);
        model.forward(context, y, frames.input, frames.B());
        expect_near(y, golden.values(form.name + ".y"), "y", 0, kChain);

        Floats gradient(static_cast<std::size_t>(model.n_floats()), kNan);
        const double loss = loss_and_gradient(model, context, gradient, frames.batch());
        const double want = golden.values(form.name + ".losses")[0];
        EXPECT_NEAR(loss, want, (on_cuda() ? 1e-5 : 1e-6) * want);
        EXPECT_EQ(loss_and_gradient(model, context, nullptr, frames.batch()), loss);
        std::size_t compared = 0;
        for (const ParamSpec& p : model.params()) {
          const float* g = gradient.data() + p.offset;
          Floats got(Vec(g, g + p.size));
          const Vec reference = golden.values(form.name + ".grad." + p.name);
          expect_near(got, reference, "gradient of " + p.name, 0, kChain);
          EXPECT_EQ(golden.shape(form.name + ".grad." + p.name), std::vector<int>(p.shape.begin(), p.shape.end()))
              << p.name;
          compared += static_cast<std::size_t>(p.size);
        }
        EXPECT_EQ(compared, static_cast<std::size_t>(model.n_parameters()));
      }
    }
  }
}

TEST(GoldenModel, TenAdamStepsMatchPytorch) {
  for (const char* name : kCases) {
    const Golden golden(std::string(name) + ".safetensors");
    const CafxConfig config = config_of(golden);
    for (const Form& form : kForms) {
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} {} {}", name, form.name, label(context)));
        const auto of_case = model_of(config, form);
        Model& model = *of_case;
        load(model, [&](const std::string& tensor) { return golden.values("param." + tensor); });
        Frames frames = golden_frames(golden, form, config.frame);
        const std::size_t n = static_cast<std::size_t>(model.n_floats());
        Floats gradient(n, kNan), m(n, 0.0f), v(n, 0.0f);
        const Vec losses = golden.values(form.name + ".losses");
        ASSERT_EQ(losses.size(), 11u);
        AdamStep step;
        step.lr = 1e-3f;
        for (step.step = 1; step.step <= 10; ++step.step) {
          const double loss = loss_and_gradient(model, context, gradient, frames.batch());
          const double want = losses[static_cast<std::size_t>(step.step - 1)];
          EXPECT_TRUE(std::abs(loss - want) <= 1e-5 * want) << "step " << step.step << ": " << loss << ", not " << want;
          adam_step(context, model.weights(context), m, v, gradient, nullptr, static_cast<long>(n), step);
        }
        EXPECT_NEAR(loss_and_gradient(model, context, nullptr, frames.batch()), losses[10], 1e-5 * losses[10]);
        EXPECT_LT(losses[10], losses[0]);
      }
    }
  }
}

Tensors random_params(const CafxConfig& config, bool supervised) {
  Tensors params;
  std::uint64_t seed = 100;
  for (const auto& [name, shape] : reference::cafx_shapes(config, supervised)) {
    long n = 1, fan_in = 1;
    for (const long s : shape) n *= s;
    for (std::size_t i = 1; i < shape.size(); ++i) fan_in = shape[i];
    const bool weight = name.find(".weight") != std::string::npos;
    const double range = weight ? std::sqrt(3.0 / static_cast<double>(fan_in)) : 0.2;
    params[name] = random(n, ++seed, -range, range);
  }
  return params;
}

// 33 frames: more than there are gradient slots, and not a multiple of them.
void expect_oracle(const std::string& latent_layer) {
  CafxConfig config;
  config.frame = 48;
  config.hop = 24;
  config.filters = 5;
  config.taps = 9;
  config.local_taps = 12;
  config.pool = 8;
  config.latent = 7;
  config.dnn = {6, 9, 5};
  config.activation = "tanh";  // no corner on which rounding could turn a gradient
  config.saaf_l2 = 0.003;
  config.latent_layer = latent_layer;
  const int B = 33;
  const Vec x = random(B * config.frame, 1), target = random(B * config.frame, 2);
  for (const Form& form : kForms) {
    const Tensors params = random_params(config, form.supervised());
    const reference::Cafx want = reference::cafx_forward(config, form.supervised(), params, x, B);
    const Tensors gradients = reference::cafx_gradient(config, form.supervised(), params, x, target, B);
    const reference::CafxLoss loss = reference::cafx_loss(config, form.supervised(), params, want.y, target);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(form.name + ", " + label(context));
      CafxModel model(config, form.form);
      load(model, [&](const std::string& tensor) { return params.at(tensor); });
      ASSERT_EQ(model.params().size(), params.size());
      Frames frames(x, target, config.frame);
      Floats y(x.size(), kNan);
      model.forward(context, y, frames.input, B);
      expect_near(y, want.y, "y", 0, kChain);
      Floats gradient(static_cast<std::size_t>(model.n_floats()), kNan);
      EXPECT_NEAR(loss_and_gradient(model, context, gradient, frames.batch()), loss.mae,
                  (on_cuda() ? 1e-5 : 1e-6) * loss.mae);
      EXPECT_NEAR(model.penalty(), loss.l2, 1e-5 * loss.l2);
      std::vector<bool> used(gradient.size(), false);
      for (const ParamSpec& p : model.params()) {
        const float* g = gradient.data() + p.offset;
        Floats got(Vec(g, g + p.size));
        expect_near(got, gradients.at(p.name), "gradient of " + p.name, 0, kChain);
        std::fill_n(used.begin() + p.offset, p.size, true);
      }
      for (std::size_t i = 0; i < used.size(); ++i) {
        ASSERT_TRUE(used[i] || gradient.data()[i] == 0.0f) << "between tensors, at " << i;
      }
    }
  }
}

TEST(CafxModel, ABatchOverManySlotsMatchesReference) { expect_oracle("local"); }
TEST(CafxModel, MatchesReferenceWithOneLatentLayerForAllChannels) { expect_oracle("dense"); }

// The same bits with 1 thread, 2 and 5, for a batch that the slots do not divide; and again after a smaller batch.
TEST(CafxModel, SameBitsForAnyNumberOfThreadsAndAnyHistory) {
  CafxConfig config;
  config.frame = 128;
  config.hop = 64;
  config.filters = 18;
  config.taps = 16;
  config.local_taps = 24;
  config.pool = 16;
  config.latent = 9;
  config.dnn = {18, 7, 18};
  for (const int B : {1, 5, 37}) {
    const Vec x = random(B * config.frame, 1), target = random(B * config.frame, 2);
    for (const Form& form : kForms) {
      for (Context context : contexts()) {
        SCOPED_TRACE(fmt::format("{} B={} {}", form.name, B, label(context)));
        Frames frames(x, target, config.frame);
        CafxModel first(config, form.form);
        first.initialize(7);
        Floats gradient(static_cast<std::size_t>(first.n_floats()), kNan);
        const double loss = loss_and_gradient(first, context, gradient, frames.batch());
        Floats y(x.size(), kNan);
        first.forward(context, y, frames.input, B);
        for (const int threads : {1, 2, 5}) {
          ThreadPool pool(threads);
          context.pool = &pool;
          CafxModel model(config, form.form);
          model.initialize(7);
          Floats again(gradient.size(), kNan);
          Batch one = frames.batch();
          one.B = 1;
          loss_and_gradient(model, context, again, one);
          EXPECT_EQ(loss_and_gradient(model, context, again, frames.batch()), loss) << threads << " threads";
          expect_same_bits(again.data(), gradient.data(), gradient.size(),
                           fmt::format("gradient, {} threads", threads));
          Floats y_again(x.size(), kNan);
          model.forward(context, y_again, frames.input, B);
          expect_same_bits(y_again, y, y.size(), fmt::format("y, {} threads", threads));
          context.pool = nullptr;
        }
      }
    }
  }
}

// One model, used by one instruction set after another: nothing laid out for the one is read by the other.
TEST(CafxModel, ChangingTheInstructionSetChangesNothingElse) {
  CafxConfig config;
  config.frame = 128;
  config.hop = 64;
  config.filters = 18;
  config.dnn = {18, 18};
  const int B = 3;
  const Vec x = random(B * config.frame, 1);
  std::vector<Context> order = contexts();
  for (int i = static_cast<int>(order.size()) - 1; i >= 0; --i) order.push_back(order[static_cast<std::size_t>(i)]);
  CafxModel model(config);
  model.initialize(3);
  Floats fx(x);
  for (const Context& context : order) {
    CafxModel fresh(config);
    fresh.initialize(3);
    Floats y(x.size(), kNan), want(x.size(), kNan);
    model.forward(context, y, fx, B);
    fresh.forward(context, want, fx, B);
    expect_same_bits(y, want, y.size(), label(context));
  }
}

TEST(CafxModel, ProjectionKeepsEverySlopeWithinL) {
  CafxConfig config;
  config.frame = 32;
  config.hop = 16;
  config.taps = 4;
  config.local_taps = 4;
  config.filters = 8;
  config.dnn = {8};
  config.saaf_init = "normal";
  config.saaf_init_std = 20;
  config.saaf_lipschitz = 1.5;
  CafxModel model(config);
  model.initialize(1);
  EXPECT_GT(model.lipschitz(), 1.5);
  model.project({});
  EXPECT_LE(model.lipschitz(), 1.5);
  std::vector<float> x, y(2001);
  for (int i = 0; i <= 2000; ++i) x.push_back(-2.0f + 0.002f * static_cast<float>(i));
  for (int c = 0; c < config.filters; ++c) {
    model.curve(c, y.data(), x.data(), 2001);
    for (int i = 0; i < 2000; ++i)
      ASSERT_LE(std::abs(y[i + 1] - y[i]), 1.5f * (x[i + 1] - x[i]) + 1e-5f) << c << " " << i;
  }
}

// Presets' sizes, from the published tables.
TEST(CafxModel, PresetsCountThePublishedParameters) {
  const auto count = [](const char* preset) {
    const long n = CafxModel(cafx_preset(preset)).n_parameters();
    return n;
  };
  EXPECT_EQ(count("journal"), 604545);
  EXPECT_EQ(make_eq_net(EqNetConfig(), kSupervised)->n_parameters(), 561473);
  const CafxConfig paper = cafx_preset("paper");
  const SaafDims curve{1, 1, 128, paper.saaf_segments, -1, 1, 1, paper.saaf_every_second, paper.saaf_has_v0};
  EXPECT_EQ(count("paper"), 8320 + 16512 + 532480 + 4160 + 37248 + 128 * (n_v(curve) + n_curved(curve)) + 1);
}

}  // namespace
}  // namespace cafx
