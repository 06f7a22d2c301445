#include "host/export/onnx_file.h"

#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "host/export/model_file.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/base/safetensors.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/saaf/saaf_math.h"

namespace cafx {

namespace {

using Ints = std::vector<std::int64_t>;

// A graph that grows node by node; values are known by their names.
class Graph {
 public:
  explicit Graph(onnx::GraphProto& g) : graph_(g) {}

  struct Attribute {
    const char* name;
    Ints ints;
    bool single = false;
  };
  static Attribute one(const char* name, std::int64_t value) { return {name, {value}, true}; }

  // A node of one output, which is named after the layer that it belongs to.
  std::string add(const char* op, const std::string& output, std::vector<std::string> inputs,
                  const std::vector<Attribute>& attributes = {}) {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(op);
    node.set_name(output);
    for (const std::string& i : inputs) node.add_input(i);
    node.add_output(output);
    for (const Attribute& a : attributes) {
      onnx::AttributeProto& p = *node.add_attribute();
      p.set_name(a.name);
      p.set_type(a.single ? onnx::AttributeProto::INT : onnx::AttributeProto::INTS);
      if (a.single) p.set_i(a.ints[0]);
      if (!a.single) p.mutable_ints()->Assign(a.ints.begin(), a.ints.end());
    }
    return output;
  }

  std::string floats(const std::string& name, const float* data, const Ints& shape) {
    return tensor(name, data, sizeof(float), onnx::TensorProto::FLOAT, shape);
  }
  std::string scalar(const std::string& name, double value) {
    const auto x = static_cast<float>(value);
    return floats(name, &x, {});
  }
  std::string int64s(const std::string& name, const Ints& data) {
    return tensor(name, data.data(), sizeof(std::int64_t), onnx::TensorProto::INT64,
                  {static_cast<std::int64_t>(data.size())});
  }
  std::string int32s(const std::string& name, const std::vector<std::int32_t>& data, const Ints& shape) {
    return tensor(name, data.data(), sizeof(std::int32_t), onnx::TensorProto::INT32, shape);
  }

 private:
  std::string tensor(const std::string& name, const void* data, std::size_t size, onnx::TensorProto::DataType type,
                     const Ints& shape) {
    onnx::TensorProto& t = *graph_.add_initializer();
    t.set_name(name);
    t.set_data_type(type);
    for (const std::int64_t n : shape) {
      t.add_dims(n);
      size *= static_cast<std::size_t>(n);
    }
    t.set_raw_data(data, size);
    return name;
  }

  onnx::GraphProto& graph_;
};

// The model's tensors by their names.
class Weights {
 public:
  explicit Weights(const CafxModel& model) : model_(model) {}
  const float* at(const std::string& name) const {
    for (const ParamSpec& p : model_.params()) {
      if (p.name == name) return model_.data() + p.offset;
    }
    throw CheckError("no tensor " + name);
  }

 private:
  const CafxModel& model_;
};

const char* op_of(const std::string& activation) {
  return activation == "relu"       ? "Relu"
         : activation == "tanh"     ? "Tanh"
         : activation == "softplus" ? "Softplus"
                                    : nullptr;
}

// u (B,C,T) -> curve of each channel. Region k of S + 2 as in kernels/saaf/saaf_math.h, from whose table the pieces come.
std::string add_saaf(Graph& g, const std::string& u, const CafxConfig& c, const float* v, const float* w) {
  const int C = c.filters, S = c.saaf_segments, n_regions = S + 2;
  const SaafDims d{1,
                   1,
                   C,
                   S,
                   static_cast<float>(c.saaf_lo),
                   static_cast<float>(c.saaf_hi),
                   static_cast<float>(c.saaf_scale),
                   c.saaf_every_second,
                   c.saaf_has_v0,
                   c.saaf_order};
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
  g.scalar("saaf.origin", d.lo - D);
  g.scalar("saaf.per_sample", 1.0 / D);
  g.scalar("saaf.first_region", 0.0);
  g.scalar("saaf.last_region", n_regions - 1);
  g.int32s("saaf.first_index", {0}, {});
  g.int32s("saaf.last_index", {n_regions - 1}, {});
  g.int32s("saaf.rows_of_channel", first, {C, 1});
  g.floats("saaf.start", start.data(), {n_regions});
  g.floats("saaf.A", A.data(), rows);
  g.floats("saaf.B", B.data(), rows);

  g.add("Sub", "saaf/from_origin", {u, "saaf.origin"});
  g.add("Mul", "saaf/in_segments", {"saaf/from_origin", "saaf.per_sample"});
  g.add("Floor", "saaf/floor", {"saaf/in_segments"});
  g.add("Clip", "saaf/clipped", {"saaf/floor", "saaf.first_region", "saaf.last_region"});
  g.add("Cast", "saaf/whole", {"saaf/clipped"}, {Graph::one("to", onnx::TensorProto::INT32)});
  g.add("Clip", "saaf/region", {"saaf/whole", "saaf.first_index", "saaf.last_index"});  // for a NaN, which stays one
  g.add("Add", "saaf/row", {"saaf/region", "saaf.rows_of_channel"});
  g.add("Gather", "saaf/a", {"saaf.start", "saaf/region"});
  g.add("Sub", "saaf/t", {u, "saaf/a"});
  g.add("Gather", "saaf/B", {"saaf.B", "saaf/row"});
  std::string slope = "saaf/B";
  if (c.saaf_order == 2) {
    g.floats("saaf.H", H.data(), rows);
    g.add("Gather", "saaf/H", {"saaf.H", "saaf/row"});
    g.add("Mul", "saaf/tH", {"saaf/t", "saaf/H"});
    slope = g.add("Add", "saaf/slope", {"saaf/B", "saaf/tH"});
  }
  g.add("Mul", "saaf/rise", {"saaf/t", slope});
  g.add("Gather", "saaf/A", {"saaf.A", "saaf/row"});
  return g.add("Add", "saaf", {"saaf/A", "saaf/rise"});
}

// The layers in the order of models/cafx/cafx.h; shapes at the right, channels before time as ONNX convolves.
void add_layers(Graph& g, const CafxModel& model) {
  const CafxConfig& c = model.config();
  const Weights w(model);
  const std::int64_t C = c.filters, T = c.frame, P = c.pool, N = T / P, K = c.taps, K2 = c.local_taps, L = c.latent;
  const Ints pads{same_left(c.taps), K - 1 - same_left(c.taps)};
  const Ints local_pads{same_left(c.local_taps), K2 - 1 - same_left(c.local_taps)};

  for (const ParamSpec& p : model.params()) {
    if (p.name == "saaf.v" || p.name == "saaf.w" || p.name == "dense.weight" || p.name == "latent_dense.weight")
      continue;  // laid out below
    Ints shape = p.shape;
    if (p.name.rfind("dnn.", 0) == 0 && shape.size() == 2) shape.push_back(1);  // a convolution of one tap
    if (p.name == "local_dense.bias") shape.push_back(1);
    g.floats(p.name, w.at(p.name), shape);
  }
  // (in, out), to be multiplied from the right.
  const auto transposed = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    std::vector<float> t(static_cast<std::size_t>(in * out));
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) t[static_cast<std::size_t>(i * out + o)] = w.at(name)[o * in + i];
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
        {{"pads", local_pads}, Graph::one("group", C)});  // (B,C,T)
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
    g.add("Reshape", "windows", {"local_conv", "shape.windows"});                                   // (B,C,N,P)
    g.add("ArgMax", "positions", {"windows"}, {Graph::one("axis", 3), Graph::one("keepdims", 1)});  // (B,C,N,1)
    g.add("Equal", "is_position", {"positions", "pool.positions"});                                 // (B,C,N,P)
    g.add("Cast", "position_mask", {"is_position"}, {Graph::one("to", onnx::TensorProto::FLOAT)});
    up = g.add("Mul", "unpool", {up, "position_mask"});
  }
  g.add("Reshape", "residual", {"conv1d", "shape.windows"});  // (B,C,N,P)
  g.add("Mul", "product", {"residual", up});
  std::string u = g.add("Reshape", "dnn", {"product", "shape.samples"});  // (B,C,T)
  for (std::size_t l = 0; l < c.dnn.size(); ++l) {
    const std::string name = fmt::format("dnn.{}", l);
    u = g.add("Conv", name, {u, name + ".weight", name + ".bias"});
    const char* op = op_of(c.activation);
    if (l + 1 < c.dnn.size() && op) u = g.add(op, name + ".activation", {u});
  }
  if (c.saaf) u = add_saaf(g, u, c, w.at("saaf.v"), w.at("saaf.w"));
  if (c.deconv == "adjoint") {
    g.add("ConvTranspose", "deconv", {u, "conv1d.weight", "deconv.bias"}, {{"pads", pads}});  // (B,1,T)
  } else {
    g.add("Transpose", "deconv.weight", {"conv1d.weight"}, {{"perm", {1, 0, 2}}});
    g.add("Conv", "deconv", {u, "deconv.weight", "deconv.bias"}, {{"pads", pads}});
  }
  g.add("Squeeze", "y", {"deconv", "axis.1"});  // (B,T)
}

void describe_value(onnx::ValueInfoProto& value, const char* name, int frame) {
  value.set_name(name);
  onnx::TypeProto::Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  type.mutable_shape()->add_dim()->set_dim_param("B");
  type.mutable_shape()->add_dim()->set_dim_value(frame);
}

std::string base64(const std::vector<float>& x) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<unsigned char> bytes(x.size() * sizeof(float));
  std::memcpy(bytes.data(), x.data(), bytes.size());
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < n ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j) text += j <= n ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

// A plucked note with some noise: what a model of an effect hears, and loud enough to bend it.
std::vector<float> selftest_frame(const CafxConfig& c) {
  const Rng rng{7, 1};
  std::vector<float> x(static_cast<std::size_t>(c.frame));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = static_cast<double>(i) / c.sample_rate, pi = 3.14159265358979323846;
    x[i] = static_cast<float>(0.3 * std::exp(-8.0 * t) *
                                  (std::sin(2 * pi * 196.0 * t) + 0.5 * std::sin(2 * pi * 587.3 * t)) +
                              0.01 * rng.normal(i));
  }
  return x;
}

}  // namespace

void save_onnx(const std::filesystem::path& path, CafxModel& model, const std::map<std::string, std::string>& extra) {
  if (model.form() != kSupervised) {
    throw Error("{}: a pretrained front end cannot be written as ONNX; export a model after its supervised training",
                path.string());
  }
  if (model.n_parameters() > 400'000'000) {  // an ONNX file with its weights inside ends at 2 GB
    throw Error("{}: ONNX holds at most 2 GB and this model has {} parameters; export it as safetensors", path.string(),
                model.n_parameters());
  }
  onnx::ModelProto proto;
  proto.set_ir_version(7);
  proto.set_producer_name("cafx");
  proto.set_producer_version(kVersion);
  proto.set_doc_string("One frame of audio through an audio effect learned by cafx (arXiv:1810.06603).");
  onnx::OperatorSetIdProto& opset = *proto.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  onnx::GraphProto& graph = *proto.mutable_graph();
  graph.set_name("cafx");
  describe_value(*graph.add_input(), "x", model.config().frame);
  describe_value(*graph.add_output(), "y", model.config().frame);
  Graph builder(graph);
  add_layers(builder, model);

  auto metadata = model_metadata(model, extra);
  const std::vector<float> x = selftest_frame(model.config());
  std::vector<float> y(x.size());
  Context context;
  context.isa = best_isa();
  model.forward(context, y.data(), x.data(), 1);
  metadata["window"] =
      "frames start at -(frame - hop) + i hop; each output is multiplied by a periodic Hann window of the frame's "
      "length "
      "and added; the sum is divided by the sum of the windows; any hop up to half a frame";
  metadata["opset"] = std::to_string(kOnnxOpset);
  metadata["selftest.input"] = base64(x);
  metadata["selftest.output"] = base64(y);
  for (const auto& [key, value] : metadata) {
    onnx::StringStringEntryProto& entry = *proto.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }

  try {
    onnx::checker::check_model(proto);
    onnx::ModelProto inferred = proto;
    onnx::ShapeInferenceOptions strict;
    strict.check_type = true;
    strict.error_mode = 1;
    onnx::shape_inference::InferShapes(inferred, onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception& e) {
    throw CheckError(std::string("ONNX's checker refuses our own graph: ") + e.what());
  }
  const std::string bytes = proto.SerializeAsString();
  write_file_atomically(path, bytes.data(), bytes.size());
}

}  // namespace cafx
