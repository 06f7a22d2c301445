#include "kernels/base/knobs.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "kernels/base/describe.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

std::string trimmed_word(const std::string& s) {
  const std::size_t from = s.find_first_not_of(" \t"), to = s.find_last_not_of(" \t");
  return from == std::string::npos ? "" : s.substr(from, to - from + 1);
}

std::string in_lower_case(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

// The number that a text begins with, after a plus sign or not, and what is left of it.
std::optional<double> number_at(const std::string& text, std::string& rest) {
  double value = 0.0;
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data() + (plus ? 1 : 0), end, value);
  if (error != std::errc() || !std::isfinite(value)) return std::nullopt;
  rest.assign(at, end);
  return value;
}

std::vector<std::string> words_between(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  for (std::string& p : parts) p = trimmed_word(p);
  return parts;
}

Knob parse_knob(const std::string& text, const std::string& where) {
  const auto refuse = [&](const std::string& reason) {
    throw Error("{}: \"{}\": {}; expected NAME: LOWEST..HIGHEST UNIT, or NAME: POSITION|POSITION", where, text, reason);
  };
  const std::size_t colon = text.find(':');
  Knob knob;
  knob.name = trimmed_word(text.substr(0, colon));
  if (colon == std::string::npos || knob.name.empty()) refuse("has no name before a colon");
  if (knob.name.find('=') != std::string::npos) refuse("the name has a =");
  const std::string what = trimmed_word(text.substr(colon + 1));
  if (what.find('|') != std::string::npos) {
    knob.positions = words_between(what, '|');
    std::set<std::string> names;
    for (const std::string& p : knob.positions) {
      if (p.empty()) refuse("a position has no name");
      if (!names.insert(in_lower_case(p)).second) refuse(fmt::format("the position {} stands there twice", p));
    }
    if (knob.positions.size() > 64) refuse("has over 64 positions");
    return knob;
  }
  const std::size_t dots = what.find("..");
  std::string rest;
  const auto lo = dots == std::string::npos ? std::nullopt : number_at(trimmed_word(what.substr(0, dots)), rest);
  if (!lo || !rest.empty()) refuse("has neither a range nor positions");
  const auto hi = number_at(trimmed_word(what.substr(dots + 2)), rest);
  if (!hi) refuse("the range has no end");
  if (!(*lo < *hi)) refuse(fmt::format("the range is empty, from {} to {}", *lo, *hi));
  knob.lo = *lo;
  knob.hi = *hi;
  knob.unit = trimmed_word(rest);
  return knob;
}

}  // namespace

bool Knob::holds(double value) const {
  const auto as_float = [](double end) { return static_cast<double>(static_cast<float>(end)); };
  return value >= std::min(least(), as_float(least())) && value <= std::max(largest(), as_float(largest()));
}

std::string Knob::range() const {
  if (is_switch()) return fmt::format("{}", fmt::join(positions, positions.size() == 2 ? " or " : ", "));
  return fmt::format("{} to {}{}{}", lo, hi, unit.empty() ? "" : " ", unit);
}

std::string Knob::show(double value) const {
  if (is_switch()) {
    return positions[static_cast<std::size_t>(std::clamp(std::round(value), 0.0, largest()))];
  }
  return fmt::format("{}{}{}", value, unit.empty() ? "" : " ", unit);
}

std::vector<Knob> parse_knobs(const std::vector<std::string>& texts, const std::string& where) {
  std::vector<Knob> knobs;
  std::set<std::string> names;
  for (const std::string& text : texts) {
    knobs.push_back(parse_knob(text, where));
    if (!names.insert(in_lower_case(knobs.back().name)).second) {
      throw Error("{}: the knob \"{}\" stands there twice", where, knobs.back().name);
    }
  }
  if (knobs.size() > 64) throw Error("{}: {} knobs; at most 64 are known to work", where, knobs.size());
  return knobs;
}

int count_controls(const std::vector<Knob>& knobs) {
  int n = 0;
  for (const Knob& k : knobs) n += k.controls();
  return n;
}

namespace {

// How many of the knob's unit are one of `unit`, in letters of any case; nothing where it is another kind of unit.
std::optional<double> in_units_of(const Knob& knob, const std::string& unit) {
  static const std::vector<std::vector<std::pair<std::string, double>>> kinds = {{{"hz", 1.0}, {"khz", 1000.0}},
                                                                                 {{"ms", 1.0}, {"s", 1000.0}}};
  const std::string own = in_lower_case(knob.unit), its = in_lower_case(unit);
  if (its.empty() || its == own) return 1.0;
  for (const auto& kind : kinds) {
    double from = 0.0, to = 0.0;
    for (const auto& [name, size] : kind) {
      if (name == its) from = size;
      if (name == own) to = size;
    }
    if (from > 0.0 && to > 0.0) return from / to;
  }
  return std::nullopt;
}

double position_of(const Knob& knob, const std::string& text, const std::string& where) {
  std::string rest;
  const auto number = number_at(trimmed_word(text), rest);
  for (std::size_t i = 0; i < knob.positions.size(); ++i) {
    std::string tail;
    const auto named = number_at(knob.positions[i], tail);
    if (in_lower_case(knob.positions[i]) == in_lower_case(trimmed_word(text)) ||
        (named && tail.empty() && number && rest.empty() && *named == *number)) {
      return static_cast<double>(i);
    }
  }
  throw Error("{}: {} = {} is out of its range, {}{}", where, knob.name, text, knob.range(),
              did_you_mean(text, knob.positions));
}

}  // namespace

double value_of(const Knob& knob, const std::string& text, const std::string& where) {
  if (knob.is_switch()) return position_of(knob, text, where);
  const std::string word = trimmed_word(text);
  if (word.empty()) throw Error("{}: {} has no value; its range is {}", where, knob.name, knob.range());
  std::string unit;
  const auto number = number_at(word, unit);
  unit = trimmed_word(unit);
  if (word.find(',') != std::string::npos) {
    throw Error("{}: {} = {} is no number; write it with a point, as 3.5", where, knob.name, text);
  }
  // What stands behind a number is a unit where it begins as one: a letter, %, or what is no ASCII, as a degree sign.
  const auto begins_unit = [](char c) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == '%' || static_cast<unsigned char>(c) >= 0x80;
  };
  if (!number || (!unit.empty() && !begins_unit(unit.front()))) {
    throw Error("{}: {} = {} is no number; its range is {}", where, knob.name, text, knob.range());
  }
  const auto factor = in_units_of(knob, unit);
  if (!factor) {
    throw Error("{}: {} = {} has the unit {}, and the knob has {}; its range is {}", where, knob.name, text, unit,
                knob.unit.empty() ? "none" : knob.unit, knob.range());
  }
  const double value = *number * *factor;
  if (!knob.holds(value)) throw Error("{}: {} = {} is out of its range, {}", where, knob.name, text, knob.range());
  return std::clamp(value, knob.lo, knob.hi);
}

void write_controls(float* controls, const Knob& knob, double value) noexcept {
  const double v = std::clamp(knob.is_switch() ? std::round(value) : value, knob.least(), knob.largest());
  if (knob.controls() > 1) {
    const auto at = static_cast<int>(std::lround(v));
    for (int i = 0; i < knob.controls(); ++i) controls[i] = i == at ? 1.0f : 0.0f;
    return;
  }
  controls[0] = static_cast<float>(2.0 * (v - knob.least()) / (knob.largest() - knob.least()) - 1.0);
}

std::vector<float> controls_at(const std::vector<Knob>& knobs, const std::vector<double>& values) {
  CAFX_CHECK(knobs.size() == values.size(), knobs.size(), values.size());
  std::vector<float> controls(static_cast<std::size_t>(count_controls(knobs)));
  float* at = controls.data();
  for (std::size_t i = 0; i < knobs.size(); ++i) {
    write_controls(at, knobs[i], values[i]);
    at += knobs[i].controls();
  }
  return controls;
}

std::vector<double> knobs_at_start(const std::vector<Knob>& knobs) {
  std::vector<double> values;
  for (const Knob& k : knobs) values.push_back(k.start());
  return values;
}

std::pair<std::size_t, double> knob_setting(const std::vector<Knob>& knobs, const std::string& setting,
                                            const std::string& where) {
  const std::size_t equals = setting.find('=');
  const std::string name = trimmed_word(setting.substr(0, equals));
  if (equals == std::string::npos) throw Error("{} {}: expected NAME=VALUE, as gain=5", where, setting);
  if (knobs.empty()) throw Error("{} {}: the model has no knobs", where, setting);
  const auto knob = std::find_if(knobs.begin(), knobs.end(),
                                 [&](const Knob& k) { return in_lower_case(k.name) == in_lower_case(name); });
  if (knob == knobs.end()) {
    std::vector<std::string> names;
    for (const Knob& k : knobs) names.push_back(k.name);
    throw Error("{} {}: the model has no knob of this name{}", where, setting, did_you_mean(name, names, true));
  }
  return {static_cast<std::size_t>(knob - knobs.begin()), value_of(*knob, setting.substr(equals + 1), where)};
}

std::vector<double> knob_values(const std::vector<Knob>& knobs, const std::vector<std::string>& settings,
                                const std::string& where) {
  std::vector<double> values = knobs_at_start(knobs);
  std::vector<bool> set(knobs.size(), false);
  for (const std::string& setting : settings) {
    const auto [knob, value] = knob_setting(knobs, setting, where);
    if (set[knob]) throw Error("{} {}: {} is set twice", where, setting, knobs[knob].name);
    set[knob] = true;
    values[knob] = value;
  }
  return values;
}

}  // namespace cafx
