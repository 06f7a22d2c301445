// The JSON that NeuralAmpModeler's trainer reads its recordings from, with the lists of its parametric fork.
//
//   {"common": {"x_path": "input.wav", "y_path": "output.wav", "delay": 12},
//    "train": {"stop_seconds": -9.0}, "validation": {"start_seconds": -9.0}}
//
// A part is an object or a list of them, each laid over "common". A list "data" holds one recording a position of the
// knobs, {"y_path": "...", "parameters": {"Drive": 0.5}}. Paths are taken from the file's folder.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "datasets/readers/csv.h"
#include "datasets/readers/naming.h"
#include "kernels/base/describe.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace fs = std::filesystem;
using PlainJson = nlohmann::json;

namespace {

// Read here; those of the second list concern NAM's own training.
const std::vector<std::string>& known_nam_keys() {
  static const std::vector<std::string> keys = {"x_path",
                                                "y_path",
                                                "delay",
                                                "start",
                                                "stop",
                                                "start_samples",
                                                "stop_samples",
                                                "start_seconds",
                                                "stop_seconds",
                                                "y_scale",
                                                "input_gain",
                                                "y_preroll",
                                                "data",
                                                "parameters",
                                                "params",
                                                "name",
                                                "type",
                                                "ny",
                                                "nx",
                                                "rate",
                                                "sample_rate",
                                                "require_input_pre_silence",
                                                "delay_interpolation_method",
                                                "allow_unequal_lengths"};
  return keys;
}

class NamJson {
 public:
  explicit NamJson(const DataConfig& config) : config_(config), path_(table_in(config.path, "data.json")) {}

  Sources run() {
    const PlainJson all = parse();
    const PlainJson common = all.value("common", PlainJson::object());
    if (!common.is_object()) refuse("common", "expected an object");
    for (const char* part : {"train", "validation", "test"}) {
      if (!all.contains(part)) continue;
      const PlainJson& entries = all[part];
      std::size_t n = 0;
      for (const PlainJson& entry : entries.is_array() ? entries : PlainJson::array({entries})) {
        const std::string where = entries.is_array() ? fmt::format("{}[{}]", part, n++) : part;
        if (!entry.is_object()) refuse(where, "expected an object, or a list of them");
        PlainJson merged = common;
        merged.update(entry);
        add_entry(merged, part, where);
      }
    }
    return finish();
  }

 private:
  [[noreturn]] void refuse(const std::string& where, const std::string& reason) const {
    throw Error("{}: {}: {}", path_.string(), where, reason);
  }

  PlainJson parse() const {
    PlainJson all;
    try {
      all = PlainJson::parse(read_text(path_));
    } catch (const PlainJson::exception& e) {
      throw Error("{}: is no JSON: {}", path_.string(), e.what());
    }
    const bool has_part =
        all.is_object() && (all.contains("train") || all.contains("validation") || all.contains("test"));
    if (!has_part) {
      throw Error("{}: expected an object with \"train\" and \"validation\", as NeuralAmpModeler's trainer reads it",
                  path_.string());
    }
    return all;
  }

  double number(const PlainJson& entry, const std::string& key, const std::string& where, double otherwise) const {
    const auto found = entry.find(key);
    if (found == entry.end() || found->is_null()) return otherwise;
    if (!found->is_number() || !std::isfinite(found->get<double>())) {
      refuse(where, fmt::format("{} = {} is no number", key, printable_line(found->dump(), 100)));
    }
    return found->get<double>();
  }

  fs::path file(const PlainJson& entry, const std::string& key, const std::string& where) const {
    const auto found = entry.find(key);
    if (found == entry.end() || !found->is_string()) refuse(where, fmt::format("has no {}", key));
    const std::string text = found->get<std::string>();
    if (const auto p = file_named(text, path_.parent_path())) return *p;
    refuse(where,
           fmt::format("the file of {} '{}' does not exist; paths are taken from the JSON file's folder", key, text));
  }

  void add_entry(const PlainJson& entry, const std::string& part, const std::string& where) {
    for (const auto& [key, value] : entry.items()) {
      const auto& keys = known_nam_keys();
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        refuse(where, fmt::format("key '{}' is not known{}", key, did_you_mean(key, keys)));
      }
    }
    const PlainJson data = entry.value("data", PlainJson());
    if (!data.is_array()) return add_pair(entry, part, where);
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (!data[i].is_object()) refuse(fmt::format("{}: data[{}]", where, i), "expected an object");
      PlainJson one = entry;  // the parameters of the whole are their ranges
      for (const char* key : {"data", "parameters", "params"}) one.erase(key);
      one.update(data[i]);
      add_pair(one, part, fmt::format("{}: data[{}]", where, i));
    }
  }

  // start and stop in samples have three names; seconds are read where there are none.
  Excerpt excerpt_of(const PlainJson& entry, const std::string& where) const {
    const auto of = [&](const char* edge) {
      const std::string name = edge;
      const double samples = number(entry, name + "_samples", where, number(entry, name, where, 0.0));
      return std::pair(samples, number(entry, name + "_seconds", where, 0.0));
    };
    const auto [start, start_seconds] = of("start");
    const auto [stop, stop_seconds] = of("stop");
    const bool samples = start != 0.0 || stop != 0.0, seconds = start_seconds != 0.0 || stop_seconds != 0.0;
    if (samples && seconds) refuse(where, "start and stop are given in samples and in seconds; give one of them");
    Excerpt e;
    e.in_samples = samples;
    e.start = samples ? start : start_seconds;
    e.stop = samples ? stop : stop_seconds;
    e.delay = number(entry, "delay", where, 0.0) + number(entry, "y_preroll", where, 0.0);
    e.dry_gain = std::pow(10.0, number(entry, "input_gain", where, 0.0) / 20.0);
    e.wet_gain = number(entry, "y_scale", where, 1.0);
    e.told_by = fmt::format("{}: {}", printable(path_.string()), where);
    return e;
  }

  void add_pair(const PlainJson& entry, const std::string& part, const std::string& where) {
    Source s{"", "", file(entry, "x_path", where), file(entry, "y_path", where)};
    s.part = part;
    // Positions of the knobs share a stretch of the input, which stays on one side of a split.
    s.name = s.group = note_name(part + "/" + s.dry.stem().string());
    s.excerpt = excerpt_of(entry, where);
    PlainJson knobs = entry.value("params", PlainJson());
    if (knobs.is_null()) knobs = entry.value("parameters", PlainJson());
    if (!knobs.is_null() && !knobs.is_object()) refuse(where, "params: expected an object of names and numbers");
    Setting setting;
    for (const auto& [name, value] : knobs.items()) {
      if (!value.is_number() && !value.is_string() && !value.is_boolean()) {
        refuse(where, fmt::format("params: {} = {} is no number", name, printable_line(value.dump(), 100)));
      }
      s.knobs.push_back(knob_value(name, value.is_string() ? value.get<std::string>() : value.dump()));
    }
    setting.knobs = s.knobs;
    s.setting = setting.text();
    sources_.pairs.push_back(std::move(s));
    settings_.push_back(std::move(setting));
  }

  Sources finish() {
    if (sources_.pairs.empty()) throw Error("{}: names no recordings", path_.string());
    const std::vector<bool> take = selected(settings_, config_);
    Sources some;
    std::vector<Setting> used;
    for (std::size_t i = 0; i < take.size(); ++i) {
      if (!take[i]) continue;
      some.pairs.push_back(sources_.pairs[i]);
      used.push_back(settings_[i]);
    }
    check_settings(used, config_, printable(path_.string()), some.findings);
    some.findings.push_back({Severity::kInfo, "layout", printable(path_.string()), -1.0,
                             fmt::format("is read as nam-json, {} pairs", some.pairs.size()),
                             "recordings for NeuralAmpModeler's trainer", "nothing need be done"});
    return some;
  }

  const DataConfig& config_;
  fs::path path_;
  Sources sources_;
  std::vector<Setting> settings_;
};

}  // namespace

Sources find_nam_json(const DataConfig& config) {
  if (config.path.empty()) {
    throw Error("data.path is empty; data.reader = \"nam-json\" needs the JSON file, as --set data.path=FILE.json");
  }
  if (!config.chain.empty()) {
    throw Error("data.chain makes wet audio, and data.reader = \"nam-json\" reads it; use data.reader = \"files\"");
  }
  return NamJson(config).run();
}

}  // namespace cafx
