// experiments/reproduce.h -- `cafx reproduce NAME`: an experiment trained, measured and drawn by one command.
#pragma once

#include "host/cli/common.h"

namespace cafx {

void add_reproduce_eq(CLI::App& reproduce, Run&);
void add_reproduce_paper(CLI::App& reproduce, Run&);

}  // namespace cafx
