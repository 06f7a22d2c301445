// experiments/paper/description.h -- a report's own description: commands, recordings, devices, cost.
#pragma once

#include <string>
#include <vector>

#include "experiments/paper/page.h"
#include "experiments/paper/reproduce.h"
#include "kernels/device/context.h"

namespace cafx {

struct MeasuredWith {
  std::string recordings;  // name of their folder
  std::string store;       // folder of the runs
  const Context& context;
};

// Title, lead, commands, facts and claims; sweep files and figures are the caller's to add. Keeps a pointer to the
// experiments.
PageInput describe_study(const std::vector<Experiment>&, const ReproduceArguments&, const MeasuredWith&);

}  // namespace cafx
