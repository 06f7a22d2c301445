#include "host/export/onnx_file.h"

#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "kernels/base/safetensors.h"
#include "models/graph.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

// A float of one axis for each number: one of -1 is B, and of -2 is T.
void describe_value(onnx::ValueInfoProto& value, const std::string& name, const GraphBuilder::Ints& shape) {
  value.set_name(name);
  onnx::TypeProto::Tensor& type = *value.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  for (const std::int64_t n : shape) {
    onnx::TensorShapeProto::Dimension& d = *type.mutable_shape()->add_dim();
    if (n >= 0) d.set_dim_value(n);
    if (n < 0) d.set_dim_param(n == -1 ? "B" : "T");
  }
}

class OnnxGraph : public GraphBuilder {
 public:
  explicit OnnxGraph(onnx::GraphProto& g) : graph_(g) {}

  std::string add(const char* op, const std::string& output, std::vector<std::string> inputs,
                  const std::vector<Attribute>& attributes) override {
    add_to({output}, op, std::move(inputs), attributes);
    return output;
  }
  void add_to(const std::vector<std::string>& outputs, const char* op, std::vector<std::string> inputs,
              const std::vector<Attribute>& attributes) override {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(op);
    node.set_name(outputs.front());
    for (const std::string& i : inputs) node.add_input(i);
    for (const std::string& o : outputs) node.add_output(o);
    for (const Attribute& a : attributes) {
      onnx::AttributeProto& p = *node.add_attribute();
      p.set_name(a.name);
      if (!a.strings.empty()) {
        p.set_type(a.single ? onnx::AttributeProto::STRING : onnx::AttributeProto::STRINGS);
        if (a.single) p.set_s(a.strings[0]);
        for (const std::string& s : a.strings) {
          if (!a.single) p.add_strings(s);
        }
        continue;
      }
      if (!a.floats.empty()) {
        p.set_type(onnx::AttributeProto::FLOATS);
        p.mutable_floats()->Assign(a.floats.begin(), a.floats.end());
        continue;
      }
      p.set_type(a.single ? onnx::AttributeProto::INT : onnx::AttributeProto::INTS);
      if (a.single) p.set_i(a.ints[0]);
      if (!a.single) p.mutable_ints()->Assign(a.ints.begin(), a.ints.end());
    }
  }
  std::string state(const std::string& name, const Ints& shape, const std::vector<float>& rest) override {
    describe_value(*graph_.add_input(), "state." + name, shape);
    describe_value(*graph_.add_output(), "state." + name + ".next", shape);
    rest_.emplace_back("state." + name, rest);
    return "state." + name;
  }
  void next_state(const std::string& name, const std::string& next) override {
    add("Identity", "state." + name + ".next", {next}, {});
  }
  void most_samples(std::int64_t n) override { most_samples_ = n; }
  const std::vector<std::pair<std::string, std::vector<float>>>& rest() const { return rest_; }
  std::int64_t most_samples() const { return most_samples_; }

  std::string floats(const std::string& name, const float* data, const Ints& shape) override {
    return tensor(name, data, sizeof(float), onnx::TensorProto::FLOAT, shape);
  }
  std::string int64s(const std::string& name, const Ints& data) override {
    return tensor(name, data.data(), sizeof(std::int64_t), onnx::TensorProto::INT64,
                  {static_cast<std::int64_t>(data.size())});
  }
  std::string int32s(const std::string& name, const std::vector<std::int32_t>& data, const Ints& shape) override {
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
  std::vector<std::pair<std::string, std::vector<float>>> rest_;
  std::int64_t most_samples_ = 0;  // 0: any number
};

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

// A frame with its context, or a stream: a plucked note with some noise, loud enough to reach the nonlinear range.
std::vector<float> selftest_input(const Geometry& c) {
  const Rng rng{7, 1};
  std::vector<float> x(
      static_cast<std::size_t>(c.frame > 0 ? c.span() : std::max(1, kSelftestSamples / c.unit) * c.unit));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = static_cast<double>(i) / c.sample_rate, pi = 3.14159265358979323846;
    x[i] = static_cast<float>(0.3 * std::exp(-8.0 * t) *
                                  (std::sin(2 * pi * 196.0 * t) + 0.5 * std::sin(2 * pi * 587.3 * t)) +
                              0.01 * rng.normal(i));
  }
  return x;
}

// Takes the nodes and keeps nothing: whether a model has a graph.
class NoGraph : public GraphBuilder {
 public:
  std::string add(const char*, const std::string& output, std::vector<std::string>,
                  const std::vector<Attribute>&) override {
    return output;
  }
  void add_to(const std::vector<std::string>&, const char*, std::vector<std::string>,
              const std::vector<Attribute>&) override {}
  std::string state(const std::string& name, const Ints&, const std::vector<float>&) override { return name; }
  void next_state(const std::string&, const std::string&) override {}
  void most_samples(std::int64_t) override {}
  std::string floats(const std::string& name, const float*, const Ints&) override { return name; }
  std::string int64s(const std::string& name, const Ints&) override { return name; }
  std::string int32s(const std::string& name, const std::vector<std::int32_t>&, const Ints&) override { return name; }
};

}  // namespace

std::string why_not_onnx(const Model& model) {
  if (model.geometry().knobs > 0 && model.position().empty()) {
    return "an ONNX file holds a model at one position of its knobs; choose it, as --knob gain=5";
  }
  NoGraph graph;
  if (!model.graph(graph)) {
    return fmt::format("a model of type {}, form {}, has no graph in ONNX's operators", model.config().type(),
                       model.form());
  }
  if (model.n_parameters() > 400'000'000) {  // an ONNX file with its weights inside ends at 2 GB
    return fmt::format("ONNX holds at most 2 GB and this model has {} parameters; export it as safetensors",
                       model.n_parameters());
  }
  return "";
}

void save_onnx(const std::filesystem::path& path, Model& model, const std::map<std::string, std::string>& extra) {
  onnx::ModelProto proto;
  proto.set_ir_version(7);
  proto.set_producer_name("cafx");
  proto.set_producer_version(kVersion);
  proto.set_doc_string("Audio through an audio effect learned by cafx (arXiv:1810.06603).");
  onnx::OperatorSetIdProto& opset = *proto.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOnnxOpset);
  onnx::GraphProto& graph = *proto.mutable_graph();
  graph.set_name("cafx");
  const bool stream = model.geometry().frame == 0;
  describe_value(*graph.add_input(), "x", {-1, stream ? -2 : model.geometry().span()});
  describe_value(*graph.add_output(), "y", {-1, stream ? -2 : model.geometry().frame});
  OnnxGraph builder(graph);
  if (!model.graph(builder)) throw Error("{}: {}", path.string(), why_not_onnx(model));

  auto metadata = model_metadata(model, extra);
  const std::vector<float> x = selftest_input(model.geometry());
  std::vector<float> y(stream ? x.size() : static_cast<std::size_t>(model.geometry().frame));
  Context context;
  context.isa = best_isa();
  if (stream) {
    // A graph hears the whole of a call and is not late; a player is.
    const auto player = model.stream(context);
    const auto late = static_cast<std::size_t>(player->latency());
    std::vector<float> heard = x, played(x.size() + late);
    heard.resize(played.size(), 0.0f);
    player->process(played.data(), heard.data(), heard.size());
    std::copy(played.begin() + static_cast<long>(late), played.end(), y.begin());
    if (model.geometry().unit > 1) metadata["unit"] = std::to_string(model.geometry().unit);
    if (builder.most_samples() > 0) metadata["max_samples"] = std::to_string(builder.most_samples());
    for (const auto& [name, rest] : builder.rest()) metadata[name] = base64(rest);
  } else {
    model.forward(context, y.data(), x.data(), 1);
    metadata["window"] =
        "frames start at -(frame - hop) + i hop; each output is multiplied by a periodic Hann window of the frame's "
        "length and added; the sum is divided by the sum of the windows; any hop up to half a frame";
  }
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
