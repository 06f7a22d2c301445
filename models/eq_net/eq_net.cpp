#include "models/eq_net/eq_net.h"

#include "kernels/base/error.h"
#include "models/cafx/net.h"

namespace cafx {

namespace {

// The sizes in CAFx's words; what it does not have keeps a value that passes the check and is not read.
CafxConfig sizes_of(const EqNetConfig& e) {
  CafxConfig c;
  c.sample_rate = e.sample_rate;
  c.frame = e.frame;
  c.hop = e.hop;
  c.filters = e.filters;
  c.taps = e.taps;
  c.local_taps = e.local_taps;
  c.pool = e.pool;
  c.latent = e.latent;
  c.unpool = e.unpool;
  c.conv_init = e.conv_init;
  c.dense_init = e.dense_init;
  c.dnn = {e.filters};
  c.saaf = false;
  return c;
}

// The sign of its output cannot be turned: zhat is not negative, and the deconvolution has Conv1D's weights, so that
// both turn together.
class EqNet : public CafxNet {
 public:
  EqNet(const EqNetConfig& config, const std::string& form)
      : CafxNet(sizes_of(config), {.latent = form == kSupervised, .dnn = false}, form), config_(config) {}
  const EqNetConfig& config() const override { return config_; }

 private:
  EqNetConfig config_;
};

}  // namespace

Fields EqNetConfig::fields() {
  return {
      field("sample_rate", sample_rate, 1000, 384000, "rate the model works at, in Hz"),
      field("frame", frame, 2, 1 << 20, "samples in and out of one forward pass"),
      field("hop", hop, 1, 1 << 19, "samples between the frames of training, at most frame / 2"),
      field("filters", filters, 1, 4096, "filters of Conv1D, channels of all that follows"),
      field("taps", taps, 1, 1 << 16, "taps of Conv1D and of the tied deconvolution"),
      field("local_taps", local_taps, 1, 1 << 16, "taps of Conv1D-Local"),
      field("pool", pool, 1, 1 << 16, "window of the max pooling; divides frame"),
      field("latent", latent, 1, 1 << 16, "outputs of Dense-Local"),
      choice("unpool", unpool, {"positions", "hold"}, "positions: only where the maximum was; hold: repeat the value"),
      choice("conv_init", conv_init, {"lecun_uniform", "glorot_uniform", "fan_in_uniform"},
             "initial weights of the convolutions"),
      choice("dense_init", dense_init, {"glorot_uniform", "lecun_uniform", "fan_in_uniform"},
             "initial weights of the dense layers"),
  };
}

void EqNetConfig::check(const std::string& where) const { sizes_of(*this).check(where); }
Geometry EqNetConfig::geometry() const { return sizes_of(*this).geometry(); }

std::vector<std::string> eq_net_presets() { return {"eq-net", "eq-net-small"}; }

std::unique_ptr<ModelConfig> eq_net_preset(const std::string& name) {
  auto c = std::make_unique<EqNetConfig>();
  c->unpool = "hold";
  if (name == "eq-net-small") {
    c->hop = 512;
    c->filters = 32;
    c->dense_init = "fan_in_uniform";
  }
  return c;
}

std::vector<std::pair<std::string, std::string>> eq_net_training(const std::string& preset) {
  if (preset != "eq-net-small") return {};
  return {{"batch", "16"},        {"hop", "64"},           {"pretrain_epochs", "0"},
          {"epochs", "70"},       {"refine_epochs", "15"}, {"lr", "3e-3"},
          {"schedule", "cosine"}, {"warmup_steps", "200"}, {"silence_db", "-60"}};
}

std::unique_ptr<Model> make_eq_net(const ModelConfig& config, const std::string& form) {
  config.check("model");
  return std::make_unique<EqNet>(dynamic_cast<const EqNetConfig&>(config), form);
}

}  // namespace cafx
