// CRAFx as nodes of a graph.
#include "models/cafx/graph.h"

#include <fmt/format.h>

#include "kernels/conv1d/conv1d.h"
#include "models/crafx/net.h"

namespace cafx {

namespace {

using Ints = GraphBuilder::Ints;

// Samples [from, to) along axis 1.
std::string slice_places(GraphBuilder& g, const std::string& output, const std::string& x, std::int64_t from,
                         std::int64_t to) {
  return g.add("Slice", output, {x, g.int64s(output + ".from", {from}), g.int64s(output + ".to", {to}), "axis.1"});
}

// A layer of the Bi-LSTM: rows (N,B,I) -> (N,B,2H). ONNX orders the gates i, o, f, g and has two biases.
std::string add_bilstm(GraphBuilder& g, const std::string& name, const std::string& rows, const Params& params,
                       std::int64_t I, std::int64_t H, bool linear) {
  std::vector<float> w, r, bias;
  for (const char* direction : {"", ".reverse"}) {
    const float *of_w = params.tensor(name + direction + ".weight"),
                *of_bias = params.tensor(name + direction + ".bias");
    for (const std::int64_t gate : {0, 3, 1, 2}) {
      for (std::int64_t k = gate * H; k < (gate + 1) * H; ++k) {
        const float* row = of_w + k * (I + H);
        w.insert(w.end(), row, row + I);
        r.insert(r.end(), row + I, row + I + H);
      }
      bias.insert(bias.end(), of_bias + gate * H, of_bias + (gate + 1) * H);
    }
    bias.insert(bias.end(), static_cast<std::size_t>(4 * H), 0.0f);
  }
  g.floats(name + ".W", w.data(), {2, 4 * H, I});
  g.floats(name + ".R", r.data(), {2, 4 * H, H});
  g.floats(name + ".B", bias.data(), {2, 8 * H});
  std::vector<GraphBuilder::Attribute> attributes{GraphBuilder::one("hidden_size", H),
                                                  GraphBuilder::text("direction", "bidirectional")};
  if (linear) {
    std::vector<std::string> activations;
    for (int direction = 0; direction < 2; ++direction) {
      activations.insert(activations.end(), {"Sigmoid", "Affine", "Affine"});
    }
    attributes.push_back({"activations", {}, false, {}, activations});
    attributes.push_back({"activation_alpha", {}, false, {1.0f, 1.0f, 1.0f, 1.0f}});
    attributes.push_back({"activation_beta", {}, false, {0.0f, 0.0f, 0.0f, 0.0f}});
  }
  g.add("LSTM", name + ".directions", {rows, name + ".W", name + ".R", name + ".B"}, attributes);  // (N,2,B,H)
  g.add("Transpose", name + ".side_by_side", {name + ".directions"}, {{"perm", {0, 2, 1, 3}}});
  return g.add("Reshape", name, {name + ".side_by_side", "shape.rows"});
}

}  // namespace

// The layers in the order of models/crafx/crafx.h; shapes at the right, channels before time as ONNX convolves.
bool CrafxModel::graph(GraphBuilder& g) const {
  const CrafxConfig& c = config();
  const CafxConfig parts = c.parts();
  const std::int64_t C = c.filters, T = c.frame, P = c.pool, N = T / P, K = c.taps, K2 = c.local_taps, F = c.frames();
  const Ints pads{same_left(c.taps), K - 1 - same_left(c.taps)};
  const Ints local_pads{same_left(c.local_taps), K2 - 1 - same_left(c.local_taps)};
  for (const ParamSpec& p : params_) {
    if (p.name.find("saaf.") != std::string::npos || p.name.rfind("lstm.", 0) == 0) continue;  // laid out below
    Ints shape = p.shape;
    const bool of_samples = p.name.rfind("dnn.", 0) == 0 || p.name.rfind("excite.", 0) == 0;
    if (of_samples && shape.size() == 2) shape.push_back(1);  // a convolution of one tap
    g.floats(p.name, params_.data() + p.offset, shape);
  }
  g.int64s("axis.1", {1});
  g.int64s("axis.3", {3});
  g.int64s("shape.frames", {-1, 1, T});
  g.int64s("shape.of_places", {-1, F * C, T});
  g.int64s("shape.side_by_side", {-1, F * C, N});
  g.int64s("shape.rows", {0, 0, -1});
  g.int64s("shape.windows", {0, 0, N, P});
  g.int64s("shape.samples", {0, 0, T});

  std::vector<std::string> frames;
  for (std::int64_t k = 0; k < F; ++k) {
    const std::string name = fmt::format("frame.{}", k);
    slice_places(g, name, "x", k * c.context_hop, k * c.context_hop + T);  // (B,T)
    frames.push_back(g.add("Unsqueeze", name + ".row", {name, "axis.1"}));
  }
  g.add("Concat", "frames", frames, {GraphBuilder::one("axis", 1)});                     // (B,F,T)
  g.add("Reshape", "input", {"frames", "shape.frames"});                                 // (B F,1,T)
  g.add("Conv", "conv1d", {"input", "conv1d.weight", "conv1d.bias"}, {{"pads", pads}});  // (B F,C,T)
  g.add("Abs", "abs", {"conv1d"});
  g.add("Conv", "local_conv", {"abs", "local_conv.weight", "local_conv.bias"},
        {{"pads", local_pads}, GraphBuilder::one("group", C)});
  // softplus rises with its argument, so pooling before it is the same and touches fewer numbers
  g.add("MaxPool", "max_pool", {"local_conv"}, {{"kernel_shape", {P}}, {"strides", {P}}});  // (B F,C,N)
  g.add("Softplus", "z", {"max_pool"});
  g.add("Reshape", "side_by_side", {"z", "shape.side_by_side"});  // (B,F C,N)
  std::string rows = g.add("Transpose", "rows", {"side_by_side"}, {{"perm", {2, 0, 1}}});
  std::int64_t in = F * C;
  for (std::size_t l = 0; l < c.lstm.size(); ++l) {
    rows = add_bilstm(g, fmt::format("lstm.{}", l), rows, params_, in, c.lstm[l], l + 1 == c.lstm.size());
    in = 2 * c.lstm[l];
  }
  g.add("Transpose", "latent", {rows}, {{"perm", {1, 2, 0}}});  // (B,C,N)
  add_saaf(g, "latent_saaf", "latent", parts, params_.tensor("latent_saaf.v"), params_.tensor("latent_saaf.w"));
  std::string up = g.add("Unsqueeze", "hold", {"latent_saaf", "axis.3"});  // (B,C,N,1)

  const auto own = [&](const std::string& output, const std::string& of_frames) {  // (B F,C,T) -> (B,C,T)
    g.add("Reshape", output + ".of_places", {of_frames, "shape.of_places"});
    return slice_places(g, output, output + ".of_places", c.before * C, (c.before + 1) * C);
  };
  if (c.unpool == "positions") {
    Ints every;
    for (std::int64_t r = 0; r < P; ++r) every.push_back(r);
    g.int64s("pool.positions", every);
    own("own_local_conv", "local_conv");
    g.add("Reshape", "windows", {"own_local_conv", "shape.windows"});  // (B,C,N,P)
    g.add("ArgMax", "positions", {"windows"}, {GraphBuilder::one("axis", 3), GraphBuilder::one("keepdims", 1)});
    g.add("Equal", "is_position", {"positions", "pool.positions"});
    g.add("Cast", "position_mask", {"is_position"}, {GraphBuilder::one("to", GraphBuilder::kFloat)});
    up = g.add("Mul", "unpool", {up, "position_mask"});
  }
  own("x1", "conv1d");
  g.add("Reshape", "residual", {"x1", "shape.windows"});  // (B,C,N,P)
  g.add("Mul", "product", {"residual", up});
  g.add("Reshape", "u", {"product", "shape.samples"});  // (B,C,T)
  std::string v = "u";
  for (std::size_t l = 0; l < c.dnn.size(); ++l) {
    const std::string name = fmt::format("dnn.{}", l);
    v = g.add("Conv", name, {v, name + ".weight", name + ".bias"});
    const char* op = graph_op_of(c.activation);
    if (l + 1 < c.dnn.size() && op) v = g.add(op, name + ".activation", {v});
  }
  v = add_saaf(g, "saaf", v, parts, params_.tensor("saaf.v"), params_.tensor("saaf.w"));
  g.add("Abs", "magnitude", {v});
  g.add("ReduceMean", "squeeze", {"magnitude"}, {{"axes", {2}}});  // (B,C,1)
  g.add("Conv", "excite.0", {"squeeze", "excite.0.weight", "excite.0.bias"});
  g.add("Relu", "excite.0.activation", {"excite.0"});
  g.add("Conv", "excite.1", {"excite.0.activation", "excite.1.weight", "excite.1.bias"});
  g.add("Sigmoid", "gain", {"excite.1"});
  g.add("Mul", "excited", {v, "gain"});
  g.add("Add", "sum", {"u", "excited"});
  if (c.deconv == "adjoint") {
    g.add("ConvTranspose", "deconv", {"sum", "conv1d.weight", "deconv.bias"}, {{"pads", pads}});  // (B,1,T)
  } else {
    g.add("Transpose", "deconv.weight", {"conv1d.weight"}, {{"perm", {1, 0, 2}}});
    g.add("Conv", "deconv", {"sum", "deconv.weight", "deconv.bias"}, {{"pads", pads}});
  }
  g.add("Squeeze", "y", {"deconv", "axis.1"});  // (B,T)
  return true;
}

}  // namespace cafx
