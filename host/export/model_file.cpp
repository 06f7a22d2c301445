#include "host/export/model_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

constexpr const char* kFormat = "cafx";
constexpr const char* kFormatVersion = "1";

// Copies tensor p of the file into the block, refusing what is not finite.
void take(const Safetensors& file, const ParamSpec& p, float* block, const std::string& where) {
  const float* data = file.floats(p.name, p.shape, where);
  for (long i = 0; i < p.size; ++i) {
    if (!std::isfinite(data[i])) {
      throw Error("{}: tensor '{}' holds {} at index {}; the file is of a training that broke down or is damaged",
                  where, p.name, data[i], i);
    }
    block[p.offset + i] = data[i];
  }
}

// Every tensor of the model and no other.
void take_all(const Safetensors& file, CafxModel& model, const std::string& where) {
  for (const ParamSpec& p : model.params()) take(file, p, model.data(), where);
  for (const auto& [name, tensor] : file.tensors) {
    bool known = false;
    for (const ParamSpec& p : model.params()) known = known || p.name == name;
    if (!known) throw Error("{}: holds a tensor '{}' that its config does not have", where, name);
  }
}

Safetensors read_weights(const std::filesystem::path& path) {
  Safetensors file = read_safetensors(path);
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != kFormat) {
    throw Error(
        "{}: is a safetensors file, but not a model of cafx (format '{}'); give a file that 'cafx export' or "
        "training wrote, or make one of weights trained elsewhere by 'cafx import'",
        path.string(), format == file.metadata.end() ? "none" : format->second);
  }
  if (file.metadata["model"] == "student") {
    throw Error("{}: is a student ({}), where a CAFx model is wanted; render, eval and export take students",
                path.string(), file.metadata["kind"]);
  }
  if (file.metadata["format_version"] != kFormatVersion) {
    throw Error("{}: model format {} is not known, this cafx {} reads {}; use a newer cafx", path.string(),
                file.metadata["format_version"], kVersion, kFormatVersion);
  }
  return file;
}

}  // namespace

std::map<std::string, std::string> model_metadata(const CafxModel& model, std::map<std::string, std::string> extra) {
  CafxConfig config = model.config();
  const Geometry g = model.geometry();
  extra["format"] = kFormat;
  extra["format_version"] = kFormatVersion;
  extra["model"] = "cafx";
  extra["form"] = model.form();
  extra["config"] = to_json(describe(config)).dump();
  extra["sample_rate"] = std::to_string(g.sample_rate);
  extra["frame"] = std::to_string(g.frame);
  extra["hop"] = std::to_string(g.hop);
  extra["latency"] = std::to_string(g.frame);
  extra["version"] = kVersion;
  return extra;
}

void save_model(const std::filesystem::path& path, const CafxModel& model,
                const std::map<std::string, std::string>& extra) {
  Safetensors file;
  file.metadata = model_metadata(model, extra);
  for (const ParamSpec& p : model.params()) {
    file.tensors[p.name] = Safetensors::from_floats(model.data() + p.offset, p.shape);
  }
  write_safetensors(path, file);
}

ModelFile load_model(const std::filesystem::path& given) {
  const auto path = std::filesystem::is_directory(given) ? given / "best.safetensors" : given;
  if (!std::filesystem::exists(path)) {
    throw Error("{}: there is no such {}", path.string(),
                path == given ? "file" : "file; is it the folder of a run that has finished its first epochs?");
  }
  Safetensors file = read_weights(path);
  CafxConfig config;
  Fields fields = describe(config);
  const auto json = nlohmann::json::parse(file.metadata["config"], nullptr, false);
  if (json.is_discarded()) throw Error("{}: the config in its metadata is damaged", path.string());
  set_fields(fields, json, path.string());
  const std::string form = file.metadata["form"];
  if (form != "supervised" && form != "pretrain") {
    throw Error("{}: its form is '{}', expected supervised or pretrain", path.string(), form);
  }
  ModelFile result;
  result.model =
      std::make_unique<CafxModel>(config, form == "supervised" ? CafxForm::kSupervised : CafxForm::kPretrain);
  take_all(file, *result.model, path.string());
  result.metadata = std::move(file.metadata);
  return result;
}

ModelFile import_model(const std::filesystem::path& path, const CafxConfig& config) {
  const Safetensors file = read_safetensors(path);
  ModelFile result;
  result.model = std::make_unique<CafxModel>(config);
  take_all(file, *result.model, path.string());
  for (const auto& [key, value] : file.metadata) {
    if (key != "format") result.metadata[key] = value;
  }
  result.metadata["imported_from"] = path.filename().string();
  return result;
}

std::string weights_identity(const std::filesystem::path& path) {
  const Safetensors file = read_weights(path);
  const auto named = file.metadata.find("identity");
  if (named != file.metadata.end()) return named->second;
  Hasher hasher;
  for (const auto& [name, tensor] : file.tensors) {
    hasher.add(name);
    hasher.add(std::string(tensor.bytes.begin(), tensor.bytes.end()));
  }
  return hasher.hex();
}

void load_tensors_by_name(const std::filesystem::path& path, CafxModel& model) {
  const Safetensors file = read_weights(path);
  int n_taken = 0;
  for (const ParamSpec& p : model.params()) {
    if (!file.tensors.count(p.name)) continue;
    take(file, p, model.data(), path.string());
    ++n_taken;
  }
  if (n_taken == 0) throw Error("{}: has no tensor that the model has", path.string());
}

}  // namespace cafx
