#include "host/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "host/draw/style.h"
#include "host/draw/svg.h"
#include "host/draw/wav.h"
#include "host/version.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

std::vector<std::string> split_line(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

// Not a number where there is none: charts leave that out.
double number(const std::string& text) {
  char* end = nullptr;
  const double v = std::strtod(text.c_str(), &end);
  return end == text.c_str() ? std::nan("") : v;
}

std::string figure(double v) {
  if (std::isnan(v)) return "not a number";
  if (std::isinf(v)) return v < 0 ? "-\u221e" : "\u221e";
  if (v == 0.0) return "0";
  return std::abs(v) < 1e-4 || std::abs(v) >= 1e4 ? fmt::format("{:.2e}", v)
                                                  : fmt::format("{:.{}f}", v, std::abs(v) < 0.1 ? 5 : 3);
}

// What an ESR means for the ear, roughly: how far the error lies below the signal.
std::string reading(double esr) {
  if (std::isnan(esr)) return "not a number: input, target or output is broken";
  if (std::isinf(esr)) return "the target is silent, the output is not";
  if (esr <= 0.0) return "no error at all";
  const double below = -10.0 * std::log10(esr);
  if (std::abs(below) < 0.5) return "error as strong as the signal";
  return fmt::format("error {:.0f} dB {} the signal", std::abs(below), below > 0.0 ? "below" : "above");
}

std::string learning_curve(const std::string& csv) {
  std::istringstream in(csv);
  std::string line;
  std::getline(in, line);
  const auto header = split_line(line);
  const auto column = [&](const char* name) {
    return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
  };
  const std::size_t stage = column("stage"), training_mae = column("training_mae"), val_mae = column("validation_mae");
  std::vector<Series> all{{"training", "", {}, {}}, {"validation", "b", {}, {}}};
  Axes axes;
  axes.title = "mean absolute error of training and validation over the epochs";
  axes.x_label = "epoch, all stages in a row";
  axes.y_label = "mean absolute error";
  axes.log_y = true;
  axes.height = 260;
  std::string before;
  double epoch = 0.0;
  while (std::getline(in, line)) {
    const auto cells = split_line(line);
    const auto cell = [&](std::size_t i) { return i < cells.size() ? cells[i] : std::string(); };
    if (cells.empty()) continue;
    epoch += 1.0;
    if (epoch == 1.0 || cell(stage) != before) {
      axes.marks.push_back({epoch - 0.5, cell(stage)});
      for (Series& s : all) {  // no line from one stage to the next: they may measure different things
        s.x.push_back(epoch - 0.5);
        s.y.push_back(std::nan(""));
      }
    }
    before = cell(stage);
    all[0].x.push_back(epoch);
    all[0].y.push_back(number(cell(training_mae)));
    all[1].x.push_back(epoch);
    all[1].y.push_back(number(cell(val_mae)));
  }
  if (epoch == 0.0) return "";
  axes.x = {0.5, epoch + 0.5};
  return "<h2>How it learned</h2><figure>" + chart(all, axes) + legend(all) +
         "<figcaption>Mean absolute error of each epoch, full scale = 1. Dashed lines: a stage begins. Pretraining "
         "learns to give back its own input, without validation; its error is no measure of the effect.</figcaption>"
         "</figure>";
}

std::string curves(const CafxModel& model) {
  const CafxConfig& c = model.config();
  const int n = 121;
  std::vector<float> x(n), y(n);
  for (int i = 0; i < n; ++i)
    x[static_cast<std::size_t>(i)] = static_cast<float>(c.saaf_lo + (c.saaf_hi - c.saaf_lo) * i / (n - 1));
  std::vector<Series> all, bend;
  const char* const css[] = {"thin", "thin b", "thin c", "thin d"};
  for (int channel = 0; channel < c.filters; ++channel) {
    model.curve(channel, y.data(), x.data(), n);
    all.push_back({fmt::format("channel {}", channel), css[channel % 4], {x.begin(), x.end()}, {y.begin(), y.end()}});
    bend.push_back(all.back());
    for (std::size_t i = 0; i < bend.back().y.size(); ++i) bend.back().y[i] -= bend.back().x[i];
  }
  all.push_back({"identity", "dash", {c.saaf_lo, c.saaf_hi}, {c.saaf_lo, c.saaf_hi}});
  bend.push_back({"identity", "dash", {c.saaf_lo, c.saaf_hi}, {0.0, 0.0}});
  Axes axes;
  axes.title = "the curves of all channels";
  axes.x_label = "into the SAAF";
  axes.y_label = "out of it";
  axes.height = 300;
  Axes bent = axes;
  bent.title = "the curves of all channels less the identity";
  bent.y_label = "out of it, less what went in";
  return "<h2>The learned curves</h2><div class=\"two\"><figure>" + chart(all, axes) + "</figure><figure>" +
         chart(bend, bent) +
         fmt::format(
             "</figure></div><p class=\"quiet\">The smooth adaptive activation function (SAAF) of each of the {} "
             "channels on its domain {:g} to {:g}; colours only tell neighbours apart. Dashed: the identity, which "
             "leaves a signal as it is. Second picture: how far each curve bends away from it. Steepest slope: {}.</p>",
             c.filters, c.saaf_lo, c.saaf_hi, figure(model.lipschitz()));
}

std::string filters(const CafxModel& model) {
  const CafxConfig& c = model.config();
  const auto& params = model.params();
  const auto conv = std::find_if(params.begin(), params.end(), [](const auto& p) { return p.name == "conv1d.weight"; });
  CAFX_CHECK(conv != params.end() && conv->size == static_cast<long>(c.filters) * c.taps, c.filters, c.taps);
  const int n = std::min(c.filters, 32);
  std::string html = "<h2>The learned filters</h2><div class=\"filters\">";
  for (int f = 0; f < n; ++f) {
    const float* w = model.data() + conv->offset + static_cast<long>(f) * c.taps;
    std::vector<double> y(w, w + c.taps);
    double most = 0.0;
    for (const double v : y) most = std::max(most, std::abs(v));  // a NaN loses every comparison
    for (double& v : y) v = most > 0.0 ? v / most : 0.0;
    html += fmt::format("<figure>{}<figcaption>{}, \u00b1{:.2g}</figcaption></figure>",
                        sparkline(y, fmt::format("filter {}", f)), f, most);
  }
  return html + fmt::format(
                    "</div><p class=\"quiet\">Conv1D: {} of {} filters of {} taps ({:.1f} ms), each to its own scale, "
                    "which stands after its number.</p>",
                    n, c.filters, c.taps, 1e3 * c.taps / c.sample_rate);
}

std::string note_section(const NoteResult& r, int rate) {
  const std::size_t n = std::min(r.target.size(), r.output.size());
  std::vector<float> difference(n);
  float peak = 0.0f, peak_target = 0.0f;  // peak: of all that is played, so that one gain fits all
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
      escape(r.note), r.seconds, figure(r.model.esr), reading(r.model.esr), figure(r.dry.esr), reading(r.dry.esr));
  const auto player = [&](const char* css, const char* name, const std::vector<float>& x) {
    html += fmt::format(
        "<figure class=\"{2}\"><figcaption>{0}</figcaption><audio controls preload=\"metadata\" aria-label=\"{0}\" "
        "src=\"{1}\"></audio></figure>",
        name, wav_data_uri(x, rate, gain), css);
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
    html += fmt::format("<div class=\"card\">{}<b>ESR {}</b>{}</div>", escape(name), figure(esr), reading(esr));
  };
  if (e.notes.size() <= kCards) {
    for (const NoteResult& r : e.notes) card(r.note, r.model.esr);
  } else {
    const auto [best, worst] = std::minmax_element(
        e.notes.begin(), e.notes.end(), [](const auto& a, const auto& b) { return a.model.esr < b.model.esr; });
    card("mean", e.mean.esr);
    card("best: " + best->note, best->model.esr);
    card("worst: " + worst->note, worst->model.esr);
  }
  return html +
         "</div><p class=\"quiet\">ESR, error to signal ratio: energy of the error over energy of the target; 0 "
         "is perfect, 1 is as bad as silence.</p>";
}

}  // namespace

std::string report_html(const ReportInput& in) {
  CAFX_CHECK(in.model != nullptr && in.evaluation != nullptr, in.title);
  const CafxModel& model = *in.model;
  const Evaluation& e = *in.evaluation;
  const CafxConfig& c = model.config();
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">"
      "<title>cafx: {0}</title><style>{1}</style></head><body><main><p class=\"eyebrow\">A model of an audio "
      "effect</p><h1>{0}</h1>"
      "<p class=\"quiet\">CAFx{2} with {3} filters and {4} parameters at {5} Hz, frames of {6} samples. Heard on {7} "
      "{8} of the part \u201c{9}\u201d, rendered at a hop of {10} samples. cafx {11}.</p>",
      escape(in.title), page_style(), model.form() == kPretrain ? " (its pretrained form)" : "", c.filters,
      model.n_parameters(), c.sample_rate, c.frame, e.notes.size(), e.notes.size() == 1 ? "note" : "notes",
      escape(e.part), e.hop, kVersion);
  if (e.notes.empty()) {
    html += "<p>No notes were evaluated.</p>";
  } else {
    html += key_figures(e);
    html +=
        "<h2>The notes in numbers</h2><div class=\"scroll\"><table><tr><th>note</th><th>MAE</th><th>MAE, "
        "level-matched</th><th>ESR</th><th>ESR, pre-emphasis</th><th>ESR of the dry signal</th></tr>";
    const auto row = [&](const std::string& name, const ErrorMetrics& m, const std::string& dry, const char* css) {
      html +=
          fmt::format("<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", css,
                      escape(name), figure(m.mae), figure(m.mae_matched), figure(m.esr), figure(m.esr_emphasis), dry);
    };
    for (const NoteResult& r : e.notes) row(r.note, r.model, figure(r.dry.esr), "");
    if (e.notes.size() > 1) {
      row("mean", e.mean, "", " class=\"sum\"");
      row("standard deviation", e.spread, "", "");
    }
    html +=
        "</table></div><p class=\"quiet\">MAE: mean absolute error, full scale = 1; level-matched: after the output is "
        "brought to the target's mean level. Pre-emphasis: y[n] - 0.95 y[n-1], which weighs high frequencies "
        "more. The dry signal is the baseline: what doing nothing would score.</p><h2>The notes to hear</h2>";
    for (const NoteResult& r : e.notes) html += note_section(r, c.sample_rate);
  }
  html += learning_curve(in.metrics_csv);
  if (model.form() == kSupervised && c.saaf) html += curves(model);
  html += filters(model);

  html +=
      "<h2>The layers</h2><div class=\"scroll\"><table><tr><th>layer</th><th>output</th><th>parameters</th>"
      "<th>multiply-adds</th><th class=\"words\">what it is</th></tr>";
  long parameters = 0, multiply_adds = 0;
  const auto layer = [&](const LayerRow& r, const char* css) {
    html += fmt::format("<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>", css,
                        escape(r.name), escape(r.output), r.parameters, r.multiply_adds, escape(r.detail));
  };
  for (const LayerRow& r : model.layers()) {
    layer(r, "");
    parameters += r.parameters;
    multiply_adds += r.multiply_adds;
  }
  layer({LayerRow::Kind::kElementwise, "sum", "", "", parameters, multiply_adds, 0.0}, " class=\"sum\"");
  html += "</table></div><p class=\"quiet\">Multiply-adds of one frame, forward.</p><h2>Make it again</h2><pre>" +
          escape(in.command) + "</pre>";
  if (!in.config_toml.empty())
    html += "<details><summary>The whole config</summary><pre>" + escape(in.config_toml) + "</pre></details>";
  if (!in.result_json.empty())
    html += "<details><summary>The result</summary><pre>" + escape(in.result_json) + "</pre></details>";
  return html + "</main></body></html>\n";
}

}  // namespace cafx
