// host/distill/student_file.h -- a student as a file: safetensors with names, shapes and the whole config.
//
//   metadata   format "cafx", format_version "1", model "student", kind, config (JSON of every field of StudentConfig),
//              sample_rate, latency "0", version; once its training has ended, quality (JSON, host/distill/quality.h);
//              and whatever else is handed in (lineage, licence)
//   Errors     Error naming the file and what is wrong, as export/model_file.h.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "host/distill/config.h"

namespace cafx {

struct StudentFile {
  std::unique_ptr<Model> student;
  std::map<std::string, std::string> metadata;
};

void save_student(const std::filesystem::path&, const Model&, std::map<std::string, std::string> extra);
// A weights file, or the folder of a run (its best.safetensors).
StudentFile load_student(const std::filesystem::path&);
// Whether that file, or the weights in that folder, are a student's; false where there are none to be read.
bool is_student(const std::filesystem::path&);
// Whether the folder is the run of a student.
bool is_student_run(const std::filesystem::path& folder);

}  // namespace cafx
