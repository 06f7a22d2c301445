#include "host/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/draw/page.h"
#include "host/draw/svg.h"
#include "host/report/knobs.h"
#include "host/report/learning.h"
#include "host/report/parts.h"
#include "host/version.h"
#include "kernels/base/error.h"

namespace cafx {

std::string figure_text(double v) {
  if (std::isnan(v)) return "not a number";
  if (std::isinf(v)) return v < 0 ? "-\u221e" : "\u221e";
  if (v == 0.0) return "0";
  return std::abs(v) < 1e-4 || std::abs(v) >= 1e4 ? fmt::format("{:.2e}", v)
                                                  : fmt::format("{:.{}f}", v, std::abs(v) < 0.1 ? 5 : 3);
}

namespace {

// An ESR in words: how far the error is below the signal.
std::string reading(double esr) {
  if (std::isnan(esr)) return "not a number: input, target or output is broken";
  if (std::isinf(esr)) return "the target is silent, the output is not";
  if (esr <= 0.0) return "no error at all";
  const double below = -10.0 * std::log10(esr);
  if (std::abs(below) < 0.5) return "error as strong as the signal";
  return fmt::format("error {:.0f} dB {} the signal", std::abs(below), below > 0.0 ? "below" : "above");
}

std::string learning_curve(const std::string& csv) {
  const Epochs epochs = epochs_of(csv);
  if (epochs.stage.empty()) return "";
  const auto quantity = [](const std::string& of) { return of == "mae" ? std::string("mean absolute error") : of; };
  const std::string training = quantity(epochs.training_of), validation = quantity(epochs.validation_of);
  const std::string what = training == validation ? training : training + " and " + validation;
  std::vector<Series> all{{"training", "", {}, {}}, {"validation", "b", {}, {}}};
  Axes axes;
  axes.title = fmt::format("{} of training and validation over the epochs", what);
  axes.x_label = "epoch, all stages in a row";
  axes.y_label = what;
  axes.log_y = true;
  axes.height = 260;
  for (std::size_t i = 0; i < epochs.stage.size(); ++i) {
    const double epoch = static_cast<double>(i + 1);
    if (i == 0 || epochs.stage[i] != epochs.stage[i - 1]) {
      axes.marks.push_back({epoch - 0.5, epochs.stage[i]});
      for (Series& s : all) {  // a gap between stages, whose errors may differ in kind
        s.x.push_back(epoch - 0.5);
        s.y.push_back(std::nan(""));
      }
    }
    all[0].x.push_back(epoch);
    all[0].y.push_back(epochs.training[i]);
    all[1].x.push_back(epoch);
    all[1].y.push_back(epochs.validation[i]);
  }
  axes.x = {0.5, static_cast<double>(epochs.stage.size()) + 0.5};
  return "<h2>How it learned</h2><figure>" + chart(all, axes) + legend(all) +
         fmt::format("<figcaption>Training: {}, validation: {} of each epoch. ", escape(training), escape(validation)) +
         "Dashed lines: a stage begins. Pretraining "
         "learns to give back its own input, without validation; its error is no measure of the effect.</figcaption>"
         "</figure>";
}

// Values of one curve or filter after the other, each on all of x.
std::vector<std::vector<double>> rows_of(const Fact& f) {
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i + f.x.size() <= f.values.size() && !f.x.empty(); i += f.x.size()) {
    const auto first = f.values.begin() + static_cast<std::ptrdiff_t>(i);
    rows.emplace_back(first, first + static_cast<std::ptrdiff_t>(f.x.size()));
  }
  return rows;
}

// Curves of a model as they are, and how far each bends away from y = x.
std::string curves(const Fact& f) {
  const std::vector<double> x(f.x.begin(), f.x.end());
  std::vector<Series> all, bend;
  const char* const css[] = {"thin", "thin b", "thin c", "thin d"};
  const auto rows = rows_of(f);
  for (std::size_t k = 0; k < rows.size(); ++k) {
    all.push_back({fmt::format("channel {}", k), css[k % 4], x, rows[k]});
    bend.push_back(all.back());
    for (std::size_t i = 0; i < x.size(); ++i) bend.back().y[i] -= x[i];
  }
  all.push_back({"identity", "dash", {x.front(), x.back()}, {x.front(), x.back()}});
  bend.push_back({"identity", "dash", {x.front(), x.back()}, {0.0, 0.0}});
  Axes axes;
  axes.title = "the curves of all channels";
  axes.x_label = "in";
  axes.y_label = "out";
  axes.height = 300;
  Axes bent = axes;
  bent.title = "the curves of all channels less the identity";
  bent.y_label = "out, less what went in";
  return "<h2>The learned curves</h2><div class=\"two\"><figure>" + chart(all, axes) + "</figure><figure>" +
         chart(bend, bent) +
         fmt::format(
             "</figure></div><p class=\"quiet\">{} curves on {:g} to {:g}: {}. Colours only tell neighbours apart. "
             "Dashed: the identity, which leaves a signal as it is. Second picture: how far each curve bends away from "
             "it.</p>",
             rows.size(), x.front(), x.back(), escape(f.help));
}

std::string filters(const Fact& f, int sample_rate) {
  constexpr std::size_t kMost = 32;
  auto rows = rows_of(f);
  const std::size_t all = rows.size(), n = std::min(all, kMost);
  std::string html = "<h2>The learned filters</h2><div class=\"filters\">";
  for (std::size_t k = 0; k < n; ++k) {
    double most = 0.0;
    for (const double v : rows[k]) most = std::max(most, std::abs(v));  // a NaN loses every comparison
    for (double& v : rows[k]) v = most > 0.0 ? v / most : 0.0;
    html += fmt::format("<figure>{}<figcaption>{}, \u00b1{:.2g}</figcaption></figure>",
                        sparkline(rows[k], fmt::format("filter {}", k)), k, most);
  }
  return html + fmt::format(
                    "</div><p class=\"quiet\">{}: {} of {}, {} taps ({:.1f} ms), each to its own scale, which stands "
                    "after its number.</p>",
                    escape(f.help), n, all, f.x.size(), 1e3 * static_cast<double>(f.x.size()) / sample_rate);
}

// What the model tells of itself: numbers as a table, curves and filters as pictures.
std::string facts_section(const std::vector<Fact>& facts, int sample_rate) {
  std::string pictures, numbers;
  for (const Fact& f : facts) {
    if (f.kind == Fact::Kind::kCurves && !f.x.empty()) pictures += curves(f);
    if (f.kind == Fact::Kind::kFilters && !f.x.empty()) pictures += filters(f, sample_rate);
    if (f.kind == Fact::Kind::kNumber) {
      numbers += fmt::format("<tr><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>", escape(f.name),
                             figure_text(f.number), escape(f.help));
    }
  }
  if (numbers.empty()) return pictures;
  return pictures + "<h2>The model in numbers</h2><div class=\"scroll\"><table>" + numbers + "</table></div>";
}

std::string note_section(const NoteResult& r, int rate) {
  const std::size_t n = std::min(r.target.size(), r.output.size());
  std::vector<float> difference(n);
  float peak = 0.0f, peak_target = 0.0f;  // peak: over all four players, so that one gain serves all
  std::size_t loudest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    difference[i] = r.output[i] - r.target[i];
    if (std::abs(r.target[i]) > peak_target) {
      peak_target = std::abs(r.target[i]);
      loudest = i;
    }
  }
  float drawn = 0.0f;
  const auto widen = [](float& p, const std::vector<float>& x) {
    for (const float v : x) {
      if (std::isfinite(v)) p = std::max(p, std::abs(v));
    }
  };
  widen(drawn, r.target);
  widen(drawn, r.output);
  widen(drawn, difference);
  peak = drawn;
  widen(peak, r.input);
  const double gain = peak > 0.0f ? 0.9 / peak : 1.0;
  std::string html = fmt::format(
      "<section class=\"note\"><h3>{}</h3><p class=\"quiet\">{:.2f} s. ESR {}: {}. The dry signal as it is: ESR {}, "
      "{}.</p><div class=\"players\">",
      escape(title_of(r)), r.seconds, figure_text(r.model.esr), reading(r.model.esr), figure_text(r.dry.esr),
      reading(r.dry.esr));
  const auto player = [&](const char* css, const char* name, const std::vector<float>& x) {
    html += player_html(css, name, name, x, rate, gain);
  };
  player("i", "input (dry)", r.input);
  player("t", "target", r.target);
  player("o", "output of the model", r.output);
  player("e", "difference (output - target)", difference);
  html += fmt::format(
      "</div><p class=\"quiet\">All four are played with one common gain of {:+.1f} dB, since raw notes are quiet: "
      "their levels compare.</p><h4>Waveforms</h4><figure>",
      20.0 * std::log10(gain));

  struct Row {
    const char* name;
    const std::vector<float>* x;
    const char* css;
  };
  const double scale = drawn > 0.0f ? 1.05 * drawn : 1.0;
  for (const auto& [name, x, css] :
       {Row{"target", &r.target, ""}, Row{"output", &r.output, "b"}, Row{"difference", &difference, "c"}}) {
    Series s = envelope(*x, rate, css, 480);
    s.label = name;
    Axes axes;
    axes.title = fmt::format("waveform of the {}", name);
    axes.x_label = x == &difference ? "time, s" : "";
    axes.y_label = name;
    axes.height = 84;
    if (n > 0) axes.x = {0.0, static_cast<double>(x->size()) / rate};
    axes.y = {-scale, scale};
    html += chart({s}, axes);
  }
  html +=
      "<figcaption>Least and greatest sample of each column, full scale = 1, all three to one scale.</figcaption>"
      "</figure>";

  std::vector<Series> zoom{{"target", "", {}, {}}, {"output", "b", {}, {}}};
  const std::size_t half = static_cast<std::size_t>(rate / 100), from = loudest > half ? loudest - half : 0;
  for (std::size_t i = from; i < std::min(n, from + 2 * half); ++i) {
    const double ms = 1e3 * static_cast<double>(i) / rate;
    zoom[0].x.push_back(ms);
    zoom[0].y.push_back(r.target[i]);
    zoom[1].x.push_back(ms);
    zoom[1].y.push_back(r.output[i]);
  }
  Axes axes;
  axes.title = "target and output around the loudest place";
  axes.x_label = "time, ms";
  axes.y_label = "amplitude";
  axes.height = 220;
  html += "<h4>20 ms around the loudest place</h4><figure>" + chart(zoom, axes) + legend(zoom) + "</figure>";

  const Spectrum target = spectrum(r.target), output = spectrum(r.output);
  const double reference = target.loudest() > 0.0 ? target.loudest() : output.loudest();
  html += fmt::format(
      "<h4>Spectrograms</h4><div class=\"two\"><figure>{}<figcaption>target</figcaption></figure><figure>{}"
      "<figcaption>output</figcaption></figure></div>{}</section>",
      spectrogram(target, rate, reference, "spectrogram of the target"),
      spectrogram(output, rate, reference, "spectrogram of the output"), colour_bar());
  return html;
}

std::string key_figures(const Evaluation& e) {
  constexpr std::size_t kCards = 6;  // more are a table, which follows
  std::string html = "<div class=\"cards\">";
  const auto card = [&](const std::string& name, double esr) {
    html += fmt::format("<div class=\"card\">{}<b>ESR {}</b>{}</div>", escape(name), figure_text(esr), reading(esr));
  };
  if (e.notes.size() <= kCards) {
    for (const NoteResult& r : e.notes) card(title_of(r), r.model.esr);
  } else {
    const auto [best, worst] = std::minmax_element(
        e.notes.begin(), e.notes.end(), [](const auto& a, const auto& b) { return a.model.esr < b.model.esr; });
    card("mean", e.mean.esr);
    card("best: " + title_of(*best), best->model.esr);
    card("worst: " + title_of(*worst), worst->model.esr);
  }
  return html +
         "</div><p class=\"quiet\">ESR, error to signal ratio: energy of the error over energy of the target; 0 "
         "is perfect, 1 is as bad as silence.</p>";
}

std::string layers_section(const Model& model) {
  std::string html =
      "<h2>The layers</h2><div class=\"scroll\"><table><tr><th>layer</th><th>output</th><th>parameters</th>"
      "<th>multiply-adds</th><th class=\"words\">what it is</th></tr>";
  const auto layer = [&](const std::string& name, const std::string& output, long parameters, long multiply_adds,
                         const std::string& detail, const char* css) {
    html += fmt::format("<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>", css,
                        escape(name), escape(output), parameters, multiply_adds, escape(detail));
  };
  long parameters = 0, multiply_adds = 0;
  for (const LayerRow& r : model.layers()) {
    layer(r.name, r.output, r.parameters, r.multiply_adds, r.detail, "");
    parameters += r.parameters;
    multiply_adds += r.multiply_adds;
  }
  layer("sum", "", parameters, multiply_adds, "", " class=\"sum\"");
  return html + fmt::format("</table></div><p class=\"quiet\">Multiply-adds of one {}, forward.</p>",
                            model.geometry().frame > 0 ? "frame" : "sample");
}

// Each note, and over all of them.
std::string notes_section(const Evaluation& e, int sample_rate) {
  if (e.notes.empty()) return "<p>No notes were evaluated.</p>";
  std::string html = key_figures(e) +
                     "<h2>The notes in numbers</h2><div class=\"scroll\"><table><tr><th>note</th><th>MAE</th><th>MAE, "
                     "level-matched</th><th>ESR</th><th>ESR, pre-emphasis</th><th>ESR of the dry signal</th></tr>";
  const auto row = [&](const std::string& name, const ErrorMetrics& m, const std::string& dry, const char* css) {
    html += fmt::format("<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", css,
                        escape(name), figure_text(m.mae), figure_text(m.mae_matched), figure_text(m.esr),
                        figure_text(m.esr_emphasis), dry);
  };
  for (const NoteResult& r : e.notes) row(title_of(r), r.model, figure_text(r.dry.esr), "");
  if (e.notes.size() > 1) {
    row("mean", e.mean, "", " class=\"sum\"");
    row("standard deviation", e.spread, "", "");
  }
  html +=
      "</table></div><p class=\"quiet\">MAE: mean absolute error, full scale = 1; level-matched: after the output is "
      "brought to the target's mean level. Pre-emphasis: y[n] - 0.95 y[n-1], which weighs high frequencies "
      "more. The dry signal is the baseline: what doing nothing would score.</p><h2>The notes to hear</h2>";
  for (const NoteResult& r : e.notes) html += note_section(r, sample_rate);
  return html;
}

}  // namespace

std::string recordings_section(const std::string& data_json) {
  const auto data = nlohmann::json::parse(data_json, nullptr, false);
  if (!data.is_object()) return "";
  std::string items;
  const auto item = [&](const std::string& text) { items += "<li>" + escape(text) + "</li>"; };
  if (data.value("file_rate", 0) > data.value("sample_rate", 0)) {
    item(fmt::format(
        "The model has a bandwidth of {:.1f} kHz. Recordings have {} Hz; {} dB of the wet audio's energy lie "
        "above it, at most.",
        0.001 * data.value("bandwidth_hz", 0.0), data.value("file_rate", 0), data.value("wet_energy_above_db", 0.0)));
  }
  if (const auto chosen = data.value("auto", nlohmann::json::object()); chosen.is_object() && !chosen.empty()) {
    item(fmt::format("Preset {}, chosen from the recordings{}: {}.", chosen.value("preset", ""),
                     chosen.value("sure", false) ? "" : ", not for sure", chosen.value("because", "")));
  }
  const auto repairs = data.value("repairs", nlohmann::json::array());
  const auto reasons = data.value("cannot_judge", nlohmann::json::object());
  for (const auto& r : repairs) {
    item(fmt::format("{}: {} (sure by {:.0f} %)", r.value("file", ""), r.value("text", ""),
                     100.0 * r.value("confidence", 0.0)));
  }
  for (const auto& [part, reason] : reasons.items()) {
    if (reason.is_string())
      item(fmt::format("Numbers of the {} part are no result: it {}.", part, reason.get<std::string>()));
  }
  return items.empty() ? "" : "<h2>The recordings</h2><ul>" + items + "</ul>";
}

std::string report_html(const ReportInput& in) {
  CAFX_CHECK(in.model != nullptr && in.evaluation != nullptr, in.title);
  Model& model = *in.model;
  const Evaluation& e = *in.evaluation;
  const Geometry g = model.geometry();
  const std::string playing = g.frame > 0
                                  ? fmt::format("in frames of {} samples, rendered at a hop of {}", g.frame, e.hop)
                                  : "sample by sample";
  std::string html = page_head("cafx: " + in.title);
  html += fmt::format(
      "<p class=\"eyebrow\">A model of an audio effect</p><h1>{0}</h1>"
      "<p class=\"quiet\">A model of type {1}{2} with {3} parameters at {4} Hz, {5}. Heard on {6} {7} of the part "
      "\u201c{8}\u201d. cafx {9}.</p>",
      escape(in.title), model.config().type(),
      model.form() == kSupervised ? "" : fmt::format(" (its form \u201c{}\u201d)", model.form()),
      model.params().n_parameters(), g.sample_rate, playing, e.notes.size(), e.notes.size() == 1 ? "note" : "notes",
      escape(e.part), kVersion);
  for (const std::string& warning : e.warnings) html += "<p><strong>" + escape(warning) + ".</strong></p>";
  html += notes_section(e, g.sample_rate);
  if (!e.notes.empty()) html += knobs_section(model, e.notes.front().note, e.notes.front().input, e.hop);
  html += recordings_section(in.data_json) + learning_curve(in.metrics_csv);
  html += facts_section(model.facts(Context()), g.sample_rate) + layers_section(model);
  html += "<h2>Make it again</h2><pre>" + escape(in.command) + "</pre>";
  if (!in.config_toml.empty())
    html += "<details><summary>The whole config</summary><pre>" + escape(in.config_toml) + "</pre></details>";
  if (!in.result_json.empty())
    html += "<details><summary>The result</summary><pre>" + escape(in.result_json) + "</pre></details>";
  return html + kPageEnd;
}

}  // namespace cafx
