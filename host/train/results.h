// host/train/results.h -- what a run leaves behind: best.safetensors, pretrained.safetensors, result.json.
#pragma once

#include <optional>

#include "host/train/checkpoint.h"
#include "host/train/config.h"
#include "host/train/quality.h"
#include "host/train/run_folder.h"
#include "models/model.h"

namespace cafx {

inline constexpr const char* kInitFile = "init.safetensors";  // a copy of train.init_from
// In a weights file's metadata: data.dry_gain_db of its training, where that was not 0.
inline constexpr const char* kDryGain = "dry_gain_db";

// The checkpoint's best weights, as `cafx export` writes them, with all that they come from. `quality` once it is
// measured.
void write_best(const RunFolder&, const RunConfig&, const Checkpoint&, const std::optional<Quality>& quality);
void write_pretrained(const RunFolder&, const RunConfig&, const Checkpoint&);
// `model` holds the best weights; `facts` are its own.
void write_result(const RunFolder&, const RunConfig&, const Checkpoint&, const Model& model,
                  const std::vector<Fact>& facts, const std::optional<Quality>& quality);

// Why an error on a part ("validation", "test") says nothing of the model, by the run's data.json; empty: it does.
std::string cannot_judge(const std::filesystem::path& run, const std::string& part);

// Epochs of all stages so far.
int epochs_of(const Checkpoint&);

// The numbers among facts under the names of columns and keys: "saaf/penalty" as "saaf_penalty".
std::vector<std::pair<std::string, double>> fact_numbers(const std::vector<Fact>&);
// The names of those that a model of this config leaves in result.json.
std::vector<std::string> fact_names(const ModelConfig&);

}  // namespace cafx
