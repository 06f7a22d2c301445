// host/cli/sweep.h -- a sweep run in front of a person: for `cafx sweep run` and for commands that train a sweep on the
// way.
#pragma once

#include <string>

#include "host/sweep/sweep.h"

namespace cafx {

struct SweepDisplay {
  std::string name;  // words by which `cafx sweep` finds this sweep, for a shell; named in hints
  bool json = false, quiet = false;
};
// Calls run_sweep with a progress line on standard error and Ctrl-C caught, then prints the table of results. Returns
// the exit code: 0, kExitError where runs failed, kExitStopped where it was stopped.
int run_sweep_shown(const Spec&, SweepOptions, const SweepDisplay&);

}  // namespace cafx
