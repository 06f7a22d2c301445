#include "host/eval/eval.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "host/render/render.h"
#include "kernels/base/csv.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

void summarise(Evaluation& e) {
  const auto n = static_cast<double>(e.notes.size());
  for (const MetricName& name : kMetricNames) {
    const auto m = name.value;
    double sum = 0.0, squares = 0.0;
    for (const NoteResult& r : e.notes) sum += r.model.*m;
    e.mean.*m = sum / n;
    for (const NoteResult& r : e.notes) squares += (r.model.*m - e.mean.*m) * (r.model.*m - e.mean.*m);
    e.spread.*m = n > 1.0 ? std::sqrt(squares / (n - 1.0)) : 0.0;
  }
}

nlohmann::ordered_json json_of(const Metrics& metrics) {
  nlohmann::ordered_json json;
  for (const MetricName& name : kMetricNames) json[name.key] = metrics.*name.value;
  return json;
}

using PlayPair = std::function<std::vector<float>(const Pair&)>;
Evaluation evaluate_pairs(const PlayPair&, int sample_rate, const Context&, const Dataset&,
                          const std::vector<int>& which, const std::string& part, int hop);

}  // namespace

Evaluation evaluate(Model& model, const Context& context, const Dataset& data, const std::vector<int>& which,
                    const std::string& part, int hop) {
  const auto play = [&](const Pair& pair) {
    if (const auto n = static_cast<std::size_t>(model.geometry().knobs); n > 0) {
      if (pair.controls.size() != n) {
        throw Error("{}: its knobs are not those of the model; set data.knobs as the model has them",
                    file_of(pair, true));
      }
      model.turn_to(pair.controls);
    }
    return render_signal(model, context, pair.dry.data(), pair.dry.size(), hop);
  };
  return evaluate_pairs(play, model.geometry().sample_rate, context, data, which, part, hop);
}

Evaluation evaluate(const Play& play, int sample_rate, const Context& context, const Dataset& data,
                    const std::vector<int>& which, const std::string& part, int hop) {
  return evaluate_pairs([&](const Pair& pair) { return play(pair.dry); }, sample_rate, context, data, which, part, hop);
}

namespace {

Evaluation evaluate_pairs(const PlayPair& play, int sample_rate, const Context& context, const Dataset& data,
                          const std::vector<int>& which, const std::string& part, int hop) {
  if (which.empty())
    throw Error("no note is in the {} part of the split; raise data.{} or choose another --part", part, part);
  Evaluation e;
  e.hop = hop;
  e.part = part;
  for (const int i : which) {
    const Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    NoteResult r;
    r.note = pair.name;
    r.dry_file = pair.dry_path.string();
    r.wet_file = pair.wet_path.string();
    r.seconds = static_cast<double>(pair.dry.size()) / sample_rate;
    r.input.assign(pair.dry.begin(), pair.dry.end());
    r.target.assign(pair.wet.begin(), pair.wet.end());
    r.output = play(pair);
    for (const KnobValue& k : pair.knobs) {
      if (!pair.controls.empty()) r.knobs.emplace_back(k.name, k.show());
    }
    e.notes.push_back(std::move(r));
  }
  // Rendering uses all threads; metrics use one thread per note.
  const auto measured = [&](int i, int) {
    NoteResult& r = e.notes[static_cast<std::size_t>(i)];
    const Measure measure(r.target, sample_rate);
    r.model = measure(r.output);
    r.dry = measure(r.input);
  };
  const auto n = static_cast<int>(e.notes.size());
  if (context.pool) {
    context.pool->run(n, measured);
  } else {
    for (int i = 0; i < n; ++i) measured(i, 0);
  }
  summarise(e);
  return e;
}

}  // namespace

std::string title_of(const NoteResult& r) {
  std::string title = r.note;
  for (const auto& [name, value] : r.knobs) title += fmt::format(" {}={}", name, value);
  return title;
}

std::string to_text(const Evaluation& e) {
  std::string text =
      fmt::format("{} note{} of the {} part, {}\n\n{:<24}", e.notes.size(), e.notes.size() == 1 ? "" : "s", e.part,
                  e.hop > 0 ? fmt::format("rendered at hop {}", e.hop) : "played sample by sample", "note");
  for (const MetricName& metric : kMetricNames) text += fmt::format(" {:>9}", metric.heading);
  text += fmt::format("   {:>9}\n", "ESR dry");
  const auto line = [&](const std::string& name, const Metrics& m) {
    text += fmt::format("{:<24}", name);
    for (const MetricName& metric : kMetricNames) text += fmt::format(" {:9.5f}", m.*metric.value);
  };
  for (const NoteResult& r : e.notes) {
    line(title_of(r), r.model);
    text += fmt::format("   {:9.5f}\n", r.dry.esr);
  }
  line("mean", e.mean);
  text += "\n";
  if (e.notes.size() < 2) return text;  // one note has no spread
  line("spread", e.spread);
  return text + "\n";
}

std::string to_csv(const Evaluation& e) {
  std::vector<std::string> cells{"note", "seconds"};
  for (const char* prefix : {"", "dry_"}) {
    for (const MetricName& metric : kMetricNames) cells.push_back(std::string(prefix) + metric.key);
  }
  const bool knobs = !e.notes.empty() && !e.notes[0].knobs.empty();
  for (std::size_t k = 0; knobs && k < e.notes[0].knobs.size(); ++k)
    cells.push_back("knob:" + e.notes[0].knobs[k].first);
  std::string text = csv_line(cells);
  for (const NoteResult& r : e.notes) {
    cells = {r.note, fmt::format("{}", r.seconds)};
    for (const Metrics* m : {&r.model, &r.dry}) {
      for (const MetricName& metric : kMetricNames) cells.push_back(fmt::format("{}", m->*metric.value));
    }
    for (const auto& [name, value] : r.knobs) cells.push_back(value);
    text += csv_line(cells);
  }
  return text;
}

std::string to_json(const Evaluation& e) {
  nlohmann::ordered_json json;
  json["part"] = e.part;
  json["hop"] = e.hop;
  if (!e.warnings.empty()) json["warnings"] = e.warnings;
  json["notes"] = nlohmann::ordered_json::array();
  for (const NoteResult& r : e.notes) {
    nlohmann::ordered_json note = {{"note", r.note}, {"seconds", r.seconds}};
    for (const auto& [name, value] : r.knobs) note["knobs"][name] = value;
    note.update(json_of(r.model));
    note["dry"] = json_of(r.dry);
    json["notes"].push_back(note);
  }
  json["mean"] = json_of(e.mean);
  json["spread"] = json_of(e.spread);
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace cafx
