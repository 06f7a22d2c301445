#include "datasets/split.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "datasets/dataset.h"
#include "datasets/find/repeats.h"
#include "datasets/positions.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

constexpr double kLeastShare = 0.25;   // of the median length
constexpr float kQuiet = 1e-3f;        // of the loudest: 60 dB
constexpr double kLeastSeconds = 0.5;  // of a part
constexpr float kSilentPeak = 1e-5f;

float peak_of(std::span<const float> x) {
  constexpr std::size_t kLanes = 8;  // that do not wait for each other
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) lanes[k] = std::max(lanes[k], std::abs(x[i + k]));
  }
  for (; i < x.size(); ++i) lanes[0] = std::max(lanes[0], std::abs(x[i]));
  return *std::max_element(lanes, lanes + kLanes);
}

const Pair& at(const Dataset& data, int i) { return data.pairs[static_cast<std::size_t>(i)]; }

// Which notes an entry of data.test_notes or data.validation_notes means: that of exactly this name, else the pieces
// of the recording of this name, else all whose names begin so.
std::set<std::string> meant_by(const Dataset& data, const std::string& entry) {
  std::set<std::string> names, pieces;
  if (entry.empty()) return names;
  for (const Pair& p : data.pairs) {
    if (p.name == entry) return {entry};
    if (p.name.rfind(entry + "@", 0) == 0) pieces.insert(p.name);
    if (p.name.rfind(entry, 0) == 0) names.insert(p.name);
  }
  return pieces.empty() ? names : pieces;
}

std::set<std::string> listed(const Dataset& data, const std::vector<std::string>& entries, const char* key) {
  std::set<std::string> names;
  for (const std::string& entry : entries) {
    const auto meant = meant_by(data, entry);
    if (meant.empty()) {
      throw Error("data.{} names '{}', but no note of the data begins so; the first is '{}'", key, entry,
                  data.pairs.front().name);
    }
    names.insert(meant.begin(), meant.end());
  }
  return names;
}

// A note can be in one part alone, with all that the split keeps beside it: the part that loses it would be empty.
void refuse_named_twice(const std::map<std::string, std::vector<int>>& units, const Dataset& data,
                        const std::set<std::string>& test, const std::set<std::string>& validation,
                        const DataConfig& config) {
  for (const auto& entry : units) {
    const std::vector<int>& pairs = entry.second;
    const auto first_of = [&](const std::set<std::string>& names) {
      const auto found = std::find_if(pairs.begin(), pairs.end(), [&](int i) { return names.count(at(data, i).name); });
      return found == pairs.end() ? std::string() : at(data, *found).name;
    };
    for (const int i : pairs) {
      const std::string& name = at(data, i).name;
      if (!test.count(name) || !validation.count(name)) continue;
      throw Error(
          "data.validation_notes and data.test_notes both name the note '{}'; a note is in one part alone: name it in "
          "one of them",
          name);
    }
    const std::string of_test = first_of(test), of_validation = first_of(validation);
    if (of_test.empty() || of_validation.empty()) continue;
    throw Error(
        "data.validation_notes names '{}' and data.test_notes '{}', which data.split = \"{}\" keeps together; name "
        "notes that it does not, or set data.split = \"note\"",
        of_validation, of_test, config.split);
  }
}

std::string knobs_of(const Pair& p) { return fmt::format("{}", fmt::join(p.controls, " ")); }

// Pairs with a knob at an end of what was recorded of it, where something lies between: a model that learns without
// them would have to guess beyond its last position.
std::vector<bool> at_an_end(const Dataset& data, const std::vector<Knob>& knobs) {
  std::map<std::string, std::set<double>> positions;
  const auto over_numbers = [&](const Pair& p, const auto& body) {
    for (const KnobValue& k : p.knobs) {
      const auto knob = std::find_if(knobs.begin(), knobs.end(), [&](const Knob& its) { return its.name == k.name; });
      if (k.is_number()) {
        body(k.name, k.number);
      } else if (knob != knobs.end() && !knob->is_switch()) {  // with its unit, as "-10dB"
        body(k.name, value_in(*knob, k, file_of(p, true)));
      }
    }
  };
  for (const Pair& p : data.pairs)
    over_numbers(p, [&](const std::string& name, double number) { positions[name].insert(number); });
  std::vector<bool> ends(data.pairs.size(), false);
  for (std::size_t i = 0; i < ends.size(); ++i) {
    over_numbers(data.pairs[i], [&](const std::string& name, double number) {
      const std::set<double>& all = positions[name];
      if (all.size() > 2 && (number == *all.begin() || number == *all.rbegin())) ends[i] = true;
    });
  }
  return ends;
}

// Levels and lengths of all pairs, measured once.
struct Judges {
  std::vector<bool> can;
  explicit Judges(const Dataset& data) {
    std::vector<std::size_t> lengths;
    std::vector<float> dry, wet;
    for (const Pair& p : data.pairs) {
      lengths.push_back(p.dry.size());
      dry.push_back(peak_of(p.dry));
      wet.push_back(peak_of(p.wet));
    }
    if (lengths.empty()) return;
    const float loudest_dry = *std::max_element(dry.begin(), dry.end());
    const float loudest_wet = *std::max_element(wet.begin(), wet.end());
    std::vector<std::size_t> sorted = lengths;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<long>(sorted.size() / 2), sorted.end());
    const double least = kLeastShare * static_cast<double>(sorted[sorted.size() / 2]);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      can.push_back(static_cast<double>(lengths[i]) >= least && dry[i] >= kQuiet * loudest_dry &&
                    wet[i] >= kQuiet * loudest_wet);
    }
  }
};

}  // namespace

bool keeps_given_parts(const Dataset& data, const DataConfig& config) {
  if (!config.given_split || config.split != "knobs") return config.given_split;
  std::map<std::string, std::string> parts;
  return std::all_of(data.pairs.begin(), data.pairs.end(),
                     [&](const Pair& p) { return parts.emplace(knobs_of(p), p.part).first->second == p.part; });
}

bool can_judge(const Dataset& data, int pair) { return Judges(data).can[static_cast<std::size_t>(pair)]; }

Split split_dataset(const Dataset& data, const DataConfig& config) {
  enum { kTrain, kValidation, kTest };
  std::map<std::string, std::vector<int>> units;  // what stays together
  std::map<std::string, int> side;
  const auto test = listed(data, config.test_notes, "test_notes");
  const auto validation = listed(data, config.validation_notes, "validation_notes");
  const Judges judges(data);
  std::map<std::string, bool> able;
  const bool keeps_parts = keeps_given_parts(data, config);
  bool any_given = false;
  for (std::size_t i = 0; i < data.pairs.size(); ++i) {
    const Pair& p = data.pairs[i];
    const std::string unit = config.split == "instrument" ? p.group : config.split == "knobs" ? knobs_of(p) : p.name;
    units[unit].push_back(static_cast<int>(i));
    able[unit] = able[unit] || judges.can[i];
    const std::string given = keeps_parts ? p.part : "";
    any_given = any_given || !given.empty();
    if (test.count(p.name) || (given == "test" && test.empty()))
      side[unit] = kTest;
    else if ((validation.count(p.name) || (given == "validation" && validation.empty())) && !side.count(unit))
      side[unit] = kValidation;
  }
  refuse_named_twice(units, data, test, validation, config);
  const auto is_given = [&](int to) {
    return any_given && std::any_of(side.begin(), side.end(), [&](const auto& s) { return s.second == to; });
  };
  std::vector<std::string> free;
  for (const auto& [unit, pairs] : units) {
    if (!side.count(unit)) free.push_back(unit);
  }
  const auto order =
      permutation(static_cast<std::uint32_t>(free.size()), {static_cast<std::uint64_t>(config.seed), 77});
  const std::vector<bool> ends = config.split == "knobs" ? at_an_end(data, parse_knobs(config.knobs, "data.knobs"))
                                                         : std::vector<bool>(data.pairs.size());
  const auto is_end = [&](const std::string& unit) { return ends[static_cast<std::size_t>(units[unit].front())]; };
  std::vector<std::string> drawn;  // in the order of drawing, those that can judge first, and of them ends last
  for (const bool wanted : {true, false}) {
    for (const bool end : {false, true}) {
      for (const auto i : order) {
        if (able[free[i]] == wanted && is_end(free[i]) == end) drawn.push_back(free[i]);
      }
    }
  }
  std::size_t next = 0;
  const auto draw = [&](double share, const std::vector<std::string>& entries, int to) {
    if (!entries.empty() || share <= 0.0 || is_given(to)) return;
    const std::size_t n_units = any_given ? free.size() : units.size();
    auto n = static_cast<std::size_t>(std::lround(share * static_cast<double>(n_units)));
    if (n_units >= 3) n = std::max<std::size_t>(n, 1);
    for (; n > 0 && free.size() - next > 1; --n) side[drawn[next++]] = to;
  };
  draw(config.test, config.test_notes, kTest);
  draw(config.validation, config.validation_notes, kValidation);
  Split split;
  for (const auto& [unit, pairs] : units) {
    const auto found = side.find(unit);
    auto& part = found == side.end() ? split.train : found->second == kValidation ? split.validation : split.test;
    for (const int i : pairs) {
      if (&part == &split.train || !at(data, i).copy) part.push_back(i);
    }
  }
  for (auto* part : {&split.train, &split.validation, &split.test}) std::sort(part->begin(), part->end());
  if (split.train.empty()) {
    throw Error(
        "no note is left for training: {} notes, {} for validation, {} for the test; lower data.validation and "
        "data.test or name fewer notes",
        data.pairs.size(), split.validation.size(), split.test.size());
  }
  return split;
}

namespace {

nlohmann::ordered_json entry_of(const Pair& p) {
  nlohmann::ordered_json entry = {
      {"note", p.name}, {"dry", p.dry_path.filename().string()}, {"wet", p.wet_path.filename().string()}};
  for (const KnobValue& k : p.knobs) {
    if (k.is_number()) {
      entry["knobs"][k.name] = k.number;
    } else {
      entry["knobs"][k.name] = k.text;
    }
  }
  return entry;
}

// On one line, or set in; what is no UTF-8 is replaced.
std::string text_of(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::set<std::string> listed_in(const std::string& split_json, const std::string& part) {
  std::set<std::string> entries;
  const auto json = nlohmann::ordered_json::parse(split_json, nullptr, false);
  if (!json.is_object() || !json.contains(part)) return entries;
  for (const auto& entry : json[part]) entries.insert(text_of(entry, -1));
  return entries;
}

std::string listed_as(const Pair& p) { return text_of(entry_of(p), -1); }

std::string split_json(const Dataset& data, const Split& split) {
  nlohmann::ordered_json json;
  const auto names = [&](const std::vector<int>& part) {
    auto list = nlohmann::ordered_json::array();
    for (const int i : part) list.push_back(entry_of(at(data, i)));
    return list;
  };
  json["train"] = names(split.train);
  json["validation"] = names(split.validation);
  json["test"] = names(split.test);
  const Judges judges(data);
  std::vector<int> unable;
  for (std::size_t i = 0; i < judges.can.size(); ++i) {
    if (!judges.can[i]) unable.push_back(static_cast<int>(i));
  }
  if (!unable.empty()) json["too_quiet_or_short_to_judge"] = names(unable);
  return text_of(json, 2) + "\n";
}

namespace {

// Notes of a part that are in training too, under another name: by which of training.
std::map<int, int> repeats_of(const Dataset& data, const Split& split, const std::vector<int>& part) {
  if (data.split_by_knobs) return {};
  std::vector<std::span<const float>> what, where;
  for (const int i : part) what.push_back(at(data, i).dry);
  for (const int i : split.train) where.push_back(at(data, i).dry);
  std::map<int, int> found;
  const auto repeats = find_repeats(what, where, data.sample_rate > 0 ? data.sample_rate : 16000);
  for (std::size_t k = 0; k < part.size(); ++k) {
    if (repeats[k].of >= 0) found[part[k]] = split.train[static_cast<std::size_t>(repeats[k].of)];
  }
  return found;
}

std::string cannot_judge(const Dataset& data, const Split& split, const std::vector<int>& part, const char* name,
                         const std::map<int, int>& repeats) {
  if (part.empty() && data.split_by_knobs) {
    std::set<std::string> positions;
    for (const Pair& p : data.pairs) positions.insert(knobs_of(p));
    return fmt::format("there is no {} part: {} position{} of the knobs {} too few, or data.{} is 0", name,
                       positions.size(), positions.size() == 1 ? "" : "s", positions.size() == 1 ? "is" : "are", name);
  }
  if (part.empty()) {
    return fmt::format("there is no {} part: {} note{} of audio {} too few, or data.{} is 0", name, data.pairs.size(),
                       data.pairs.size() == 1 ? "" : "s", data.pairs.size() == 1 ? "is" : "are", name);
  }
  float loudest_dry = 0.0f, loudest_wet = 0.0f, own_dry = 0.0f, own_wet = 0.0f;
  for (const int i : split.train) {
    loudest_dry = std::max(loudest_dry, peak_of(at(data, i).dry));
    loudest_wet = std::max(loudest_wet, peak_of(at(data, i).wet));
  }
  double seconds = 0.0, repeated = 0.0;
  for (const int i : part) {
    const Pair& p = at(data, i);
    own_dry = std::max(own_dry, peak_of(p.dry));
    own_wet = std::max(own_wet, peak_of(p.wet));
    const double own = static_cast<double>(p.dry.size()) / std::max(1, data.sample_rate);
    seconds += own;
    if (repeats.count(i)) repeated += own;
  }
  if (own_dry < kQuiet * loudest_dry || own_wet < kQuiet * loudest_wet || own_wet < kSilentPeak) {
    return fmt::format("the {} part is silent, or 60 dB under the training part", name);
  }
  if (seconds < kLeastSeconds) return fmt::format("the {} part lasts {:.2f} s", name, seconds);
  if (repeated > 0.5 * seconds) {
    return fmt::format("{:.0f} % of the {} part are in the training part too, under another name or level",
                       100.0 * repeated / seconds, name);
  }
  return "";
}

}  // namespace

Judgement judge_split(const Dataset& data, const Split& split) {
  return {cannot_judge(data, split, split.validation, "validation", repeats_of(data, split, split.validation)),
          cannot_judge(data, split, split.test, "test", repeats_of(data, split, split.test))};
}

double training_peak(const Dataset& data, const Split& split) {
  float peak = 0.0f;
  for (const int i : split.train) {
    for (const float v : data.pairs[static_cast<std::size_t>(i)].dry) peak = std::max(peak, std::abs(v));
  }
  return static_cast<double>(peak);
}

std::vector<Finding> check_loudness(const Dataset& data, const Split& split, double silence_db) {
  float dry = 0.0f, wet = 0.0f;
  for (const int i : split.train) {
    dry = std::max(dry, peak_of(at(data, i).dry));
    wet = std::max(wet, peak_of(at(data, i).wet));
  }
  const auto db = [](float peak) { return 20.0 * std::log10(std::max(static_cast<double>(peak), 1e-10)); };
  if (std::max(db(dry), db(wet)) >= silence_db) return {};
  return {{Severity::kRefuse, "silence", "the training part", -1.0,
           fmt::format("peaks at {:.1f} dB (dry) and {:.1f} dB (wet), so train.silence_db = {} leaves out all of it",
                       db(dry), db(wet), silence_db),
           "it was recorded at too low a level",
           fmt::format("record it louder, or raise it, as --set data.dry_gain_db={:.0f} --set data.wet_gain_db={:.0f}",
                       -6.0 - db(dry), -6.0 - db(wet))}};
}

namespace {

// A stretch of a file, in seconds.
struct Stretch {
  double from = 0.0, to = 0.0;
};
Stretch in_its_file(const Pair& p, int rate) {
  const double from = p.excerpt_seconds + p.offset_seconds;
  return {from, from + static_cast<double>(p.dry.size()) / std::max(1, rate)};
}

// What rows of a table have of one dry file in training and in another part as well: their start and stop overlap.
struct Overlap {
  double all = 0.0, shared = 0.0, first = -1.0;  // seconds that the part has of the file, and those in training too
};

class Overlaps {
 public:
  Overlaps(const Dataset& data, const Split& split) : data_(data) {
    if (data.split_by_knobs) return;
    for (const int i : split.train)
      training_[at(data, i).dry_path].push_back(in_its_file(at(data, i), data.sample_rate));
    for (auto& [path, stretches] : training_) {
      std::sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) { return a.from < b.from; });
    }
  }

  // What of the pair is in training; lags that were taken out move ends by less than is told.
  Overlap of(int i) const {
    constexpr double kLeast = 0.1;
    const Pair& p = at(data_, i);
    const Stretch own = in_its_file(p, data_.sample_rate);
    Overlap overlap{own.to - own.from};
    const auto found = training_.find(p.dry_path);
    if (found == training_.end() || p.dry_path.empty()) return overlap;
    double done = own.from;
    for (const Stretch& t : found->second) {
      const double from = std::max(done, t.from), to = std::min(own.to, t.to);
      if (to <= from) continue;
      if (overlap.first < 0.0) overlap.first = from;
      overlap.shared += to - from;
      done = to;
    }
    return overlap.shared > kLeast ? overlap : Overlap{overlap.all};
  }

 private:
  const Dataset& data_;
  std::map<std::filesystem::path, std::vector<Stretch>> training_;
};

void tell_overlaps(const std::map<std::string, Overlap>& files, const char* part, bool by_position,
                   std::vector<Finding>& found) {
  for (const auto& [file, overlap] : files) {
    if (!(overlap.shared > 0.0)) continue;
    found.push_back(
        {Severity::kRefuse, "leak", file, overlap.first,
         fmt::format("{:.1f} of the {:.1f} s that the {} part has of it are in training too", overlap.shared,
                     overlap.all, part),
         by_position ? "the parts have the same notes, at other positions of the knobs"
                     : "start and stop of two rows overlap, or one file is in both parts",
         by_position ? "set data.split=knobs, which keeps these parts and judges positions that training never heard"
                     : "let one part begin where the other stops, as stop = 20 for training and start = 20 for the "
                       "test"});
  }
}

}  // namespace

std::vector<Finding> check_split(const Dataset& data, const Split& split, const DataConfig& config) {
  std::map<std::string, const Pair*> seen;
  const auto hash_of = [&](const Pair& p) {
    Hasher hasher;
    hasher.add(p.dry.data(), p.dry.size() * sizeof(float));
    if (data.split_by_knobs) hasher.add(p.wet.data(), p.wet.size() * sizeof(float));
    return hasher.hex();
  };
  for (const int i : split.train) {
    const Pair& p = at(data, i);
    seen.emplace(hash_of(p), &p);
    if (!data.split_by_knobs) seen.emplace(p.name, &p);
  }
  std::vector<Finding> found;
  const Overlaps overlaps(data, split);
  DataConfig as_knobs = config;
  as_knobs.split = "knobs";
  const bool by_position = !config.knobs.empty() && keeps_given_parts(data, as_knobs);
  for (const auto& [part, name] : {std::pair(&split.validation, "validation"), std::pair(&split.test, "test")}) {
    auto repeats = repeats_of(data, split, *part);
    std::map<std::string, Overlap> overlapping;  // by file
    for (const int i : *part) {
      const Pair& p = at(data, i);
      auto twin = seen.find(hash_of(p));
      if (twin == seen.end()) twin = seen.find(p.name);
      if (peak_of(p.dry) < kSilentPeak) continue;
      const Overlap overlap = overlaps.of(i);
      Overlap& of_file = overlapping[file_of(p, false)];
      of_file.all += overlap.all;
      if (overlap.shared > 0.0) {
        of_file.shared += overlap.shared;
        if (of_file.first < 0.0) of_file.first = overlap.first;
      } else if (twin != seen.end()) {
        repeats.erase(i);
        found.push_back(
            {Severity::kRefuse, "leak", file_of(p, false), -1.0,
             fmt::format("is in the {} part, and the same as {} in training", name, file_of(*twin->second, false)),
             "a note is there twice under two names", "remove one of them"});
      } else if (repeats.count(i)) {
        found.push_back({Severity::kWarning, "leak", file_of(p, false), p.offset_seconds,
                         fmt::format("{} is in the {} part, and the same sound is in training as {}", p.name, name,
                                     at(data, repeats[i]).name),
                         "a loop, or a recording that is there twice at two levels",
                         "name other notes, by data.validation_notes and data.test_notes, or record more"});
      }
    }
    tell_overlaps(overlapping, name, by_position, found);
    const std::string reason = cannot_judge(data, split, *part, name, repeats);
    if (!reason.empty()) {
      found.push_back({Severity::kWarning, "judge", fmt::format("the {} part", name), -1.0,
                       fmt::format("cannot judge: {}", reason), "its error would say nothing of the model",
                       "record more, or choose the notes by data.validation_notes and data.test_notes"});
    }
  }
  for (const auto& [entries, key] :
       {std::pair(&config.validation_notes, "validation_notes"), std::pair(&config.test_notes, "test_notes")}) {
    for (const std::string& entry : *entries) {
      const auto meant = meant_by(data, entry);
      if (meant.size() < 2) continue;
      found.push_back({Severity::kInfo, "split", fmt::format("data.{}", key), -1.0,
                       fmt::format("'{}' is the beginning of {} names: {}, {}{}", entry, meant.size(), *meant.begin(),
                                   *std::next(meant.begin()), meant.size() > 2 ? ", ..." : ""),
                       "no note has exactly this name", "nothing need be done where all are meant"});
    }
  }
  return found;
}

}  // namespace cafx
