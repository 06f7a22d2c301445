#include "models/play/weights_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"
#include "kernels/base/seal.h"
#include "models/play/foreign.h"
#include "models/play/plugin_bundle.h"
#include "models/play/version.h"
#include "models/registry.h"

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
void take_all(const Safetensors& file, Model& model, const std::string& where) {
  for (const ParamSpec& p : model.params()) take(file, p, model.data(), where);
  for (const auto& [name, tensor] : file.tensors) {
    if (!model.params().find(name)) throw Error("{}: holds a tensor '{}' that its config does not have", where, name);
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
  if (file.metadata["format_version"] != kFormatVersion) {
    throw Error("{}: model format {} is not known, this cafx {} reads {}; use a newer cafx", path.string(),
                file.metadata["format_version"], kVersion, kFormatVersion);
  }
  check_seal(
      file, path.string(),
      "; copy it again from the original, or, where a program changed it on purpose, let it leave 'checksum' out "
      "of the metadata");
  unseal(file);
  return file;
}

// A file of before students were models like any other: model "student", a kind, and fields under the kind's name.
void update_student(std::map<std::string, std::string>& metadata, nlohmann::json& config) {
  if (metadata["model"] != "student") return;
  const std::string kind = metadata["kind"], prefix = kind + ".";
  nlohmann::json fields = nlohmann::json::object();
  for (const auto& [name, value] : config.items()) {
    if (name == "sample_rate") fields[name] = value;
    if (name.starts_with(prefix)) fields[name.substr(prefix.size())] = value;
  }
  config = std::move(fields);
  metadata["model"] = kind;
  metadata["form"] = kSupervised;
}

std::int64_t n_numbers(const Safetensors& file) {
  std::int64_t n = 0;
  for (const auto& [name, tensor] : file.tensors) n += static_cast<std::int64_t>(tensor.bytes.size() / sizeof(float));
  return n;
}

// The first line of a run's config names the run.
void check_own_weights(const std::filesystem::path& folder, const std::map<std::string, std::string>& metadata,
                       const std::filesystem::path& weights) {
  std::ifstream in(folder / "config.toml");
  std::string line;
  if (!std::getline(in, line) || line.rfind("# cafx ", 0) != 0) return;
  std::istringstream words(line);
  std::string run;
  for (std::string word; run.empty() && words >> word;) {
    if (word == "run") words >> run;
  }
  const auto stated = metadata.find("run_hash");
  if (run.empty() || (stated != metadata.end() && stated->second == run)) return;
  throw Error(
      "{}: is of another run ({}) than the folder that it lies in ({}); put the folder's own weights back ('cafx "
      "resume' "
      "writes them), or give this file under a path outside of a run",
      weights.string(), stated == metadata.end() ? "none" : stated->second, run);
}

// The config in a file's metadata, and the type that it is of.
std::pair<const ModelType*, std::unique_ptr<ModelConfig>> config_of(std::map<std::string, std::string>& metadata,
                                                                    const std::string& where) {
  auto json = nlohmann::json::parse(metadata["config"], nullptr, false);
  if (!json.is_object()) throw Error("{}: the config in its metadata is damaged", where);
  update_student(metadata, json);
  const auto& types = model_types();
  const auto type =
      std::find_if(types.begin(), types.end(), [&](const ModelType& t) { return t.name == metadata["model"]; });
  if (type == types.end()) {
    throw Error("{}: holds a model of type '{}', which this cafx {} does not know; known are {}", where,
                metadata["model"], kVersion, fmt::join(model_type_names(), ", "));
  }
  const auto config = type->preset(type->presets().front());
  Fields fields = config->fields();
  set_fields(fields, json, where);
  config->check(where);
  return {&*type, config->clone()};
}

std::unique_ptr<Model> model_of(std::map<std::string, std::string>& metadata, const std::string& where) {
  const auto [type, config] = config_of(metadata, where);
  const std::string& form = metadata["form"];
  if (std::find(type->forms.begin(), type->forms.end(), form) == type->forms.end()) {
    throw Error("{}: its form is '{}', expected {}", where, form, fmt::join(type->forms, " or "));
  }
  return type->make(*config, form);
}

}  // namespace

std::map<std::string, std::string> model_metadata(const Model& model, std::map<std::string, std::string> extra) {
  const auto config = model.config().clone();
  const Geometry g = config->geometry();
  extra["format"] = kFormat;
  extra["format_version"] = kFormatVersion;
  extra["model"] = config->type();
  extra["form"] = model.form();
  extra["config"] = to_json(config->fields()).dump();
  extra["sample_rate"] = std::to_string(g.sample_rate);
  if (g.frame > 0) {
    extra["frame"] = std::to_string(g.frame);
    extra["hop"] = std::to_string(g.hop);
  }
  if (g.frame > 0 && g.span() > g.frame) {
    extra["context_before"] = std::to_string(g.before);
    extra["context_after"] = std::to_string(g.after);
  }
  extra["latency"] = std::to_string(g.frame + g.after);
  extra["version"] = kVersion;
  return extra;
}

void save_model(const std::filesystem::path& path, const Model& model,
                const std::map<std::string, std::string>& extra) {
  Safetensors file;
  file.metadata = model_metadata(model, extra);
  for (const ParamSpec& p : model.params()) {
    file.tensors[p.name] = Safetensors::from_floats(model.params().data() + p.offset, p.shape);
  }
  seal(file);
  write_safetensors(path, file);
}

std::filesystem::path weights_path(const std::filesystem::path& given) {
  const auto path = std::filesystem::is_directory(given) ? given / "best.safetensors" : given;
  if (!std::filesystem::exists(path)) {
    std::error_code ignored;
    if (path != given && std::filesystem::exists(given / kPluginUriFile, ignored)) {
      throw Error("{}: is an LV2 plugin that 'cafx export' wrote; its model is {}", given.string(),
                  (given / kPluginModelFile).string());
    }
    for (const auto& entry : std::filesystem::directory_iterator(given, ignored)) {
      if (!std::filesystem::exists(entry.path() / "best.safetensors", ignored)) continue;
      throw Error("{}: is no run itself, it holds runs; name one of them, such as {}", given.string(),
                  entry.path().string());
    }
    throw Error("{}: there is no such {}", path.string(),
                path == given ? "file" : "file; is it the folder of a run that has finished its first epochs?");
  }
  return path;
}

ModelFile load_model(const std::filesystem::path& given) {
  const auto path = weights_path(given);
  Safetensors file = read_weights(path);
  if (path != given) check_own_weights(given, file.metadata, path);
  const ParamsLimit limit(n_numbers(file), path.string());
  ModelFile result;
  result.model = model_of(file.metadata, path.string());
  take_all(file, *result.model, path.string());
  result.metadata = std::move(file.metadata);
  return result;
}

std::unique_ptr<ModelConfig> config_in_file(const std::filesystem::path& path) {
  Safetensors file = read_safetensors(path);
  if (file.metadata["format"] != kFormat || !file.metadata.count("config")) return nullptr;
  return config_of(file.metadata, path.string()).second;
}

ModelFile import_model(const std::filesystem::path& path, const ModelConfig& config, std::vector<std::string>& notes) {
  Safetensors file = read_safetensors(path);
  convert_to_float32(file, notes);
  const ParamsLimit limit(n_numbers(file), path.string());
  ModelFile result;
  result.model = make_model(config);
  std::vector<std::string> names;
  for (const ParamSpec& p : result.model->params()) names.push_back(p.name);
  take_off_prefix(file, names, notes);
  take_all(file, *result.model, path.string());
  for (const auto& [key, value] : file.metadata) {
    if (key != "format" && key != "checksum") result.metadata[key] = value;
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

void load_tensors_by_name(const std::filesystem::path& path, Model& model) {
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
