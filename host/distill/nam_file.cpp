#include "host/distill/nam_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "models/lstm/lstm.h"

namespace cafx {

namespace {

using Json = nlohmann::ordered_json;

// The shortest text that gives the same float back.
double shortest(float x) { return std::stod(fmt::format("{}", x)); }

Json config_of(const StudentConfig& c) {
  if (c.kind == "wavenet") {
    Json layers = Json::array();
    std::size_t dilation = 0;
    for (std::size_t a = 0; a < c.channels.size(); ++a) {
      const bool last = a + 1 == c.channels.size();
      const auto first = c.dilations.begin() + static_cast<long>(dilation);
      dilation += static_cast<std::size_t>(c.array_layers[a]);
      layers.push_back({{"input_size", a == 0 ? 1 : c.channels[a - 1]},
                        {"condition_size", 1},
                        {"head_size", last ? 1 : c.channels[a + 1]},
                        {"channels", c.channels[a]},
                        {"kernel_size", c.taps},
                        {"dilations", std::vector<int>(first, first + c.array_layers[a])},
                        {"activation", "Tanh"},
                        {"gated", c.gated},
                        {"head_bias", last}});
    }
    return {{"layers", layers}, {"head", nullptr}, {"head_scale", shortest(static_cast<float>(c.head_scale))}};
  }
  return {{"input_size", 1}, {"hidden_size", c.hidden}, {"num_layers", c.layers}};
}

}  // namespace

std::vector<float> nam_weights(const Model& student) {
  const StudentConfig c = student_config(student.config());
  std::vector<float> all;
  const auto add = [&](const std::string& name) {
    const ParamSpec* p = student.params().find(name);
    all.insert(all.end(), student.data() + p->offset, student.data() + p->offset + p->size);
  };
  if (c.kind == "wavenet") {  // tensors stand in the format's order
    for (const ParamSpec& p : student.params()) add(p.name);
    all.push_back(static_cast<float>(c.head_scale));
    return all;
  }
  Context context;
  context.isa = best_isa();
  const std::vector<float> rest = lstm_rest(context, student);
  for (int l = 0; l < c.layers; ++l) {
    const std::string layer = "lstm." + std::to_string(l);
    add(layer + ".weight");
    add(layer + ".bias");
    all.insert(all.end(), rest.begin() + 2L * l * c.hidden, rest.begin() + 2L * (l + 1) * c.hidden);
  }
  add("head.weight");
  add("head.bias");
  return all;
}

std::string nam_text(const StudentFile& file, const std::string& name) {
  const Model& student = *file.student;
  Json json;
  json["version"] = kNamVersion;
  const StudentConfig config = student_config(student.config());
  json["architecture"] = config.kind == "lstm" ? "LSTM" : "WaveNet";
  json["config"] = config_of(config);
  json["weights"] = Json::array();
  for (const float w : nam_weights(student)) json["weights"].push_back(shortest(w));
  json["sample_rate"] = config.sample_rate;
  Json metadata, ours;
  metadata["name"] = name;
  ours["version"] = kVersion;
  ours["kind"] = config.kind;
  const auto quality = file.metadata.find("quality");
  if (quality != file.metadata.end()) {
    const Json measured = Json::parse(quality->second, nullptr, false);
    if (measured.is_object()) {
      ours["quality"] = measured;
      if (measured.contains("student_target") && measured["student_target"].contains("esr")) {
        metadata["training"]["validation_esr"] = measured["student_target"]["esr"];
      }
    }
  }
  for (const char* key : {"run_hash", "teacher", "licence"}) {
    const auto found = file.metadata.find(key);
    if (found != file.metadata.end()) ours[key] = found->second;
  }
  metadata["cafx"] = ours;
  json["metadata"] = metadata;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void save_nam(const std::filesystem::path& path, const StudentFile& file, const std::string& name) {
  const std::string text = nam_text(file, name);
  write_file_atomically(path, text.data(), text.size());
}

}  // namespace cafx
