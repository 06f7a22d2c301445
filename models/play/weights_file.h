// models/play/weights_file.h -- a trained model as a file: safetensors with names, shapes and the whole config.
//
//   metadata   format "cafx", format_version "1", model (its type: "cafx"), form ("supervised"), config (JSON of every
//              field of the model's config), sample_rate, version; of frames: frame, hop, latency (samples of a frame);
//              and whatever else is handed in (lineage, metrics, licence)
//   Older      files of students (model "student", kind "lstm" or "wavenet") are read as models of that type.
//   Errors     Error naming the file and what is wrong: cut off, not cafx's, newer format, an unknown type or form, a
//              tensor missing or of another shape, weights that are not finite.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "models/model.h"

namespace cafx {

std::map<std::string, std::string> model_metadata(const Model&, std::map<std::string, std::string> extra);
void save_model(const std::filesystem::path&, const Model&, const std::map<std::string, std::string>& extra);

struct ModelFile {
  std::unique_ptr<Model> model;
  std::map<std::string, std::string> metadata;
};
// A weights file, or the folder of a run (its best.safetensors, which must be of that run): path of the weights, and
// the model. Memory for parameters is bounded by what the file holds (ParamsLimit), whatever its config describes.
std::filesystem::path weights_path(const std::filesystem::path&);
ModelFile load_model(const std::filesystem::path&);

// The same where only one class will do; Error otherwise.
template <class Special>
std::unique_ptr<Special> special(ModelFile file, const std::string& where) {
  auto* found = dynamic_cast<Special*>(file.model.get());
  if (!found) throw Error("{}: is a model of type {}, which this does not take", where, file.model->config().type());
  static_cast<void>(file.model.release());
  return std::unique_ptr<Special>(found);
}

// Weights trained elsewhere: a safetensors file whose tensors have the names and shapes of the supervised form (README
// of python/), in F32, F16, BF16 or F64, maybe behind a wrapper's prefix, with any metadata or none; `config` says the
// rest. `notes`: what was converted or taken off. Error as above.
ModelFile import_model(const std::filesystem::path&, const ModelConfig& config, std::vector<std::string>& notes);
// The config that cafx wrote into a weights file; null where there is none.
std::unique_ptr<ModelConfig> config_in_file(const std::filesystem::path&);

// Identifies a weights file, wherever it is: "identity" of its metadata, which weights of a finished training have (the
// run's hash decides their bits), else the hash of its tensors.
std::string weights_identity(const std::filesystem::path&);

// Takes over the tensors of a weights file that `model` has too, by name; Error where shapes differ or none fits.
void load_tensors_by_name(const std::filesystem::path&, Model& model);

}  // namespace cafx
