// kernels/base/describe.h -- one description of a config struct, from which TOML, --set, --help, hash and metadata
// come.
//
//   Fields describe(TrainConfig& c) {
//     return {field("batch", c.batch, 1, 65536, "frames in one step"),
//             choice("schedule", c.schedule, {"constant", "cosine"}, "learning rate over time")};
//   }
//
// A name may have dots ("saaf.segments"): a table in TOML. Ranges are closed. Defaults are the struct's own.
// Errors   set_field: Error that names key, value found, type or range expected; unknown key: the nearest known one.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace cafx {

struct Field {
  std::string name;
  std::variant<int*, std::int64_t*, double*, bool*, std::string*, std::vector<int>*, std::vector<std::string>*> value;
  double lo = -std::numeric_limits<double>::infinity(), hi = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;     // for strings; empty: any text
  std::string help;                     // one line, with the unit
  bool is_path = false;                 // of a file or folder: where it lies decides no result
  bool late = false;                    // came after the first release: left out of a run's hash at its default
  std::vector<std::string> forms = {};  // of the model that read it; empty: all of them
  // The comment that a run's hash covers, where help or choices have changed since; empty: those.
  std::string hashed = {};
  bool or_number = false;  // of a text: a whole number in TOML stands for itself as text
};
using Fields = std::vector<Field>;

template <class Number>
Field field(std::string name, Number& value, double lo, double hi, std::string help) {
  return {std::move(name), &value, lo, hi, {}, std::move(help)};
}
template <class Any>
Field field(std::string name, Any& value, std::string help) {
  Field f;
  f.name = std::move(name);
  f.value = &value;
  f.help = std::move(help);
  return f;
}
inline Field choice(std::string name, std::string& value, std::vector<std::string> choices, std::string help) {
  Field f;
  f.name = std::move(name);
  f.value = &value;
  f.choices = std::move(choices);
  f.help = std::move(help);
  return f;
}
inline Field path(std::string name, std::string& value, std::string help) {
  Field f = field(std::move(name), value, std::move(help));
  f.is_path = true;
  return f;
}
inline Field late(Field f) {
  f.late = true;
  return f;
}
inline Field or_number(Field f) {
  f.or_number = true;
  return f;
}
inline Field read_by(std::vector<std::string> forms, Field f) {
  f.forms = std::move(forms);
  return f;
}
// Makes the paths that are set absolute, so that a run can be resumed from anywhere.
void make_paths_absolute(Fields& fields);
// The TOML text that a run's hash covers: late fields at the value that they have in `defaults` (the same fields of a
// fresh config) are left out, comments are as they were when the field came.
std::string hashed_text(Fields fields, const Fields& defaults);

// The same fields under a table: prefixed("model", describe(config.model)) names "model.frame".
Fields prefixed(const std::string& table, Fields fields);

// Sets one field from text as on a command line ("64", "true", "relu", "[128, 64]"); `where` starts the error text.
void set_field(Fields& fields, const std::string& name, const std::string& text, const std::string& where);
// From / to a flat JSON object {"saaf.segments": 24, ...}; unknown keys and wrong types are errors; missing keys keep
// theirs.
void set_fields(Fields& fields, const nlohmann::json& flat, const std::string& where);
nlohmann::json to_json(const Fields& fields);
// Reads / writes TOML; the text written has each field's help as a comment. Reading is strict, as set_fields.
// Top-level keys named in `others` are left to the caller.
void read_toml(Fields& fields, const std::string& text, const std::string& where,
               const std::vector<std::string>& others = {});
std::string to_toml(const Fields& fields);
// The text at a dotted key of TOML, whatever else is there; empty where there is none.
std::string toml_string(const std::string& text, const std::string& where, const std::string& key);
// All of it as a flat JSON object, tables as dotted keys, unknown to any field.
nlohmann::json flat_toml(const std::string& text, const std::string& where);
// A setting of a command line, "KEY=VALUE"; Error names it as --set.
std::pair<std::string, std::string> split_setting(const std::string& setting);
// For --help: name, type, default, range or choices, help; one line each.
std::string help_text(const Fields& fields);
// What goes on behind an unknown name: "; did you mean 'NAME'?" where a known one is near, a third of its letters off
// at most, else nothing. `list`: and all that are known, "; did you mean 'NAME'? Known are ..." or "; known are ...".
std::string did_you_mean(const std::string& name, const std::vector<std::string>& known, bool list = false);

}  // namespace cafx
