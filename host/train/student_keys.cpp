#include "host/train/student_keys.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace cafx {

std::string modern_key(const std::string& key) {
  for (const auto& [old, now] : {std::pair("student.lstm.", "model."),
                                 {"student.wavenet.", "model."},
                                 {"student.kind", "model.type"},
                                 {"student.", "model."},
                                 {"train.esr", "train.loss.esr"},
                                 {"train.mae", "train.loss.mae"},
                                 {"train.pre_emphasis", "train.loss.pre_emphasis"},
                                 {"train.energy_floor", "train.loss.energy_floor"}}) {
    const std::string from = old;
    if (key.rfind(from, 0) == 0 && (from.back() == '.' || key == from)) return now + key.substr(from.size());
  }
  return key;
}

std::string modern_toml(const std::string& text, const std::string& where) {
  const nlohmann::json old = flat_toml(text, where);
  const std::string kind = old.value("student.kind", "");
  if (kind.empty()) return text;
  std::string modern;
  for (const auto& [key, value] : old.items()) {
    // Old configs held the sizes of the other kind as well.
    const std::string other = kind == "lstm" ? "student.wavenet." : "student.lstm.";
    if (key.rfind(other, 0) == 0) continue;
    modern += fmt::format("{} = {}\n", modern_key(key), value.dump());
  }
  return modern;
}

bool names_no_model(const ConfigSource& source) {
  if (!source.preset.empty()) return false;
  if (!source.toml.empty() &&
      !(toml_string(source.toml, source.where, "preset") + toml_string(source.toml, source.where, "model.type"))
           .empty()) {
    return false;
  }
  for (const std::string& setting : source.settings) {
    const std::string key = split_setting(setting).first;
    if (key == "preset" || key == "model.type") return false;
  }
  return true;
}

}  // namespace cafx
