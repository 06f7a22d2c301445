#include <algorithm>

#include "experiments/paper/reproduce.h"
#include "experiments/paper/specs.h"
#include "experiments/sweep_text.h"
#include "host/sweep/spec.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

// The sweep file with another preset, and named after it.
std::string with_preset(std::string spec, const std::string& preset) {
  for (const auto& [from, to] : {std::pair(std::string("preset = \"paper\""), "preset = \"" + preset + "\""),
                                 std::pair(std::string("name = \"paper\""), "name = \"" + preset + "\"")}) {
    const std::size_t at = spec.find(from);
    CAFX_CHECK(at != std::string::npos, from);
    spec.replace(at, from.size(), to);
  }
  return spec;
}

// An option that this choice does not read is a mistake, not a wish.
void check_choice(const ReproduceArguments& args) {
  const bool whole = args.sweeps.empty() && args.size != "quick" && args.size != "evening";
  for (const auto& [given, name] :
       {std::pair(args.parts_given, "--parts"), std::pair(args.presets_given, "--presets")}) {
    if (given && !whole)
      throw Error("{} chooses of the whole, --size full; without it there is nothing to choose", name);
  }
  if (args.presets_given && std::find(args.parts.begin(), args.parts.end(), "models") == args.parts.end()) {
    throw Error("--presets is read by the part 'models' alone, which --parts leaves out");
  }
  if (!args.takes.empty() && !fs::is_directory(args.takes)) {
    throw Error("--takes {}: is no folder; give one in the layout of --data", args.takes);
  }
}

// The parts without the names of their sweeps.
std::vector<Part> texts_of(const ReproduceArguments& args) {
  std::vector<Part> parts;
  for (const std::string& file : args.sweeps) parts.push_back({RunFolder::read(file), file, ""});
  if (!parts.empty()) return parts;
  if (args.size == "quick") return {{kPaperQuick, "experiments/paper/quick.toml", ""}};
  if (args.size == "evening") return {{kPaperEvening, "experiments/paper/evening.toml", ""}};
  if (args.data.empty()) {
    throw Error(
        "choose how much: --size quick (four models in minutes on a CPU, with the notes that ship), --size evening (22 "
        "models in some hours on a CPU, with notes that are made of Debian packages), --size full --data FOLDER (all "
        "of IDMT-SMT-Audio-Effects; --data notes: a set made of Debian packages; for a GPU), or --sweep FILE");
  }
  for (const std::string& wanted : args.parts) {
    const auto* found = std::find_if(std::begin(kPaperParts), std::end(kPaperParts),
                                     [&](const PaperPart& p) { return wanted == p.name; });
    if (found == std::end(kPaperParts)) {
      std::string names;
      for (const PaperPart& p : kPaperParts) names += (names.empty() ? "" : ", ") + std::string(p.name);
      throw Error("--parts {}: there is no such part; there are {}", wanted, names);
    }
    if (wanted != "models") {
      parts.push_back({found->text, found->file, ""});
      continue;
    }
    for (const std::string& preset : args.presets) parts.push_back({with_preset(found->text, preset), found->file, ""});
  }
  return parts;
}

}  // namespace

std::vector<Part> parts_of(const ReproduceArguments& args) {
  check_choice(args);
  std::vector<Part> parts = texts_of(args);
  for (Part& p : parts) p.name = parse_spec(p.text, p.origin).name;
  return parts;
}

// The spec with its recordings replaced by others, and with the settings of --set.
std::string with_data(std::string spec, const fs::path& folder, const std::vector<std::string>& settings) {
  if (spec.find("\npath = ") == std::string::npos)
    throw Error("the sweep file has no line 'path = ...' under [data], so other recordings cannot be put in");
  spec = with_value(spec, "data.path", toml_text(folder.string()));
  for (const std::string& s : settings) {
    const std::size_t equals = s.find('='), dot = s.find('.');
    if (equals == std::string::npos || dot == std::string::npos || dot > equals)
      throw Error("--set {}: expected TABLE.KEY=VALUE, such as train.epochs=4", s);
    spec = with_value(spec, s.substr(0, equals), toml_value(s.substr(equals + 1)));
  }
  return spec;
}

}  // namespace cafx
