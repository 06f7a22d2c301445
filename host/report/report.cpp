#include "host/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "host/report/svg.h"
#include "host/report/wav.h"
#include "host/version.h"

namespace cafx {

namespace {

constexpr const char* kStyle = R"(
:root{--bg:#fbfaf7;--card:#fff;--ink:#1d2126;--soft:#68707a;--rule:#e2dfd8;--a:#1f6feb;--b:#d1495b;--c:#2a9d6f;--d:#8a6fd1}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e8e6e1;--soft:#99a1ab;--rule:#30363d;--a:#6ea8fe;--b:#ff8b94;--c:#5fd3a2;--d:#b7a3f0}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:980px;margin:0 auto;padding:32px 20px 80px}h1{font-size:1.9rem;line-height:1.2;margin:0 0 4px}h2{margin:44px 0 10px;font-size:1.25rem}h3{margin:0 0 8px;font-size:1.05rem}
.quiet,figcaption,.legend,th{color:var(--soft)}figure{margin:0 0 18px}figcaption{font-size:.88rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;margin:22px 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:14px 16px}.card b{display:block;font-size:1.6rem;font-variant-numeric:tabular-nums}
.note{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:18px;margin:0 0 22px}
.players{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px;margin:6px 0 14px}audio{width:100%;height:38px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:14px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:6px 10px;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}
svg.chart{width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}.grid{stroke:var(--rule)}.mark{stroke:var(--soft);stroke-dasharray:3 4}
.line{fill:none;stroke-width:1.6;stroke:var(--a)}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}.line.d{stroke:var(--d)}.line.thin{stroke-width:.8;opacity:.75}
.key{margin-right:16px}.key::before{content:"";display:inline-block;width:18px;height:3px;margin-right:6px;vertical-align:middle;background:var(--a)}.key.b::before{background:var(--b)}.key.c::before{background:var(--c)}.key.d::before{background:var(--d)}
svg.wave{width:100%;height:70px;display:block}polygon{fill:var(--a)}polygon.b{fill:var(--b)}polygon.c{fill:var(--c)}
img.spectrogram{width:100%;height:200px;border-radius:6px;display:block}pre{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px;font-size:.85rem}
.filters{display:grid;grid-template-columns:repeat(auto-fill,minmax(110px,1fr));gap:8px}.filters svg{width:100%;height:56px;background:var(--card);border:1px solid var(--rule);border-radius:6px}
)";

std::vector<std::string> split_line(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

double number(const std::string& text) { return text.empty() ? std::nan("") : std::strtod(text.c_str(), nullptr); }

std::string reading(double esr) {
  if (!(esr > 0.0) || !std::isfinite(esr)) return esr == 0.0 ? "no error at all" : "no signal to compare with";
  return fmt::format("error {:.0f} dB below the signal", -10.0 * std::log10(esr));
}

std::string learning_curve(const std::string& csv) {
  std::istringstream in(csv);
  std::string line, stage;
  std::getline(in, line);
  Series training{"training", "", {}, {}}, validation{"validation", "b", {}, {}};
  Axes axes;
  axes.x_label = "epoch, all stages in a row";
  axes.y_label = "mean absolute error";
  axes.log_y = true;
  axes.width = 900;
  for (double epoch = 1.0; std::getline(in, line); epoch += 1.0) {
    const auto cells = split_line(line);
    if (cells.size() < 6) continue;
    if (!stage.empty() && cells[0] != stage) axes.marks.push_back(epoch - 0.5);
    stage = cells[0];
    training.x.push_back(epoch);
    training.y.push_back(number(cells[4]));
    validation.x.push_back(epoch);
    validation.y.push_back(number(cells[5]));
  }
  return line_chart({training, validation}, axes);
}

std::string curves(const CafxModel& model) {
  const CafxConfig& c = model.config();
  const int n = 121;
  std::vector<float> x(n), y(n);
  for (int i = 0; i < n; ++i)
    x[static_cast<std::size_t>(i)] = static_cast<float>(c.saaf_lo + (c.saaf_hi - c.saaf_lo) * i / (n - 1));
  std::vector<Series> all;
  const char* const css[] = {"thin", "thin b", "thin c", "thin d"};
  for (int channel = 0; channel < c.filters; ++channel) {
    model.curve(channel, y.data(), x.data(), n);
    all.push_back({fmt::format("channel {}", channel), css[channel % 4], {x.begin(), x.end()}, {y.begin(), y.end()}});
  }
  Axes axes;
  axes.x_label = "into the SAAF";
  axes.y_label = "out of it";
  axes.height = 320;
  return line_chart(all, axes);
}

std::string filters(const CafxModel& model) {
  const CafxConfig& c = model.config();
  const float* w = model.data() + model.params().front().offset;  // conv1d.weight (C,1,K)
  std::string out = "<div class=\"filters\">";
  for (int f = 0; f < std::min(c.filters, 32); ++f) {
    float most = 1e-12f;
    for (int k = 0; k < c.taps; ++k) most = std::max(most, std::abs(w[f * c.taps + k]));
    std::string points;
    for (int k = 0; k < c.taps; ++k) points += fmt::format("{},{:.1f} ", k * 2, 28.0 - 25.0 * w[f * c.taps + k] / most);
    out += fmt::format(
        "<svg viewBox=\"0 0 {} 56\" preserveAspectRatio=\"none\" role=\"img\"><polyline class=\"line\" "
        "points=\"{}\"/></svg>",
        2 * c.taps, points);
  }
  return out + "</div>";
}

std::string note_section(const NoteResult& r, int rate) {
  std::vector<float> difference(r.target.size());
  float peak = 0.0f, peak_in = 0.0f;
  std::size_t loudest = 0;
  for (std::size_t i = 0; i < r.target.size(); ++i) {
    difference[i] = r.output[i] - r.target[i];
    if (std::abs(r.target[i]) > peak) loudest = i;
    peak = std::max({peak, std::abs(r.target[i]), std::abs(r.output[i])});
    peak_in = std::max(peak_in, std::abs(r.input[i]));
  }
  const double gain = peak > 0.0f ? 0.9 / peak : 1.0, gain_in = peak_in > 0.0f ? 0.9 / peak_in : 1.0;
  std::string html = fmt::format(
      "<section class=\"note\"><h3>{}</h3><p class=\"quiet\">ESR {:.5f}: {}. The dry signal itself has {:.3f}.</p><div "
      "class=\"players\">",
      escape(r.note), r.model.esr, reading(r.model.esr), r.dry.esr);
  const auto player = [&](const char* name, const std::vector<float>& x, double g) {
    html += fmt::format(
        "<figure><figcaption>{}</figcaption><audio controls preload=\"metadata\" src=\"{}\"></audio></figure>", name,
        wav_data_uri(x, rate, g));
  };
  player("input (dry)", r.input, gain_in);
  player("target", r.target, gain);
  player("output of the model", r.output, gain);
  player("difference", difference, gain);
  html += fmt::format(
      "</div><p class=\"quiet\">Raw notes are quiet: target, output and difference are played {:+.1f} dB louder, the "
      "input {:+.1f} dB.</p>",
      20.0 * std::log10(gain), 20.0 * std::log10(gain_in));
  struct Row {
    const char* name;
    const std::vector<float>* x;
    const char* css;
  };
  for (const auto& [name, x, css] :
       {Row{"target", &r.target, "a"}, Row{"output", &r.output, "b"}, Row{"difference", &difference, "c"}}) {
    html += fmt::format("<figure>{}<figcaption>{}, {:.2f} s</figcaption></figure>", waveform(*x, peak, css, 900, 70),
                        name, r.seconds);
  }
  Series target{"target", "", {}, {}}, output{"output", "b", {}, {}};
  const std::size_t half = static_cast<std::size_t>(rate / 100), from = loudest > half ? loudest - half : 0;
  for (std::size_t i = from; i < std::min(r.target.size(), from + 2 * half); ++i) {
    const double t = 1e3 * static_cast<double>(i) / rate;
    target.x.push_back(t);
    target.y.push_back(r.target[i]);
    output.x.push_back(t);
    output.y.push_back(r.output[i]);
  }
  Axes axes;
  axes.x_label = "ms, around the loudest place";
  axes.y_label = "amplitude";
  axes.width = 900;
  html += line_chart({target, output}, axes);
  const double reference = loudest_bin(r.target);
  html += fmt::format(
      "<div "
      "class=\"two\"><figure>{}<figcaption>target</figcaption></figure><figure>{}<figcaption>output</figcaption></"
      "figure></div>"
      "<p class=\"quiet\">Spectrograms from 0 to {} Hz, 80 dB below the target's loudest.</p></section>",
      spectrogram(r.target, rate, reference, "spectrogram of the target"),
      spectrogram(r.output, rate, reference, "spectrogram of the output"), rate / 2);
  return html;
}

}  // namespace

std::string report_html(const ReportInput& in) {
  const CafxModel& model = *in.model;
  const Evaluation& e = *in.evaluation;
  const CafxConfig& c = model.config();
  std::string html = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">"
      "<title>cafx: {0}</title><style>{1}</style></head><body><main><h1>{0}</h1>"
      "<p class=\"quiet\">CAFx with {2} filters, {3} parameters, {4} Hz; {5} notes of the {6} part, rendered at hop "
      "{7}. cafx {8}.</p>",
      escape(in.title), kStyle, c.filters, model.n_parameters(), c.sample_rate, e.notes.size(), escape(e.part), e.hop,
      kVersion);
  html += "<div class=\"cards\">";
  html += fmt::format("<div class=\"card\">mean ESR<b>{:.5f}</b>{}</div>", e.mean.esr, reading(e.mean.esr));
  html += fmt::format("<div class=\"card\">mean MAE<b>{:.5f}</b>of full scale 1</div>", e.mean.mae);
  html += fmt::format("<div class=\"card\">steepest curve<b>{:.2f}</b>Lipschitz constant of the SAAF</div></div>",
                      model.lipschitz());

  html +=
      "<h2>The notes in numbers</h2><div class=\"scroll\"><table><tr><th>note</th><th>MAE</th><th>MAE, "
      "level-matched</th><th>ESR</th><th>ESR, pre-emphasis .95</th><th>ESR of the dry signal</th></tr>";
  const auto row = [&](const std::string& name, const ErrorMetrics& m, const std::string& dry) {
    html += fmt::format("<tr><td>{}</td><td>{:.5f}</td><td>{:.5f}</td><td>{:.5f}</td><td>{:.5f}</td><td>{}</td></tr>",
                        escape(name), m.mae, m.mae_matched, m.esr, m.esr_emphasis, dry);
  };
  for (const NoteResult& r : e.notes) row(r.note, r.model, fmt::format("{:.5f}", r.dry.esr));
  row("mean", e.mean, "");
  row("spread", e.spread, "");
  html += "</table></div><h2>The notes to hear</h2>";
  for (const NoteResult& r : e.notes) html += note_section(r, c.sample_rate);

  if (!in.metrics_csv.empty())
    html += "<h2>How it learned</h2><figure>" + learning_curve(in.metrics_csv) +
            "<figcaption>Dashed: a new stage begins. Pretraining has no validation.</figcaption></figure>";
  if (model.form() == CafxForm::kSupervised && c.saaf)
    html += "<h2>The learned curves</h2><figure>" + curves(model) +
            "<figcaption>One SAAF for each channel.</figcaption></figure>";
  html += "<h2>The learned filters</h2>" + filters(model) +
          fmt::format("<p class=\"quiet\">Conv1D, {} of {} filters of {} taps, each to its own scale.</p>",
                      std::min(c.filters, 32), c.filters, c.taps);

  html +=
      "<h2>The layers</h2><div "
      "class=\"scroll\"><table><tr><th>layer</th><th>output</th><th>parameters</th><th>multiply-adds</th></tr>";
  for (const LayerRow& r : cafx_layers(c, model.form())) {
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", escape(r.name), escape(r.output),
                        r.parameters, r.multiply_adds);
  }
  html += "</table></div><h2>Make it again</h2><pre>" + escape(in.command) + "</pre>";
  if (!in.config_toml.empty())
    html += "<details><summary>the whole config</summary><pre>" + escape(in.config_toml) + "</pre></details>";
  if (!in.result_json.empty())
    html += "<details><summary>the result</summary><pre>" + escape(in.result_json) + "</pre></details>";
  return html + "</main></body></html>\n";
}

}  // namespace cafx
