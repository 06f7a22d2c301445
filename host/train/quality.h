// host/train/quality.h -- what is lost on the way: recording, teacher, student, over whole notes.
//
//   student_target    model against recording        always
//   teacher_target    teacher against recording      where a teacher made the targets
//   student_teacher   model against teacher          likewise
//
//   Means over the notes of the part of the split that is measured; esr and mae as host/metrics/error.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "host/train/notes.h"

namespace cafx {

struct Errors {
  double esr = 0.0, mae = 0.0;
};
struct Quality {
  std::string part;  // "validation" or "train"
  int notes = 0;
  Errors student_target;
  std::optional<Errors> teacher_target, student_teacher;
};

// `recorded`: of each note what was recorded, where a teacher made its target; empty: the targets are the recordings.
Quality measure_quality(Model&, const Context&, const std::vector<WholeNote>&,
                        const std::vector<SharedRecording>& recorded, const std::string& part);
std::string to_json(const Quality&);
std::string to_text(const Quality&);
// The text for a file's metadata, also if nothing was measured.
std::string quality_text(const std::string& json);

}  // namespace cafx
