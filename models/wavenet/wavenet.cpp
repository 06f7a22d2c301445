#include "models/wavenet/wavenet.h"

#include <numeric>
#include <tuple>

#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "models/wavenet/net.h"

namespace cafx {

Fields WavenetConfig::fields() {
  return {
      field("sample_rate", sample_rate, 0, 384000, "rate the model works at, in Hz; 0: that of what it learns from"),
      field("channels", channels, "channels of each array of layers"),
      field("layers", layers, "layers of each array"),
      field("dilations", dilations, "dilation of every layer, all arrays one after the other"),
      field("taps", taps, 1, 64, "taps of every dilated convolution"),
      field("gated", gated, "tanh times sigmoid instead of tanh"),
      field("head_scale", head_scale, 1e-6, 1e6, "factor on the output"),
      late(field("knobs", knobs,
                 "what modulates beside the audio, from data.knobs: NAME: LOWEST..HIGHEST UNIT or NAME: OFF|ON")),
  };
}

void WavenetConfig::check(const std::string& where) const {
  if (sample_rate < 1) throw Error("{}: sample_rate = {}; a model's is 1 Hz or more", where, sample_rate);
  parse_knobs(knobs, where + ": knobs");
  if (channels.empty() || channels.size() != layers.size() || channels.size() > 16) {
    throw Error("{}: channels has {} numbers and layers {}; give one in each for every array, 1 to 16", where,
                channels.size(), layers.size());
  }
  for (const auto& [name, list, most] :
       {std::tuple("channels", &channels, 256), {"layers", &layers, 64}, {"dilations", &dilations, 65536}}) {
    for (const int value : *list) {
      if (value < 1 || value > most) throw Error("{}: {} holds {}; each is 1 to {}", where, name, value, most);
    }
  }
  const int wanted = std::accumulate(layers.begin(), layers.end(), 0);
  if (wanted != static_cast<int>(dilations.size())) {
    throw Error("{}: layers asks for {} layers, dilations holds {}; give one for each layer", where, wanted,
                dilations.size());
  }
  const long context = geometry().warm_up;
  if (context > 1 << 20) {
    throw Error("{}: the layers look {} samples back; at most {} are possible, lower dilations", where, context,
                1 << 20);
  }
}

Geometry WavenetConfig::geometry() const {
  Geometry g{sample_rate};
  for (const int d : dilations) g.warm_up += (taps - 1) * d;
  g.knobs = count_controls(parse_knobs(knobs, "model.knobs"));
  return g;
}

std::vector<std::string> wavenet_presets() { return {"wavenet", "wavenet-lite", "wavenet-feather", "wavenet-nano"}; }

std::unique_ptr<ModelConfig> wavenet_preset(const std::string& name) {
  auto c = std::make_unique<WavenetConfig>();
  const int wide = name == "wavenet-lite" ? 12 : name == "wavenet-feather" ? 8 : name == "wavenet-nano" ? 4 : 16;
  if (wide == 16) return c;
  c->channels = {wide, wide / 2};
  c->layers = {7, 13};
  c->dilations = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  return c;
}

// Its layers look back over any block's border: one block, the segment.
std::vector<std::pair<std::string, std::string>> wavenet_training(const std::string&) {
  return {{"segment_seconds", "0.5"}, {"batch", "4"},           {"block", "0"},
          {"burn_in", "1024"},        {"epochs", "100"},        {"patience", "300"},
          {"pretrain_epochs", "0"},   {"refine_epochs", "0"},   {"lr", "5e-3"},
          {"schedule", "cosine"},     {"final_factor", "0.01"}, {"clip_norm", "1"},
          {"loss.mae", "0"},          {"loss.esr", "1"},        {"stop_on", "esr"}};
}

std::unique_ptr<Model> make_wavenet(const ModelConfig& config, const std::string& form) {
  config.check("model");
  return std::make_unique<WavenetModel>(dynamic_cast<const WavenetConfig&>(config), form);
}

}  // namespace cafx
