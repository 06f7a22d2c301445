// host/cli/command_tree.h -- the command line as it describes itself, for completion and manual pages.
#pragma once

#include <string>
#include <vector>

#include "host/cli/common.h"

namespace cafx {

struct Command {
  struct Option {
    std::vector<std::string> names;    // "--out", "-o"; a positional one has a single name without dashes
    std::string value;                 // what its value is called: FOLDER, N|auto
    std::string help;                  // one line
    std::string by_default;            // empty: none, or said in `help`
    std::vector<std::string> choices;  // the words that it takes, as far as they are known; empty: anything
    bool takes_value = false, repeats = false, required = false;
  };
  std::string path;  // "cafx", "cafx sweep run"
  std::string help, footer;
  std::vector<std::string> commands;  // names of those directly below
  std::vector<Option> options, positionals;
  std::vector<std::string> positional_choices;
};

// Puts what a user reads in place of the parser's names of types: "N (0 to 1024)", "quick|evening|full". Before
// command_tree.
void name_values(CLI::App&);

// The app itself first, then everything below it, depth first.
std::vector<Command> command_tree(const CLI::App&);

}  // namespace cafx
