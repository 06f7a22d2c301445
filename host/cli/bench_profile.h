// host/cli/bench_profile.h -- the profile of a training step for `cafx bench`: time, FLOPs and bytes by op and part.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/base/profile.h"

namespace cafx {

struct StepProfile {
  std::vector<ProfileRow> rows;  // seconds summed over threads
  double seconds = 0.0;          // wall clock of all steps
  int steps = 0;
};

// Per frame of the batch: microseconds of one thread, share of all threads' time, useful FLOP and how fast they went
// beside the FMA peak of one thread's share, bytes of operands and results and how fast they went. `peak` is that of
// all threads.
std::string to_text(const StepProfile& profile, int batch, int threads, double peak);
nlohmann::ordered_json to_json(const StepProfile& profile, int batch, int threads, double peak);

}  // namespace cafx
