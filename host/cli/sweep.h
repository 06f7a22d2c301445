// host/cli/sweep.h -- `cafx sweep plan` and `cafx sweep run`, for commands that have a sweep in the middle.
#pragma once

#include <string>

namespace cafx {

struct SweepCommand {
  std::string file, store;
  std::string device, isa;     // empty: what the file says
  int slots = 0, threads = 0;  // 0: what the file says
  bool quiet = false;
};
int sweep_plan(const SweepCommand&);  // prints what would run and how long it would take
int sweep_run(const SweepCommand&);   // exit code of the command: 0 done, kExitStopped to be gone on with

}  // namespace cafx
