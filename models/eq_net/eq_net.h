// models/eq_net/eq_net.h -- EQ net: CAFx without DNN-SAAF, for linear effects such as filters.
//
//   layer               output               (published sizes)
//   input               (1024, 1)
//   Conv1D              (1024, 128) = x1, kept signed as the residual
//   abs, Conv1D-Local, softplus, max pool    (64, 128) = z, with positions
//   Dense-Local         (64, 128) = h        own layer per channel, softplus
//   Dense               (64, 128) = zhat     one layer for all channels, softplus
//   unpool, times x1    (1024, 128) = u
//   deConv1D            (1024, 1) = y        the weights of Conv1D, transposed
//
// Source   Martinez Ramirez, Reiss: End-to-end equalization with convolutional neural networks, DAFx-18. 561,473
//          parameters, unpooling by repetition (`hold`). Differs as CAFx does here: overlap-add instead of a cut.
//
// Phase    With gains zhat that stand still the output is sum_k zhat_k (w_k correlated with w_k * x): a filter of
//          magnitude sum_k zhat_k |W_k|^2 and of phase zero. It learns magnitudes, from a loss that sees them alone;
//          held against the waveform of a filter with phase it does best with the part in phase, max(0, Re H).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"

namespace cafx {

struct EqNetConfig : ModelConfig {
  EqNetConfig() { sample_rate = 16000; }

  int frame = 1024, hop = 64;
  int filters = 128, taps = 64, local_taps = 128;
  int pool = 16;
  int latent = 64;                   // outputs of Dense-Local
  std::string unpool = "positions";  // or "hold"
  std::string conv_init = "lecun_uniform", dense_init = "glorot_uniform";

  const char* type() const override { return "eq_net"; }
  Fields fields() override;
  void check(const std::string& where) const override;
  std::unique_ptr<ModelConfig> clone() const override { return std::make_unique<EqNetConfig>(*this); }
  Geometry geometry() const override;
  bool rounds_products() const override { return true; }
};

// "eq-net": the published sizes; "eq-net-small": what learns a filter in minutes.
std::vector<std::string> eq_net_presets();
std::unique_ptr<ModelConfig> eq_net_preset(const std::string& name);
std::vector<std::pair<std::string, std::string>> eq_net_training(const std::string& preset);
std::unique_ptr<Model> make_eq_net(const ModelConfig&, const std::string& form);

}  // namespace cafx
