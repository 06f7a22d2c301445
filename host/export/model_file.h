// host/export/model_file.h -- a trained model as a file: safetensors with names, shapes and the whole config.
//
//   metadata   format "cafx", format_version "1", model "cafx", form "supervised" | "pretrain", config (JSON of every
//              field of CafxConfig), sample_rate, frame, hop, latency (samples), version, and whatever else is handed in
//              (lineage, metrics, licence)
//   Errors     Error naming the file and what is wrong: cut off, not cafx's, newer format, of the other form, a tensor
//              missing or of another shape, weights that are not finite.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/cafx/cafx.h"

namespace cafx {

std::map<std::string, std::string> model_metadata(const CafxModel&, std::map<std::string, std::string> extra);
void save_model(const std::filesystem::path&, const CafxModel&, const std::map<std::string, std::string>& extra);

struct ModelFile {
  std::unique_ptr<CafxModel> model;
  std::map<std::string, std::string> metadata;
};
// A weights file, or the folder of a run: its best.safetensors, which must be of that run (run_hash and config.toml). No
// more memory is taken for parameters than the file has bytes, whatever its config describes.
ModelFile load_model(const std::filesystem::path&);

// Weights trained elsewhere: a safetensors file whose tensors have the names and shapes of the supervised form (README of
// python/), in F32, F16, BF16 or F64, maybe behind a wrapper's prefix, with any metadata or none; `config` says the rest.
// `notes`: what was converted or taken off. Error as above.
ModelFile import_model(const std::filesystem::path&, const CafxConfig& config, std::vector<std::string>& notes);
// The config that cafx wrote into the metadata of a weights file, as JSON; empty where there is none.
std::string config_in_file(const std::filesystem::path&);

// What a weights file is, wherever it lies: "identity" of its metadata, which weights of a finished training have (the
// run's hash decides their bits), else the hash of its tensors.
std::string weights_identity(const std::filesystem::path&);

// Takes over the tensors of a weights file that `model` has too, by name; Error where shapes differ or none fits.
void load_tensors_by_name(const std::filesystem::path&, CafxModel& model);

}  // namespace cafx
