// An LSTM as nodes of a graph.
#include <fmt/format.h>

#include "models/graph.h"
#include "models/lstm/lstm.h"

namespace cafx {

// ONNX orders the gates i, o, f, g, has two biases, and time outermost as models/lstm has it.
void lstm_graph(GraphBuilder& g, const LstmConfig& config, const std::vector<float>& weights) {
  const long H = config.hidden;
  g.int64s("axis.1", {1});
  g.int64s("axis.2", {2});
  g.add("Unsqueeze", "samples", {"x", "axis.2"});                                     // (B,T,1)
  std::string rows = g.add("Transpose", "rows", {"samples"}, {{"perm", {1, 0, 2}}});  // (T,B,1)
  auto from = weights.begin();
  for (int l = 0; l < config.layers; ++l) {
    const long I = l == 0 ? 1 : H;
    const auto of_bias = from + 4 * H * (I + H), h_rest = of_bias + 4 * H, c_rest = h_rest + H;
    std::vector<float> w, r, bias;
    for (const long gate : {0, 3, 1, 2}) {
      for (long k = gate * H; k < (gate + 1) * H; ++k) {
        const auto row = from + k * (I + H);
        w.insert(w.end(), row, row + I);
        r.insert(r.end(), row + I, row + I + H);
        bias.push_back(of_bias[k]);
      }
    }
    bias.resize(static_cast<std::size_t>(8 * H));
    const std::string layer = fmt::format("lstm.{}", l), h = fmt::format("h.{}", l), c = fmt::format("c.{}", l);
    g.floats(layer + ".W", w.data(), {1, 4 * H, I});
    g.floats(layer + ".R", r.data(), {1, 4 * H, H});
    g.floats(layer + ".B", bias.data(), {1, 8 * H});
    const std::string h0 = g.state(h, {1, -1, H}, {h_rest, c_rest}), c0 = g.state(c, {1, -1, H}, {c_rest, c_rest + H});
    g.add_to({layer, layer + ".h", layer + ".c"}, "LSTM", {rows, layer + ".W", layer + ".R", layer + ".B", "", h0, c0},
             {GraphBuilder::one("hidden_size", H)});
    g.next_state(h, layer + ".h");
    g.next_state(c, layer + ".c");
    rows = g.add("Squeeze", layer + ".rows", {layer, "axis.1"});  // (T,B,H)
    from = c_rest + H;
  }
  g.floats("head.weight", &*from, {H, 1});
  g.floats("head.bias", &*from + H, {1});
  g.add("MatMul", "head.product", {rows, "head.weight"});
  g.add("Add", "head", {"head.product", "head.bias"});
  g.add("Squeeze", "head.rows", {"head", "axis.2"});
  g.add("Transpose", "y", {"head.rows"}, {{"perm", {1, 0}}});
}

}  // namespace cafx
