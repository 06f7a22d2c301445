// models/lstm/lstm.h -- LSTM layers over x[t], one after the other, and a dense head on the last one's h: y[t] = head
// h[t].
//
//   The LSTM of NeuralAmpModeler (NAM), with its order of weights. It reads no future sample: its latency is 0.
//
// Knobs     Their controls are inputs of the first layer beside the sample.
// Training  A segment begins with its warm-up, which brings the state to what the past makes of it. The state is
//           carried from block to block, gradients are not (truncated back-propagation).
// Dropout   Of the recurrent weights (models/recurrent_dropout.h).
// Silence   A stream starts after kRestSamples of silence, as in NAM's trainer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.h"

namespace cafx {

struct LstmConfig : ModelConfig {
  int hidden = 24, layers = 1;
  double dropout = 0.0;

  const char* type() const override { return "lstm"; }
  Fields fields() override;
  void check(const std::string& where) const override;
  std::unique_ptr<ModelConfig> clone() const override { return std::make_unique<LstmConfig>(*this); }
  Geometry geometry() const override;
  bool takes_knobs() const override { return true; }
  double dropout_rate() const override { return dropout; }
};

inline constexpr long kRestSamples = 48000;

// "lstm", "lstm-lite", "lstm-feather", "lstm-nano": NAM's sizes.
std::vector<std::string> lstm_presets();
std::unique_ptr<ModelConfig> lstm_preset(const std::string& name);
std::vector<std::pair<std::string, std::string>> lstm_training(const std::string& preset);
std::unique_ptr<Model> make_lstm(const ModelConfig&, const std::string& form);

// As nodes of a graph (models/graph.h), with states h.L and c.L (1,B,H) of each layer. `weights`: as Model::nam gives
// them, a position of the knobs, if any, in the bias.
void lstm_graph(GraphBuilder&, const LstmConfig&, const std::vector<float>& weights);

// The state after a long silence: h and c of each layer, (layers, 2, H).
std::vector<float> lstm_rest(const Context&, const Model&);

}  // namespace cafx
