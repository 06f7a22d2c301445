#include "experiments/sweep_text.h"

#include <cstdlib>
#include <sstream>

#include "experiments/source_folder.h"
#include "kernels/base/error.h"

namespace cafx {

std::string toml_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string toml_value(const std::string& text) {
  const bool bare = text == "true" || text == "false" || (!text.empty() && (text[0] == '[' || text[0] == '"'));
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return bare || (!text.empty() && *end == '\0') ? text : toml_text(text);
}

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

std::filesystem::path find_source(const std::string& name, const std::string& cure) {
  for (const std::filesystem::path& root : {std::filesystem::path("."), std::filesystem::path(kSourceFolder)}) {
    if (std::filesystem::exists(root / name)) return std::filesystem::absolute(root / name).lexically_normal();
  }
  throw Error("{} is not here; call cafx in its source folder, or {}", name, cure);
}

}  // namespace cafx
