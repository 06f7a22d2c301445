#include <algorithm>
#include <sstream>

#include "experiments/paper/reproduce.h"
#include "experiments/paper/specs.h"
#include "host/sweep/spec.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

std::string toml_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// A value in TOML: numbers, lists and booleans unchanged, all else as a string.
std::string toml_value(const std::string& text) {
  const bool bare = text == "true" || text == "false" || (!text.empty() && (text[0] == '[' || text[0] == '"'));
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return bare || (!text.empty() && *end == '\0') ? text : toml_text(text);
}

// The spec with a setting of its base replaced; `key` is "data.path", `value` is TOML.
std::string with_value(const std::string& spec, const std::string& key, const std::string& value) {
  const std::size_t dot = key.find('.');
  const std::string table = "[" + key.substr(0, dot) + "]", name = key.substr(dot + 1), line = name + " = " + value;
  std::istringstream in(spec);
  std::string out, text;
  bool inside = false, done = false;
  while (std::getline(in, text)) {
    const bool opens = !text.empty() && text[0] == '[';
    if (opens) inside = text.rfind(table, 0) == 0;
    if (inside && (text.rfind(name + " =", 0) == 0 || text.rfind(name + "=", 0) == 0)) continue;
    if (opens && !inside && !done && text.rfind("[axes]", 0) == 0) {
      out += table + "\n" + line + "\n\n";
      done = true;
    }
    out += text + "\n";
    if (opens && inside && !done) {
      out += line + "\n";
      done = true;
    }
  }
  if (!done) out += "\n" + table + "\n" + line + "\n";
  return out;
}

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

// The parts without the names of their sweeps.
std::vector<Part> texts_of(const ReproduceArguments& args) {
  std::vector<Part> parts;
  for (const std::string& file : args.sweeps) parts.push_back({RunFolder::read(file), file, ""});
  if (!parts.empty()) return parts;
  if (args.quick) return {{kPaperQuick, "experiments/paper/quick.toml", ""}};
  if (args.data.empty()) {
    throw Error(
        "choose how much: --quick (minutes on a CPU, with the notes that ship), --data FOLDER (all of "
        "IDMT-SMT-Audio-Effects), --data "
        "notes (a set made of Debian packages), or --sweep FILE");
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
