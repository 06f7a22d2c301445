#include "host/train/notes.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "host/render/render.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

const MetricName& metric_of(const std::string& key) {
  const auto found =
      std::find_if(kMetricNames.begin(), kMetricNames.end(), [&](const MetricName& m) { return key == m.key; });
  CAFX_CHECK(found != kMetricNames.end(), key);
  return *found;
}

// Metrics that need one pass over the samples; the others need spectra.
bool is_plain_error(double Metrics::*value) {
  return value == static_cast<double Metrics::*>(&ErrorMetrics::mae) ||
         value == static_cast<double Metrics::*>(&ErrorMetrics::mae_matched) ||
         value == static_cast<double Metrics::*>(&ErrorMetrics::esr) ||
         value == static_cast<double Metrics::*>(&ErrorMetrics::esr_emphasis);
}

bool is_silent(const WholeNote& note) {
  return std::all_of(note.target, note.target + note.n, [](float v) { return v == 0.0f; });
}

}  // namespace

std::vector<WholeNote> whole_notes(const Corpus& corpus) {
  std::vector<WholeNote> notes;
  for (const Corpus::Note& n : corpus.notes) {
    notes.push_back({n.name, corpus.dry(n), corpus.target(n), static_cast<std::size_t>(n.end - n.begin), &n.controls});
  }
  return notes;
}

void play_notes(Model& model, const Context& context, const std::vector<WholeNote>& notes,
                const std::function<void(std::size_t, const std::vector<float>&)>& visit) {
  const Geometry g = model.geometry();
  const std::vector<float> position = model.position();
  if (g.frame > 0) {
    for (std::size_t i = 0; i < notes.size(); ++i) {
      model.turn_to(*notes[i].controls);
      visit(i, render_signal(model, context, notes[i].dry, notes[i].n, g.hop));
    }
    model.turn_to(position);
    return;
  }
  std::map<std::vector<float>, std::unique_ptr<Player>> at_rest;  // by where the knobs stand
  for (const WholeNote& note : notes) {
    std::unique_ptr<Player>& player = at_rest[*note.controls];
    if (player) continue;
    model.turn_to(*note.controls);
    player = stream_of(model, context);
  }
  model.turn_to(position);
  Context cpu = context;
  cpu.device = Device::kCpu;
  over_tasks(cpu, static_cast<int>(notes.size()), [&](const Context&, int i) {
    const WholeNote& note = notes[static_cast<std::size_t>(i)];
    const auto player = at_rest.at(*note.controls)->twin();
    const auto late = static_cast<std::size_t>(player->latency());
    std::vector<float> output(note.n + late), silence(late, 0.0f);
    player->process(output.data(), note.dry, note.n);
    player->process(output.data() + note.n, silence.data(), late);
    output.erase(output.begin(), output.begin() + static_cast<long>(late));  // sample n belongs to the note's n
    visit(static_cast<std::size_t>(i), output);
  });
}

double mean_metric(Model& model, const Context& context, const std::vector<WholeNote>& all, const std::string& key) {
  const MetricName& metric = metric_of(key);
  std::vector<WholeNote> notes;
  std::copy_if(all.begin(), all.end(), std::back_inserter(notes), [](const WholeNote& n) { return !is_silent(n); });
  if (notes.empty()) throw Error("train.stop_on = {}: the targets of all notes that it is measured on are silent", key);
  std::vector<double> values(notes.size());
  play_notes(model, context, notes, [&](std::size_t i, const std::vector<float>& output) {
    const WholeNote& note = notes[i];
    if (is_plain_error(metric.value)) {
      values[i] = Metrics(error_metrics(note.target, output.data(), note.n)).*metric.value;
    } else {
      values[i] = Measure(std::vector<float>(note.target, note.target + note.n), model.geometry().sample_rate)(output).*
                  metric.value;
    }
  });
  double sum = 0.0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

bool is_inverted(Model& model, const Context& context, const std::vector<WholeNote>& notes) {
  struct Errors {
    double as_it_is = 0.0, negated = 0.0;
  };
  std::vector<Errors> errors(notes.size());
  play_notes(model, context, notes, [&](std::size_t i, const std::vector<float>& output) {
    for (std::size_t t = 0; t < output.size(); ++t) {
      const double target = notes[i].target[t], y = output[t];
      errors[i].as_it_is += (target - y) * (target - y);
      errors[i].negated += (target + y) * (target + y);
    }
  });
  Errors sum;
  for (const Errors& e : errors) {
    sum.as_it_is += e.as_it_is;
    sum.negated += e.negated;
  }
  return sum.negated < sum.as_it_is;
}

}  // namespace cafx
