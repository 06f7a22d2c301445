#include "experiments/reproduce.h"

namespace cafx {

void add_reproduce(CLI::App& app, Run& run) {
  CLI::App* top =
      app.add_subcommand("reproduce", "published experiments: trained, measured, drawn, on a page to look at and hear");
  top->require_subcommand(1);
  add_reproduce_paper(*top, run);
  add_reproduce_eq(*top, run);
  top->footer(
      "Example:  cafx reproduce paper --quick\n"
      "          cafx reproduce eq");
}

}  // namespace cafx
