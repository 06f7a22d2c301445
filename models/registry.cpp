#include "models/registry.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "models/cafx/cafx.h"
#include "models/crafx/crafx.h"
#include "models/eq_net/eq_net.h"
#include "models/lstm/lstm.h"
#include "models/s4/s4.h"
#include "models/wavenet/wavenet.h"

namespace cafx {

const std::vector<ModelType>& model_types() {
  static const std::vector<ModelType> types{
      {"cafx", {kSupervised, kPretrain}, cafx_presets, cafx_model_preset, cafx_training, make_cafx},
      {"crafx", {kSupervised, kPretrain}, crafx_presets, crafx_preset, crafx_training, make_crafx},
      {"eq_net", {kSupervised, kPretrain}, eq_net_presets, eq_net_preset, eq_net_training, make_eq_net},
      {"lstm", {kSupervised}, lstm_presets, lstm_preset, lstm_training, make_lstm},
      {"s4", {kSupervised}, s4_presets, s4_preset, s4_training, make_s4},
      {"wavenet", {kSupervised}, wavenet_presets, wavenet_preset, wavenet_training, make_wavenet},
  };
  return types;
}

std::vector<std::string> model_type_names() {
  std::vector<std::string> names;
  for (const ModelType& t : model_types()) names.push_back(t.name);
  return names;
}

const ModelType& model_type(std::string_view name) {
  for (const ModelType& t : model_types()) {
    if (name == t.name) return t;
  }
  const auto names = model_type_names();
  throw Error("unknown type of model '{}'{}", name, did_you_mean(std::string(name), names, true));
}

std::vector<std::string> model_presets() {
  std::vector<std::string> all;
  for (const ModelType& t : model_types()) {
    for (const std::string& name : t.presets()) all.push_back(name);
  }
  return all;
}

const ModelType& type_of_preset(const std::string& preset) {
  for (const ModelType& t : model_types()) {
    const auto names = t.presets();
    if (std::find(names.begin(), names.end(), preset) != names.end()) return t;
  }
  const auto names = model_presets();
  throw Error("unknown preset '{}'{}", preset, did_you_mean(preset, names, true));
}

void check_precision(const ModelConfig& config, Precision precision, const std::string& where) {
  if (precision == Precision::kFp32 || config.rounds_products()) return;
  std::vector<std::string> others;
  for (const ModelType& t : model_types()) {
    if (t.preset(t.presets().front())->rounds_products()) others.push_back(t.name);
  }
  throw Error(
      "{} = {}: models of type {} compute in fp32 alone, so that it would change nothing; leave it out. Those of type "
      "{} have products that are rounded",
      where, to_string(precision), config.type(), fmt::join(others, ", "));
}

std::unique_ptr<Model> make_model(const ModelConfig& config, const std::string& form) {
  return model_type(config.type()).make(config, form);
}

AnyConfig::AnyConfig() : config_(model_types().front().preset(model_types().front().presets().front())) {}

}  // namespace cafx
