#include "host/cli/command_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "host/train/config.h"
#include "models/registry.h"

namespace cafx {

namespace {

// "fp32|tf32|bf16|fp16": four words; of "N|auto" one, as capitals stand for something else.
std::vector<std::string> words_in(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, '|');) {
    const bool literal = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
    if (literal) words.push_back(part);
  }
  return text.find('|') == std::string::npos ? std::vector<std::string>() : words;
}

// Words that options take by what they mean, not by what their text says.
std::vector<std::string> words_for(const std::string& name) {
  if (name == "--isa") return {"portable", "avx2", "avx512"};
  if (name == "--device") return {"auto", "cpu", "cuda"};
  if (name == "--part") return {"test", "validation", "train"};
  if (name == "--format") return {"safetensors", "onnx", "nam", "lv2"};
  if (name == "--launcher") return {"local", "slurm"};
  if (name == "--preset") {
    std::vector<std::string> names = model_presets();
    names.emplace_back(kAutoPreset);
    return names;
  }
  if (name == "--set") {
    RunConfig defaults = run_preset("default");
    std::vector<std::string> keys;
    for (const Field& f : describe(defaults)) keys.push_back(f.name);
    return keys;
  }
  return {};
}

Command::Option option_of(const CLI::Option& o) {
  Command::Option out;
  for (const std::string& name : o.get_snames()) out.names.push_back("-" + name);
  for (const std::string& name : o.get_lnames()) out.names.push_back("--" + name);
  if (out.names.empty()) out.names.push_back(o.get_single_name());
  out.help = o.get_description();
  std::replace(out.help.begin(), out.help.end(), '\n', ' ');
  out.takes_value = o.get_items_expected_max() > 0 && o.get_type_size_max() > 0;
  out.repeats = o.get_items_expected_max() > 1;
  out.required = o.get_required();
  out.by_default = o.get_default_str();
  out.value = o.get_option_text().empty() ? o.get_type_name() : o.get_option_text();
  out.choices = words_in(out.value);
  for (const std::string& name : out.names) {
    if (out.choices.empty()) out.choices = words_for(name);
  }
  return out;
}

void add(std::vector<Command>& all, const CLI::App& app, const std::string& path) {
  Command c;
  c.path = path;
  c.help = app.get_description();
  c.footer = app.get_footer();
  for (const CLI::Option* o : app.get_options()) {
    if (o->get_group().empty()) continue;  // hidden
    (o->get_positional() ? c.positionals : c.options).push_back(option_of(*o));
  }
  if (path == "cafx completion") c.positional_choices = {"bash", "zsh", "fish"};
  const auto below = app.get_subcommands([](const CLI::App* s) { return !s->get_group().empty(); });
  for (const CLI::App* s : below) c.commands.push_back(s->get_name());
  all.push_back(c);
  for (const CLI::App* s : below) add(all, *s, path + " " + s->get_name());
}

// "INT:INT in [0 - 1024]" as the parser has it: "N (0 to 1024)"; "TEXT:{a,b}": "a|b"; empty: leave it.
std::string plain_value(const std::string& type) {
  static const std::regex range(R"(U?INT:U?INT in \[(\S+) - (\S+)\])"), real(R"(FLOAT:FLOAT in \[(\S+) - (\S+)\])");
  static const std::regex positive(R"(U?INT:POSITIVE)"), words(R"(TEXT:\{(.*)\})");
  std::smatch found;
  if (std::regex_match(type, found, range)) return fmt::format("N ({} to {})", found.str(1), found.str(2));
  if (std::regex_match(type, found, real)) return fmt::format("X ({} to {})", found.str(1), found.str(2));
  if (std::regex_match(type, positive)) return "N";
  if (!std::regex_match(type, found, words)) return "";
  std::string choices = found.str(1);
  std::replace(choices.begin(), choices.end(), ',', '|');
  return choices;
}

}  // namespace

void name_values(CLI::App& app) {
  for (CLI::Option* o : app.get_options()) {
    const std::string text = o->get_option_text().empty() ? plain_value(o->get_type_name()) : "";
    if (text.empty()) continue;
    o->get_validator()->description("");
    o->type_name(text);
  }
  for (CLI::App* below : app.get_subcommands(nullptr)) name_values(*below);
}

std::vector<Command> command_tree(const CLI::App& app) {
  std::vector<Command> all;
  add(all, app, app.get_name());
  return all;
}

}  // namespace cafx
