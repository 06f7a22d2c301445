#include "models/s4/s4.h"

#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "models/s4/net.h"

namespace cafx {

Fields S4Config::fields() {
  return {
      field("sample_rate", sample_rate, 0, 384000, "rate the model works at, in Hz; 0: that of what it learns from"),
      field("blocks", blocks, 1, 64, "blocks, each with a state-space layer"),
      field("channels", channels, 1, 256, "channels between the blocks"),
      field("state", state, 1, 256, "oscillators of each channel of a layer"),
      choice("film", film, {"none", "temporal"}, "what modulates the layers: nothing, or an LSTM on what they make"),
      field("film_block", film_block, 1, 65536, "samples that are modulated alike; with FiLM the latency plus one"),
      field("rest_samples", rest_samples, 0, 1 << 20,
            "silence before the first sample of a stream, in samples; 0: it begins with states of zero"),
      late(field("knobs", knobs,
                 "what modulates beside the audio, from data.knobs: NAME: LOWEST..HIGHEST UNIT or NAME: OFF|ON")),
  };
}

void S4Config::check(const std::string& where) const {
  if (sample_rate < 1) throw Error("{}: sample_rate = {}; a model's is 1 Hz or more", where, sample_rate);
  parse_knobs(knobs, where + ": knobs");
}

Geometry S4Config::geometry() const {
  Geometry g{sample_rate};
  if (temporal()) {
    g.after = film_block - 1;
    g.unit = film_block;
  }
  g.knobs = count_controls(parse_knobs(knobs, "model.knobs"));
  return g;
}

std::vector<std::string> s4_presets() { return {"s4-l", "s4-s", "s4-tf-l", "s4-tf-s"}; }

std::unique_ptr<ModelConfig> s4_preset(const std::string& name) {
  auto c = std::make_unique<S4Config>();
  if (name.ends_with("-s")) {
    c->blocks = 4;
    c->state = 4;
  }
  if (name.find("-tf") != std::string::npos) c->film = "temporal";
  return c;
}

std::vector<std::pair<std::string, std::string>> s4_training(const std::string&) {
  return {{"segment_seconds", "0.5"}, {"batch", "8"},           {"block", "1024"},
          {"burn_in", "2048"},        {"epochs", "100"},        {"patience", "300"},
          {"pretrain_epochs", "0"},   {"refine_epochs", "0"},   {"lr", "1e-2"},
          {"schedule", "cosine"},     {"final_factor", "0.01"}, {"clip_norm", "1"},
          {"loss.mae", "0"},          {"loss.esr", "1"},        {"stop_on", "esr"}};
}

std::unique_ptr<Model> make_s4(const ModelConfig& config, const std::string& form) {
  config.check("model");
  return std::make_unique<S4Model>(dynamic_cast<const S4Config&>(config), form);
}

}  // namespace cafx
