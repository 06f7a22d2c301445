#include <map>
#include <set>

#include "experiments/paper/study.h"

namespace cafx {

std::vector<std::string> variants(const std::vector<Task>& tasks) {
  static const std::set<std::string> apart = {"preset",      "train.seed",   "train.init_from", "train.gpus",
                                              "data.path",   "data.dry",     "data.wet",        "data.instrument",
                                              "data.effect", "data.setting", "data.chain",      "data.split"};
  const auto counts = [](const std::string& key) { return !apart.count(key) && key.rfind("log.", 0) != 0; };
  // A run that starts from a shared pretraining has the pretraining's epochs.
  const auto value_of = [&](const Task& t, const std::string& key) {
    if (key == "train.pretrain_epochs" && t.parent >= 0)
      return tasks[static_cast<std::size_t>(t.parent)].config.at(key);
    return t.config.at(key);
  };
  std::map<std::string, std::map<std::string, Json>> usual;  // by preset, by key
  std::map<std::string, std::map<std::string, std::map<std::string, int>>> seen;
  for (const Task& t : tasks) {
    if (t.kind != TaskKind::kTrain) continue;
    for (const auto& [key, value] : t.config.items()) {
      if (counts(key)) ++seen[t.config.at("preset")][key][value_of(t, key).dump()];
    }
  }
  for (const auto& [preset, keys] : seen) {
    RunConfig defaults = run_preset(preset);
    const Json own = to_json(describe(defaults));
    for (const auto& [key, values] : keys) {
      int most = 0;
      for (const auto& [value, n] : values) {
        // On a tie the preset's value wins.
        const bool is_own = own.contains(key) && own[key].dump() == value;
        if (n > most || (n == most && is_own)) {
          most = n;
          usual[preset][key] = Json::parse(value);
        }
      }
    }
  }
  std::vector<std::string> all;
  for (const Task& t : tasks) {
    std::string text;
    if (t.kind == TaskKind::kTrain) {
      for (const auto& [key, common] : usual[t.config.at("preset")]) {
        if (!t.config.contains(key) || value_of(t, key) == common) continue;
        const std::size_t dot = key.find('.');  // "model.saaf.l2": "saaf.l2"
        text += (text.empty() ? "" : ", ") + key.substr(dot + 1) + " " + value_text(value_of(t, key));
      }
    }
    all.push_back(text);
  }
  return all;
}

}  // namespace cafx
