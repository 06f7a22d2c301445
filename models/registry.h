// models/registry.h -- the types of models: one line for each folder here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/model.h"

namespace cafx {

// A setting of [train] that a preset brings along: ("lr", "3e-3"); what it does not name keeps the trainer's default.
using TrainingDefaults = std::vector<std::pair<std::string, std::string>>;

struct ModelType {
  const char* name;                // [model] type of a config, `model` in a file's metadata
  std::vector<std::string> forms;  // kSupervised first; others are trained before it and hand their tensors on by name
  std::vector<std::string> (*presets)();  // the type's own default first; unique over all types
  std::unique_ptr<ModelConfig> (*preset)(const std::string& name);
  TrainingDefaults (*training)(const std::string& preset);
  std::unique_ptr<Model> (*make)(const ModelConfig&, const std::string& form);  // checks the config
};

const std::vector<ModelType>& model_types();

// Error with the nearest known name.
const ModelType& model_type(std::string_view name);
const ModelType& type_of_preset(const std::string& preset);
std::vector<std::string> model_presets();  // of all types
std::vector<std::string> model_type_names();

// Error where models of its type compute in fp32 alone, and another precision would change nothing but the words;
// `where` it was asked for.
void check_precision(const ModelConfig&, Precision, const std::string& where);

std::unique_ptr<Model> make_model(const ModelConfig&, const std::string& form = kSupervised);

}  // namespace cafx
