#include "host/export/lv2_bundle.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>
#include <sstream>
#include <system_error>

#include "host/export/lv2_text.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/knobs.h"
#include "kernels/base/printable.h"
#include "kernels/base/safetensors.h"
#include "models/play/plugin_bundle.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

// The folders of player bundles, the nearest first.
std::vector<fs::path> player_bundles() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path(), up = program.parent_path();
  std::vector<fs::path> all{up / "rt/lv2/cafx.lv2", up / kLibraryFolder / "lv2/cafx.lv2", up / "lib/lv2/cafx.lv2"};
  if (const char* path = std::getenv("LV2_PATH")) {
    std::istringstream in(path);
    for (std::string folder; std::getline(in, folder, ':');) {
      if (!folder.empty()) all.push_back(fs::path(folder) / "cafx.lv2");
    }
  }
  if (const char* home = std::getenv("HOME")) all.push_back(fs::path(home) / ".lv2/cafx.lv2");
  for (const char* prefix : {"/usr/local", "/usr"}) {
    all.push_back(fs::path(prefix) / kLibraryFolder / "lv2/cafx.lv2");
    all.push_back(fs::path(prefix) / "lib/lv2/cafx.lv2");
  }
  return all;
}

fs::path player_program() {
  const auto all = player_bundles();
  std::vector<std::string> names;
  for (const fs::path& bundle : all) {
    std::error_code error;
    if (fs::is_regular_file(bundle / kLv2Binary, error)) return bundle / kLv2Binary;
    if (std::find(names.begin(), names.end(), bundle.string()) == names.end()) names.push_back(bundle.string());
  }
  throw Error(
      "the LV2 player, whose program the bundle needs, is not there; looked for {} in {}. Build it (target cafx_lv2, "
      "with lv2-dev), install it, or name its folder's parent in LV2_PATH",
      kLv2Binary, fmt::join(names, ", "));
}

// A text between quotes in Turtle.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

// [A-Za-z0-9_], and no two alike.
std::string symbol(const std::string& name, std::set<std::string>& taken) {
  std::string s = "knob_";
  for (const char c : name) s += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  std::string other = s;
  for (int k = 2; !taken.insert(other).second; ++k) other = fmt::format("{}_{}", s, k);
  return other;
}

std::string unit_of(const std::string& unit) {
  static const std::vector<std::pair<std::string, const char*>> known = {{"dB", "db"}, {"Hz", "hz"}, {"kHz", "khz"},
                                                                         {"ms", "ms"}, {"s", "s"},   {"%", "pc"}};
  if (unit.empty()) return "";
  for (const auto& [name, term] : known) {
    if (unit == name) return fmt::format("units:unit units:{}", term);
  }
  std::string shown = unit;
  std::replace(shown.begin(), shown.end(), '%', ' ');
  return fmt::format("units:unit [ a units:Unit ; rdfs:label {0} ; units:symbol {0} ; units:render {1} ]", quoted(unit),
                     quoted("%f " + shown));
}

std::string port_of(const Knob& knob, int index, std::set<std::string>& taken) {
  std::vector<std::string> lines{"a lv2:InputPort , lv2:ControlPort",
                                 fmt::format("lv2:index {}", index),
                                 fmt::format("lv2:symbol \"{}\"", symbol(knob.name, taken)),
                                 "lv2:name " + quoted(knob.name),
                                 fmt::format("lv2:default {}", knob.start()),
                                 fmt::format("lv2:minimum {}", knob.least()),
                                 fmt::format("lv2:maximum {}", knob.largest())};
  if (knob.is_switch()) {
    std::vector<std::string> points;
    for (std::size_t i = 0; i < knob.positions.size(); ++i) {
      points.push_back(fmt::format("[ rdfs:label {} ; rdf:value {} ]", quoted(knob.positions[i]), i));
    }
    lines.push_back("lv2:portProperty lv2:integer , lv2:enumeration");
    lines.push_back(fmt::format("lv2:scalePoint {}", fmt::join(points, " , ")));
  }
  const std::string unit = unit_of(knob.unit);
  if (!unit.empty()) lines.push_back(unit);
  return fmt::format(" , [\n\t\t{}\n\t]", fmt::join(lines, " ;\n\t\t"));
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  CAFX_CHECK(at != std::string::npos, from);
  text.replace(at, from.size(), to);
}

void write(const fs::path& path, const std::string& text) { write_file_atomically(path, text.data(), text.size()); }

}  // namespace

std::string lv2_uri(const Model& model) {
  Hasher hash;
  hash.add(std::string(model.config().type()));
  hash.add(model_metadata(model, {}).at("config"));
  hash.add(model.data(), sizeof(float) * static_cast<std::size_t>(model.n_floats()));
  return "urn:cafx:model:" + hash.hex().substr(0, 16);
}

std::string lv2_manifest(const std::string& uri) {
  return fmt::format(
      "@prefix lv2: <http://lv2plug.in/ns/lv2core#> .\n@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> "
      ".\n\n<{}>\n"
      "\ta lv2:Plugin ;\n\tlv2:binary <{}> ;\n\trdfs:seeAlso <cafx.ttl> .\n",
      uri, kLv2Binary);
}

std::string lv2_description(const Model& model, const std::string& uri, const std::string& name) {
  std::istringstream in(kLv2Text);
  std::string text;
  for (std::string line; std::getline(in, line);) {
    if (line.find("# of the player alone") == std::string::npos) text += line + "\n";
  }
  const ModelConfig& config = model.config();
  replace(text, "<urn:cafx:player>", "<" + uri + ">");
  replace(text, "\"cafx player\"", quoted(name));
  replace(text, "\"Plays a model of an audio effect\"",
          quoted(fmt::format("An audio effect that cafx learned: {} at {} Hz", config.type(), config.sample_rate)));
  replace(text, "\"One channel through a model that cafx trained: a file that 'cafx export' wrote.\"",
          quoted(fmt::format("One channel through a model that cafx trained, type {}, {} parameters.", config.type(),
                             model.n_parameters())));
  std::string knobs;
  std::set<std::string> taken;
  int index = kPluginPorts;
  for (const Knob& knob : parse_knobs(config.knobs, "model.knobs")) knobs += port_of(knob, index++, taken);
  const std::size_t end = text.rfind("] .");
  CAFX_CHECK(end != std::string::npos, text.size());
  return text.insert(end + 1, knobs);
}

std::string why_not_lv2(const Model& model) {
  const std::size_t n = parse_knobs(model.config().knobs, "model.knobs").size();
  if (n > kPluginKnobs) return fmt::format("the plugin has ports for {} knobs, and this model has {}", kPluginKnobs, n);
  if (!model.position().empty())
    return "the plugin has a port for each knob, so none stands for good; leave --knob out";
  return "";
}

void save_lv2(const fs::path& path, const ModelFile& file, const std::string& name) {
  const fs::path program = player_program();
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path / kPluginUriFile, error)) {
    throw Error("{}: exists and is no bundle that cafx wrote; choose another name", printable(path.string()));
  }
  fs::create_directories(path, error);
  if (error) throw Error("{}: cannot be made: {}", printable(path.string()), error.message());
  const std::string uri = lv2_uri(*file.model);
  write(path / kPluginUriFile, uri + "\n");
  save_model(path / kPluginModelFile, *file.model, file.metadata);
  // Another file under the same name, so that a host that has the former one loaded keeps it.
  const fs::path copy = path / (std::string(kLv2Binary) + ".new");
  fs::copy_file(program, copy, fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(copy, path / kLv2Binary, error);
  if (error) throw Error("{}: cannot be written: {}", printable((path / kLv2Binary).string()), error.message());
  write(path / "cafx.ttl", lv2_description(*file.model, uri, name));
  write(path / "manifest.ttl", lv2_manifest(uri));
}

}  // namespace cafx
