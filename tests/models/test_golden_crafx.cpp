// CRAFx and its pretrained form against PyTorch.
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/optimizer/optimizer.h"
#include "models/crafx/crafx.h"
#include "tests/ops/golden.h"

namespace cafx {
namespace {

using namespace op_test;

// Two dozen ops in float, a recurrence among them.
constexpr Tolerance kChain{3e-6, 3e-5};
constexpr const char* kCases[] = {"crafx_published", "crafx_variant"};
constexpr const char* kForms[] = {kSupervised, kPretrain};

CrafxConfig config_of(const Golden& golden) {
  const auto j = nlohmann::json::parse(golden.metadata("config"));
  CrafxConfig c;
  c.frame = j["frame"];
  c.hop = c.frame / 2;
  c.before = j["before"];
  c.after = j["after"];
  c.context_hop = j["context_hop"];
  c.filters = j["filters"];
  c.taps = j["taps"];
  c.local_taps = j["local_taps"];
  c.pool = j["pool"];
  c.lstm = j["lstm"].get<std::vector<int>>();
  c.dnn = j["dnn"].get<std::vector<int>>();
  c.activation = j["activation"];
  c.excite = j["excite"];
  c.unpool = j["unpool"];
  c.deconv = j["deconv"];
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

struct Case {
  Case(const Golden& golden, const std::string& form) : geometry(config_of(golden).geometry()) {
    model = make_crafx(config_of(golden), form);
    for (const ParamSpec& p : model->params()) {
      const Vec v = golden.values("param." + p.name);
      EXPECT_EQ(golden.shape("param." + p.name), std::vector<int>(p.shape.begin(), p.shape.end())) << p.name;
      std::copy(v.begin(), v.end(), model->data() + p.offset);
    }
    // Each place with its context is a note of its own; of the targets only the frame's samples are given.
    const Vec x = golden.values("x"), frames = golden.values("target");
    Vec target(x.size());
    std::vector<FrameRef> places;
    for (std::int64_t at = 0; at < std::ssize(x); at += geometry.span()) {
      const auto b = static_cast<long>(places.size());
      std::copy_n(frames.begin() + b * geometry.frame, geometry.frame, target.begin() + at + geometry.before);
      places.push_back({at + geometry.before, at, at + geometry.span()});
    }
    B = static_cast<int>(places.size());
    heard = std::make_unique<Floats>(x);
    wanted = std::make_unique<Floats>(form == kSupervised ? target : x);
    refs = std::make_unique<Items<FrameRef>>(places);
  }
  // g null: the loss alone.
  double loss(const Context& context, float* g) const {
    const Batch batch{*heard, *wanted, *refs, B, geometry.frame};
    model->gradient(context, g, batch, Loss());
    return model->mean_loss(context, batch);
  }

  Geometry geometry;
  std::unique_ptr<Model> model;
  int B = 0;
  std::unique_ptr<Floats> heard, wanted;
  std::unique_ptr<Items<FrameRef>> refs;
};

template <class Body>
void over_cases(Body body) {
  for (const char* name : kCases) {
    const Golden golden(std::string(name) + ".safetensors");
    for (const std::string form : kForms) {
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} {} {}", name, form, label(context)));
        Case k(golden, form);
        body(k, context, golden, form + ".");
      }
    }
  }
}

TEST(GoldenCrafx, ForwardAndEveryGradientMatchPytorch) {
  over_cases([](Case& k, const Context& context, const Golden& golden, const std::string& of) {
    Floats y(static_cast<std::size_t>(k.B) * static_cast<std::size_t>(k.geometry.frame), kNan);
    k.model->forward(context, y, *k.heard, k.B);
    expect_near(y, golden.values(of + "y"), "y", 0, kChain);

    Floats gradient(static_cast<std::size_t>(k.model->n_floats()), kNan);
    const double loss = k.loss(context, gradient), want = golden.values(of + "losses")[0];
    EXPECT_NEAR(loss, want, (on_cuda() ? 1e-5 : 1e-6) * want);
    EXPECT_EQ(k.loss(context, nullptr), loss);
    long compared = 0;
    for (const ParamSpec& p : k.model->params()) {
      const float* g = gradient.data() + p.offset;
      Floats got(Vec(g, g + p.size));
      expect_near(got, golden.values(of + "grad." + p.name), "gradient of " + p.name, 0, kChain);
      compared += p.size;
    }
    EXPECT_EQ(compared, k.model->n_parameters());
  });
}

TEST(GoldenCrafx, TenAdamStepsMatchPytorch) {
  over_cases([](Case& k, const Context& context, const Golden& golden, const std::string& of) {
    const auto n = static_cast<std::size_t>(k.model->n_floats());
    Floats gradient(n, kNan), m(n, 0.0f), v(n, 0.0f);
    const Vec losses = golden.values(of + "losses");
    ASSERT_EQ(losses.size(), 11u);
    AdamStep step;
    step.lr = 1e-3f;
    for (step.step = 1; step.step <= 10; ++step.step) {
      const double loss = k.loss(context, gradient), want = losses[static_cast<std::size_t>(step.step - 1)];
      EXPECT_TRUE(std::abs(loss - want) <= 1e-5 * want) << "step " << step.step << ": " << loss << ", not " << want;
      adam_step(context, k.model->weights(context), m, v, gradient, nullptr, static_cast<long>(n), step);
    }
    EXPECT_NEAR(k.loss(context, nullptr), losses[10], 1e-5 * losses[10]);
    EXPECT_LT(losses[10], losses[0]);
  });
}

// From the published table.
TEST(Crafx, ThePresetCountsThePublishedParameters) {
  const auto published = crafx_preset("crafx");
  EXPECT_EQ(make_crafx(*published, kSupervised)->n_parameters(), 275073);
  EXPECT_EQ(published->geometry().span(), 20480);
  EXPECT_EQ(published->geometry().after, 4 * 2048);
}

}  // namespace
}  // namespace cafx
