// cafx completion: what a shell completes, made of the command line's own description.
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "host/cli/command_tree.h"
#include "host/cli/common.h"

namespace cafx {

namespace {

// One word for a shell, whatever it holds.
std::string always_quoted(const std::string& text) {
  std::string q = "'";
  for (const char c : text) q += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return q + "'";
}

std::string words_of(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

// Every option that takes one of some words, by its name; the same name means the same everywhere.
std::map<std::string, std::vector<std::string>> choices_of(const std::vector<Command>& commands) {
  std::map<std::string, std::vector<std::string>> choices;
  for (const Command& c : commands) {
    for (const Command::Option& o : c.options) {
      if (o.choices.empty()) continue;
      for (const std::string& name : o.names) choices[name] = o.choices;
    }
  }
  return choices;
}

std::string bash(const std::vector<Command>& commands) {
  std::string text =
      "# bash completion for cafx; made by 'cafx completion bash'\n"
      "_cafx() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} path=cafx i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case \"$path ${COMP_WORDS[i]}\" in\n";
  std::vector<std::string> paths;
  for (const Command& c : commands) {
    if (c.path != "cafx") paths.push_back(always_quoted(c.path));
  }
  text += fmt::format("      {}) path=\"$path ${{COMP_WORDS[i]}}\" ;;\n    esac\n  done\n", fmt::join(paths, "|"));
  text += "  case $prev in\n";
  for (const auto& [name, words] : choices_of(commands)) {
    // After "=" the value of a setting is the user's.
    if (name == "--set") text += "    --set) compopt -o nospace ;;&\n";
    text += fmt::format("    {}) mapfile -t COMPREPLY < <(compgen -W {} -- \"$cur\"); return ;;\n", name,
                        always_quoted(words_of(words)));
  }
  text += "  esac\n  case $path in\n";
  for (const Command& c : commands) {
    std::vector<std::string> options;
    for (const Command::Option& o : c.options) options.insert(options.end(), o.names.begin(), o.names.end());
    text +=
        fmt::format("    {})\n      case $cur in\n        -*) mapfile -t COMPREPLY < <(compgen -W {} -- \"$cur\") ;;\n",
                    always_quoted(c.path), always_quoted(words_of(options)));
    const std::vector<std::string>& others = c.commands.empty() ? c.positional_choices : c.commands;
    if (!others.empty()) {
      text += fmt::format("        *) mapfile -t COMPREPLY < <(compgen -W {} -- \"$cur\") ;;\n",
                          always_quoted(words_of(others)));
    }
    text += "      esac ;;\n";
  }
  return text + "  esac\n}\ncomplete -o bashdefault -o default -F _cafx cafx\n";
}

// Inside [...] of zsh's _arguments, and in its "word:description" pairs.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh(const std::vector<Command>& commands) {
  std::string text =
      "#compdef cafx\n"
      "# zsh completion for cafx; made by 'cafx completion zsh'\n";
  for (const Command& c : commands) {
    std::string name = "_" + c.path;
    std::replace(name.begin(), name.end(), ' ', '_');
    text += fmt::format("{}() {{\n", name);
    std::string arguments;
    for (const Command::Option& o : c.options) {
      for (const std::string& option : o.names) {
        std::string spec = fmt::format("{}{}[{}]", o.repeats ? "*" : "", option, zsh_text(o.help));
        if (o.takes_value) {
          spec += fmt::format(":{}:", zsh_text(o.value));
          if (option == "--set") {
            spec += fmt::format("{{compadd -S = -- {}}}", words_of(o.choices));
          } else {
            spec += o.choices.empty() ? "_files" : "(" + words_of(o.choices) + ")";
          }
        }
        arguments += " \\\n    " + always_quoted(spec);
      }
    }
    if (c.commands.empty()) {
      const std::string what = c.positional_choices.empty() ? "_files" : "(" + words_of(c.positional_choices) + ")";
      text += "  _arguments" + arguments + " \\\n    " + always_quoted("*:file:" + what) + "\n}\n";
      continue;
    }
    std::string described;
    std::string cases;
    for (const std::string& word : c.commands) {
      const auto found = std::find_if(commands.begin(), commands.end(),
                                      [&](const Command& d) { return d.path == c.path + " " + word; });
      described += " \\\n      " + always_quoted(word + ":" + found->help);
      cases += fmt::format("        {}) {}_{} ;;\n", word, name, word);
    }
    text += "  local line state\n  _arguments -C" + arguments + " \\\n    '1:command:->command' '*::argument:->rest'\n";
    text += "  case $state in\n    command)\n      local -a commands=(" + described +
            ")\n      _describe command commands ;;\n    rest)\n      case $line[1] in\n" + cases +
            "      esac ;;\n  esac\n}\n";
  }
  return text + "_cafx \"$@\"\n";
}

std::string fish(const std::vector<Command>& commands) {
  std::string text =
      "# fish completion for cafx; made by 'cafx completion fish'\n"
      "# The command so far, without options: __cafx_at train, __cafx_at sweep run.\n"
      "function __cafx_at\n"
      "  set -l words (commandline -opc | string match -v -- '-*')\n"
      "  set -l n (count $argv)\n"
      "  test (count $words) -gt $n; or return 1\n"
      "  set -l last (math $n + 1)\n"
      "  test $n -eq 0; or test \"$words[2..$last]\" = \"$argv\"\n"
      "end\n"
      "function __cafx_just_at\n"
      "  __cafx_at $argv; and test (count (commandline -opc | string match -v -- '-*')) -eq (math (count $argv) + 1)\n"
      "end\n";
  for (const Command& c : commands) {
    const std::string below = c.path == "cafx" ? "" : c.path.substr(5);
    for (const std::string& word : c.commands) {
      const auto found = std::find_if(commands.begin(), commands.end(),
                                      [&](const Command& d) { return d.path == c.path + " " + word; });
      text += fmt::format("complete -c cafx -n '__cafx_just_at {}' -f -a {} -d {}\n", below, word,
                          always_quoted(found->help));
    }
    if (!c.positional_choices.empty()) {
      text += fmt::format("complete -c cafx -n '__cafx_at {}' -f -a {}\n", below,
                          always_quoted(words_of(c.positional_choices)));
    }
    for (const Command::Option& o : c.options) {
      text += fmt::format("complete -c cafx -n '__cafx_at {}'", below);
      for (const std::string& name : o.names) {
        text += name.rfind("--", 0) == 0 ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (o.takes_value) text += o.choices.empty() ? " -r" : " -x -a " + always_quoted(words_of(o.choices));
      text += " -d " + always_quoted(o.help) + "\n";
    }
  }
  return text;
}

}  // namespace

void add_completion(CLI::App& app, Run& run) {
  auto shell = std::make_shared<std::string>();
  CLI::App* c = app.add_subcommand("completion", "what a shell needs to complete cafx's words");
  c->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  c->footer(
      "Examples:  cafx completion bash > ~/.local/share/bash-completion/completions/cafx\n"
      "           cafx completion zsh > FOLDER/_cafx            a folder of $fpath\n"
      "           cafx completion fish > ~/.config/fish/completions/cafx.fish");
  c->callback([shell, &app, &run] {
    run = [shell, &app] {
      const std::vector<Command> commands = command_tree(app);
      write_text("-", *shell == "bash" ? bash(commands) : *shell == "zsh" ? zsh(commands) : fish(commands));
      return 0;
    };
  });
}

}  // namespace cafx
