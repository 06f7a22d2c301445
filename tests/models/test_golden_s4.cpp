// S4 against nablafx: its output, its gradients, ten steps of Adam; as a stream, and its presets' sizes.
#include <nlohmann/json.hpp>

#include "kernels/optimizer/optimizer.h"
#include "models/registry.h"
#include "models/s4/s4.h"
#include "tests/ops/golden.h"

namespace cafx {
namespace {

using namespace op_test;

class S4Golden : public ::testing::TestWithParam<std::string> {
 protected:
  S4Golden() : golden_("s4.safetensors"), json_(nlohmann::json::parse(golden_.metadata("config"))[GetParam()]) {
    config_.sample_rate = 48000;
    json_["blocks"].get_to(config_.blocks);
    json_["channels"].get_to(config_.channels);
    json_["state"].get_to(config_.state);
    json_["film"].get_to(config_.film);
    json_["film_block"].get_to(config_.film_block);
    config_.rest_samples = 0;
    B_ = json_["batch"];
    T_ = json_["length"];
    x_ = floats("x");
    target_ = floats("target");
    for (std::int64_t b = 0; b < B_; ++b) refs_.push_back({b * T_, b * T_, (b + 1) * T_});
  }
  std::unique_ptr<Model> model() const {
    auto m = make_model(config_);
    for (const ParamSpec& p : m->params()) {
      const Vec values = golden_.values(GetParam() + "." + p.name);
      EXPECT_EQ(static_cast<long>(values.size()), p.size) << p.name;
      std::copy(values.begin(), values.end(), m->data() + p.offset);
    }
    return m;
  }
  std::vector<float> floats(const std::string& name) const {
    const Vec v = golden_.values(GetParam() + "." + name);
    return {v.begin(), v.end()};
  }
  Loss loss() const {
    return Loss({.mae = 0.0, .esr = 1.0, .pre_emphasis = json_["pre_emphasis"], .energy_floor = json_["energy_floor"]},
                json_["mean_energy"]);
  }

  Golden golden_;
  nlohmann::json json_;
  S4Config config_;
  int B_ = 0, T_ = 0;
  std::vector<float> x_, target_;
  std::vector<FrameRef> refs_;
};

TEST_P(S4Golden, GradientsAndTenSteps) {
  const Vec losses = golden_.values(GetParam() + ".losses");
  for (const Context& device : contexts()) {
    SCOPED_TRACE(label(device));
    const auto m = model();
    const auto n = static_cast<std::size_t>(m->n_floats());
    const DeviceArray<float> x(device, x_), target(device, target_);
    const DeviceArray<FrameRef> refs(device, refs_);
    DeviceArray<float> g(device, n), first(device, n), second(device, n);
    first.fill_zero();
    second.fill_zero();
    m->upload(device);
    const Batch batch{x.data(), target.data(), refs.data(), B_, T_};
    for (std::size_t step = 0; step < losses.size(); ++step) {
      m->begin(device, batch, loss());
      m->gradient(device, g.data(), batch, loss());
      EXPECT_NEAR(m->mean_loss(device, batch), losses[step], 1e-5 * losses[step]) << "step " << step;
      if (step == 0) {
        std::vector<float> host(n);
        g.download(host.data(), n);
        for (const ParamSpec& p : m->params()) {
          Floats got(Vec(host.begin() + p.offset, host.begin() + p.offset + p.size));
          expect_near(got, golden_.values(GetParam() + ".grad." + p.name), "gradient of " + p.name, 0, {1e-5, 1e-4});
        }
      }
      AdamStep adam;
      adam.lr = json_["lr"];
      adam.step = static_cast<long>(step) + 1;
      adam_step(device, m->weights(device), first.data(), second.data(), g.data(), nullptr, static_cast<long>(n), adam);
    }
  }
}

// Played from states of zero it gives nablafx's output, latency() samples later.
TEST_P(S4Golden, TheStreamIsNablafxsOutput) {
  if (on_cuda()) GTEST_SKIP() << "a stream plays on the CPU";
  const auto m = model();
  const std::vector<float> want = floats("y");
  for (const Context& device : contexts()) {
    SCOPED_TRACE(label(device));
    for (std::size_t b = 0; b < static_cast<std::size_t>(B_); ++b) {
      const auto player = m->stream(device);
      const auto late = static_cast<std::size_t>(player->latency()), T = static_cast<std::size_t>(T_);
      EXPECT_EQ(late, config_.temporal() ? static_cast<std::size_t>(config_.film_block - 1) : 0u);
      std::vector<float> x(x_.begin() + static_cast<long>(b * T), x_.begin() + static_cast<long>((b + 1) * T));
      x.resize(T + late, 0.0f);
      std::vector<float> y(x.size());
      player->process(y.data(), x.data(), x.size());
      // An incomplete block at the end is nablafx's alone: there the signal goes on, in zeros.
      const std::size_t whole = config_.temporal() ? T - T % static_cast<std::size_t>(config_.film_block) : T;
      for (std::size_t t = 0; t < whole; ++t)
        ASSERT_NEAR(y[t + late], want[b * T + t], 2e-6) << "place " << b << " sample " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nablafx, S4Golden, ::testing::Values("plain", "film", "s4-s"), [](const auto& c) {
  std::string name = c.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(S4, PresetsHaveNablafxsNumbersOfWeights) {
  for (const auto& [name, n] : {std::pair{"s4-s", 2353}, {"s4-l", 18993}, {"s4-tf-s", 27953}, {"s4-tf-l", 70193}}) {
    const auto config = s4_preset(name);
    config->sample_rate = 48000;
    EXPECT_EQ(make_model(*config)->n_parameters(), n) << name;
  }
}

// Dampings, frequencies and steps of time start where nablafx has them.
TEST(S4, StartsAsNablafxDoes) {
  const auto config = s4_preset("s4-l");
  config->sample_rate = 48000;
  const auto m = make_model(*config);
  m->initialize(1);
  const float *log_dt = m->params().tensor("blocks.3.s4.log_dt"), *imag = m->params().tensor("blocks.3.s4.A_imag"),
              *real = m->params().tensor("blocks.3.s4.log_A_real"), *c = m->params().tensor("blocks.3.s4.C");
  double smallest = 0.0, largest = -10.0, power = 0.0;
  for (int i = 0; i < 16; ++i) {
    smallest = std::min<double>(smallest, log_dt[i]);
    largest = std::max<double>(largest, log_dt[i]);
  }
  EXPECT_GE(smallest, std::log(0.001));
  EXPECT_LE(largest, std::log(0.1));
  EXPECT_GT(largest - smallest, 2.0);
  for (int i = 0; i < 16 * 32; ++i) {
    EXPECT_FLOAT_EQ(real[i], static_cast<float>(std::log(0.5)));
    EXPECT_FLOAT_EQ(imag[i], static_cast<float>(3.14159265358979 * (i % 32)));
    power += (static_cast<double>(c[2 * i]) * c[2 * i] + static_cast<double>(c[2 * i + 1]) * c[2 * i + 1]) / 512.0;
  }
  EXPECT_NEAR(power, 1.0, 0.2);
}

// A block of training that begins within a block of FiLM would pool other samples than the stream does.
TEST(S4, ABlockThatBreaksUpFilmsBlocksIsRefused) {
  const auto config = s4_preset("s4-tf-s");
  config->sample_rate = 8000;
  const auto m = make_model(*config);
  m->initialize(1);
  const std::vector<float> audio(1000, 0.1f);
  const FrameRef ref{0, 0, 1000};
  const Loss loss;
  m->begin({}, {audio.data(), audio.data(), &ref, 1, 400}, loss);
  EXPECT_THROW(m->gradient({}, nullptr, {audio.data(), audio.data(), &ref, 1, 200, 200}, loss), Error);
  m->gradient({}, nullptr, {audio.data(), audio.data(), &ref, 1, 144, 256}, loss);
}

}  // namespace
}  // namespace cafx
