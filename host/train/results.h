// host/train/results.h -- what a run leaves behind: best.safetensors, pretrained.safetensors, result.json.
#pragma once

#include "host/train/checkpoint.h"
#include "host/train/config.h"
#include "host/train/run_folder.h"
#include "models/cafx/cafx.h"

namespace cafx {

inline constexpr const char* kInitFile = "init.safetensors";  // a copy of train.init_from

// The checkpoint's best weights, as `cafx export` writes them, with all that they come from.
void write_best(const RunFolder&, const RunConfig&, const Checkpoint&);
void write_pretrained(const RunFolder&, const RunConfig&, const Checkpoint&);
// `model` holds the best weights.
void write_result(const RunFolder&, const RunConfig&, const Checkpoint&, const CafxModel& model,
                  double saaf_input_peak);

}  // namespace cafx
