// tests/models/tiny.h -- the smallest model of every type that still has all of its parts: odd sizes, none a whole
// number of vectors. A new type adds its line here and is then held by every test of tests/models. "TYPE+VARIANT" is a
// type once more, with parts that its own line lacks.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "models/registry.h"

namespace cafx::tiny {

using Settings = std::vector<std::pair<std::string, std::string>>;

inline std::string type_of(const std::string& name) { return name.substr(0, name.find('+')); }

inline const std::map<std::string, Settings>& settings() {
  static const auto all = [] {
    std::map<std::string, Settings> m{
        {"cafx",
         {{"frame", "48"},
          {"hop", "12"},
          {"filters", "5"},
          {"taps", "9"},
          {"local_taps", "12"},
          {"pool", "4"},
          {"latent", "7"},
          {"dnn", "[6, 9, 5]"},
          {"activation", "tanh"},
          {"saaf.l2", "0.003"}}},
        {"crafx",
         {{"frame", "48"},
          {"hop", "12"},
          {"before", "2"},
          {"after", "1"},
          {"context_hop", "24"},
          {"filters", "6"},
          {"taps", "9"},
          {"local_taps", "12"},
          {"pool", "4"},
          {"lstm", "[5, 3]"},
          {"dnn", "[7, 6]"},
          {"excite", "5"},
          {"saaf.segments", "6"},
          {"saaf.lo", "-1"},
          {"saaf.hi", "1"},
          {"saaf.scale", "1"},
          {"saaf.init", "identity"},
          {"saaf.l2", "0.003"}}},
        {"eq_net",
         {{"frame", "48"},
          {"hop", "12"},
          {"filters", "5"},
          {"taps", "9"},
          {"local_taps", "12"},
          {"pool", "4"},
          {"latent", "7"}}},
        {"lstm", {{"hidden", "5"}, {"layers", "2"}}},
        {"s4",
         {{"blocks", "2"},
          {"channels", "5"},
          {"state", "3"},
          {"film", "temporal"},
          {"film_block", "7"},
          {"rest_samples", "500"}}},
        {"wavenet",
         {{"channels", "[5, 3]"}, {"layers", "[2, 2]"}, {"dilations", "[1, 3, 2, 7]"}, {"head_scale", "0.3"}}},
    };
    const std::pair<std::string, std::string> dropout{"dropout", "0.3"},
        knobs{"knobs", "[\"gain: 0..10 dB\", \"mode: a|b|c\"]"};
    // A type's own line, and what comes after it: of a field that stands twice the later one counts.
    const auto add = [&](const std::string& name, const Settings& more) {
      Settings line = m.at(type_of(name));
      line.insert(line.end(), more.begin(), more.end());
      m[name] = std::move(line);
    };
    add("cafx+dropout", {{"dnn", "[6, 5]"}, dropout});
    add("crafx+dropout", {dropout});
    add("lstm+dropout", {dropout});
    add("cafx+film_knobs", {{"saaf.enabled", "false"}, knobs});
    add("cafx+latent_knobs", {{"latent_layer", "dense"}, {"knob_layers", "latent"}, knobs});
    add("lstm+knobs", {knobs});
    add("s4+knobs", {{"film", "none"}, knobs});
    add("s4+film_knobs", {knobs});
    add("wavenet+knobs", {knobs});
    return m;
  }();
  return all;
}

// At 8 kHz. Error where the type has no line above.
inline std::unique_ptr<ModelConfig> config(const std::string& type) {
  const auto found = settings().find(type);
  if (found == settings().end()) throw Error("tests/models/tiny.h has no line for the type '{}'", type);
  const ModelType& of = model_type(type_of(type));
  auto config = of.preset(of.presets().front());
  Fields fields = config->fields();
  for (const auto& [name, value] : found->second) set_field(fields, name, value, "tiny " + type);
  config->sample_rate = 8000;
  return config;
}

// Weights that are not at their start: biases too, and large enough to bend.
inline std::unique_ptr<Model> model(const std::string& type, const std::string& form = kSupervised,
                                    std::uint64_t seed = 4) {
  auto model = make_model(*config(type), form);
  model->initialize(seed);
  const Rng rng{seed, 77};
  for (const ParamSpec& p : model->params()) {
    for (long i = p.offset; i < p.offset + p.size; ++i) {
      model->data()[i] += static_cast<float>(0.1 * (rng.uniform(static_cast<std::uint64_t>(i)) - 0.5));
    }
  }
  return model;
}

inline std::vector<std::string> variants() {
  std::vector<std::string> names;
  for (const auto& [name, fields] : settings()) {
    if (name != type_of(name)) names.push_back(name);
  }
  return names;
}

struct Case {
  std::string type, form;
  std::string name() const { return letters(type) + "_" + form; }
  // Fit for the name of a test.
  static std::string letters(std::string s) {
    std::replace(s.begin(), s.end(), '+', '_');
    return s;
  }
};
inline std::vector<Case> cases() {
  std::vector<Case> all;
  for (const ModelType& t : model_types()) {
    for (const std::string& form : t.forms) all.push_back({t.name, form});
  }
  for (const std::string& name : variants()) all.push_back({name, kSupervised});
  return all;
}
inline std::vector<std::string> names() {
  std::vector<std::string> all = model_type_names();
  for (const std::string& name : variants()) all.push_back(name);
  return all;
}

}  // namespace cafx::tiny
