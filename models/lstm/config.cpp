#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "models/lstm/lstm.h"

namespace cafx {

Fields LstmConfig::fields() {
  return {
      field("sample_rate", sample_rate, 0, 384000, "rate the model works at, in Hz; 0: that of what it learns from"),
      field("hidden", hidden, 1, 1024, "hidden units of a layer"),
      field("layers", layers, 1, 16, "layers"),
      late(field("knobs", knobs,
                 "inputs beside the audio, from data.knobs: NAME: LOWEST..HIGHEST UNIT or NAME: OFF|ON")),
      late(field("dropout", dropout, 0, 0.9, "share of the recurrent weights that a step of training leaves out")),
  };
}

void LstmConfig::check(const std::string& where) const {
  if (sample_rate < 1) throw Error("{}: sample_rate = {}; a model's is 1 Hz or more", where, sample_rate);
  parse_knobs(knobs, where + ": knobs");
}

Geometry LstmConfig::geometry() const {
  Geometry g{sample_rate};
  g.knobs = count_controls(parse_knobs(knobs, "model.knobs"));
  g.block = 1024;
  return g;
}

std::vector<std::string> lstm_presets() { return {"lstm", "lstm-lite", "lstm-feather", "lstm-nano"}; }

std::unique_ptr<ModelConfig> lstm_preset(const std::string& name) {
  auto c = std::make_unique<LstmConfig>();
  if (name == "lstm-lite") {
    c->layers = 2;
    c->hidden = 8;
  }
  if (name == "lstm-feather") c->hidden = 16;
  if (name == "lstm-nano") c->hidden = 12;
  return c;
}

std::vector<std::pair<std::string, std::string>> lstm_training(const std::string&) {
  return {{"segment_seconds", "0.5"}, {"batch", "8"},           {"block", "1024"},
          {"burn_in", "1024"},        {"epochs", "300"},        {"patience", "300"},
          {"pretrain_epochs", "0"},   {"refine_epochs", "0"},   {"lr", "1e-2"},
          {"schedule", "cosine"},     {"final_factor", "0.01"}, {"clip_norm", "1"},
          {"loss.mae", "0"},          {"loss.esr", "1"},        {"stop_on", "esr"}};
}

}  // namespace cafx
