// CAFx and its relatives as nodes of a graph.
#include "models/cafx/graph.h"

#include <fmt/format.h>

#include "kernels/conv1d/conv1d.h"
#include "kernels/saaf/saaf_math.h"
#include "models/cafx/dims.h"
#include "models/cafx/net.h"

namespace cafx {

namespace {

using Ints = GraphBuilder::Ints;

}  // namespace

const char* graph_op_of(const std::string& activation) {
  return activation == "relu"       ? "Relu"
         : activation == "tanh"     ? "Tanh"
         : activation == "softplus" ? "Softplus"
                                    : nullptr;
}

// Region k of S + 2 as in kernels/saaf/saaf_math.h, from whose table the pieces come.
std::string add_saaf(GraphBuilder& g, const std::string& saaf, const std::string& u, const CafxConfig& c,
                     const float* v, const float* w) {
  const int C = c.filters, S = c.saaf_segments, n_regions = S + 2;
  SaafDims d = CafxDims::saaf_of(c, 1);
  d.T = 1;
  std::vector<SaafPiece> table(static_cast<std::size_t>(n_regions) * C);
  for (int channel = 0; channel < C; ++channel) saaf_make_table(table.data(), v, w, d, channel);
  std::vector<float> A, B, H, start;  // by channel, then region; the starts are the same for all
  for (int channel = 0; channel < C; ++channel) {
    for (int k = 0; k < n_regions; ++k) {
      const SaafPiece& p = table[static_cast<std::size_t>(k) * C + channel];
      A.push_back(p.A);
      B.push_back(p.B);
      H.push_back(p.H);
      if (channel == 0) start.push_back(p.a);
    }
  }
  std::vector<std::int32_t> first;
  for (int channel = 0; channel < C; ++channel) first.push_back(channel * n_regions);

  const double D = saaf_width(d);
  const Ints rows{static_cast<std::int64_t>(C) * n_regions};
  g.scalar(saaf + ".origin", d.lo - D);
  g.scalar(saaf + ".per_sample", 1.0 / D);
  g.scalar(saaf + ".first_region", 0.0);
  g.scalar(saaf + ".last_region", n_regions - 1);
  g.int32s(saaf + ".first_index", {0}, {});
  g.int32s(saaf + ".last_index", {n_regions - 1}, {});
  g.int32s(saaf + ".rows_of_channel", first, {C, 1});
  g.floats(saaf + ".start", start.data(), {n_regions});
  g.floats(saaf + ".A", A.data(), rows);
  g.floats(saaf + ".B", B.data(), rows);

  g.add("Sub", saaf + "/from_origin", {u, saaf + ".origin"});
  g.add("Mul", saaf + "/in_segments", {saaf + "/from_origin", saaf + ".per_sample"});
  g.add("Floor", saaf + "/floor", {saaf + "/in_segments"});
  g.add("Clip", saaf + "/clipped", {saaf + "/floor", saaf + ".first_region", saaf + ".last_region"});
  g.add("Cast", saaf + "/whole", {saaf + "/clipped"}, {GraphBuilder::one("to", GraphBuilder::kInt32)});
  g.add("Clip", saaf + "/region",
        {saaf + "/whole", saaf + ".first_index", saaf + ".last_index"});  // for a NaN, which stays one
  g.add("Add", saaf + "/row", {saaf + "/region", saaf + ".rows_of_channel"});
  g.add("Gather", saaf + "/a", {saaf + ".start", saaf + "/region"});
  g.add("Sub", saaf + "/t", {u, saaf + "/a"});
  g.add("Gather", saaf + "/B", {saaf + ".B", saaf + "/row"});
  std::string slope = saaf + "/B";
  if (c.saaf_order == 2) {
    g.floats(saaf + ".H", H.data(), rows);
    g.add("Gather", saaf + "/H", {saaf + ".H", saaf + "/row"});
    g.add("Mul", saaf + "/tH", {saaf + "/t", saaf + "/H"});
    slope = g.add("Add", saaf + "/slope", {saaf + "/B", saaf + "/tH"});
  }
  g.add("Mul", saaf + "/rise", {saaf + "/t", slope});
  g.add("Gather", saaf + "/A", {saaf + ".A", saaf + "/row"});
  return g.add("Add", saaf, {saaf + "/A", saaf + "/rise"});
}

// The layers in the order of models/cafx/net.h; shapes at the right, channels before time as ONNX convolves.
bool CafxNet::graph(GraphBuilder& g) const {
  const CafxConfig& c = sizes();
  if (!parts().latent || (parts().controls > 0 && position().empty())) return false;
  const std::vector<float> weights = at_position();
  const std::int64_t C = c.filters, T = c.frame, P = c.pool, N = T / P, K = c.taps, K2 = c.local_taps, L = c.latent;
  const Ints pads{same_left(c.taps), K - 1 - same_left(c.taps)};
  const Ints local_pads{same_left(c.local_taps), K2 - 1 - same_left(c.local_taps)};

  for (const ParamSpec& p : params_) {
    if (p.name == "dense.knobs" || p.name.rfind("knobs.", 0) == 0 || p.name.rfind("film.", 0) == 0) continue;
    if (p.name == "saaf.v" || p.name == "saaf.w" || p.name == "dense.weight" || p.name == "latent_dense.weight")
      continue;  // laid out below
    Ints shape = p.shape;
    if (p.name.rfind("dnn.", 0) == 0 && shape.size() == 2) shape.push_back(1);  // a convolution of one tap
    if (p.name == "local_dense.bias") shape.push_back(1);
    g.floats(p.name, weights.data() + p.offset, shape);
  }
  // (in, out), to be multiplied from the right.
  const auto transposed = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    std::vector<float> t(static_cast<std::size_t>(in * out));
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) t[static_cast<std::size_t>(i * out + o)] = params_.tensor(name)[o * in + i];
    }
    g.floats(name, t.data(), {in, out});
  };
  transposed("dense.weight", N, L);
  if (c.latent_layer == "dense") transposed("latent_dense.weight", L, N);
  g.int64s("axis.1", {1});
  g.int64s("axis.3", {3});
  g.int64s("shape.windows", {0, 0, N, P});
  g.int64s("shape.samples", {0, 0, T});

  g.add("Unsqueeze", "input", {"x", "axis.1"});                                          // (B,1,T)
  g.add("Conv", "conv1d", {"input", "conv1d.weight", "conv1d.bias"}, {{"pads", pads}});  // (B,C,T)
  g.add("Abs", "abs", {"conv1d"});
  g.add("Conv", "local_conv", {"abs", "local_conv.weight", "local_conv.bias"},
        {{"pads", local_pads}, GraphBuilder::one("group", C)});  // (B,C,T)
  // softplus rises with its argument, so pooling before it is the same and touches fewer numbers
  g.add("MaxPool", "max_pool", {"local_conv"}, {{"kernel_shape", {P}}, {"strides", {P}}});  // (B,C,N)
  g.add("Softplus", "z", {"max_pool"});
  if (c.latent_layer == "local") {
    g.add("Unsqueeze", "z_columns", {"z", "axis.3"});                             // (B,C,N,1)
    g.add("MatMul", "local_dense_columns", {"local_dense.weight", "z_columns"});  // (B,C,L,1)
    g.add("Add", "local_dense_sum", {"local_dense_columns", "local_dense.bias"});
    g.add("Squeeze", "latent", {"local_dense_sum", "axis.3"});  // (B,C,L)
  } else {
    g.add("MatMul", "latent_dense_product", {"z", "latent_dense.weight"});  // (B,C,L)
    g.add("Add", "latent", {"latent_dense_product", "latent_dense.bias"});
  }
  g.add("Softplus", "h", {"latent"});
  g.add("MatMul", "dense_product", {"h", "dense.weight"});  // (B,C,N)
  g.add("Add", "dense", {"dense_product", "dense.bias"});
  g.add("Softplus", "zhat", {"dense"});
  std::string up = g.add("Unsqueeze", "hold", {"zhat", "axis.3"});  // (B,C,N,1)
  if (c.unpool == "positions") {
    Ints every;
    for (std::int64_t r = 0; r < P; ++r) every.push_back(r);
    g.int64s("pool.positions", every);
    g.add("Reshape", "windows", {"local_conv", "shape.windows"});  // (B,C,N,P)
    g.add("ArgMax", "positions", {"windows"},
          {GraphBuilder::one("axis", 3), GraphBuilder::one("keepdims", 1)});  // (B,C,N,1)
    g.add("Equal", "is_position", {"positions", "pool.positions"});           // (B,C,N,P)
    g.add("Cast", "position_mask", {"is_position"}, {GraphBuilder::one("to", GraphBuilder::kFloat)});
    up = g.add("Mul", "unpool", {up, "position_mask"});
  }
  g.add("Reshape", "residual", {"conv1d", "shape.windows"});  // (B,C,N,P)
  g.add("Mul", "product", {"residual", up});
  std::string u = g.add("Reshape", "dnn", {"product", "shape.samples"});  // (B,C,T)
  for (std::size_t l = 0; parts().dnn && l < c.dnn.size(); ++l) {
    const std::string name = fmt::format("dnn.{}", l);
    u = g.add("Conv", name, {u, name + ".weight", name + ".bias"});
    const char* op = graph_op_of(c.activation);
    if (l + 1 < c.dnn.size() && op) u = g.add(op, name + ".activation", {u});
  }
  if (parts().dnn && c.saaf) u = add_saaf(g, "saaf", u, c, params_.tensor("saaf.v"), params_.tensor("saaf.w"));
  if (c.deconv == "adjoint") {
    g.add("ConvTranspose", "deconv", {u, "conv1d.weight", "deconv.bias"}, {{"pads", pads}});  // (B,1,T)
  } else {
    g.add("Transpose", "deconv.weight", {"conv1d.weight"}, {{"perm", {1, 0, 2}}});
    g.add("Conv", "deconv", {u, "deconv.weight", "deconv.bias"}, {{"pads", pads}});
  }
  g.add("Squeeze", "y", {"deconv", "axis.1"});  // (B,T)
  return true;
}

}  // namespace cafx
