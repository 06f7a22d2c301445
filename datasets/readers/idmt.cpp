#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "datasets/idmt.h"
#include "datasets/readers/duplicates.h"
#include "datasets/readers/reader.h"
#include "kernels/base/error.h"
#include "kernels/base/shell_word.h"

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

// The folders that hold all of the audio: those that files lie in where these are two, else those in which the folder
// parts. None where a file lies beside them.
std::set<fs::path> side_folders(const std::vector<fs::path>& files, const fs::path& top) {
  std::set<fs::path> folders;
  for (const fs::path& file : files) folders.insert(file.parent_path());
  for (fs::path at = top; folders.size() > 2;) {
    std::set<fs::path> below;
    for (const fs::path& file : files) below.insert(at / *file.lexically_relative(at).begin());
    if (below.size() == 1 && below != std::set{files.front()}) {
      at = *below.begin();
      continue;
    }
    folders = std::move(below);
    break;
  }
  for (const fs::path& folder : folders) {
    if (std::find(files.begin(), files.end(), folder) != files.end()) return {};
  }
  return folders;
}

// Whether the first of two folders is the dry one: by the names in their paths that differ, then by those of files.
std::optional<bool> first_folder_is_dry(const fs::path& first, const fs::path& second,
                                        const std::vector<fs::path>& files) {
  auto b = second.begin();
  for (auto a = first.begin(); a != first.end() && b != second.end(); ++a, ++b) {
    if (const auto told = first_is_dry(a->string(), b->string())) return told;
  }
  const auto name_below = [&](const fs::path& folder) {
    const auto found = std::find_if(files.begin(), files.end(), [&](const fs::path& file) {
      return std::mismatch(folder.begin(), folder.end(), file.begin(), file.end()).first == folder.end();
    });
    return found == files.end() ? "" : found->stem().string();
  };
  return first_is_dry(name_below(first), name_below(second));
}

// Of a folder whose audio lies in two folders or more: how these are given as dry and wet.
std::string both_sides(const std::string& path) {
  const std::vector<fs::path> files = find_audio_files(path);
  const std::set<fs::path> folders = side_folders(files, path);
  if (folders.size() > 2) {
    const bool flat = std::all_of(files.begin(), files.end(),
                                  [&](const fs::path& file) { return folders.count(file.parent_path()) > 0; });
    const std::string advice = flat ? by_pattern({folders.begin(), folders.end()}) : "";
    return advice.empty() ? "" : advice + ", or ";
  }
  if (folders.size() != 2) return "";
  const auto command = [](const fs::path& dry, const fs::path& wet) {
    return fmt::format("'cafx train {} {}'", shell_word(dry.string()), shell_word(wet.string()));
  };
  const fs::path &a = *folders.begin(), &b = *folders.rbegin();
  if (const auto told = first_folder_is_dry(a, b, files)) {
    return fmt::format("give both folders in it, dry first, as {}, or ", *told ? command(a, b) : command(b, a));
  }
  const auto name = [&](const fs::path& folder) { return folder.lexically_relative(path).string(); };
  return fmt::format("give both folders in it, dry first: {} where '{}' is dry, {} where '{}' is, or ", command(a, b),
                     name(a), command(b, a), name(b));
}

Notes list_notes(const DataConfig& config, std::vector<Finding>& findings) {
  const int effect = idmt_effect_code(config.effect);
  Notes notes;
  int n_named = 0;
  for (const fs::path& path : find_audio_files(config.path, &findings)) {
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
  if (config.path.empty() && !config.dry.empty()) {
    throw Error(
        "data.dry = \"{}\" is not read, since data.reader is \"idmt\"; set it to \"folders\" where dry and wet are "
        "folders with equal names, to \"files\" where each is one file",
        config.dry);
  }
  if (config.path.empty())
    throw Error("no recordings are named; give dry and wet, as 'cafx train DRY WET', or the folder of a data set");
  Sources sources;
  const Notes notes = list_notes(config, sources.findings);
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
