// experiments/eq/filters.h -- what models have learned of linear filters: their response beside the true one, their
// error.
#pragma once

#include <string>
#include <vector>

#include "experiments/eq/response.h"
#include "host/eval/eval.h"
#include "host/sweep/task.h"
#include "kernels/device/context.h"

namespace cafx {

// One trained model and the chain that it learned.
struct LearnedFilter {
  std::string chain, kind, folder;  // kind: "low shelf, 300 Hz, 9 dB"; folder: of the run in the store
  int sample_rate = 0, hop = 0;     // hop: of the rendering
  Response truth, learned;          // both measured with the same noise, which no training note holds
  double magnitude_error_db = 0.0;  // mean of |learned - true| where the true magnitude is over kFloorDb
  double delay_error_ms = 0.0;      // the same of the group delay
  Evaluation test;                  // on the test notes, without signals
};
inline constexpr double kFloorDb = -30.0;

// Measures the training tasks that are done, in the order of the plan. Error where a run cannot be read.
std::vector<LearnedFilter> measure_filters(const std::vector<Task>&, const Store&, const Context&);

// "bass 9 300" as "low shelf, 300 Hz, 9 dB"; a chain of other effects stays as it is.
std::string filter_name(const std::string& chain);

// Writes the dry training files: the IDMT notes under `notes`, noise and rising sines, those for validation and test
// with other seeds and ranges. Existing files are kept.
void write_dry_files(const std::filesystem::path& notes, const std::filesystem::path& folder, int sample_rate);

}  // namespace cafx
