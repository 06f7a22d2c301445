#include "datasets/readers/naming.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "datasets/readers/duplicates.h"
#include "kernels/base/describe.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/base/printable.h"
#include "kernels/base/shell_word.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDevice = "device";  // a setting, though both sides name it

struct Named {
  fs::path path;
  NameParts parts;
};

struct Listing {
  std::vector<Named> dry, wet;
  std::vector<fs::path> others;
};

Listing list_names(const fs::path& folder, const std::vector<fs::path>& files, const Naming& naming) {
  Listing listing;
  for (const fs::path& path : files) {
    const std::string name = path.lexically_relative(folder).generic_string();
    std::optional<NameParts> dry = naming.dry ? naming.dry->match(name) : std::nullopt, wet;
    if (!dry) wet = naming.wet.match(name);
    if (dry) {
      listing.dry.push_back({path, std::move(*dry)});
    } else if (!wet) {
      listing.others.push_back(path);
    } else {
      (naming.dry || wet->wet ? listing.wet : listing.dry).push_back({path, std::move(*wet)});
    }
  }
  return listing;
}

bool has_name(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// What is equal in a pair: names of placeholders, in the order of the dry pattern.
std::vector<std::string> shared_names(const Naming& naming) {
  return naming.dry ? naming.dry->names() : naming.wet.names();
}

std::string key_of(const NameParts& parts, const Naming& naming) {
  const bool split = naming.wet.has_split() && (!naming.dry || naming.dry->has_split());
  std::string key = split ? lower_case(parts.split) + "/" : "";
  for (const std::string& name : shared_names(naming)) key += lower_case(parts.names.at(name)) + "/";
  const std::vector<std::string> knobs = naming.dry ? naming.dry->knobs() : std::vector<std::string>();
  for (const KnobValue& k : parts.knobs) {
    if (has_name(knobs, "knobs") || has_name(knobs, "knob:" + k.name)) key += k.name + "=" + k.show() + "/";
  }
  return key;
}

Setting setting_of(const NameParts& parts, const Naming& naming) {
  const auto shared = shared_names(naming);
  Setting setting;
  for (const std::string& name : naming.wet.names()) {
    if (name == kDevice || !has_name(shared, name)) setting.names.emplace_back(name, parts.names.at(name));
  }
  setting.knobs = parts.knobs;
  return setting;
}

// The values of one name over all settings, with how often each is there.
std::map<std::string, std::map<std::string, int>> values_of(const std::vector<Setting>& settings) {
  std::map<std::string, std::map<std::string, int>> values;
  for (const Setting& s : settings) {
    for (const auto& [name, value] : s.names) ++values[name][value];
    for (const KnobValue& k : s.knobs) ++values[k.name][k.show()];
  }
  return values;
}

std::string list_of_values(const std::map<std::string, int>& values, bool with_counts) {
  constexpr std::size_t kMost = 8;
  std::string text;
  std::size_t n = 0;
  for (const auto& [value, count] : values) {
    if (++n > kMost) return fmt::format("{}, ... ({} in all)", text, values.size());
    text += fmt::format("{}{}", text.empty() ? "" : ", ", printable_line(value));
    if (with_counts) text += fmt::format(" ({} pairs)", count);
  }
  return text;
}

}  // namespace

Naming::Naming(const std::string& wet_text, const std::string& wet_key, const std::string& dry_text,
               const std::string& dry_key)
    : wet(wet_text, wet_key) {
  const auto refuse = [](const NamePattern& p, const std::string& key, const std::string& reason) {
    throw Error("{} = \"{}\": {}", key, p.text(), reason);
  };
  if (dry_text.empty()) {
    if (!wet.has_side()) {
      refuse(wet, wet_key,
             fmt::format("tells no dry files; name them by {}, or say what tells the sides apart, as "
                         "{{side:input,target}}",
                         dry_key));
    }
    return;
  }
  if (wet.has_side()) refuse(wet, wet_key, fmt::format("has a {{side}}, so {} must be empty", dry_key));
  dry.emplace(dry_text, dry_key);
  if (dry->has_side()) refuse(*dry, dry_key, "dry files have no {side}");
  for (const std::string& knob : dry->knobs()) {
    if (!has_name(wet.knobs(), knob)) refuse(*dry, dry_key, fmt::format("{{{}}} is not in {}", knob, wet_key));
  }
  if (dry->has_split() && !wet.has_split()) refuse(*dry, dry_key, fmt::format("has a {{split}}, {} none", wet_key));
  for (const std::string& name : dry->names()) {
    if (!has_name(wet.names(), name)) refuse(*dry, dry_key, fmt::format("{{{}}} is not in {}", name, wet_key));
  }
}

std::string Naming::text() const {
  return dry ? fmt::format("dry '{}', wet '{}'", dry->text(), wet.text()) : fmt::format("'{}'", wet.text());
}

std::string Setting::text() const {
  std::string text;
  for (const auto& [name, value] : names) text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, value);
  for (const KnobValue& k : knobs) text += fmt::format("{}{}={}", text.empty() ? "" : " ", k.name, k.show());
  return note_name(text);
}

std::vector<bool> selected(const std::vector<Setting>& settings, const DataConfig& config) {
  std::vector<bool> take(settings.size(), true);
  const auto values = values_of(settings);
  std::map<std::string, std::set<std::string>> wanted;
  for (const std::string& entry : config.select) {
    const std::size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals), value = entry.substr(equals + 1);
    const auto known = values.find(name);
    if (known == values.end()) {
      std::vector<std::string> names;
      for (const auto& [n, counts] : values) names.push_back(n);
      if (names.empty()) throw Error("data.select names '{}', but the recordings have one setting only", name);
      throw Error("data.select names '{}', which the recordings do not have{}", name, did_you_mean(name, names, true));
    }
    const auto number = number_of(value);
    bool found = false;
    for (const auto& [there, count] : known->second) {
      const auto its = number_of(there);
      if (number && its ? *number != *its : lower_case(value) != lower_case(there)) continue;
      wanted[name].insert(there);
      found = true;
    }
    if (!found) {
      throw Error("data.select = {}={}: no recording has it; there are: {}", name, value,
                  list_of_values(known->second, false));
    }
  }
  for (std::size_t i = 0; i < settings.size(); ++i) {
    std::map<std::string, std::string> own;
    for (const auto& [name, value] : settings[i].names) own[name] = value;
    for (const KnobValue& k : settings[i].knobs) own[k.name] = k.show();
    for (const auto& [name, some] : wanted) {
      if (!own.count(name) || !some.count(own[name])) take[i] = false;
    }
  }
  return take;
}

namespace {

// A list of texts as --set takes it, for a shell.
std::string set_list(const std::string& key, const std::vector<std::string>& texts) {
  const bool plain = texts.size() == 1 && texts[0].find_first_of(",[]\"\\") == std::string::npos;
  return "--set " + shell_word(key + "=" + (plain ? texts[0] : nlohmann::json(texts).dump()));
}

// The knob that has these values, in words; empty where they make none that could be told in a line. Numbers with one
// unit, or none, are a range: as a switch it would have nothing between them.
std::string as_knob(const std::string& name, const std::map<std::string, int>& values) {
  constexpr std::size_t kMostPositions = 12;
  double lo = 0.0, hi = 0.0;
  bool numbers = true;
  std::string positions, unit;
  for (const auto& entry : values) {
    const auto own = measured(decimal_point(entry.first));
    const Measured value = own.value_or(Measured());
    if (unit.empty()) unit = value.unit;
    numbers = numbers && own && (value.unit.empty() || lower_case(value.unit) == lower_case(unit));
    lo = positions.empty() ? value.number : std::min(lo, value.number);
    hi = positions.empty() ? value.number : std::max(hi, value.number);
    positions += (positions.empty() ? "" : "|") + entry.first;
  }
  const bool words = values.size() <= kMostPositions &&
                     static_cast<std::size_t>(std::count(positions.begin(), positions.end(), '|')) == values.size() - 1;
  if (!numbers && !words) return "";
  const std::string text =
      numbers ? fmt::format("{}: {}..{}{}{}", name, lo, hi, unit.empty() ? "" : " ", unit) : name + ": " + positions;
  try {
    parse_knobs({text}, "");
    return text;
  } catch (const Error&) {
    return "";
  }
}

// How a model learns a setting rather than being one of it; empty where its reader makes no knob of it.
std::string learned_as_knob(const std::string& name, const std::map<std::string, int>& values, bool is_knob,
                            const DataConfig& config) {
  const std::string text = as_knob(name, values);
  if (text.empty()) return "";
  std::vector<std::string> knobs = config.knobs;
  knobs.push_back(text);
  const std::string set = set_list("data.knobs", knobs);
  if (is_knob) return ", or let a model learn it as a knob: " + set;
  if (config.reader == "manifest") {
    return fmt::format(", or call its column 'knob:{}' and let a model learn it as a knob: {}", name, set);
  }
  const std::string placeholder = "{" + name + "}";
  if (config.reader == "pattern" && config.dry_pattern.find(placeholder) == std::string::npos) {
    return fmt::format(", or write {{knob:{}}} in data.pattern and let a model learn it as a knob: {}", name, set);
  }
  return "";
}

}  // namespace

void check_settings(const std::vector<Setting>& settings, const DataConfig& config, const std::string& where,
                    std::vector<Finding>& findings) {
  const std::vector<Knob> learned = parse_knobs(config.knobs, "data.knobs");
  const auto is_a_knob = [&](const std::string& name) {
    return std::any_of(settings.begin(), settings.end(), [&](const Setting& s) {
      return std::any_of(s.knobs.begin(), s.knobs.end(), [&](const KnobValue& k) { return k.name == name; });
    });
  };
  const auto all = values_of(settings);
  for (const bool knobs : {false, true}) {  // a device is chosen first: its knobs are its own
    for (const auto& entry : all) {
      const std::string& name = entry.first;
      const std::map<std::string, int>& values = entry.second;
      const bool learns = std::any_of(learned.begin(), learned.end(), [&](const Knob& k) { return k.name == name; });
      if (values.size() < 2 || learns || is_a_knob(name) != knobs) continue;
      std::vector<std::string> select = config.select;
      select.push_back(name + "=" + values.begin()->first);
      findings.push_back({Severity::kRefuse, "settings", where, -1.0,
                          fmt::format("{} has {} values: {}", name, values.size(), list_of_values(values, true)),
                          "each is another sound, and a model without knobs would learn their mean",
                          fmt::format("choose one, as {}{}", set_list("data.select", select),
                                      learned_as_knob(name, values, knobs, config))});
    }
  }
}

std::size_t count_pairs(const fs::path& folder, const std::vector<fs::path>& files, const Naming& naming) {
  const Listing listing = list_names(folder, files, naming);
  std::set<std::string> dry;
  for (const Named& d : listing.dry) dry.insert(key_of(d.parts, naming));
  return static_cast<std::size_t>(std::count_if(
      listing.wet.begin(), listing.wet.end(), [&](const Named& w) { return dry.count(key_of(w.parts, naming)) > 0; }));
}

namespace {

class PairsByName {
 public:
  PairsByName(const fs::path& folder, const std::vector<fs::path>& files, const Naming& naming,
              const DataConfig& config)
      : folder_(folder), naming_(naming), config_(config), listing_(list_names(folder, files, naming)) {}

  Sources run() {
    take_dry();
    take_wet();
    tell_left_out();
    std::sort(sources_.pairs.begin(), sources_.pairs.end(),
              [](const Source& a, const Source& b) { return std::tie(a.dry, a.wet) < std::tie(b.dry, b.wet); });
    return std::move(sources_);
  }

 private:
  struct Dry {
    fs::path path;
    bool used = false;
  };

  void take_dry() {
    std::map<std::string, std::vector<fs::path>> files;
    for (const Named& d : listing_.dry) files[key_of(d.parts, naming_)].push_back(d.path);
    for (const auto& [key, paths] : files) {
      dry_[key].path = choose_of_equal_names(paths, paths.front().stem().string(), sources_.findings);
    }
  }

  void take_wet() {
    std::vector<Setting> settings;
    for (const Named& w : listing_.wet) settings.push_back(setting_of(w.parts, naming_));
    const std::vector<bool> take = selected(settings, config_);
    std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> same;  // by key and setting
    for (std::size_t i = 0; i < settings.size(); ++i) {
      if (take[i]) same[{key_of(listing_.wet[i].parts, naming_), settings[i].text()}].push_back(i);
    }
    std::vector<Setting> used;
    for (const auto& [key, which] : same) {
      const auto found = dry_.find(key.first);
      std::vector<fs::path> paths;
      for (const std::size_t i : which) paths.push_back(listing_.wet[i].path);
      if (found == dry_.end()) {
        for (const fs::path& p : paths) sources_.left_out.push_back(p.string() + ": wet, without a dry file");
        continue;
      }
      found->second.used = true;
      const Named& w = listing_.wet[which.front()];
      const fs::path wet = choose_of_equal_names(paths, w.path.stem().string(), sources_.findings);
      Source s{name_of(w.parts, found->second.path), "", found->second.path, wet, key.second};
      s.group = group_of(w.parts, s.name);
      s.part = part_of_word(w.parts.split);
      s.knobs = w.parts.knobs;
      sources_.pairs.push_back(std::move(s));
      used.push_back(settings[which.front()]);
    }
    check_settings(used, config_, printable(folder_.string()), sources_.findings);
  }

  // What the dry file's name says, after the part that the data set has it in.
  std::string name_of(const NameParts& parts, const fs::path& dry) const {
    std::string name;
    for (const std::string& n : shared_names(naming_)) name += (name.empty() ? "" : "/") + parts.names.at(n);
    if (name.empty()) name = dry.stem().string();
    return note_name(parts.split.empty() ? name : parts.split + "/" + name);
  }

  std::string group_of(const NameParts& parts, const std::string& name) const {
    std::string group;
    for (const std::string& n : shared_names(naming_)) {
      if (n != "note" && n != kDevice) group += (group.empty() ? "" : "/") + parts.names.at(n);
    }
    return group.empty() ? name : note_name(group);
  }

  void tell_left_out() {
    for (const auto& [key, dry] : dry_) {
      if (!dry.used && config_.select.empty())
        sources_.left_out.push_back(dry.path.string() + ": dry, without a wet file");
    }
    if (listing_.others.empty()) return;
    sources_.left_out.push_back(
        fmt::format("{}: {} named neither as a dry nor as a wet file ({})", listing_.others.front().string(),
                    listing_.others.size() == 1 ? std::string("is")
                                                : fmt::format("and {} more files are", listing_.others.size() - 1),
                    naming_.text()));
  }

  const fs::path& folder_;
  const Naming& naming_;
  const DataConfig& config_;
  Listing listing_;
  std::map<std::string, Dry> dry_;
  Sources sources_;
};

}  // namespace

Sources pairs_by_name(const fs::path& folder, const std::vector<fs::path>& files, const Naming& naming,
                      const DataConfig& config) {
  return PairsByName(folder, files, naming, config).run();
}

}  // namespace cafx
