// host/export/format.h -- the files that a model can be written as: one line for each.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/play/weights_file.h"

namespace cafx {

struct Format {
  const char *name, *ending;
  // Empty: the format can hold the model; else the reason, to be printed after the model's name.
  std::string (*why_not)(const Model&);
  // `name`: of the model, where the format has a place for it (named).
  void (*write)(const std::filesystem::path&, const ModelFile&, const std::string& name);
  // A remark on the file, printed after its size; may be empty.
  std::string (*remark)(const Model&);
  bool at_position = false;  // a model with knobs may be written as one without, where they stand
  bool named = false;
};
const std::vector<Format>& formats();
std::vector<std::string> format_names();
const Format& format_of_name(const std::string& name);
// That of the file's ending; the first where it has none. Error for another ending.
const Format& format_of_path(const std::string& path);

}  // namespace cafx
