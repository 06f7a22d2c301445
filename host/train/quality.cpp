#include "host/train/quality.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "host/metrics/error.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

Errors errors_of(const float* target, const float* output, std::size_t n) {
  const ErrorMetrics e = error_metrics(target, output, n);
  return {e.esr, e.mae};
}

Errors mean_of(const std::vector<Errors>& all) {
  Errors mean;
  const auto n = static_cast<double>(all.size());
  for (const Errors& e : all) {
    mean.esr += e.esr / n;
    mean.mae += e.mae / n;
  }
  return mean;
}

nlohmann::ordered_json json_of(const Errors& e) { return {{"esr", e.esr}, {"mae", e.mae}}; }

std::string line(const char* what, double esr, double mae) {
  return fmt::format("  {:<28} ESR {:.5f}   MAE {:.5f}\n", what, esr, mae);
}

}  // namespace

Quality measure_quality(Model& model, const Context& context, const std::vector<WholeNote>& notes,
                        const std::vector<SharedRecording>& recorded, const std::string& part) {
  CAFX_CHECK(!notes.empty() && (recorded.empty() || recorded.size() == notes.size()), notes.size(), recorded.size());
  std::vector<Errors> against_target(notes.size()), against_recording(notes.size()), of_teacher(notes.size());
  play_notes(model, context, notes, [&](std::size_t i, const std::vector<float>& output) {
    const WholeNote& note = notes[i];
    against_target[i] = errors_of(note.target, output.data(), note.n);
    if (recorded.empty()) return;
    against_recording[i] = errors_of(recorded[i].data(), output.data(), note.n);
    of_teacher[i] = errors_of(recorded[i].data(), note.target, note.n);
  });
  Quality q;
  q.part = part;
  q.notes = static_cast<int>(notes.size());
  q.student_target = mean_of(recorded.empty() ? against_target : against_recording);
  if (recorded.empty()) return q;
  q.teacher_target = mean_of(of_teacher);
  q.student_teacher = mean_of(against_target);
  return q;
}

std::string to_json(const Quality& q) {
  nlohmann::ordered_json json = {{"part", q.part}, {"notes", q.notes}, {"student_target", json_of(q.student_target)}};
  if (q.teacher_target) json["teacher_target"] = json_of(*q.teacher_target);
  if (q.student_teacher) json["student_teacher"] = json_of(*q.student_teacher);
  return json.dump();
}

std::string to_text(const Quality& q) { return quality_text(to_json(q)); }

std::string quality_text(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("student_target")) {
    return "  the loss of quality was not measured: the student's training has not ended\n";
  }
  std::string out;
  for (const auto& [key, title] : {std::pair("teacher_target", "teacher against recording"),
                                   {"student_target", "student against recording"},
                                   {"student_teacher", "student against teacher"}}) {
    if (!json.contains(key)) continue;
    const bool alone = std::string(key) == "student_target" && !json.contains("teacher_target");
    out += line(alone ? "model against recording" : title, json[key].value("esr", 0.0), json[key].value("mae", 0.0));
  }
  return out + fmt::format("  over {} notes of the {} part\n", json.value("notes", 0), json.value("part", ""));
}

}  // namespace cafx
