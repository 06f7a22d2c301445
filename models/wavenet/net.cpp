#include "models/wavenet/net.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace cafx {

WavenetModel::WavenetModel(const WavenetConfig& config, const std::string& form) : Model(form), config_(config) {
  const long K = config.taps;
  const auto named = [&](const std::string& name, std::vector<std::int64_t> shape, long fan_in, bool decay) {
    ParamSpec p{name, std::move(shape)};
    p.init = Init::kFanInUniform;
    p.fan_in = static_cast<double>(fan_in);
    p.decay = decay;
    return params_.add(std::move(p));
  };
  std::size_t dilation = 0;
  for (std::size_t a = 0; a < config.channels.size(); ++a) {
    const std::string of_array = "arrays." + std::to_string(a) + ".";
    const bool last = a + 1 == config.channels.size();
    const long C = config.channels[a], in = a == 0 ? 1 : config.channels[a - 1];
    const long out = last ? 1 : config.channels[a + 1], Z = config.gated ? 2 * C : C;
    Array array{static_cast<int>(in), static_cast<int>(C), static_cast<int>(out), 0, 0, last, {}};
    array.rechannel = named(of_array + "rechannel.weight", {C, in}, in, true);
    for (int l = 0; l < config.layers[a]; ++l) {
      const std::string of_layer = of_array + "layers." + std::to_string(l) + ".";
      Layer layer{config.dilations[dilation++], 0};
      layer.tensors = named(of_layer + "conv.weight", {Z, C, K}, C * K, true);
      named(of_layer + "conv.bias", {Z}, C * K, false);
      named(of_layer + "mixer.weight", {Z, 1}, 1, true);
      named(of_layer + "dense.weight", {C, C}, C, true);
      named(of_layer + "dense.bias", {C}, C, false);
      context_ += static_cast<int>(K - 1) * layer.dilation;
      array.layers.push_back(layer);
    }
    array.head = named(of_array + "head.weight", {out, C}, C, true);
    if (last) named(of_array + "head.bias", {1}, C, false);
    arrays_.push_back(std::move(array));
  }
}

std::vector<LayerRow> WavenetModel::layers() const {
  std::vector<LayerRow> rows{{LayerRow::Kind::kInput, "input", "1", fmt::format("{} Hz", config_.sample_rate)}};
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    const Array& array = arrays_[a];
    const long C = array.C, Z = config_.gated ? 2 * C : C, n = static_cast<long>(array.layers.size());
    const bool last = array.head_bias;
    const std::string of_array = fmt::format("array {}: ", a + 1);
    const auto add = [&](LayerRow::Kind kind, const char* name, long channels, const std::string& detail,
                         long parameters, long forward, double backward) {
      rows.push_back({kind, of_array + name, fmt::format("{}", channels), detail, parameters, forward,
                      backward * static_cast<double>(forward)});
    };
    long parameters = 0;
    for (const Layer& l : array.layers) {
      for (std::size_t i = 0; i < 5; ++i) parameters += params_[l.tensors + i].size;
    }
    add(LayerRow::Kind::kDense, "rechannel", C, "", C * array.inputs, C * array.inputs, a == 0 ? 1.0 : 2.0);
    add(LayerRow::Kind::kConvolution, "layers", C,
        fmt::format("{} of {} taps, {}", n, config_.taps, config_.gated ? "tanh times sigmoid" : "tanh"), parameters,
        n * (Z * C * config_.taps + Z + C * C), 2.0);
    add(LayerRow::Kind::kDense, "head", array.outputs, "", C * array.outputs + (last ? 1 : 0), C * array.outputs, 2.0);
  }
  return rows;
}

bool WavenetModel::negate_output() {
  const std::size_t head = arrays_.back().head;
  for (const std::size_t i : {head, head + 1}) {
    float* p = at(params_.data(), i);
    for (long k = 0; k < params_[i].size; ++k) p[k] = -p[k];
  }
  return true;
}

std::optional<NamModel> WavenetModel::nam() const {
  const auto scale = static_cast<float>(config_.head_scale);
  std::string layers;
  std::size_t dilation = 0;
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    const auto first = config_.dilations.begin() + static_cast<long>(dilation);
    dilation += arrays_[a].layers.size();
    const std::vector<int> own(first, config_.dilations.begin() + static_cast<long>(dilation));
    layers +=
        fmt::format(R"({}{{"input_size": {}, "condition_size": 1, "head_size": {}, "channels": {}, "kernel_size": {}, )"
                    R"("dilations": [{}], "activation": "Tanh", "gated": {}, "head_bias": {}}})",
                    a > 0 ? ", " : "", arrays_[a].inputs, arrays_[a].outputs, arrays_[a].C, config_.taps,
                    fmt::join(own, ", "), config_.gated, arrays_[a].head_bias);
  }
  NamModel nam{"WaveNet", fmt::format(R"({{"layers": [{}], "head": null, "head_scale": {}}})", layers, scale), {}};
  for (const ParamSpec& p : params_) {
    nam.weights.insert(nam.weights.end(), params_.data() + p.offset, params_.data() + p.offset + p.size);
  }
  nam.weights.push_back(scale);
  return nam;
}

double WavenetModel::multiply_adds() const {
  double sum = 0.0;
  for (const Array& a : arrays_) {
    const double Z = config_.gated ? 2 * a.C : a.C;
    sum += static_cast<double>(a.C) * (a.inputs + a.outputs);
    sum += static_cast<double>(a.layers.size()) * (Z * a.C * config_.taps + Z + static_cast<double>(a.C) * a.C);
  }
  return sum;
}

}  // namespace cafx
