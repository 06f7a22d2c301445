#include "host/paper/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/paper/tables.h"
#include "host/report/svg.h"
#include "host/report/wav.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--bg:#f7f6f2;--card:#fff;--ink:#1b1f24;--soft:#5d6570;--rule:#e3dfd6;--a:#1f6feb;--b:#d1495b;--c:#23865f;--d:#7a5cc9;--good:#1a7f52;--goodbg:#dff3e8;--mid:#8a6100;--midbg:#fbf0d3;--bad:#b3263b;--badbg:#fbe3e6;--none:#5d6570;--nonebg:#eceae4;--shadow:0 1px 2px rgba(20,20,40,.05),0 8px 24px -12px rgba(20,20,40,.12)}
@media(prefers-color-scheme:dark){:root{--bg:#111418;--card:#191d23;--ink:#e9e7e2;--soft:#9fa8b3;--rule:#2c323a;--a:#6ea8fe;--b:#ff8b94;--c:#5fd3a2;--d:#b7a3f0;--good:#6fdcab;--goodbg:#12352a;--mid:#f0c75e;--midbg:#3a2f10;--bad:#ff9aa5;--badbg:#43191f;--none:#a3abb5;--nonebg:#272c33;--shadow:none}}
*{box-sizing:border-box}html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1140px;margin:0 auto;padding:44px 24px 96px}h1{font-size:clamp(1.7rem,4.6vw,2.6rem);line-height:1.12;letter-spacing:-.02em;margin:0 0 14px;text-wrap:balance}h2{margin:64px 0 6px;font-size:1.45rem;letter-spacing:-.01em;scroll-margin-top:20px}h3{margin:0;font-size:1.15rem}h4{margin:26px 0 8px;font-size:.78rem;letter-spacing:.07em;text-transform:uppercase;color:var(--soft);font-weight:600}
p{margin:0 0 12px;max-width:74ch}.lead{font-size:1.06rem;color:var(--soft)}.quiet,figcaption,.legend{color:var(--soft);font-size:.88rem}a{color:var(--a)}figure{margin:0 0 18px;min-width:0}figcaption{max-width:74ch;margin-top:6px}
.eyebrow{color:var(--a);font-size:.78rem;font-weight:600;letter-spacing:.1em;text-transform:uppercase;margin:0 0 10px}
nav{display:flex;flex-wrap:wrap;gap:8px;margin:22px 0 0}nav a{font-size:.86rem;text-decoration:none;color:var(--ink);background:var(--card);border:1px solid var(--rule);border-radius:99px;padding:4px 13px}nav a:hover{border-color:var(--a)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:28px 0 0}
.card{background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:16px 18px;font-size:.88rem;color:var(--soft);box-shadow:var(--shadow)}.card b{display:block;font-size:1.75rem;line-height:1.3;letter-spacing:-.02em;color:var(--ink);font-variant-numeric:tabular-nums}
.claim{display:grid;grid-template-columns:124px 1fr;gap:6px 16px;background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:14px 18px;margin:0 0 10px;box-shadow:var(--shadow)}.claim>div{min-width:0}.claim b{display:block;margin-bottom:2px}
.pill{display:inline-block;font-size:.78rem;font-weight:600;border-radius:99px;padding:2px 11px;white-space:nowrap}.pill.shown{color:var(--good);background:var(--goodbg)}.pill.not-shown{color:var(--mid);background:var(--midbg)}.pill.contradicted{color:var(--bad);background:var(--badbg)}.pill.not-tested{color:var(--none);background:var(--nonebg)}
.pages{columns:240px;padding-left:18px}.claim ul{margin:2px 0 0;padding:0;list-style:none;font-size:.92rem}.claim li{margin:2px 0;font-variant-numeric:tabular-nums}details{margin:2px 0 0;font-size:.88rem;color:var(--soft)}summary{cursor:pointer}details[open]>summary{margin-bottom:6px}
.bars{display:grid;grid-template-columns:minmax(150px,max-content) 1fr;gap:14px 18px;align-items:center;background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:20px;margin:14px 0;box-shadow:var(--shadow)}.bars .who{font-size:.92rem;line-height:1.35}.bars .who small{display:block;color:var(--soft)}
.rod{position:relative;height:15px;margin:3px 0;border-radius:4px;background:var(--rule);overflow:visible}.rod i{position:absolute;inset:0 auto 0 0;border-radius:4px;background:var(--a)}.rod.base i{background:var(--d);opacity:.75}.rod.dry i{background:var(--soft);opacity:.55}.rod span{position:absolute;left:calc(var(--w) + 6px);top:-3px;font-size:.76rem;line-height:21px;white-space:nowrap;font-variant-numeric:tabular-nums}.rod.in span{left:auto;right:calc(100% - var(--w) + 6px);color:#fff}
.scroll{overflow-x:auto;margin:14px 0 10px;background:var(--card);border:1px solid var(--rule);border-radius:14px;box-shadow:var(--shadow)}table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}td,th{padding:7px 12px;text-align:right;white-space:nowrap}th{font-weight:500;color:var(--soft);border-bottom:1px solid var(--rule);vertical-align:bottom}tr.first td{border-top:1px solid var(--rule)}tr.model td{font-weight:600}tr.model td:first-child{font-weight:600}tr.other td{color:var(--soft)}td:first-child,th:first-child,td.words,th.words{text-align:left}td:first-child,th:first-child{position:sticky;left:0;background:var(--card)}td small{font-weight:400;color:var(--soft)}td.best{color:var(--good)}
.note{background:var(--card);border:1px solid var(--rule);border-radius:16px;padding:24px;margin:18px 0 26px;box-shadow:var(--shadow);scroll-margin-top:20px}.note>header{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;justify-content:space-between;margin-bottom:4px}
.players{display:grid;grid-template-columns:repeat(auto-fit,minmax(176px,1fr));gap:14px;margin:14px 0 10px}.players figure{margin:0;border:1px solid var(--rule);border-radius:12px;padding:10px 12px 12px}.players figcaption{margin:0 0 6px;color:var(--ink);font-weight:600;font-size:.86rem}.players figcaption::before{content:"";display:inline-block;width:9px;height:9px;border-radius:9px;margin-right:8px;background:var(--soft)}.players .t figcaption::before{background:var(--a)}.players .o figcaption::before{background:var(--b)}.players .e figcaption::before{background:var(--c)}.players .l figcaption::before{background:var(--d)}audio{width:100%;height:36px;display:block}
.two,.three{display:grid;gap:6px 18px}.two{grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr))}.three{grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr))}.two figure,.three figure{margin-bottom:10px}.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:2px 12px}.sheet .plot{padding:4px 4px 8px 4px}.sheet svg text{display:none}
.plot{padding:8px 12px 44px 60px}.plot.bare{padding-bottom:8px}svg.chart{display:block;width:100%;overflow:visible}svg text{fill:var(--soft);font:11px system-ui,sans-serif;font-variant-numeric:tabular-nums}svg text.name{font-size:12px}.ptitle{font-size:.86rem;font-weight:600;margin:0 0 0 60px}
.halo{paint-order:stroke;stroke:var(--card);stroke-width:4px}.grid{stroke:var(--rule)}.axis,.tick{stroke:var(--soft)}.mark{stroke:var(--soft);stroke-dasharray:3 4}
.line{vector-effect:non-scaling-stroke;fill:none;stroke:var(--a);stroke-width:1.7;stroke-linejoin:round}.line.b{stroke:var(--b)}.line.c{stroke:var(--c)}.line.d{stroke:var(--d)}.line.thin{stroke-width:1;opacity:.6}.line.dot{stroke-width:5;stroke-linecap:round}.line.dot.dots{stroke-width:3.2;opacity:.55}.line.dash{stroke:var(--soft);stroke-dasharray:4 4}
.area{fill:var(--a)}.area.s{fill:var(--soft)}.area.b{fill:var(--b)}.area.c{fill:var(--c)}
.legend{margin:0 0 0 60px}.key{margin-right:16px;white-space:nowrap}.key::before{content:"";display:inline-block;width:16px;height:3px;border-radius:3px;margin-right:7px;vertical-align:middle;background:var(--a)}.key.b::before{background:var(--b)}.key.c::before{background:var(--c)}.key.d::before{background:var(--d)}.key.dash::before{background:var(--soft)}
.legend .bar{display:inline-block;width:120px;height:10px;border-radius:5px;margin-right:8px;vertical-align:middle}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:14px 16px;font-size:.82rem;line-height:1.55;color:var(--ink)}dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;font-size:.9rem;margin:14px 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:620px){main{padding:28px 15px 64px}h2{margin-top:48px}.note{padding:16px 13px;border-radius:13px}.claim{grid-template-columns:1fr;padding:13px 14px}.bars{grid-template-columns:1fr;gap:4px;padding:15px}.bars .who{margin-top:8px}.plot{padding-left:48px;padding-right:4px}.legend,.ptitle{margin-left:0}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}td,th{padding:6px 9px}.cards{grid-template-columns:1fr 1fr;gap:10px}.card{padding:12px 13px}.card b{font-size:1.35rem}td:first-child,th:first-child{min-width:136px;max-width:46vw;white-space:normal}}
@media print{.players,nav{display:none}}
)";

std::string pill(Verdict v) {
  std::string css = to_string(v);
  std::replace(css.begin(), css.end(), ' ', '-');
  return fmt::format("<span class=\"pill {}\">{}</span>", css, to_string(v));
}

std::string drawn(const Figure& f) {
  std::string html = "<figure>";
  const bool many = f.panels.size() > 6;
  if (f.panels.size() > 1) html += many ? "<div class=\"sheet\">" : "<div class=\"two\">";
  for (const Panel& p : f.panels) {
    if (f.panels.size() > 1 && !many) html += "<div><p class=\"ptitle\">" + escape(p.axes.title) + "</p>";
    if (many) html += "<div>";
    html += chart(p.series, p.axes);
    if (!many && p.series.size() > 1 && p.series.size() <= 6) html += legend(p.series);
    if (f.panels.size() > 1) html += "</div>";
  }
  if (f.panels.size() > 1) html += "</div>";
  return html + "<figcaption><b>" + escape(f.title) + ".</b> " + escape(f.caption) + "</figcaption></figure>";
}

double rms(const std::vector<float>& x) {
  double sum = 0.0;
  for (const float v : x) {
    if (std::isfinite(v)) sum += static_cast<double>(v) * v;
  }
  return x.empty() ? 0.0 : std::sqrt(sum / static_cast<double>(x.size()));
}

double peak_of(const std::vector<float>& x) {
  double peak = 0.0;
  for (const float v : x) {
    if (std::isfinite(v)) peak = std::max(peak, static_cast<double>(std::abs(v)));
  }
  return peak;
}

// What is heard and seen of one note.
std::string note_html(const Experiment& x, std::size_t i, int rate) {
  const NoteResult& r = x.runs[0].own.notes[i];
  std::vector<float> difference(r.target.size());
  for (std::size_t k = 0; k < difference.size(); ++k) difference[k] = r.output[k] - r.target[k];
  const double gain = peak_of(r.target) > 0.0 ? 0.8 / peak_of(r.target) : 1.0, level = rms(r.target);
  std::string html = fmt::format(
      "<p class=\"quiet\">Test note {}, {:.1f} s, never heard in training. ESR {} ({:.1f} dB below the signal); dry "
      "signal {}.</p><div class=\"players\">",
      escape(r.note), r.seconds, number_text(r.model.esr), below_db(r.model.esr), number_text(r.dry.esr));
  const auto player = [&](const char* css, const std::string& name, const std::vector<float>& y, bool matched) {
    const double own = rms(y), match = matched && own > 0.0 && level > 0.0 ? level / own : 1.0;
    html += fmt::format(
        "<figure class=\"{}\"><figcaption>{}</figcaption><audio controls preload=\"metadata\" aria-label=\"{}, {}\" "
        "src=\"{}\"></audio></figure>",
        css, escape(name), escape(name), escape(x.title()), wav_data_uri(y, rate, gain * match));
  };
  player("i", "Input, dry", r.input, true);
  player("t", "Target", r.target, false);
  player("o", "Output of the model", r.output, true);
  player("e", "Difference", difference, false);
  if (i < x.baseline_output.size()) player("l", "Fitted baseline", x.baseline_output[i], true);
  html += fmt::format(
      "</div><p class=\"quiet\">Played {:+.1f} dB; input, output and baseline are brought to the target's level, the "
      "difference is as loud as it is beside the target.</p>",
      20.0 * std::log10(gain));
  double scale = std::max({peak_of(r.target), peak_of(r.output), 1e-6}) * 1.05;
  html += "<h4>Waveforms</h4><figure>";
  struct Row {
    const char *name, *css;
    const std::vector<float>* x;
  };
  for (const auto& [name, css, y] : {Row{"input", "s", &r.input}, Row{"target", "", &r.target},
                                     Row{"output", "b", &r.output}, Row{"difference", "c", &difference}}) {
    Series s = envelope(*y, rate, css, 480);
    s.label = name;
    Axes axes;
    axes.title = std::string("waveform, ") + name;
    axes.x_label = y == &difference ? "time, s" : "";
    axes.y_label = name;
    axes.height = 70;
    axes.x = {0.0, static_cast<double>(y->size()) / rate};
    const double most = y == &r.input ? std::max(1e-6, 1.05 * peak_of(r.input)) : scale;
    axes.y = {-most, most};
    html += chart({s}, axes);
  }
  html +=
      "<figcaption>Least and greatest sample of each column, full scale = 1; the input to its own scale, the others to "
      "one.</figcaption></figure><h4>Spectrograms</h4><div class=\"three\">";
  const Spectrum target = spectrum(r.target);
  for (const auto& [name, css, y] :
       {Row{"input", "", &r.input}, Row{"target", "", &r.target}, Row{"output", "", &r.output}}) {
    const Spectrum s = spectrum(*y);
    const double reference = y == &r.input ? s.loudest() : target.loudest();
    html += "<figure>" + spectrogram(s, rate, reference, std::string("spectrogram, ") + name) + "<figcaption>" + name +
            "</figcaption></figure>";
  }
  return html + "</div>" + colour_bar();
}

struct Line {
  std::string name;
  Metrics value, spread;
  bool has_spread = false;
};

std::vector<Line> lines_of(const Experiment& x) {
  std::vector<Line> lines;
  lines.push_back({fmt::format("{} \u00b7 {}{}", x.title(), x.preset, x.variant.empty() ? "" : " \u00b7 " + x.variant),
                   x.own_mean(), x.own_spread(), true});
  lines.push_back({"fitted baseline", x.mean(&StudyRun::baseline), {}, false});
  lines.push_back({"dry signal", x.mean(&StudyRun::dry), {}, false});
  return lines;
}

std::string results_table(const std::vector<const Experiment*>& experiments) {
  std::string html = "<div class=\"scroll\"><table><tr><th>model</th>";
  for (const MetricName& m : kMetricNames)
    html += fmt::format("<th>{}{}</th>", m.title, *m.unit ? std::string(", ") + m.unit : "");
  html += "<th>published MAE</th><th>published ESR</th></tr>";
  for (const Experiment* one : experiments) {
    const Experiment& x = *one;
    const Published* p = published(x.effect);
    bool first = true;
    const auto lines = lines_of(x);
    for (const Line& l : lines) {
      html += fmt::format("<tr class=\"{}\"><td>{}</td>", first ? "first model" : "other", escape(l.name));
      for (const MetricName& m : kMetricNames) {
        const bool best =
            first && l.value.*m.value < lines[1].value.*m.value && l.value.*m.value < lines[2].value.*m.value;
        html += fmt::format("<td{}>{}{}</td>", best ? " class=\"best\"" : "", number_text(l.value.*m.value),
                            l.has_spread ? " <small>\u00b1" + number_text(l.spread.*m.value) + "</small>" : "");
      }
      html += fmt::format("<td>{}</td><td>{}</td></tr>", first && p ? p->mae : "", first && p ? p->esr : "");
      first = false;
    }
  }
  return html + "</table></div>";
}

std::string bars(const std::vector<const Experiment*>& experiments) {
  std::string html = "<div class=\"bars\">";
  constexpr double kMost = 40.0;
  for (const Experiment* one : experiments) {
    const Experiment& x = *one;
    html += fmt::format("<div class=\"who\">{}<small>{}{}</small></div><div>", escape(x.title()), escape(x.preset),
                        x.variant.empty() ? "" : ", " + escape(x.variant));
    const char* const css[] = {"rod", "rod base", "rod dry"};
    const char* const names[] = {"model", "fitted baseline", "dry"};
    const double values[] = {x.own_mean().esr, x.mean(&StudyRun::baseline).esr, x.mean(&StudyRun::dry).esr};
    for (int i = 0; i < 3; ++i) {
      const double db = below_db(values[i]), w = 100.0 * std::clamp(db / kMost, 0.0, 1.0);
      html += fmt::format(
          "<div class=\"{}{}\" style=\"--w:{:.1f}%\"><i style=\"width:{:.1f}%\"></i><span>{} {:.1f} dB</span></div>",
          css[i], w > 60.0 && i < 2 ? " in" : "", w, w, names[i], db);
    }
    html += "</div>";
  }
  return html + "</div>";
}

// Everything to hear and to see of one experiment.
std::string section(const PageInput& in, const Experiment& x) {
  const StudyRun& r = x.runs[0];
  std::string html = fmt::format(
      "<section class=\"note\" id=\"{}\"><header><h3>{}</h3><span class=\"quiet\">preset {}{}, seed {}</span></header>",
      x.id(), escape(x.title()), escape(x.preset), x.variant.empty() ? "" : ", " + escape(x.variant),
      r.config.train.seed);
  for (std::size_t i = 0; i < r.own.notes.size() && !r.own.notes[i].target.empty(); ++i)
    html += note_html(x, i, r.config.model.sample_rate);
  const auto found = in.figures_of.find(x.id());
  if (found != in.figures_of.end()) {
    html += "<h4>As a device</h4><div class=\"two\">";
    for (const Figure& f : found->second) html += drawn(f);
    html += "</div>";
  }
  return html + "</section>";
}

std::string head(const std::string& title) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>cafx: {}</title><style>{}</style></head><body><main>",
      escape(title), kStyle);
}

}  // namespace

std::string experiment_html(const PageInput& in, const Experiment& x) {
  return head(x.title()) +
         fmt::format(
             "<p class=\"eyebrow\">Reproduction</p><h1>{}</h1><p class=\"lead\">One experiment of \u201c{}\u201d.</p>",
             escape(x.title()), escape(in.title)) +
         results_table({&x}) + section(in, x) + "</main></body></html>\n";
}

std::string page_html(const PageInput& in) {
  CAFX_CHECK(in.experiments != nullptr && !in.experiments->empty(), in.title);
  const std::vector<Experiment>& all = *in.experiments;
  const std::vector<const Experiment*> main = main_experiments(all);
  const std::vector<Table> tables = comparison_tables(all);
  int runs = 0, shown = 0, tested = 0;
  double seconds = 0.0, best = 1e30;
  std::string best_name;
  for (const Experiment& x : all) {
    runs += static_cast<int>(x.runs.size());
    for (const StudyRun& r : x.runs) seconds += r.seconds;
    if (x.own_mean().esr < best) {
      best = x.own_mean().esr;
      best_name = x.title();
    }
  }
  for (const Claim& c : in.claims) {
    shown += c.verdict == Verdict::kShown;
    tested += c.verdict != Verdict::kNotTested;
  }
  std::string html =
      head(in.title) + fmt::format(
                           "<p class=\"eyebrow\">Reproduction</p><h1>{}</h1><p class=\"lead\">{}</p><nav><a "
                           "href=\"#claims\">Claims</a><a href=\"#numbers\">Numbers</a><a href=\"#hear\">Hear and "
                           "see</a><a href=\"#learned\">What was learned</a><a href=\"#again\">Make it again</a></nav>",
                           escape(in.title), escape(in.lead));
  html += fmt::format(
      "<div class=\"cards\"><div class=\"card\"><b>{} of {}</b>claims shown, of those that this run tests</div><div "
      "class=\"card\"><b>{}</b>{} trained, {:.0f} min of training</div>"
      "<div class=\"card\"><b>{:.1f} dB</b>error below the signal at best: {}</div></div>",
      shown, tested, runs, runs == 1 ? "model" : "models", seconds / 60.0, below_db(best), escape(best_name));
  html +=
      "<h2 id=\"claims\">The claims</h2><p class=\"quiet\">Each has a rule that a number decides, so that a run can "
      "also fail it.</p>";
  for (const Claim& c : in.claims) {
    html += fmt::format("<div class=\"claim\"><div>{}</div><div><b>{}</b>", pill(c.verdict), escape(c.text));
    std::string list;
    for (const std::string& n : c.numbers) list += "<li>" + escape(n) + "</li>";
    constexpr std::size_t kOpen = 4;
    if (c.numbers.size() > kOpen)
      html += fmt::format("<details><summary>{} models</summary><ul>{}</ul></details>", escape(c.evidence), list);
    else
      html += list.empty() ? "<span class=\"quiet\">" + escape(c.evidence) + "</span>" : "<ul>" + list + "</ul>";
    html += fmt::format("<details><summary>the rule</summary>{}</details></div></div>", escape(c.rule));
  }
  html +=
      "<h2 id=\"numbers\">The numbers</h2><p class=\"quiet\">How far the error lies below the signal, in dB: longer is "
      "better. Means over the test notes" +
      std::string(runs > static_cast<int>(all.size()) ? " and seeds" : "") + ".</p>" + bars(main) +
      results_table(main) +
      fmt::format(
          "<p class=\"quiet\">Whole notes, overlap-added at a hop of {} samples. \u00b1: standard deviation over {}. "
          "Green: better than baseline and dry. Baseline: filter of 64 taps, static waveshaper, filter of 64 taps, "
          "fitted by least squares to the training notes. Published: output against target of the authors' own clips, "
          "measured from 24 kbit/s copies, of other recordings: for orientation.</p>",
          in.hop, runs > static_cast<int>(all.size()) ? "seeds" : "notes");
  for (const Table& t : tables) html += to_html(t);
  html += "<h2 id=\"hear\">Hear and see</h2>";
  if (in.apart) {
    html +=
        "<p class=\"quiet\">Each on a page of its own, in the folder pages beside this one.</p><ul class=\"pages\">";
    for (const Experiment& x : all)
      html += fmt::format("<li><a href=\"pages/{}.html\">{}</a> <span class=\"quiet\">{}</span></li>", x.id(),
                          escape(x.title()), escape(x.preset + (x.variant.empty() ? "" : ", " + x.variant)));
    html += "</ul>";
  } else {
    for (const Experiment& x : all) html += section(in, x);
  }
  html += "<h2 id=\"learned\">What was learned</h2>";
  for (const Figure& f : in.figures) html += "<div class=\"note\">" + drawn(f) + "</div>";
  html += "<h2 id=\"again\">Make it again</h2><pre>";
  for (const std::string& c : in.commands) html += escape(c) + "\n";
  html += "</pre><dl>";
  for (const auto& [name, value] : in.facts) html += "<dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd>";
  html += "</dl><details><summary>The sweep file</summary><pre>" + escape(in.spec) +
          "</pre></details><details><summary>Every run</summary><div class=\"scroll\"><table><tr><th>run</th><th "
          "class=\"words\">model</th><th>seed</th><th class=\"words\">pretraining</th><th>ESR</th><th>training, "
          "s</th></tr>";
  for (const Experiment& x : all) {
    for (const StudyRun& r : x.runs) {
      html += fmt::format(
          "<tr class=\"first\"><td>{}</td><td class=\"words\">{} \u00b7 {}</td><td>{}</td><td "
          "class=\"words\">{}</td><td>{}</td><td>{:.0f}</td></tr>",
          escape(r.folder), escape(x.title()), escape(x.preset), r.config.train.seed, escape(r.pretraining),
          number_text(r.own.mean.esr), r.seconds);
    }
  }
  return html + "</table></div></details></main></body></html>\n";
}

std::string tables_markdown(const PageInput& in) {
  const std::vector<Experiment>& all = *in.experiments;
  std::string md =
      "# " + in.title + "\n\n" + in.lead + "\n\n## Claims\n\n| claim | verdict | evidence |\n| --- | --- | --- |\n";
  for (const Claim& c : in.claims) {
    std::string numbers;
    for (const std::string& n : c.numbers) numbers += (numbers.empty() ? ": " : "; ") + n;
    md += fmt::format("| {} | **{}** | {}{} |\n", c.text, to_string(c.verdict), c.evidence, numbers);
  }
  md += "\nRules:\n\n";
  for (const Claim& c : in.claims) md += fmt::format("- {} {}.\n", c.text, c.rule);
  md += "\n## Test notes\n\n| model |";
  std::string rule = "| --- |";
  for (const MetricName& m : kMetricNames) {
    md += fmt::format(" {}{} |", m.title, *m.unit ? std::string(", ") + m.unit : "");
    rule += " --- |";
  }
  md += "\n" + rule + "\n";
  for (const Experiment* x : main_experiments(all)) {
    for (const Line& l : lines_of(*x)) {
      md += "| " + l.name + " |";
      for (const MetricName& m : kMetricNames)
        md += " " + number_text(l.value.*m.value) + (l.has_spread ? " \u00b1" + number_text(l.spread.*m.value) : "") +
              " |";
      md += "\n";
    }
  }
  for (const Table& t : comparison_tables(all)) md += to_markdown(t);
  md += "\n## Made by\n\n";
  for (const std::string& c : in.commands) md += "    " + c + "\n";
  md += "\n| what | value |\n| --- | --- |\n";
  for (const auto& [name, value] : in.facts) md += "| " + name + " | " + value + " |\n";
  return md;
}

}  // namespace cafx
