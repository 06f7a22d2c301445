// models/crafx/config.h -- every size and choice of CRAFx, and the presets.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/cafx/config.h"

namespace cafx {

inline constexpr int kMaxCrafxLayers = 4;  // of the Bi-LSTM

struct CrafxConfig : ModelConfig {
  CrafxConfig() { sample_rate = 16000; }

  int frame = 4096, hop = 2048;
  int before = 4, after = 4;  // context frames
  int context_hop = 2048;     // samples from one context frame to the next
  int filters = 32, taps = 64, local_taps = 128;
  int pool = 64;
  std::vector<int> lstm = {64, 32, 16};     // units a direction; twice the last equals filters
  std::vector<int> dnn = {32, 16, 16, 32};  // the last equals filters
  std::string activation = "tanh";          // between the layers of the DNN
  int excite = 512;                         // hidden units of squeeze and excitation
  std::string unpool = "hold";
  std::string deconv = "correlate";
  std::string conv_init = "lecun_uniform", dense_init = "glorot_uniform";
  // Of both SAAFs: after the Bi-LSTM and after the DNN.
  int saaf_segments = 24;
  int saaf_order = 2;
  double saaf_lo = -0.2, saaf_hi = 0.2;
  bool saaf_every_second = true, saaf_has_v0 = false;
  double saaf_scale = 100.0;
  std::string saaf_init = "normal";
  double saaf_init_std = 0.05;
  double saaf_l2 = 1e-6;
  double dropout = 0.0;  // of the Bi-LSTM's recurrent weights

  const char* type() const override { return "crafx"; }
  Fields fields() override;
  void check(const std::string& where) const override;
  std::unique_ptr<ModelConfig> clone() const override { return std::make_unique<CrafxConfig>(*this); }
  // The context in samples: before and after times context_hop.
  Geometry geometry() const override;
  double dropout_rate() const override { return dropout; }
  bool rounds_products() const override { return true; }
  void fit(const std::string& form) override;

  int frames() const { return before + 1 + after; }
  // Front end, DNN-SAAF and deconvolution in CAFx's words; what CRAFx lacks keeps a value that is not read.
  CafxConfig parts() const;
};

// "crafx": the published sizes; "crafx-small": what learns in minutes. Error lists them.
std::vector<std::string> crafx_presets();
std::unique_ptr<ModelConfig> crafx_preset(const std::string& name);
std::vector<std::pair<std::string, std::string>> crafx_training(const std::string& preset);

}  // namespace cafx
