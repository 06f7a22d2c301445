#include "host/export/nam_file.h"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "host/export/nam_loudness.h"
#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

using Json = nlohmann::ordered_json;

// The shortest text that parses to the same float.
double shortest(float x) { return std::stod(fmt::format("{}", x)); }

// How loud it is, and the analogue levels that its full scale stands for.
void add_levels(Json& metadata, const ModelFile& file) {
  Context context;
  context.isa = best_isa();
  const std::unique_ptr<Player> player = file.model->stream(context);
  const NamLoudness measured = nam_loudness([&](const std::vector<float>& x) {
    std::vector<float> y(x.size());
    player->reset();
    player->process(y.data(), x.data(), x.size());
    return y;
  });
  if (std::isfinite(measured.loudness_db)) {  // a silent model has none
    metadata["loudness"] = measured.loudness_db;
    metadata["gain"] = measured.gain;
  }
  for (const char* key : {kNamInputLevel, kNamOutputLevel}) {
    const auto found = file.metadata.find(key);
    if (found != file.metadata.end()) metadata[key] = std::strtod(found->second.c_str(), nullptr);
  }
}

// The knobs, as the parametric fork names them; the position of a switch by its index.
Json params_of(const ModelConfig& config) {
  Json params = Json::array();
  for (const Knob& knob : parse_knobs(config.knobs, "model.knobs")) {
    Json p;
    p["name"] = knob.name;
    p["min"] = knob.least();
    p["max"] = knob.largest();
    p["default"] = knob.start();
    p["type"] = knob.is_switch() ? "switch" : "continuous";
    p["enum_names"] = knob.is_switch() ? Json(knob.positions) : Json();
    p["step"] = Json();
    params.push_back(std::move(p));
  }
  return params;
}

}  // namespace

std::string why_not_nam(const Model& model) {
  if (model.nam()) return "";
  return fmt::format(
      "a model of type {} cannot be expressed in the .nam format; make a student of it, whose loss of quality is "
      "measured: cafx distill RUN --out STUDENT",
      model.config().type());
}

std::string nam_text(const ModelFile& file, const std::string& name) {
  const Model& model = *file.model;
  const std::optional<NamModel> nam = model.nam();
  if (!nam) throw Error("{}", why_not_nam(model));
  Json json;
  json["version"] = nam->parametric ? kParametricNamVersion : kNamVersion;
  json["architecture"] = nam->architecture;
  json["config"] = Json::parse(nam->config);
  if (nam->parametric) json["config"]["params"] = params_of(model.config());
  json["weights"] = Json::array();
  for (const float w : nam->weights) json["weights"].push_back(shortest(w));
  json["sample_rate"] = model.config().sample_rate;
  Json metadata, ours;
  metadata["name"] = name;
  add_levels(metadata, file);
  ours["version"] = kVersion;
  ours["kind"] = model.config().type();
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
  for (const char* key : {"run_hash", "teacher", "licence", "knobs"}) {
    const auto found = file.metadata.find(key);
    if (found != file.metadata.end()) ours[key] = found->second;
  }
  metadata["cafx"] = ours;
  json["metadata"] = metadata;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void save_nam(const std::filesystem::path& path, const ModelFile& file, const std::string& name) {
  const std::string text = nam_text(file, name);
  write_file_atomically(path, text.data(), text.size());
}

}  // namespace cafx
