// models/cafx/config.h -- every size and choice of CAFx, and the presets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/config.h"

namespace cafx {

struct CafxConfig : ModelConfig {
  CafxConfig() { sample_rate = 16000; }

  int frame = 1024, hop = 512;
  int filters = 32, taps = 64, local_taps = 128;
  int pool = 16;
  int latent = 64;                          // outputs of Dense-Local
  std::string latent_layer = "local";       // or "dense": in its place one layer for all channels
  std::vector<int> dnn = {32, 32, 32, 32};  // outputs of the layers of DNN-SAAF; the last equals filters
  std::string activation = "relu";          // between the layers of DNN-SAAF
  std::string unpool = "hold";
  std::string deconv = "adjoint";
  std::string conv_init = "lecun_uniform", dense_init = "fan_in_uniform";
  bool saaf = true;  // false: DNN-SAAF ends with its last dense layer
  int saaf_segments = 24;
  int saaf_order = 2;
  double saaf_lo = -1.0, saaf_hi = 1.0;
  bool saaf_every_second = false, saaf_has_v0 = true;
  double saaf_scale = 1.0;
  std::string saaf_init = "identity";  // or "normal"
  double saaf_init_std = 0.05;
  double saaf_l2 = 1e-6;             // loss += l2 * (sum w^2 + sum v^2)
  double saaf_lipschitz = 0.0;       // every slope within this after each step; 0: not bounded
  std::string knob_layers = "film";  // where knobs act, models/cafx/knobs.h: or "latent"
  double dropout = 0.0;              // share of Dense-Local's outputs that a training step leaves out

  const char* type() const override { return "cafx"; }
  Fields fields() override;
  // Refused: frame not divisible by pool, dnn not ending in filters, ...
  void check(const std::string& where) const override;
  std::unique_ptr<ModelConfig> clone() const override { return std::make_unique<CafxConfig>(*this); }
  Geometry geometry() const override;
  bool takes_knobs() const override { return true; }
  double dropout_rate() const override { return dropout; }
  bool rounds_products() const override { return true; }
  void fit(const std::string& form) override;
};

// "default" (what learned best on the shipped notes), "paper", "journal", "full" (the default for 44.1 kHz) and
// "full-48k". Error lists them.
CafxConfig cafx_preset(const std::string& name);
std::vector<std::string> cafx_presets();
inline std::unique_ptr<ModelConfig> cafx_model_preset(const std::string& name) { return cafx_preset(name).clone(); }
std::vector<std::pair<std::string, std::string>> cafx_training(const std::string& preset);

}  // namespace cafx
