// host/cli/sweep_simulate.h -- `cafx sweep simulate`.
#pragma once

#include "host/cli/common.h"

namespace cafx {

void add_sweep_simulate(CLI::App& sweep, Run& run);

}  // namespace cafx
