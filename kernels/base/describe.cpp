#include "kernels/base/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace cafx {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxBytes = 1 << 20, kMaxDots = 4000;  // of a config's text

// As a quoted string of JSON and of TOML, which forbids a plain DEL.
std::string quoted_text(const std::string& s) {
  std::string text = Json(s).dump(-1, ' ', false, Json::error_handler_t::replace);
  for (std::size_t at = text.find('\x7f'); at != std::string::npos; at = text.find('\x7f', at)) {
    text.replace(at, 1, "\\u007f");
  }
  return text;
}

// For a message: on one line, cut to a limit.
std::string shortened(std::string s) {
  constexpr std::size_t kMost = 80;
  if (s.size() > kMost) s = s.substr(0, kMost) + "...";
  s = quoted_text(s);
  return s.substr(1, s.size() - 2);
}

// A value for a message. Never recurses: a hostile file may nest thousands of lists.
std::string shown(const Json& value) {
  if (value.is_object()) return "{...}";
  if (value.is_string()) return fmt::format("\"{}\"", shortened(value.get<std::string>()));
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  if (!value.is_array()) return value.dump();
  std::vector<std::string> elements;
  for (const Json& element : value) {
    if (elements.size() == 8) {
      elements.push_back("...");
      break;
    }
    elements.push_back(element.is_array() ? "[...]" : shown(element));
  }
  return fmt::format("[{}]", fmt::join(elements, ", "));
}

// UTF-8 without NUL: what TOML, JSON and file names can all hold.
bool is_text(const Json& value) {
  if (!value.is_string()) return false;
  const std::string& s = value.get_ref<const std::string&>();
  if (s.find('\0') != std::string::npos) return false;
  try {
    value.dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

// Shortest text that reads back as the same double, with a point so that TOML keeps the type.
std::string number(double x) {
  std::string s = fmt::format("{}", x);
  if (s.find_first_of(".en") == std::string::npos) s += ".0";
  return s;
}

std::string toml_value(const Field& f) {
  return std::visit(
      [](auto* p) -> std::string {
        using T = std::decay_t<decltype(*p)>;
        if constexpr (std::is_same_v<T, double>) return number(*p);
        if constexpr (std::is_same_v<T, bool>) return *p ? "true" : "false";
        if constexpr (std::is_same_v<T, std::string>) return quoted_text(*p);
        if constexpr (std::is_same_v<T, std::vector<int>>) return fmt::format("[{}]", fmt::join(*p, ", "));
        if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          std::vector<std::string> q;
          for (const auto& s : *p) q.push_back(quoted_text(s));
          return fmt::format("[{}]", fmt::join(q, ", "));
        }
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return std::to_string(*p);
      },
      f.value);
}

std::string type_name(const Field& f) {
  static const char* const names[] = {"whole number", "whole number",          "number",       "true or false",
                                      "text",         "list of whole numbers", "list of texts"};
  return names[f.value.index()];
}

std::string expected(const Field& f) {
  if (!f.choices.empty()) return fmt::format("one of {}", fmt::join(f.choices, ", "));
  const bool lo = std::isfinite(f.lo) && f.lo > -1e29, hi = std::isfinite(f.hi) && f.hi < 1e29;
  std::string text = type_name(f);
  if (lo && hi) return fmt::format("{} from {:g} to {:g}", text, f.lo, f.hi);
  if (lo) return fmt::format("{} of at least {:g}", text, f.lo);
  if (hi) return fmt::format("{} of at most {:g}", text, f.hi);
  return text;
}

[[noreturn]] void wrong(const Field& f, const Json& found, const std::string& where) {
  const bool damaged = found.is_string() && !is_text(found);
  throw Error("{}: {} = {}, expected {} ({})", where, f.name,
              found.is_number_float() ? number(found.get<double>()) : shown(found),
              damaged ? "UTF-8 text without NUL" : expected(f), f.help);
}

// Sets one field from a JSON value, in full or not at all.
void assign(Field& f, const Json& value, const std::string& where) {
  const auto in_range = [&](double x) { return x >= f.lo && x <= f.hi; };
  std::visit(
      [&](auto* p) {
        using T = std::decay_t<decltype(*p)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (!value.is_boolean()) wrong(f, value, where);
          *p = value.get<bool>();
        } else if constexpr (std::is_same_v<T, double>) {
          if (!value.is_number()) wrong(f, value, where);
          const double x = value.get<double>();
          if (!std::isfinite(x) || !in_range(x)) wrong(f, value, where);
          *p = x;
        } else if constexpr (std::is_integral_v<T>) {
          if (!value.is_number_integer()) wrong(f, value, where);
          if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
            wrong(f, value, where);
          }
          const std::int64_t x = value.get<std::int64_t>();
          if (x < std::numeric_limits<T>::min() || x > std::numeric_limits<T>::max() || !in_range(double(x))) {
            wrong(f, value, where);
          }
          *p = static_cast<T>(x);
        } else if constexpr (std::is_same_v<T, std::string>) {
          const bool is_number = f.or_number && value.is_number_integer();
          if (!is_number && !is_text(value)) wrong(f, value, where);
          const std::string s = is_number ? value.dump() : value.get<std::string>();
          if (!f.choices.empty() && std::find(f.choices.begin(), f.choices.end(), s) == f.choices.end()) {
            wrong(f, value, where);
          }
          *p = s;
        } else {
          if (!value.is_array()) wrong(f, value, where);
          T list;
          for (const Json& element : value) {
            if constexpr (std::is_same_v<T, std::vector<int>>) {
              if (!element.is_number_integer()) wrong(f, value, where);
              const std::int64_t x = element.is_number_unsigned() && element.get<std::uint64_t>() > 2147483647u
                                         ? std::int64_t{1} << 40
                                         : element.get<std::int64_t>();
              if (x < std::numeric_limits<int>::min() || x > std::numeric_limits<int>::max() || !in_range(double(x))) {
                wrong(f, value, where);
              }
              list.push_back(static_cast<int>(x));
            } else {
              if (!is_text(element)) wrong(f, value, where);
              list.push_back(element.get<std::string>());
            }
          }
          *p = std::move(list);
        }
      },
      f.value);
}

bool is_table(const Fields& fields, const std::string& name) {
  return std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return f.name.rfind(name + ".", 0) == 0; });
}

Field& find(Fields& fields, const std::string& name, const std::string& where) {
  for (Field& f : fields) {
    if (f.name == name) return f;
  }
  if (is_table(fields, name)) {
    throw Error("{}: {} is a table and has no value of its own; write [{}] and its keys below", where, name, name);
  }
  std::vector<std::string> known;
  for (const Field& f : fields) known.push_back(f.name);
  const std::string hint = did_you_mean(name, known);
  throw Error("{}: unknown key '{}'{}", where, shortened(name), hint.empty() ? "; --help lists all keys" : hint);
}

// A TOML node as JSON; a type that no field accepts becomes an object.
Json to_json_value(const toml::node& node) {
  if (const auto* v = node.as_boolean()) return v->get();
  if (const auto* v = node.as_integer()) return v->get();
  if (const auto* v = node.as_floating_point()) return v->get();
  if (const auto* v = node.as_string()) return v->get();
  Json array = Json::array();
  if (const auto* list = node.as_array()) {
    for (const auto& element : *list) array.push_back(to_json_value(element));
    return array;
  }
  return Json::object();
}

void read_table(Fields& fields, const toml::table& table, const std::string& prefix, const std::string& where) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const std::string line = fmt::format("{}:{}", where, node.source().begin.line);
    // "saaf.segments" in quotes is one key with a dot, not a key in a table.
    if (key.str().find('.') != std::string_view::npos) {
      throw Error("{}: unknown key '{}'; write it without quotes", line, shortened(name));
    }
    const auto* inner = node.as_table();
    if (inner && is_table(fields, name)) {
      read_table(fields, *inner, name + ".", where);
      continue;
    }
    assign(find(fields, name, line), to_json_value(node), line);
  }
}

}  // namespace

Fields prefixed(const std::string& table, Fields fields) {
  for (Field& f : fields) f.name = table + "." + f.name;
  return fields;
}

void set_field(Fields& fields, const std::string& name, const std::string& text, const std::string& where) {
  Field& f = find(fields, name, where);
  if (std::holds_alternative<std::string*>(f.value)) {
    const bool in_quotes = text.size() >= 2 && text.front() == '"' && text.back() == '"';
    assign(f, in_quotes ? text.substr(1, text.size() - 2) : text, where);
    return;
  }
  Json value = Json::parse(text, nullptr, false);
  if (std::holds_alternative<std::vector<std::string>*>(f.value) && !value.is_array()) {
    // A plain list for the command line: a,b,c
    value = Json::array();
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t comma = std::min(text.find(',', at), text.size());
      value.push_back(text.substr(at, comma - at));
      at = comma + 1;
    }
  }
  if (std::holds_alternative<std::vector<int>*>(f.value) && value.is_discarded()) {
    value = Json::parse("[" + text + "]", nullptr, false);
  }
  if (value.is_discarded()) wrong(f, text, where);
  assign(f, value, where);
}

void set_fields(Fields& fields, const Json& flat, const std::string& where) {
  if (!flat.is_object()) throw Error("{}: the config is not a JSON object", where);
  for (const auto& [key, value] : flat.items()) assign(find(fields, key, where), value, where);
}

Json to_json(const Fields& fields) {
  Json flat = Json::object();
  for (const Field& f : fields) std::visit([&](auto* p) { flat[f.name] = *p; }, f.value);
  return flat;
}

namespace {

toml::table parse_toml(const std::string& text, const std::string& where) {
  // toml++ ends a table within a table by recursion; without a limit, "a.a.a. ..." would exhaust the stack.
  const auto n_dots = static_cast<std::size_t>(std::count(text.begin(), text.end(), '.'));
  if (text.size() > kMaxBytes || n_dots > kMaxDots) {
    throw Error("{}: is not a config: {} bytes with {} dots, expected at most {} with {}", where, text.size(), n_dots,
                kMaxBytes, kMaxDots);
  }
  try {
    return toml::parse(text, where);
  } catch (const toml::parse_error& e) {
    throw Error("{}:{}: is not TOML: {}", where, e.source().begin.line, e.description());
  }
}

}  // namespace

void read_toml(Fields& fields, const std::string& text, const std::string& where,
               const std::vector<std::string>& others) {
  toml::table table = parse_toml(text, where);
  for (const std::string& key : others) table.erase(key);
  read_table(fields, table, "", where);
}

std::string toml_string(const std::string& text, const std::string& where, const std::string& key) {
  const toml::table table = parse_toml(text, where);
  return table.at_path(key).value_or(std::string());
}

nlohmann::json flat_toml(const std::string& text, const std::string& where) {
  Json flat = Json::object();
  const auto walk = [&flat](const auto& self, const toml::table& table, const std::string& prefix) -> void {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      if (const auto* inner = node.as_table()) {
        self(self, *inner, name + ".");
      } else {
        flat[name] = to_json_value(node);
      }
    }
  };
  walk(walk, parse_toml(text, where), "");
  return flat;
}

std::pair<std::string, std::string> split_setting(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  if (equals == std::string::npos) {
    throw Error("--set {}: expected KEY=VALUE, such as --set train.epochs=50", setting);
  }
  return {setting.substr(0, equals), setting.substr(equals + 1)};
}

std::string to_toml(const Fields& fields) {
  // Keys of a table must stand together: by table, in the order in which tables first appear.
  std::vector<std::string> tables;
  const auto table_of = [](const Field& f) {
    const std::size_t dot = f.name.find('.');
    return dot == std::string::npos ? std::string() : f.name.substr(0, dot);
  };
  for (const Field& f : fields) {
    const std::string t = table_of(f);
    if (std::find(tables.begin(), tables.end(), t) == tables.end()) tables.push_back(t);
  }
  std::stable_partition(tables.begin(), tables.end(), [](const std::string& t) { return t.empty(); });
  std::string text;
  for (const std::string& t : tables) {
    if (!t.empty()) text += fmt::format("\n[{}]\n", t);
    for (const Field& f : fields) {
      if (table_of(f) != t) continue;
      const std::string key = t.empty() ? f.name : f.name.substr(t.size() + 1);
      const std::string assignment = fmt::format("{} = {}", key, toml_value(f));
      text += f.choices.empty() ? fmt::format("{:<36} # {}\n", assignment, f.help)
                                : fmt::format("{:<36} # {} ({})\n", assignment, f.help, fmt::join(f.choices, ", "));
    }
  }
  return text;
}

void make_paths_absolute(Fields& fields) {
  for (Field& f : fields) {
    if (!f.is_path) continue;
    std::string& text = *std::get<std::string*>(f.value);
    if (!text.empty()) text = std::filesystem::absolute(text).lexically_normal().string();
  }
}

std::string hashed_text(Fields fields, const Fields& defaults) {
  const Json values = to_json(fields), fresh = to_json(defaults);
  std::erase_if(fields,
                [&](const Field& f) { return f.late && fresh.contains(f.name) && fresh[f.name] == values[f.name]; });
  for (Field& f : fields) {
    if (f.hashed.empty()) continue;
    f.help = f.hashed;
    f.choices.clear();
  }
  return to_toml(fields);
}

std::string help_text(const Fields& fields) {
  std::size_t width = 0;
  for (const Field& f : fields) width = std::max(width, f.name.size());
  std::string text;
  for (const Field& f : fields) {
    text += fmt::format("  {:<{}}  {}  [{}; {}]\n", f.name, width, f.help, toml_value(f), expected(f));
  }
  return text;
}

namespace {

constexpr std::size_t kMostOfName = 100;  // letters; longer input matches no name

// The known name nearest to it by edit distance, and how many letters that is off.
std::pair<std::string, std::size_t> nearest_of(const std::string& given, const std::vector<std::string>& known) {
  const std::string name = given.substr(0, kMostOfName);
  std::string best;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const std::string& k : known) {
    // A key without its table counts as a close match.
    std::vector<std::size_t> row(k.size() + 1);
    for (std::size_t j = 0; j <= k.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= name.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= k.size(); ++j) {
        const std::size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (name[i - 1] == k[j - 1] ? 0u : 1u)});
        diagonal = above;
      }
    }
    std::size_t distance = row[k.size()];
    if (k.size() > name.size() && k.compare(k.size() - name.size() - 1, std::string::npos, "." + name) == 0)
      distance = 0;
    if (distance < least) {
      least = distance;
      best = k;
    }
  }
  return {best, least};
}

}  // namespace

std::string did_you_mean(const std::string& name, const std::vector<std::string>& known, bool list) {
  const auto [best, apart] = nearest_of(name, known);
  const std::size_t size = std::min<std::size_t>(name.size(), kMostOfName);
  const std::size_t most = size < 4 ? 1 : std::max<std::size_t>(2, size / 3);
  const bool near = !known.empty() && apart <= most;
  std::string text = near ? fmt::format("; did you mean '{}'?", best) : "";
  if (list) text += fmt::format("{}nown are {}", near ? " K" : "; k", fmt::join(known, ", "));
  return text;
}

}  // namespace cafx
