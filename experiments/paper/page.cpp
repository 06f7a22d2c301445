#include "experiments/paper/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/paper/tables.h"
#include "host/draw/page.h"
#include "host/draw/svg.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

std::string pill(Verdict v) {
  std::string css = to_string(v);
  std::replace(css.begin(), css.end(), ' ', '-');
  return fmt::format("<span class=\"pill {}\">{}</span>", css, to_string(v));
}

std::string not_judged_text() {
  return fmt::format(
      "Not judged: all that do not show it heard under {:.0f} million frames in training, too few to say. Where there "
      "are "
      "seeds, the mean over them decides, and its interval stands beside.",
      kEnoughFrames / 1e6);
}

// "shown for 5 of 6; best: ..., worst: ...".
std::string said(const Claim& c) {
  if (c.models.empty()) return c.evidence;
  const auto one = [](const Judged& m) { return m.model + " (" + m.preset + "): " + m.numbers; };
  if (c.models.size() == 1) return one(c.models[0]);
  return c.evidence + ". Best: " + one(c.models.front()) + ". Worst: " + one(c.models.back()) + ".";
}

std::string drawn(const Figure& f) {
  std::string html = "<figure>";
  const bool many = f.panels.size() > 6;
  if (f.panels.size() > 1) html += many ? "<div class=\"sheet\">" : "<div class=\"two\">";
  for (const Panel& p : f.panels) {
    if (f.panels.size() > 1 && !many) html += "<div><p class=\"ptitle\">" + escape(p.axes.title) + "</p>";
    if (many) html += "<div>";
    Axes axes = p.axes;
    if (p.map.rows > 0) {
      // Rows count from the bottom in a figure, from the top in a picture.
      const std::vector<double> shades = p.map.shades();
      std::vector<double> turned;
      for (int row = p.map.rows - 1; row >= 0; --row) {
        const auto at = shades.begin() + static_cast<long>(row) * p.map.columns;
        turned.insert(turned.end(), at, at + p.map.columns);
      }
      axes.picture = heat_picture(p.map.columns, p.map.rows, turned);
    }
    html += chart(p.series, axes);
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

// Players and charts of one note.
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
    html += player_html(css, name, name + ", " + x.title(), y, rate, gain * match);
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
      html += fmt::format("<tr class=\"{}\"><td>{}</td>", first ? "model" : "other", escape(l.name));
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

// The section of one experiment: its notes and its figures as a device.
std::string section(const PageInput& in, const Experiment& x) {
  const StudyRun& r = x.runs[0];
  std::string html = fmt::format(
      "<section class=\"note\" id=\"{}\"><header><h3>{}</h3><span class=\"quiet\">preset {}{}, seed {}</span></header>",
      x.id(), escape(x.title()), escape(x.preset), x.variant.empty() ? "" : ", " + escape(x.variant),
      r.config.train.seed);
  for (std::size_t i = 0; i < r.own.notes.size() && !r.own.notes[i].target.empty(); ++i)
    html += note_html(x, i, r.config.model->sample_rate);
  const auto found = in.figures_of.find(x.id());
  if (found != in.figures_of.end()) {
    html += "<h4>As a device</h4><div class=\"two\">";
    for (const Figure& f : found->second) html += drawn(f);
    html += "</div>";
  }
  return html + "</section>";
}

std::string result_pages_html(const PageInput& in) {
  std::string html =
      "<h2 id=\"pages\">The talk\u2019s result pages</h2><p class=\"quiet\">Each figure of the paper\u2019s results, "
      "its axes, "
      "and where it is here.</p><div class=\"scroll\"><table><tr><th>result page</th><th class=\"words\">axes</th><th "
      "class=\"words\">here</th></tr>";
  for (const ResultPage& p : result_pages(in)) {
    std::string places;
    for (const auto& place : p.places)
      places += fmt::format("{}<a href=\"{}\">{}</a>", places.empty() ? "" : "<br>", place.link, escape(place.name));
    html += fmt::format("<tr><td>{}</td><td class=\"words wrap\">{}</td><td class=\"words wrap\">{}</td></tr>",
                        escape(p.what), escape(p.axes), places.empty() ? "not in this run" : places);
  }
  return html + "</table></div>";
}

}  // namespace

std::vector<ResultPage> result_pages(const PageInput& in) {
  std::vector<ResultPage> pages;
  const auto figures = [&](const char* what, const char* axes, const std::string& begins) {
    ResultPage page{what, axes, {}};
    for (const Figure& f : in.figures) {
      if (f.id.rfind(begins, 0) == 0) page.places.push_back({f.title, "#figure-" + f.id, "figures/" + f.id + ".svg"});
    }
    pages.push_back(page);
  };
  const auto signals = [&](const char* what, const char* effect, const char* instrument) {
    ResultPage page{what, "amplitude over time; frequency over time; sound", {}};
    for (const Experiment* x : main_experiments(*in.experiments)) {
      if (x->effect.rfind(effect, 0) != 0 || x->instrument != instrument || x->split != "note") continue;
      page.places.push_back({x->title() + ", preset " + x->preset,
                             in.apart ? "pages/" + x->id() + ".html" : "#" + x->id(),
                             "figures/waveform-" + x->id() + ".svg, figures/spectrogram-" + x->id() + ".svg"});
    }
    pages.push_back(page);
  };
  figures("Learned Conv1D filters", "amplitude over time, of each filter", "filters");
  figures("Unsupervised model on a test note: X1, Z, reconstructed X1", "channel over time", "unsupervised");
  signals("Distortion, bass: input, target, output", "Distortion", "bass");
  signals("Overdrive, guitar: input, target, output", "Overdrive", "guitar");
  signals("Amplifier emulation (EQ), guitar: input, target, output", "EQ", "guitar");
  signals("FxChain, bass: input, target, output", "FxChain", "bass");
  figures("Waveshaping of the three distortions and the three overdrives", "output over input amplitude",
          "waveshaping-all");
  return pages;
}

std::string experiment_html(const PageInput& in, const Experiment& x) {
  return page_head("cafx: " + x.title()) +
         fmt::format(
             "<p class=\"eyebrow\">Reproduction</p><h1>{}</h1><p class=\"lead\">One experiment of \u201c{}\u201d.</p>",
             escape(x.title()), escape(in.title)) +
         results_table({&x}) + section(in, x) + kPageEnd;
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
  std::string html = page_head("cafx: " + in.title) +
                     fmt::format(
                         "<p class=\"eyebrow\">Reproduction</p><h1>{}</h1><p class=\"lead\">{}</p><nav><a "
                         "href=\"#claims\">Claims</a><a href=\"#numbers\">Numbers</a><a href=\"#pages\">Result "
                         "pages</a><a href=\"#hear\">Hear and "
                         "see</a><a href=\"#learned\">What was learned</a><a href=\"#again\">Make it again</a></nav>",
                         escape(in.title), escape(in.lead));
  html += fmt::format(
      "<div class=\"cards\"><div class=\"card\"><b>{} of {}</b>claims shown, of those that this run tests</div><div "
      "class=\"card\"><b>{}</b>{} trained, {:.0f} min of training</div>"
      "<div class=\"card\"><b>{:.1f} dB</b>error below the signal at best: {}</div></div>",
      shown, tested, runs, runs == 1 ? "model" : "models", seconds / 60.0, below_db(best), escape(best_name));
  html +=
      "<h2 id=\"claims\">The claims</h2><p class=\"quiet\">Each has a rule that a number decides, so that a run can "
      "also fail it. Shown: by every model that tells. Contradicted: some model speaks against it and none shows "
      "it. " +
      not_judged_text() + "</p>";
  for (const Claim& c : in.claims) {
    html += fmt::format("<div class=\"claim\"><div>{}</div><div><b>{}</b><p class=\"quiet\">{}</p>", pill(c.verdict),
                        escape(c.text), escape(said(c)));
    if (c.models.size() > 1) {
      html += fmt::format(
          "<details><summary>all {} models</summary><div class=\"scroll\"><table><tr><th>model</th><th "
          "class=\"words\">preset</th><th class=\"words\">verdict</th><th class=\"words\">numbers</th></tr>",
          c.models.size());
      for (const Judged& m : c.models)
        html += fmt::format(
            "<tr><td>{}</td><td class=\"words\">{}</td><td class=\"words\">{}</td><td class=\"words\">{}</td></tr>",
            escape(m.model), escape(m.preset), pill(m.verdict), escape(m.numbers));
      html += "</table></div></details>";
    }
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
          in.hop, runs > static_cast<int>(all.size()) ? "seeds, over notes where there is one seed" : "notes");
  for (const Table& t : tables) html += to_html(t);
  html += result_pages_html(in) + "<h2 id=\"hear\">Hear and see</h2>";
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
  for (const Figure& f : in.figures) html += "<div class=\"note\" id=\"figure-" + f.id + "\">" + drawn(f) + "</div>";
  html += "<h2 id=\"again\">Make it again</h2><pre>";
  for (const std::string& c : in.commands) html += escape(c) + "\n";
  html += "</pre><dl>";
  for (const auto& [name, value] : in.facts) html += "<dt>" + escape(name) + "</dt><dd>" + escape(value) + "</dd>";
  html += "</dl><details><summary>The sweep file</summary><pre>" + escape(in.spec) +
          "</pre></details><details><summary>Every run</summary><div class=\"scroll\"><table><tr><th>run</th><th "
          "class=\"words\">model</th><th>seed</th><th class=\"words\">pretraining</th><th>ESR</th><th>thousand "
          "frames</th><th>training, "
          "s</th></tr>";
  for (const Experiment& x : all) {
    for (const StudyRun& r : x.runs) {
      html += fmt::format(
          "<tr><td>{}</td><td class=\"words\">{} \u00b7 {}</td><td>{}</td><td "
          "class=\"words\">{}</td><td>{}</td><td>{:.0f}</td><td>{:.0f}</td></tr>",
          escape(r.folder), escape(x.title()), escape(x.preset), r.config.train.seed, escape(r.pretraining),
          number_text(r.own.mean.esr), r.frames / 1e3, r.seconds);
    }
  }
  return html + "</table></div></details>" + std::string(kPageEnd);
}

std::string tables_markdown(const PageInput& in) {
  const std::vector<Experiment>& all = *in.experiments;
  std::string md = "# " + in.title + "\n\n" + in.lead + "\n\n## Claims\n\n| claim | verdict | |\n| --- | --- | --- |\n";
  for (const Claim& c : in.claims) md += fmt::format("| {} | **{}** | {} |\n", c.text, to_string(c.verdict), said(c));
  md += "\nShown: by every model that tells. Contradicted: some model speaks against it and none shows it. " +
        not_judged_text() + " Rules for one model:\n\n";
  for (const Claim& c : in.claims) md += fmt::format("- {} {}.\n", c.text, c.rule);
  for (const Claim& c : in.claims) {
    if (c.models.size() < 2) continue;
    md += fmt::format(
        "\n<details><summary>{} Its {} models</summary>\n\n| model | preset | verdict | numbers |\n| --- | --- | --- | "
        "--- |\n",
        c.text, c.models.size());
    for (const Judged& m : c.models)
      md += fmt::format("| {} | {} | {} | {} |\n", m.model, m.preset, to_string(m.verdict), m.numbers);
    md += "\n</details>\n";
  }
  md += "\n## Test notes\n\n| model |";
  std::string rule = "| --- |";
  for (const MetricName& m : kMetricNames) {
    md += fmt::format(" {}{} |", m.title, *m.unit ? std::string(", ") + m.unit : "");
    rule += " --- |";
  }
  md += " published MAE | published ESR |\n" + rule + " --- | --- |\n";
  for (const Experiment* x : main_experiments(all)) {
    const Published* p = published(x->effect);
    const auto lines = lines_of(*x);
    for (const Line& l : lines) {
      md += "| " + l.name + " |";
      for (const MetricName& m : kMetricNames)
        md += " " + number_text(l.value.*m.value) + (l.has_spread ? " \u00b1" + number_text(l.spread.*m.value) : "") +
              " |";
      const bool is_model = &l == &lines.front();
      md += fmt::format(" {} | {} |\n", is_model && p ? p->mae : "", is_model && p ? p->esr : "");
    }
  }
  for (const Table& t : comparison_tables(all)) md += to_markdown(t);
  md += "\n## The talk's result pages\n\n| result page | axes | here |\n| --- | --- | --- |\n";
  for (const ResultPage& p : result_pages(in)) {
    std::string places;
    for (const auto& place : p.places) places += (places.empty() ? "" : ", ") + place.file;
    md += fmt::format("| {} | {} | {} |\n", p.what, p.axes, places.empty() ? "not in this run" : places);
  }
  md += "\n## Made by\n\n";
  for (const std::string& c : in.commands) md += "    " + c + "\n";
  md += "\n| what | value |\n| --- | --- |\n";
  for (const auto& [name, value] : in.facts) md += "| " + name + " | " + value + " |\n";
  return md;
}

}  // namespace cafx
