// host/sweep/cohort_sizes.h -- how many runs share a process of a GPU where sweep.cohort is "auto": as many as models
// side by side gain speed, by a measurement of some seconds for each architecture, batch, precision and kind of device.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "host/sweep/task.h"
#include "host/train/cohort_size.h"

namespace cafx {

class CohortSizes {
 public:
  // On the device of this name, of runs with this config, flat. Error: it could not be measured.
  using Measure = std::function<CohortSize(const Json& config, const std::string& device)>;
  // `file` keeps what was measured, for other sweeps as well; a file that cannot be read counts as none.
  CohortSizes(std::filesystem::path file, Measure, std::function<void(const std::string&)> say);

  // Most runs of one process; none: not known yet. `kind`: name of the GPU, of which one stands for all; `idle`:
  // nothing else is at work there, so that a measurement would tell.
  std::optional<int> of(const Task&, const std::string& device, const std::string& kind, bool idle);

 private:
  std::filesystem::path file_;
  Measure measure_;
  std::function<void(const std::string&)> say_;
  std::map<std::string, int> known_;
};

// What `file` has for such a run, where the GPU that it will get is not at hand: of kinds whose names hold `gpu`, as
// Slurm has them ("h100" or "nvidia_h200"; empty: any), the least. None: nothing measured by this version.
std::optional<int> measured_cohort_size(const std::filesystem::path& file, const Task&, const std::string& gpu);

// By `cafx bench --cohort auto` in a process of its own.
CohortSize measure_cohort_size(const Json& config, const std::string& device);

}  // namespace cafx
