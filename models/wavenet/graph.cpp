// A WaveNet as nodes of a graph: convolutions over what it has heard before, which is its state, and the new samples.
#include <fmt/format.h>

#include "models/graph.h"
#include "models/wavenet/net.h"

namespace cafx {

// What is behind the first `from` samples of x (B,C,N).
static std::string without_first(GraphBuilder& g, const std::string& output, const std::string& x, std::int64_t from) {
  if (from == 0) return x;
  return g.add("Slice", output,
               {x, g.int64s(output + ".from", {from}), g.int64s(output + ".to", {GraphBuilder::kToTheEnd}), "axis.2"});
}

// The state "heard" (B,context) has the samples before x. Every layer shortens its input by what it looks back; its
// part in the head's sum is the last T samples.
bool WavenetModel::graph(GraphBuilder& g) const {
  if (film_.rows > 0 && position().empty()) return false;
  const std::vector<float> weights = at_position();
  const std::int64_t K = config_.taps;
  g.int64s("axis.1", {1});
  g.int64s("axis.2", {2});
  const auto tensor = [&](const std::string& name, std::size_t i, GraphBuilder::Ints shape) {
    return g.floats(name, at(weights.data(), i), shape);
  };
  const std::string heard = g.state("heard", {-1, context_}, std::vector<float>(static_cast<std::size_t>(context_)));
  g.add("Concat", "all", {heard, "x"}, {GraphBuilder::one("axis", 1)});
  g.int64s("heard.from", {-context_});
  g.int64s("heard.to", {GraphBuilder::kToTheEnd});
  g.next_state("heard",
               context_ == 0 ? heard : g.add("Slice", "heard.last", {"all", "heard.from", "heard.to", "axis.1"}));
  const std::string condition = g.add("Unsqueeze", "condition", {"all", "axis.1"});  // (B,1,context + T)
  std::string x = condition, head;
  std::int64_t left = context_;  // samples of x before the first of y
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    const Array& array = arrays_[a];
    const std::string of_array = fmt::format("arrays.{}.", a);
    const std::int64_t C = array.C, Z = config_.gated ? 2 * C : C;
    x = g.add("Conv", of_array + "rechannel",
              {x, tensor(of_array + "rechannel.weight", array.rechannel, {C, array.inputs, 1})});
    for (std::size_t l = 0; l < array.layers.size(); ++l) {
      const Layer& layer = array.layers[l];
      const std::string name = fmt::format("{}layers.{}", of_array, l);
      const std::int64_t back = (K - 1) * layer.dilation;
      const auto of_layer = [&](const char* part, std::size_t i, GraphBuilder::Ints shape) {
        return tensor(name + part, layer.tensors + i, shape);
      };
      g.add("Conv", name + ".conv", {x, of_layer(".conv.weight", 0, {Z, C, K}), of_layer(".conv.bias", 1, {Z})},
            {{"dilations", {layer.dilation}}});
      left -= back;
      const std::string now = without_first(g, name + ".condition", condition, context_ - left);
      g.add("Conv", name + ".mixer", {now, of_layer(".mixer.weight", 2, {Z, 1, 1})});
      g.add("Add", name + ".sum", {name + ".conv", name + ".mixer"});
      std::string out = g.add("Tanh", name + ".tanh", {name + ".sum"});
      if (config_.gated) {
        g.int64s(name + ".0", {0});
        g.int64s(name + ".C", {C});
        g.int64s(name + ".2C", {2 * C});
        g.add("Slice", name + ".bent", {out, name + ".0", name + ".C", "axis.1"});
        g.add("Slice", name + ".gate", {name + ".sum", name + ".C", name + ".2C", "axis.1"});
        g.add("Sigmoid", name + ".open", {name + ".gate"});
        out = g.add("Mul", name + ".gated", {name + ".bent", name + ".open"});
      }
      const std::string part = without_first(g, name + ".part", out, left);
      head = head.empty() ? part : g.add("Add", name + ".head", {head, part});
      g.add("Conv", name + ".dense", {out, of_layer(".dense.weight", 3, {C, C, 1}), of_layer(".dense.bias", 4, {C})});
      x = g.add("Add", name, {without_first(g, name + ".input", x, back), name + ".dense"});
    }
    std::vector<std::string> inputs{head, tensor(of_array + "head.weight", array.head, {array.outputs, C, 1})};
    if (array.head_bias) inputs.push_back(tensor(of_array + "head.bias", array.head + 1, {1}));
    head = g.add("Conv", of_array + "head", inputs);
  }
  g.add("Mul", "scaled", {head, g.scalar("head_scale", config_.head_scale)});
  g.add("Squeeze", "y", {"scaled", "axis.1"});
  return true;
}

}  // namespace cafx
