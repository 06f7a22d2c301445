#include "host/distill/quality.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "host/metrics/error.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

void add(MeanError& sum, const std::vector<float>& target, const std::vector<float>& output, double n) {
  const ErrorMetrics e = error_metrics(target.data(), output.data(), target.size());
  sum.esr += e.esr / n;
  sum.mae += e.mae / n;
}

nlohmann::ordered_json json_of(const MeanError& loss) { return {{"esr", loss.esr}, {"mae", loss.mae}}; }

std::string line(const char* what, double esr, double mae) {
  return fmt::format("  {:<28} ESR {:.5f}   MAE {:.5f}\n", what, esr, mae);
}

}  // namespace

std::vector<std::vector<float>> play_notes(const Context& context, const Model& student,
                                           const std::vector<MeasuredNote>& notes) {
  std::vector<std::vector<float>> outputs(notes.size());
  const auto at_rest = student.stream(context);
  over_tasks(context, static_cast<int>(notes.size()), [&](const Context&, int i) {
    const auto k = static_cast<std::size_t>(i);
    const auto stream = at_rest->twin();
    outputs[k].resize(notes[k].dry->size());
    stream->process(outputs[k].data(), notes[k].dry->data(), outputs[k].size());
  });
  return outputs;
}

Quality measure_quality(const Context& context, const Model& student, const std::vector<MeasuredNote>& notes,
                        const std::string& part) {
  CAFX_CHECK(!notes.empty());
  Quality q;
  q.part = part;
  q.notes = static_cast<int>(notes.size());
  const auto outputs = play_notes(context, student, notes);
  const auto n = static_cast<double>(notes.size());
  for (std::size_t i = 0; i < notes.size(); ++i) {
    add(q.student_target, *notes[i].wet, outputs[i], n);
    if (notes[i].taught->empty()) continue;
    if (!q.teacher_target) q.teacher_target = q.student_teacher = MeanError();
    add(*q.teacher_target, *notes[i].wet, *notes[i].taught, n);
    add(*q.student_teacher, *notes[i].taught, outputs[i], n);
  }
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
    out += line(title, json[key].value("esr", 0.0), json[key].value("mae", 0.0));
  }
  return out + fmt::format("  over {} notes of the {} part\n", json.value("notes", 0), json.value("part", ""));
}

}  // namespace cafx
