// experiments/eq/filters.h -- what models have learned of linear filters: their response beside the true one, their
// error.
#pragma once

#include <string>
#include <vector>

#include "experiments/eq/response.h"
#include "host/eval/eval.h"
#include "host/sweep/task.h"
#include "kernels/device/context.h"
#include "models/loss.h"

namespace cafx {

// What one model has learned of a filter.
struct Learned {
  std::string loss, folder;         // loss: "MAE"; folder: of the run in the store
  Response response;                // measured with the same noise as the true one
  double magnitude_error_db = 0.0;  // mean of |learned - true| where the true magnitude is over kFloorDb
  double delay_error_ms = 0.0;      // the same of the group delay
  double esr = 0.0;                 // mean over the test notes
};
inline constexpr double kFloorDb = -30.0;

// A filter and the models that were trained on it.
struct LearnedFilter {
  std::string chain, kind;       // kind: "low shelf, 300 Hz, 9 dB"
  int sample_rate = 0, hop = 0;  // hop: of the rendering
  Response truth;                // measured with noise that no training note holds
  double dry_esr = 0.0,
         zero_phase_esr = 0.0;  // means over the test notes: unfiltered, and by the best filter of zero phase
  std::vector<Learned> learned;
};

// Measures the training tasks that are done; filters and models in the order of the plan. Error where a run cannot be
// read.
std::vector<LearnedFilter> measure_filters(const std::vector<Task>&, const Store&, const Context&);

// "MAE", "MAE + 0.01 MR-STFT": the terms that count, and their weights where they are not 1.
std::string loss_name(const LossConfig&);

// "bass 9 300" as "low shelf, 300 Hz, 9 dB"; a chain of other effects stays as it is.
std::string filter_name(const std::string& chain);

// Writes the dry training files: the IDMT notes under `notes`, noise and rising sines, those for validation and test
// with other seeds and ranges. Existing files are kept.
void write_dry_files(const std::filesystem::path& notes, const std::filesystem::path& folder, int sample_rate);

}  // namespace cafx
