// host/distill/quality.h -- what is lost on the way: recording, teacher, student, over whole notes.
//
//   student_target    student against recording        always
//   teacher_target    teacher against recording        where a teacher made the targets
//   student_teacher   student against teacher          likewise
//
//   Means over the notes of the part of the split that is measured; esr and mae as host/metrics/error.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/device/context.h"
#include "models/model.h"

namespace cafx {

struct MeanError {
  double esr = 0.0, mae = 0.0;
};
struct Quality {
  std::string part;  // "validation" or "train"
  int notes = 0;
  MeanError student_target;
  std::optional<MeanError> teacher_target, student_teacher;
};

// Signals of one note; `taught` is empty without a teacher.
struct MeasuredNote {
  std::string name;
  const std::vector<float>*dry, *wet, *taught;
};

// One signal after silence. Notes in parallel; each from rest.
std::vector<std::vector<float>> play_notes(const Context&, const Model&, const std::vector<MeasuredNote>&);
Quality measure_quality(const Context&, const Model&, const std::vector<MeasuredNote>&, const std::string& part);
std::string to_json(const Quality&);
std::string to_text(const Quality&);
// The text for a file's metadata; says so where nothing was measured.
std::string quality_text(const std::string& json);

}  // namespace cafx
