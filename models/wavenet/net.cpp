#include "models/wavenet/net.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/film/film_fold.h"
#include "models/knob_ramp.h"
#include "models/nam_controls.h"

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
  int modulated = 0;
  for (std::size_t a = 0; a < config.channels.size(); ++a) {
    const std::string of_array = "arrays." + std::to_string(a) + ".";
    const bool last = a + 1 == config.channels.size();
    const long C = config.channels[a], in = a == 0 ? 1 : config.channels[a - 1];
    const long out = last ? 1 : config.channels[a + 1], Z = config.gated ? 2 * C : C;
    Array array{static_cast<int>(in), static_cast<int>(C), static_cast<int>(out), 0, 0, last, {}};
    array.rechannel = named(of_array + "rechannel.weight", {C, in}, in, true);
    for (int l = 0; l < config.layers[a]; ++l) {
      const std::string of_layer = of_array + "layers." + std::to_string(l) + ".";
      Layer layer{config.dilations[dilation++], 0, modulated};
      modulated += static_cast<int>(2 * Z);
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
  const long controls = config.geometry().knobs;
  if (controls == 0) return;
  film_ = {static_cast<int>(controls), modulated};
  film_tensors_ = named("knobs.weight", {kFilmHidden, controls}, controls, true);
  named("knobs.bias", {kFilmHidden}, controls, false);
  ParamSpec film{"film.weight", {modulated, kFilmHidden}};  // zeros
  film.decay = true;
  params_.add(std::move(film));
  params_.add({"film.bias", {modulated}});
}

void WavenetModel::fold(const Context& context, float* folded, const float* weights, const float* controls,
                        float* room) const {
  float *hidden = room + fold_scratch(context), *modulation = hidden + kFilmHidden;
  film_.forward(context, modulation, hidden, film_tensors(weights), controls, room, 1);
  copy(context, folded, weights, sizeof(float) * static_cast<std::size_t>(params_.n_floats()));
  for (const Array& a : arrays_) {
    const int Z = config_.gated ? 2 * a.C : a.C;
    for (const Layer& l : a.layers) {
      const auto from = tensors(weights, l);
      film_fold(context, {at(folded, l.tensors), at(folded, l.tensors + 1)}, {from.w, from.bias}, modulation + l.film,
                {Z, a.C * config_.taps});
      film_fold(context, {at(folded, l.tensors + 2), nullptr}, {from.mixer, nullptr}, modulation + l.film, {Z, 1});
    }
  }
}

std::vector<float> WavenetModel::at_position() const {
  std::vector<float> folded(params_.data(), params_.data() + params_.n_floats());
  if (film_.rows == 0) return folded;
  Context context;
  context.isa = best_isa();
  std::vector<float> room(static_cast<std::size_t>(fold_room(context)));
  fold(context, folded.data(), params_.data(), KnobRamp(config_, position()).now(), room.data());
  return folded;
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
  if (film_.rows > 0) {  // where a knob moves alone
    rows.push_back({LayerRow::Kind::kDense, "FiLM from the knobs", fmt::format("{}", film_.rows),
                    fmt::format("{} units, once for each position", kFilmHidden),
                    kFilmHidden * (film_.controls + 1L) + film_.rows * (kFilmHidden + 1L), 0, 0.0});
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
  const bool parametric = film_.rows > 0 && position().empty();
  const std::string film =
      parametric ? fmt::format(R"(, "activation_pre_film": {{"active": true, "shift": true, "groups": 1}}, )"
                               R"("film_condition_size": {})",
                               kFilmHidden)
                 : "";
  const auto scale = static_cast<float>(config_.head_scale);
  std::string layers;
  std::size_t dilation = 0;
  for (std::size_t a = 0; a < arrays_.size(); ++a) {
    const auto first = config_.dilations.begin() + static_cast<long>(dilation);
    dilation += arrays_[a].layers.size();
    const std::vector<int> own(first, config_.dilations.begin() + static_cast<long>(dilation));
    layers +=
        fmt::format(R"({}{{"input_size": {}, "condition_size": 1, "head_size": {}, "channels": {}, "kernel_size": {}, )"
                    R"("dilations": [{}], "activation": "Tanh", "gated": {}, "head_bias": {}{}}})",
                    a > 0 ? ", " : "", arrays_[a].inputs, arrays_[a].outputs, arrays_[a].C, config_.taps,
                    fmt::join(own, ", "), config_.gated, arrays_[a].head_bias, film);
  }
  NamModel nam{"WaveNet", fmt::format(R"({{"layers": [{}], "head": null, "head_scale": {}}})", layers, scale), {}};
  if (parametric) {
    make_parametric(nam);
  } else {
    const std::vector<float> weights = at_position();
    for (std::size_t i = 0; i <= arrays_.back().head + 1; ++i) {
      const float* from = at(weights.data(), i);
      nam.weights.insert(nam.weights.end(), from, from + params_[i].size);
    }
  }
  nam.weights.push_back(scale);
  return nam;
}

// The net of the knobs stands first, as a dense layer and, since the fork's ends without an activation, one that leaves
// its hidden units as they are; behind each layer stand its scales, all of them, and shifts.
void WavenetModel::make_parametric(NamModel& nam) const {
  nam.parametric = true;
  nam.architecture = "FiLMWaveNet";
  nam.config.insert(
      nam.config.size() - 1,
      fmt::format(R"(, "param_encoder": {{"hidden_sizes": [{0}], "out_features": {0}, "activation": "Tanh"}})",
                  kFilmHidden));
  const std::vector<Knob> knobs = parse_knobs(config_.knobs, "model.knobs");
  const auto t = film_tensors(params_.data());
  for (int h = 0; h < kFilmHidden; ++h) add_nam_row(nam.weights, t.net + static_cast<long>(h) * film_.controls, knobs);
  nam.weights.insert(nam.weights.end(), t.net_bias, t.net_bias + kFilmHidden);
  for (int h = 0; h < kFilmHidden; ++h) {
    for (int k = 0; k < kFilmHidden; ++k) nam.weights.push_back(h == k ? 1.0f : 0.0f);
  }
  nam.weights.insert(nam.weights.end(), kFilmHidden, 0.0f);
  const auto add = [&](std::size_t i) {
    const float* from = at(params_.data(), i);
    nam.weights.insert(nam.weights.end(), from, from + params_[i].size);
  };
  for (const Array& a : arrays_) {
    const int Z = config_.gated ? 2 * a.C : a.C;
    add(a.rechannel);
    for (const Layer& l : a.layers) {
      for (std::size_t i = 0; i < 5; ++i) add(l.tensors + i);
      const float *w = t.film + static_cast<long>(l.film) * kFilmHidden, *bias = t.film_bias + l.film;
      nam.weights.insert(nam.weights.end(), w, w + 2L * Z * kFilmHidden);
      for (int o = 0; o < 2 * Z; ++o) nam.weights.push_back(bias[o] + (o < Z ? 1.0f : 0.0f));
    }
    add(a.head);
    if (a.head_bias) add(a.head + 1);
  }
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
