#include "host/distill/student_file.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "host/version.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "models/registry.h"

namespace cafx {

namespace {

constexpr const char* kFormat = "cafx";
constexpr const char* kFormatVersion = "1";

std::filesystem::path weights_of(const std::filesystem::path& given) {
  return std::filesystem::is_directory(given) ? given / "best.safetensors" : given;
}

}  // namespace

void save_student(const std::filesystem::path& path, const Model& student, std::map<std::string, std::string> extra) {
  StudentConfig config = student_config(student.config());
  extra["format"] = kFormat;
  extra["format_version"] = kFormatVersion;
  extra["model"] = "student";
  extra["kind"] = config.kind;
  extra["config"] = to_json(describe(config)).dump();
  extra["sample_rate"] = std::to_string(config.sample_rate);
  extra["latency"] = "0";
  extra["version"] = kVersion;
  Safetensors file;
  file.metadata = std::move(extra);
  for (const ParamSpec& p : student.params()) {
    file.tensors[p.name] = Safetensors::from_floats(student.data() + p.offset, p.shape);
  }
  write_safetensors(path, file);
}

StudentFile load_student(const std::filesystem::path& given) {
  const auto path = weights_of(given);
  const std::string where = path.string();
  if (!std::filesystem::exists(path)) {
    throw Error("{}: there is no such {}", where,
                path == given ? "file" : "file; is it the folder of a run that has finished its first epochs?");
  }
  Safetensors file = read_safetensors(path);
  if (file.metadata["format"] != kFormat || file.metadata["model"] != "student") {
    throw Error("{}: is no student of cafx (format '{}', model '{}'); 'cafx distill' makes one", where,
                file.metadata["format"], file.metadata["model"]);
  }
  if (file.metadata["format_version"] != kFormatVersion) {
    throw Error("{}: model format {} is not known, this cafx {} reads {}; use a newer cafx", where,
                file.metadata["format_version"], kVersion, kFormatVersion);
  }
  StudentConfig config;
  Fields fields = describe(config);
  const auto json = nlohmann::json::parse(file.metadata["config"], nullptr, false);
  if (json.is_discarded()) throw Error("{}: the config in its metadata is damaged", where);
  set_fields(fields, json, where);
  check(config, where);
  if (config.sample_rate < 1)
    throw Error("{}: its sample_rate is {}; a student's is 1 Hz or more", where, config.sample_rate);
  StudentFile result;
  result.student = make_model(*model_config(config));
  std::size_t n_known = 0;
  for (const ParamSpec& p : result.student->params()) {
    const float* data = file.floats(p.name, p.shape, where);
    for (long i = 0; i < p.size; ++i) {
      if (!std::isfinite(data[i])) {
        throw Error("{}: tensor '{}' holds {} at index {}; the file is of a training that broke down or is damaged",
                    where, p.name, data[i], i);
      }
      result.student->data()[p.offset + i] = data[i];
    }
    ++n_known;
  }
  if (n_known != file.tensors.size()) throw Error("{}: holds tensors that its config does not have", where);
  result.metadata = std::move(file.metadata);
  return result;
}

bool is_student(const std::filesystem::path& given) {
  if (is_student_run(given)) return true;
  const auto path = weights_of(given);
  if (!std::filesystem::is_regular_file(path)) return false;
  try {
    const Safetensors file = read_safetensors(path);
    const auto model = file.metadata.find("model");
    return model != file.metadata.end() && model->second == "student";
  } catch (const Error&) {
    return false;  // whoever opens it next says what is wrong
  }
}

bool is_student_run(const std::filesystem::path& folder) {
  std::ifstream config(folder / "config.toml");
  for (std::string line; std::getline(config, line);) {
    if (line == "[student]") return true;
  }
  return false;
}

}  // namespace cafx
