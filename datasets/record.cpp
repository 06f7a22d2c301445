// What was found and done, as JSON, as lines, and as audio.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "datasets/dataset.h"
#include "kernels/base/csv.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

using Json = nlohmann::ordered_json;

Json finding_json(const Finding& f) {
  Json one = {{"severity", to_string(f.severity)}, {"code", f.code},   {"file", printable(f.file)},
              {"text", printable(f.text)},         {"cause", f.cause}, {"cure", f.cure}};
  if (f.seconds >= 0.0) one["seconds"] = f.seconds;
  return one;
}

std::string lost_text(double db) { return db <= -60.0 ? "less than -60 dB" : fmt::format("up to {:.1f} dB", db); }

}  // namespace

Json data_json(const Dataset& data) {
  double seconds = 0.0;
  for (const Pair& p : data.pairs) seconds += static_cast<double>(p.dry.size()) / std::max(1, data.sample_rate);
  Json json = {{"pairs", data.pairs.size()},
               {"seconds", seconds},
               {"sample_rate", data.sample_rate},
               {"bandwidth_hz", data.sample_rate / 2},
               {"file_rate", data.file_rate}};
  if (data.file_rate > data.sample_rate) json["wet_energy_above_db"] = std::round(10.0 * data.wet_lost_db) / 10.0;
  for (const KnobRange& k : knob_ranges(data)) {
    json["knobs"].push_back({{"name", k.name}, {"positions", k.positions}});
    if (!k.words) json["knobs"].back().update({{"min", k.lo}, {"max", k.hi}});
  }
  json["repairs"] = plan_json(data.repairs);
  json["findings"] = Json::array();
  for (const Finding& f : shorten(data.findings)) {
    if (f.severity != Severity::kInfo) json["findings"].push_back(finding_json(f));
  }
  for (const Finding& f : data.findings) {  // of a part, why its error is no result
    if (f.code == "judge")
      json["cannot_judge"][f.file.find("test") == std::string::npos ? "validation" : "test"] = f.text;
  }
  json["left_out"] = Json::array();
  for (const auto* list : {&data.unpaired, &data.unreadable}) {
    for (const std::string& line : *list) json["left_out"].push_back(printable(line));
  }
  return json;
}

std::vector<std::string> warning_lines(const Dataset& data) {
  std::vector<std::string> lines;
  for (const auto* list : {&data.unpaired, &data.unreadable}) {
    for (const std::string& line : *list) lines.push_back("left out: " + line);
  }
  for (const Finding& f : shorten(data.findings)) {
    if (f.severity == Severity::kInfo) continue;
    lines.push_back(fmt::format("{}: {}: {} ({}); {}", to_string(f.severity), f.file, f.text, f.cause, f.cure));
  }
  return lines;
}

std::vector<std::string> data_lines(const Dataset& data) {
  std::vector<std::string> lines;
  constexpr std::size_t kMost = 8;
  for (std::size_t i = 0; i < std::min(kMost, data.repairs.size()); ++i) {
    const Repair& r = data.repairs[i];
    lines.push_back(fmt::format("repaired: {}{}: {} (sure by {:.0f} %)", printable(r.file),
                                r.seconds >= 0.0 ? fmt::format(" at {:.3f} s", r.seconds) : "", r.text,
                                100.0 * r.confidence));
  }
  if (data.repairs.size() > kMost) {
    lines.push_back(fmt::format("repaired: {} pairs more, each by its own; data.json of the run lists them",
                                data.repairs.size() - kMost));
  }
  if (data.file_rate > data.sample_rate) {
    lines.push_back(fmt::format(
        "the model has a bandwidth of {:.1f} kHz: recordings of {} Hz are resampled to {} Hz, {} of the wet "
        "audio's energy lies above; --rate {} keeps it",
        0.0005 * data.sample_rate, data.file_rate, data.sample_rate, lost_text(data.wet_lost_db), data.file_rate));
  }
  return lines;
}

std::string findings_json(const Dataset& data) {
  Json json;
  json["pairs"] = data.pairs.size();
  json["unpaired"] = data.unpaired;
  json["unreadable"] = data.unreadable;
  json["repairs"] = plan_json(data.repairs);
  json["findings"] = Json::array();
  for (const Finding& f : data.findings) json["findings"].push_back(finding_json(f));
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

namespace {

// Names of the knobs of which every pair tells where they stood: a table with gaps would be refused.
std::vector<std::string> knobs_of_all(const Dataset& data) {
  std::vector<std::string> names;
  for (const KnobRange& k : knob_ranges(data)) {
    const auto has = [&](const Pair& p) {
      return std::any_of(p.knobs.begin(), p.knobs.end(), [&](const KnobValue& v) { return v.name == k.name; });
    };
    if (std::all_of(data.pairs.begin(), data.pairs.end(), has)) names.push_back(k.name);
  }
  return names;
}

// What the names of the files no longer say: which note each is, its part, and where the knobs stood.
class WrittenManifest {
 public:
  explicit WrittenManifest(const Dataset& data) : knobs_(knobs_of_all(data)) {
    for (const Pair& p : data.pairs) {
      parts_[p.name].insert(p.part);
      has_parts_ = has_parts_ || !p.part.empty();
    }
    std::vector<std::string> names{"dry", "wet", "name"};
    if (has_parts_) names.emplace_back("split");
    for (const std::string& name : knobs_) names.push_back("knob:" + name);
    text_ = csv_line(names);
  }
  bool tells_something() const { return has_parts_ || !knobs_.empty(); }
  void add(const Pair& p, const std::string& file) {
    // A note is in one part, for the reader.
    const std::string name = parts_[p.name].size() > 1 ? p.part + "/" + p.name : p.name;
    std::vector<std::string> cells{"dry/" + file, "wet/" + file, name};
    if (has_parts_) cells.push_back(p.part);
    for (const std::string& knob : knobs_) {
      const auto at = std::find_if(p.knobs.begin(), p.knobs.end(), [&](const KnobValue& v) { return v.name == knob; });
      cells.push_back(at->show());
    }
    text_ += csv_line(cells);
  }
  const std::string& text() const { return text_; }

 private:
  std::vector<std::string> knobs_;
  std::map<std::string, std::set<std::string>> parts_;
  bool has_parts_ = false;
  std::string text_;
};

}  // namespace

void write_pairs(const Dataset& data, const std::string& folder) {
  namespace fs = std::filesystem;
  for (const char* side : {"dry", "wet"}) {
    const fs::path path = fs::path(folder) / side;
    std::error_code error;
    if (fs::exists(path, error) && !fs::is_empty(path, error)) {
      throw Error("{}: is there already; give another folder to --write, or remove it", path.string());
    }
    fs::create_directories(path, error);
    if (error) throw Error("{}: cannot be made: {}; give another folder to --write", path.string(), error.message());
  }
  std::set<std::string> taken;
  WrittenManifest manifest(data);
  const fs::path table = fs::path(folder) / "manifest.csv";
  if (manifest.tells_something() && fs::exists(table)) {
    throw Error("{}: is there already; give another folder to --write, or remove it", table.string());
  }
  for (const Pair& p : data.pairs) {
    std::string name;
    for (const char c : p.name) name += c == '/' || c == '\\' || static_cast<unsigned char>(c) < 32 ? '_' : c;
    std::string own = name;
    for (int k = 2; !taken.insert(own).second; ++k) own = fmt::format("{}-{}", name, k);
    for (const bool wet : {false, true}) {
      write_audio(fs::path(folder) / (wet ? "wet" : "dry") / (own + ".wav"), wet ? p.wet : p.dry, data.sample_rate,
                  SampleFormat::kFloat);
    }
    manifest.add(p, own + ".wav");
  }
  if (manifest.tells_something()) write_file_atomically(table, manifest.text().data(), manifest.text().size());
}

}  // namespace cafx
