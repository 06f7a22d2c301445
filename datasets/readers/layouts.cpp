#include "datasets/readers/layouts.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "datasets/idmt.h"
#include "datasets/readers/csv.h"
#include "datasets/readers/naming.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

// Version 1.1 moved recordings of 1.0 that lay apart in time; its archive's folder has the version in its name.
void signaltrain_defects(const fs::path& folder, std::vector<Finding>& findings) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(folder, error);
  for (const fs::path& p : {path, path.parent_path()}) {
    const std::string name = p.filename().string();
    if (name.find("1.1") != std::string::npos || name.find("1_1") != std::string::npos) return;
  }
  findings.push_back(
      {Severity::kWarning, "version", printable(folder.string()), -1.0,
       "does not say by its name that it is version 1.1 of SignalTrain LA2A",
       "some recordings of version 1.0 are not aligned, which 1.1 mends",
       "use 1.1, in a folder named so; what is left of a lag, the doctor measures in each file and takes "
       "out where it is sure"});
}

Naming naming_of(const Layout& layout) {
  return {layout.wet, fmt::format("wet names of {}", layout.name), layout.dry,
          fmt::format("dry names of {}", layout.name)};
}

}  // namespace

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> table = {
      {"tonetwist", "{device}/{split}/*/{knobs/100}.{note}.target", "*/{split}/{note}.input", Cut::kAlways, true,
       "ToneTwist AFx: long recordings with sync impulses at their ends"},
      {"signaltrain", "{split}/target_{note}_LA2A_{device}__{knob:switch}__{knob:peak_reduction}",
       "{split}/input_{note}_", Cut::kAlways, false, "SignalTrain LA2A: a compressor at many positions of two knobs",
       signaltrain_defects},
      {"egfxset", "{device}/{pickup}/{string}-{fret}", "Clean/{pickup}/{string}-{fret}", Cut::kNever, false,
       "EGFxSet: notes of a guitar through effects"},
      {"egdb", "audio_{device}/{note}", "audio_DI/{note}", Cut::kLong, false,
       "EGDB: a guitar's direct sound and through amplifiers"},
      {"coreaudioml", "{split}/{device}-{side:input,target}", "", Cut::kAlways, false,
       "CoreAudioML: a file a side for training, validation and test"},
      {"pyneuralfx", "{split}/y/y_{knobs}", "{split}/x/x_{knobs}", Cut::kAlways, false,
       "PyNeuralFx: a dry and a wet file for each position of the knobs"},
  };
  return table;
}

Sources find_layout(const DataConfig& config, const Layout& layout) {
  if (config.path.empty()) {
    throw Error("data.path is empty; data.reader = \"{}\" needs the folder of the data set", layout.name);
  }
  if (!config.chain.empty()) {
    throw Error(
        "data.chain makes wet audio, and data.reader = \"{}\" reads it; use data.reader = \"folders\" for dry "
        "files alone",
        layout.name);
  }
  const Naming naming = naming_of(layout);
  std::vector<Finding> links;
  const auto files = find_audio_files(config.path, &links);
  Sources sources = pairs_by_name(config.path, files, naming, config);
  sources.findings.insert(sources.findings.end(), links.begin(), links.end());
  if (sources.pairs.empty()) {
    throw Error("{}: holds no pair of files named as in {} ({}){}", config.path, layout.name, naming.text(),
                sources.left_out.empty() ? "; there are no audio files" : "; " + sources.left_out.front());
  }
  sources.findings.push_back({Severity::kInfo, "layout", printable(config.path), -1.0,
                              fmt::format("is read as {}, {} pairs", layout.name, sources.pairs.size()), layout.about,
                              "nothing need be done; data.reader chooses another"});
  if (layout.defects) layout.defects(config.path, sources.findings);
  return sources;
}

Sources find_by_pattern(const DataConfig& config) {
  if (config.path.empty() || config.pattern.empty()) {
    throw Error(
        "data.reader = \"pattern\" needs data.path and data.pattern, as --set data.path=FOLDER "
        "--set 'data.pattern={{device}}/gain{{knob:gain}}/{{note}}' --set 'data.dry_pattern=dry/{{note}}'");
  }
  if (!config.chain.empty()) {
    throw Error(
        "data.chain makes wet audio, and data.reader = \"pattern\" reads it; use data.reader = \"folders\" for dry "
        "files alone");
  }
  const Naming naming(config.pattern, "data.pattern", config.dry_pattern, "data.dry_pattern");
  std::vector<Finding> links;
  const auto files = find_audio_files(config.path, &links);
  Sources sources = pairs_by_name(config.path, files, naming, config);
  sources.findings.insert(sources.findings.end(), links.begin(), links.end());
  if (sources.pairs.empty()) {
    throw Error("{}: holds no pair of files named {}{}", config.path, naming.text(),
                sources.left_out.empty() ? "; there are no audio files" : "; " + sources.left_out.front());
  }
  return sources;
}

namespace {

// Whether a file has the parts of NAM's data config; a run of cafx has a data.json of its own.
bool is_nam_json(const fs::path& path) {
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  return json.is_object() && json.contains("train") && json.contains("validation");
}

// Rows of a manifest that stand for a pair; what is wrong with a table is told when it is read.
std::size_t count_rows(const fs::path& manifest) {
  try {
    const std::size_t rows = read_csv(manifest).size();
    return rows > 0 ? rows - 1 : 0;
  } catch (const Error&) {
    return 0;
  }
}

// The folder in it of this name, else of this name in other letters, as Dry.
std::optional<fs::path> folder_called(const std::string& name, const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder / name, error)) return folder / name;
  std::optional<fs::path> found;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    std::error_code unreadable;
    if (lower_case(it->path().filename().string()) != name || !it->is_directory(unreadable)) continue;
    if (!found || it->path() < *found) found = it->path();
  }
  return found;
}

void recognise_folder(const fs::path& folder, std::vector<Recognised>& found) {
  const auto files = find_audio_files(folder);
  const auto named_as_idmt = static_cast<std::size_t>(std::count_if(
      files.begin(), files.end(), [](const fs::path& p) { return parse_idmt_name(p.stem().string()).has_value(); }));
  if (named_as_idmt > 0) found.push_back({"idmt", named_as_idmt, folder.string(), "", ""});
  for (const Layout& layout : layouts()) {
    const std::size_t pairs = count_pairs(folder, files, naming_of(layout));
    if (pairs > 0) found.push_back({layout.name, pairs, folder.string(), "", ""});
  }
  std::error_code error;
  const fs::path manifest = folder / "manifest.csv";
  if (fs::is_regular_file(manifest, error)) {
    found.push_back({"manifest", count_rows(manifest), manifest.string(), "", ""});
  }
  if (!found.empty()) return;
  if (is_nam_json(folder / "data.json")) {
    found.push_back({"nam-json", files.size() / 2, (folder / "data.json").string(), "", ""});
    return;
  }
  const auto dry = folder_called("dry", folder), wet = folder_called("wet", folder);
  if (dry && wet) found.push_back({"folders", files.size() / 2, "", dry->string(), wet->string()});
}

}  // namespace

std::vector<Recognised> recognise(const fs::path& path) {
  std::vector<Recognised> found;
  std::error_code error;
  const std::string ending = lower_case(path.extension().string());
  if (fs::is_directory(path, error)) {
    recognise_folder(path, found);
  } else if (ending == ".csv" || ending == ".tsv") {
    found.push_back({"manifest", 0, path.string(), "", ""});
  } else if (ending == ".json") {
    found.push_back({"nam-json", 0, path.string(), "", ""});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Recognised& a, const Recognised& b) { return a.pairs > b.pairs; });
  return found;
}

}  // namespace cafx
