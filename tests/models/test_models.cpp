// Every type and form of the registry, by its face alone.
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include <fmt/ranges.h>

#include "kernels/optimizer/optimizer.h"
#include "models/play/weights_file.h"
#include "tests/models/graph_evaluator.h"
#include "tests/models/tiny.h"
#include "tests/ops/op_test.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

using namespace op_test;

// Two notes of noise, and what a bent and delayed device makes of them.
std::vector<float> dry_audio(std::size_t n) {
  std::vector<float> x(n);
  const Rng rng{3, 5};
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.3 * rng.normal(i));
  return x;
}
std::vector<float> wet_audio(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  for (std::size_t i = 1; i < y.size(); ++i) y[i] = std::tanh(2.0f * x[i] + 0.5f * x[i - 1]);
  return y;
}

// B places of a model in the audio of two notes, where the context computes: some begin before their note, some end
// behind; or all are inside, where no pooling window holds silence and so many equal maxima.
class Places {
 public:
  Places(const Context& context, const Model& model, int B, bool inside = false)
      : B_(B), drops_(model.config().dropout_rate() > 0.0) {
    const Geometry g = model.geometry();
    T_ = g.frame > 0 ? g.frame : 70;
    const std::int64_t n = 1000, border = 437;
    const std::vector<float> dry = dry_audio(static_cast<std::size_t>(n));
    std::vector<FrameRef> refs;
    for (std::int64_t b = 0; b < B; ++b) {
      const bool second = b % 2 == 1;
      const std::int64_t begin = second ? border : 0, end = second ? n : border;
      const bool over = g.frame > 0 && !inside;
      const std::int64_t lowest = over ? begin - T_ / 2 : begin, highest = end - T_ / (over ? 2 : 1);
      refs.push_back({lowest + (highest - lowest) * b / std::max(1, B - 1), begin, end});
    }
    const Rng rng{6, 2};
    std::vector<float> knobs;
    for (int i = 0; i < B * g.knobs; ++i)
      knobs.push_back(static_cast<float>(2.0 * rng.uniform(static_cast<std::uint64_t>(i)) - 1.0));
    if (!knobs.empty()) knobs_ = DeviceArray<float>(context, knobs);
    dry_ = DeviceArray<float>(context, dry);
    wet_ = DeviceArray<float>(context, wet_audio(dry));
    refs_ = DeviceArray<FrameRef>(context, refs);
  }
  // Samples [t0, t0 + T) of the places; T = 0: all. The pretrained form gives back what it hears.
  Batch batch(const std::string& form = kSupervised, int t0 = 0, int T = 0) const {
    Batch b{dry_.data(), form == kPretrain ? dry_.data() : wet_.data(), refs_.data(), B_, T > 0 ? T : T_, t0};
    if (knobs_.size() > 0) b.knobs = knobs_.data();
    if (drops_) b.draw = &draw_;
    return b;
  }
  int T() const { return T_; }

 private:
  int B_, T_ = 0;
  bool drops_;
  DropoutDraw draw_{{5, 9}, 2};  // one update's, held
  DeviceArray<float> dry_, wet_;
  DeviceArray<FrameRef> refs_;
  DeviceArray<float> knobs_;  // (B, knobs)
};

Loss mae() { return Loss(); }
Loss esr() {
  LossConfig c;
  c.mae = 0.0;
  c.esr = 1.0;
  c.pre_emphasis = 0.8;
  return Loss(c, 0.2);
}

// The loss of a batch, and its gradient on the host where one is wanted.
double loss_of(Model& model, const Context& context, const Batch& batch, const Loss& loss,
               std::vector<float>* gradient = nullptr) {
  model.upload(context);
  model.begin(context, batch, loss);
  if (!gradient) {
    model.gradient(context, nullptr, batch, loss);
    return model.mean_loss(context, batch);
  }
  gradient->assign(static_cast<std::size_t>(model.n_floats()), kNan);
  DeviceArray<float> g(context, *gradient);
  model.gradient(context, g.data(), batch, loss);
  g.download(gradient->data(), gradient->size());
  return model.mean_loss(context, batch);
}

// That of each place.
std::vector<double> losses_of(Model& model, const Context& context, const Batch& batch) {
  loss_of(model, context, batch, mae());
  std::vector<double> losses(static_cast<std::size_t>(batch.B));
  copy(context, losses.data(), model.losses(), sizeof(double) * losses.size());
  return losses;
}

// What the model adds to the loss itself.
double penalty_of(Model& model, const Context& context) {
  for (const Fact& f : model.facts(context)) {
    if (f.name.ends_with("/penalty")) return f.number;
  }
  return 0.0;
}

class Models : public ::testing::TestWithParam<tiny::Case> {
 protected:
  std::unique_ptr<Model> model(std::uint64_t seed = 4) const {
    return tiny::model(GetParam().type, GetParam().form, seed);
  }
  Batch batch(const Places& places, int t0 = 0, int T = 0) const { return places.batch(GetParam().form, t0, T); }
};

// Each tensor's gradient along a direction of its own against central differences of the loss.
TEST_P(Models, GradientMatchesDifferences) {
  for (const Context& context : contexts()) {
    const auto of_test = model();
    Model& m = *of_test;
    const Places places(context, m, 5, true);
    for (const Loss& loss : {mae(), esr()}) {
      SCOPED_TRACE(label(context) + (loss.relative() ? ", esr" : ", mae"));
      std::vector<float> g;
      loss_of(m, context, batch(places), loss, &g);
      double largest = 0.0;
      for (const float v : g) largest = std::max(largest, std::abs(static_cast<double>(v)));
      EXPECT_GT(largest, 0.0);
      for (const ParamSpec& p : m.params()) {
        double norm = 0.0;
        for (long i = p.offset; i < p.offset + p.size; ++i) norm += static_cast<double>(g[i]) * g[i];
        norm = std::sqrt(norm);
        const std::vector<float> before(m.data() + p.offset, m.data() + p.offset + p.size);
        const auto at = [&](double step) {
          for (long i = 0; i < p.size; ++i) {
            const double along = norm > 0.0 ? g[static_cast<std::size_t>(p.offset + i)] / norm : i % 2 ? 1.0 : -1.0;
            m.data()[p.offset + i] = static_cast<float>(before[static_cast<std::size_t>(i)] + step * along);
          }
          return loss_of(m, context, batch(places), loss) + penalty_of(m, context);
        };
        // A step over which the maximum of a window changes its place sees a jump: no smaller one does.
        std::vector<double> slopes;
        const auto fits = [&](double slope) { return std::abs(slope - norm) <= 0.02 * norm + 1e-3 * largest; };
        for (const double h : {3e-3, 1e-3, 3e-4, 1e-4, 3e-5}) {
          slopes.push_back((at(h) - at(-h)) / (2.0 * h));
          if (fits(slopes.back())) break;
        }
        std::copy(before.begin(), before.end(), m.data() + p.offset);
        EXPECT_TRUE(fits(slopes.back())) << p.name << ": " << norm << ", by differences "
                                         << fmt::format("{}", fmt::join(slopes, ", "));
      }
    }
  }
}

TEST_P(Models, WithoutAGradientTheLossesAreTheSame) {
  for (const Context& context : contexts()) {
    const auto m = model();
    const Places places(context, *m, 5);
    for (const Loss& loss : {mae(), esr()}) {
      std::vector<float> g;
      const double with = loss_of(*m, context, batch(places), loss, &g);
      EXPECT_EQ(loss_of(*m, context, batch(places), loss), with) << label(context);
      EXPECT_TRUE(std::isfinite(with) && with > 0.0) << with;
    }
  }
}

// What is left out goes with the update and, of frames, with the place: a batch in parts leaves out the same.
TEST_P(Models, DropoutIsHeldForAnUpdateAndInItAlone) {
  const Context context = contexts().front();
  const auto m = model();
  if (m->config().dropout_rate() == 0.0) return;
  const Places places(context, *m, 5);
  const Batch whole = batch(places);
  const auto losses = [&](const Batch& b) { return losses_of(*m, context, b); };
  const std::vector<double> held = losses(whole);
  DropoutDraw of_part = *whole.draw;
  of_part.place += 2;
  Batch part = whole;
  part.refs += 2;
  part.B = 3;
  part.draw = &of_part;
  const std::vector<double> of_three = losses(part);
  for (std::size_t b = 0; b < 3; ++b) EXPECT_NEAR(of_three[b], held[b + 2], 1e-6 * held[b + 2]) << b;
  of_part.place = whole.draw->place;
  ++of_part.key.update;
  part = whole;
  part.draw = &of_part;
  EXPECT_NE(losses(part), held);
  part.draw = nullptr;
  const std::vector<double> all = losses(part);
  EXPECT_NE(all, held);
  EXPECT_EQ(losses(whole), held);
  // Without an update at hand it is the model that leaves nothing out.
  const auto config = m->config().clone();
  Fields fields = config->fields();
  set_field(fields, "dropout", "0", "test");
  const auto plain = make_model(*config, GetParam().form);
  std::copy_n(m->data(), m->n_floats(), plain->data());
  EXPECT_EQ(losses_of(*plain, context, whole), all);
}

// Also after other batches, and with the gaps between tensors at zero.
TEST_P(Models, SameBitsForAnyNumberOfThreadsAndAnyHistory) {
  for (Context context : contexts()) {
    for (const int B : {1, 5, 37}) {
      SCOPED_TRACE(fmt::format("{}, B = {}", label(context), B));
      const auto first = model();
      const Places places(context, *first, B), few(context, *first, 2);
      std::vector<float> want, got;
      const double loss = loss_of(*first, context, batch(places), esr(), &want);
      std::vector<bool> used(want.size(), false);
      for (const ParamSpec& p : first->params()) std::fill_n(used.begin() + p.offset, p.size, true);
      for (std::size_t i = 0; i < want.size(); ++i)
        ASSERT_TRUE(used[i] || want[i] == 0.0f) << "between tensors, at " << i;
      for (const int threads : on_cuda() ? std::vector<int>{1} : std::vector<int>{1, 2, 5}) {
        ThreadPool pool(threads);
        if (!on_cuda()) context.pool = &pool;
        const auto m = model();
        loss_of(*m, context, batch(few), mae(), &got);
        EXPECT_EQ(loss_of(*m, context, batch(places), esr(), &got), loss) << threads << " threads";
        expect_same_bits(got.data(), want.data(), want.size(), fmt::format("gradient, {} threads", threads));
        context.pool = nullptr;
      }
    }
  }
}

// Steps as a trainer takes them, a stream block by block with its state carried on.
struct Training {
  Training(const Context& c, std::unique_ptr<Model> of, int B)
      : context(c), model(std::move(of)), places(c, *model, B) {
    const auto n = static_cast<std::size_t>(model->n_floats());
    m.assign(n, 0.0f);
    v = m;
  }
  // One step for each block of the places; the mean of their losses.
  double epoch(const Loss& loss, double lr) {
    const bool stream = model->geometry().frame == 0;
    const int block = stream ? 35 : places.T();
    const auto n = static_cast<std::size_t>(model->n_floats());
    DeviceArray<float> g(context, n), dm(context, m), dv(context, v);
    model->upload(context);
    model->reserve(context, 8, places.T(), loss);
    model->begin(context, places.batch(model->form()), loss);
    double sum = 0.0;
    int blocks = 0;
    for (int t0 = 0; t0 < places.T(); t0 += block, ++blocks) {
      const Batch b = places.batch(model->form(), t0, block);
      model->gradient(context, g.data(), b, loss);
      sum += model->mean_loss(context, b);
      AdamStep step;
      step.lr = static_cast<float>(lr);
      step.step = ++steps;
      adam_step(context, model->weights(context), dm.data(), dv.data(), g.data(), nullptr, static_cast<long>(n), step);
      model->project(context);
    }
    model->download(context);
    dm.download(m.data(), n);
    dv.download(v.data(), n);
    return sum / blocks;
  }
  Context context;
  std::unique_ptr<Model> model;
  Places places;
  std::vector<float> m, v;
  long steps = 0;
};

TEST_P(Models, GoesOnToEqualBitsFromWhatWasSaved) {
  for (const Context& context : contexts()) {
    Training whole(context, model(), 8), half(context, model(), 8);
    for (int i = 0; i < 4; ++i) whole.epoch(mae(), 1e-3);
    for (int i = 0; i < 2; ++i) half.epoch(mae(), 1e-3);
    Training resumed(context, model(9), 8);
    std::copy_n(half.model->data(), half.model->n_floats(), resumed.model->data());
    resumed.m = half.m;
    resumed.v = half.v;
    resumed.steps = half.steps;
    for (int i = 0; i < 2; ++i) resumed.epoch(mae(), 1e-3);
    expect_same_bits(resumed.model->data(), whole.model->data(), whole.m.size(), label(context));
  }
}

TEST_P(Models, OverfitsOneClip) {
  for (const Context& context : contexts()) {
    for (const Loss& loss : {mae(), esr()}) {
      Training training(context, model(), 8);
      const double first = training.epoch(loss, 1e-2);
      double last = first;
      for (int i = 0; i < 200; ++i) last = training.epoch(loss, 1e-2);
      EXPECT_LT(last, 0.7 * first) << label(context) << (loss.relative() ? ", esr" : ", mae");
    }
  }
}

// After reserve the address of what a step writes stays.
TEST_P(Models, ReservesAllThatStepsNeed) {
  const Context context = contexts().back();
  const auto m = model();
  m->reserve(context, 8, Places(context, *m, 8).T(), mae());
  EXPECT_GT(m->training_bytes(context, 8, 70, mae()), m->training_bytes(context, 4, 70, mae()) / 2);
  const Places places(context, *m, 8);
  std::vector<float> g;
  loss_of(*m, context, batch(places), mae(), &g);
  const double* losses = m->losses();
  loss_of(*m, context, batch(places), mae(), &g);
  EXPECT_EQ(m->losses(), losses);
}

TEST_P(Models, AFileBringsItBackToTheBit) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.safetensors";
  const auto m = model();
  save_model(path, *m, {{"licence", "free"}});
  const ModelFile back = load_model(path);
  EXPECT_EQ(back.metadata.at("licence"), "free");
  EXPECT_EQ(back.metadata.at("model"), tiny::type_of(GetParam().type));
  EXPECT_EQ(back.model->form(), GetParam().form);
  EXPECT_EQ(to_json(back.model->config().clone()->fields()), to_json(m->config().clone()->fields()));
  ASSERT_EQ(back.model->n_floats(), m->n_floats());
  expect_same_bits(back.model->data(), m->data(), static_cast<std::size_t>(m->n_floats()), "weights");
  // Another size of the same type is refused, and says where.
  const auto bytes = [&] {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  std::ofstream(path, std::ios::binary) << bytes.substr(0, bytes.size() - 40);
  EXPECT_THROW(load_model(path), Error);
}

TEST_P(Models, TellsOfItself) {
  const auto m = model();
  long parameters = 0;
  double forward = 0.0;
  for (const LayerRow& r : m->layers()) {
    parameters += r.parameters;
    forward += static_cast<double>(r.multiply_adds);
    EXPECT_GE(r.backward, 0.0) << r.name;
  }
  EXPECT_EQ(parameters, m->n_parameters());
  EXPECT_GT(forward, 0.0);
  std::set<std::string> names;
  for (const ParamSpec& p : m->params()) {
    EXPECT_TRUE(names.insert(p.name).second) << p.name;
    EXPECT_EQ(m->params().find(p.name), &p);
  }
  EXPECT_EQ(m->params().find("no such tensor"), nullptr);
  std::set<std::string> facts;
  const Context context = contexts().back();
  const Places places(context, *m, 5);
  m->upload(context);
  const Batch b = batch(places);
  for (const Fact& f : m->facts(context, &b)) {
    EXPECT_TRUE(facts.insert(f.name).second && f.name.find('/') != std::string::npos) << f.name;
    EXPECT_TRUE(std::isfinite(f.number)) << f.name;
    EXPECT_FALSE(f.help.empty()) << f.name;
    for (const float v : f.values) ASSERT_TRUE(std::isfinite(v)) << f.name;
    const bool on_x = f.kind == Fact::Kind::kCurves || f.kind == Fact::Kind::kFilters;
    EXPECT_TRUE(!on_x || (!f.x.empty() && f.values.size() % f.x.size() == 0)) << f.name;
  }
}

// The same weights under the same name start alike whatever stands beside them.
TEST_P(Models, AFormHandsItsTensorsOnByName) {
  const ModelType& type = model_type(tiny::type_of(GetParam().type));
  const auto from = model(), to = tiny::model(GetParam().type, type.forms.front(), 9);
  const int n = to->params().take_by_name(from->params(), from->data());
  EXPECT_EQ(n, static_cast<int>(from->params().size()));
  for (const ParamSpec& p : from->params()) {
    expect_same_bits(to->params().tensor(p.name), from->data() + p.offset, static_cast<std::size_t>(p.size), p.name);
  }
}

// A graph gives what forward gives, for several frames at once.
TEST_P(Models, TheGraphIsTheForwardPass) {
  const auto m = model();
  if (m->geometry().frame == 0) GTEST_SKIP() << "a stream";
  const int K = m->geometry().knobs;
  if (K > 0) m->turn_to(std::vector<float>(static_cast<std::size_t>(K), 0.5f));
  GraphEvaluator graph;
  const std::int64_t B = 3, T = m->geometry().frame, span = m->geometry().span();
  const std::vector<float> x = dry_audio(static_cast<std::size_t>(B * std::max<std::int64_t>(1, span)));
  graph.set("x", {{B, span}, {x.begin(), x.end()}});
  if (!m->graph(graph)) GTEST_SKIP() << "this type and form has no graph";
  std::vector<float> y(static_cast<std::size_t>(B * T));
  m->forward({}, y.data(), x.data(), static_cast<int>(B));
  const GraphEvaluator::Tensor& got = graph.at("y");
  ASSERT_EQ(got.shape, (GraphBuilder::Ints{B, T}));
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(got.v[i], y[i], 1e-5) << i;
}

// Of a stream: two calls, the state handed on, give what a player gives; two streams side by side.
TEST_P(Models, TheGraphOfAStreamCarriesItsState) {
  const auto m = model();
  if (m->geometry().frame > 0) GTEST_SKIP() << "no stream";
  const int K = m->geometry().knobs;
  if (K > 0) m->turn_to(std::vector<float>(static_cast<std::size_t>(K), 0.5f));
  const std::int64_t unit = m->geometry().unit, B = 2, N = unit > 1 ? 9 * unit : 150, first = unit > 1 ? 4 * unit : 61;
  const std::vector<float> x = dry_audio(static_cast<std::size_t>(B * N));
  GraphEvaluator graph;
  graph.streams = B;
  std::vector<std::vector<float>> got(static_cast<std::size_t>(B));
  for (const auto& [from, to] : {std::pair<std::int64_t, std::int64_t>{0, first}, {first, N}}) {
    GraphEvaluator::Tensor in{{B, to - from}, {}};
    for (std::int64_t b = 0; b < B; ++b) in.v.insert(in.v.end(), x.begin() + b * N + from, x.begin() + b * N + to);
    graph.set("x", in);
    if (!m->graph(graph)) GTEST_SKIP() << "this type has no graph";
    const GraphEvaluator::Tensor& y = graph.at("y");
    ASSERT_EQ(y.shape, in.shape);
    for (std::int64_t b = 0; b < B; ++b) {
      const auto row = y.v.begin() + b * (to - from);
      got[static_cast<std::size_t>(b)].insert(got[static_cast<std::size_t>(b)].end(), row, row + (to - from));
    }
    graph.hand_on();
  }
  for (std::int64_t b = 0; b < B; ++b) {
    const auto player = m->stream({});
    const auto late = static_cast<std::size_t>(player->latency());  // of a player alone
    std::vector<float> in(x.begin() + b * N, x.begin() + (b + 1) * N), y(in.size() + late);
    in.resize(y.size(), 0.0f);
    player->process(y.data(), in.data(), y.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(N); ++i)
      ASSERT_NEAR(got[static_cast<std::size_t>(b)][i], y[i + late], 2e-5) << b << ", " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, Models, ::testing::ValuesIn(tiny::cases()),
                         [](const auto& c) { return c.param.name(); });

// The same place at another position of the knobs is another sound; one without any is at the middle.
TEST_P(Models, HearsWhereItsKnobsStand) {
  const auto m = model();
  const int K = m->geometry().knobs;
  if (K == 0) GTEST_SKIP() << "no knobs";
  const Context context = contexts().back();
  const Places places(context, *m, 5);
  Batch b = batch(places);
  const double loss = loss_of(*m, context, b, mae());
  const DeviceArray<float> others(context, std::vector<float>(static_cast<std::size_t>(5 * K), 0.0f));
  b.knobs = others.data();
  const double middle = loss_of(*m, context, b, mae());
  EXPECT_NE(loss, middle);
  b.knobs = nullptr;
  EXPECT_EQ(loss_of(*m, context, b, mae()), middle);
}

TEST(Registry, PresetsBelongToOneTypeAndAreChecked) {
  std::set<std::string> names;
  for (const ModelType& t : model_types()) {
    ASSERT_EQ(t.forms.front(), kSupervised) << t.name;
    for (const std::string& name : t.presets()) {
      EXPECT_TRUE(names.insert(name).second) << name << " stands twice";
      EXPECT_STREQ(type_of_preset(name).name, t.name);
      const auto config = t.preset(name);
      EXPECT_STREQ(config->type(), t.name);
      if (config->sample_rate == 0) {
        EXPECT_THROW(config->check("x"), Error) << name;
        config->sample_rate = 16000;
      }
      config->check(name);
      AnyConfig one(*config), other = one;
      other->sample_rate = 44100;
      EXPECT_EQ(one->sample_rate, config->sample_rate);
      EXPECT_STREQ(other->type(), t.name);
    }
  }
  EXPECT_STREQ(AnyConfig()->type(), "cafx");
}

TEST(Registry, AnUnknownNameIsRefusedWithTheNearest) {
  const auto text = [](auto f) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(text([] { type_of_preset("lstm-light"); }).find("'lstm-lite'"), std::string::npos);
  EXPECT_NE(text([] { model_type("wavnet"); }).find("'wavenet'"), std::string::npos);
}

}  // namespace
}  // namespace cafx
