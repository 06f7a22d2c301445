// models/wavenet/wavenet.h -- arrays of dilated convolutions, every layer adding to a head's input.
//
//   Each array mixes its input to its own channels (rechannel); its layers add to the sum that its head reads, which
//   begins with what the head before made; the last head's output, times head_scale, is y. What NeuralAmpModeler (NAM)
//   calls a WaveNet, with its order of weights. It reads no future sample: its latency is 0.
//
// Knobs     Each dilated convolution, with its bias and the mixer, is scaled and shifted channel by channel by a small
//           net of their controls (FiLM, models/knob_film.h): folded into the weights, once for each place and while a
//           knob moves, so that at one position it is a model without knobs.
// Training  The first layers look back into the warm-up, as far as all layers reach together; nothing is carried from
//           block to block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace cafx {

// One array for each number in `channels`; `dilations` holds all arrays' layers, one after the other.
struct WavenetConfig : ModelConfig {
  std::vector<int> channels = {16, 8}, layers = {10, 10};
  std::vector<int> dilations = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  int taps = 3;
  bool gated = false;
  double head_scale = 0.02;

  const char* type() const override { return "wavenet"; }
  Fields fields() override;
  void check(const std::string& where) const override;
  std::unique_ptr<ModelConfig> clone() const override { return std::make_unique<WavenetConfig>(*this); }
  Geometry geometry() const override;
  bool takes_knobs() const override { return true; }
};

// "wavenet", "wavenet-lite", "wavenet-feather", "wavenet-nano": NAM's sizes.
std::vector<std::string> wavenet_presets();
std::unique_ptr<ModelConfig> wavenet_preset(const std::string& name);
std::vector<std::pair<std::string, std::string>> wavenet_training(const std::string& preset);
std::unique_ptr<Model> make_wavenet(const ModelConfig&, const std::string& form);

}  // namespace cafx
