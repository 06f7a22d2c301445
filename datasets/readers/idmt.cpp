#include <map>
#include <set>

#include "datasets/idmt.h"
#include "datasets/readers/duplicates.h"
#include "datasets/readers/reader.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

bool wanted_instrument(const std::string& wanted, char letter) {
  const std::string w = lower_case(wanted);
  if (w == "all") return true;
  if (w == "guitar" || w == "g") return letter == 'G';
  if (w == "bass" || w == "b") return letter == 'B';
  return letter == 'P';
}

// What lies in the folder, of the wanted instrument.
struct Notes {
  std::map<std::string, std::vector<fs::path>> dry;  // by note
  std::vector<std::pair<IdmtName, fs::path>> wet;    // of the wanted effect and setting
  std::set<std::string> known;                       // effects and settings that are there, for the error text
};

// Of a folder whose audio lies in two folders: how these are given as dry and wet.
std::string both_sides(const std::string& path) {
  std::set<fs::path> folders;
  for (const fs::path& file : find_audio_files(path)) folders.insert(file.parent_path());
  if (folders.size() != 2) return "";
  return fmt::format("give both folders in it, dry first, as 'cafx train {} {}', or ", folders.begin()->string(),
                     folders.rbegin()->string());
}

Notes list_notes(const DataConfig& config) {
  const int effect = idmt_effect_code(config.effect);
  Notes notes;
  int n_named = 0;
  for (const fs::path& path : find_audio_files(config.path)) {
    const auto name = parse_idmt_name(path.stem().string());
    if (!name) continue;
    ++n_named;
    if (!wanted_instrument(config.instrument, name->instrument)) continue;
    if (name->effect == 11) {
      notes.dry[name->note].push_back(path);
      continue;
    }
    notes.known.insert(fmt::format("{} setting {}", path.parent_path().filename().string(), name->setting));
    if (name->effect == effect && (config.setting == 0 || name->setting == config.setting)) {
      notes.wet.emplace_back(*name, path);
    }
  }
  if (n_named == 0) {
    throw Error(
        "{}: holds no file named as in IDMT-SMT-Audio-Effects (such as G61-40100-1111-20593.wav); is it the "
        "folder that the archive was unpacked to? It is in no other layout that cafx knows either; {}name the files by "
        "data.reader = \"pattern\", or use \"folders\" or \"manifest\" (datasets/README.md)",
        config.path, both_sides(config.path));
  }
  if (notes.dry.empty()) {
    throw Error("{}: holds no dry notes (NoFX) for data.instrument = \"{}\"; they are in part 1 of the data set",
                config.path, config.instrument);
  }
  return notes;
}

// One model cannot sound like several settings: it learns their mean.
void check_settings(const DataConfig& config, const Notes& notes, std::vector<Finding>& findings) {
  std::map<int, int> settings;
  for (const auto& [name, path] : notes.wet) ++settings[name.setting];
  if (settings.size() < 2) return;
  std::string list;
  for (const auto& [setting, n] : settings) {
    list += fmt::format("{}{} ({} notes)", list.empty() ? "" : ", ", setting, n);
  }
  findings.push_back({Severity::kRefuse, "settings", config.path, -1.0,
                      fmt::format("{} has {} settings: {}", config.effect, settings.size(), list),
                      "each setting is another sound, and a model without knobs would learn their mean",
                      fmt::format("choose one, as --set data.setting={}", settings.begin()->first)});
}

}  // namespace

Sources find_idmt(const DataConfig& config) {
  if (config.path.empty())
    throw Error("no recordings are named; give dry and wet, as 'cafx train DRY WET', or the folder of a data set");
  const Notes notes = list_notes(config);
  Sources sources;
  std::map<std::string, fs::path> dry;
  for (const auto& [note, paths] : notes.dry) dry[note] = choose_of_equal_names(paths, note, sources.findings);
  if (!config.chain.empty()) {
    for (const auto& [note, path] : dry) sources.pairs.push_back({note, note.substr(0, 2), path, {}, ""});
    return sources;
  }
  if (notes.wet.empty()) {
    std::string list;
    for (const auto& k : notes.known) list += (list.empty() ? "" : ", ") + k;
    throw Error("{}: holds no {}{} for data.instrument = \"{}\"; there are: {}", config.path, config.effect,
                config.setting ? fmt::format(" setting {}", config.setting) : "", config.instrument,
                list.empty() ? "dry notes alone" : list);
  }
  check_settings(config, notes, sources.findings);
  std::set<std::string> used;
  for (const auto& [name, path] : notes.wet) {
    const auto found = dry.find(name.note);
    if (found == dry.end()) {
      sources.left_out.push_back(path.string() + ": wet, without a dry note of the same first nine characters");
      continue;
    }
    used.insert(name.note);
    sources.pairs.push_back({name.note, name.group, found->second, path, std::to_string(name.setting)});
  }
  for (const auto& [note, path] : dry) {
    if (!used.count(note))
      sources.left_out.push_back(path.string() + ": dry, without a wet version in this effect and setting");
  }
  return sources;
}

}  // namespace cafx
