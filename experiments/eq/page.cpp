#include "experiments/eq/page.h"

#include <fmt/format.h>

#include "host/draw/page.h"

namespace cafx {

namespace {

constexpr const char* kHead[] = {"filter",
                                 "SoX chain",
                                 "ESR, test notes",
                                 "ESR, dry",
                                 "magnitude, mean error in dB",
                                 "group delay, mean error in ms"};

std::vector<std::string> cells(const LearnedFilter& f) {
  double dry = 0.0;
  for (const NoteResult& r : f.test.notes) dry += r.dry.esr / static_cast<double>(f.test.notes.size());
  return {f.kind,
          f.chain,
          fmt::format("{:.5f}", f.test.mean.esr),
          fmt::format("{:.3f}", dry),
          fmt::format("{:.2f}", f.magnitude_error_db),
          fmt::format("{:.3f}", f.delay_error_ms)};
}

std::string table_html(const std::vector<LearnedFilter>& all) {
  std::string html = "<div class=\"scroll\"><table><tr>";
  for (const char* name : kHead) html += fmt::format("<th>{}</th>", name);
  html += "</tr>";
  for (const LearnedFilter& f : all) {
    html += "<tr>";
    for (const std::string& cell : cells(f)) html += "<td>" + escape(cell) + "</td>";
    html += "</tr>";
  }
  return html + "</table></div>";
}

Axes axes(const std::string& title, const std::string& y_label) {
  Axes a;
  a.title = title;
  a.x_label = "frequency, Hz";
  a.y_label = y_label;
  a.log_x = true;
  a.height = 260;
  return a;
}

}  // namespace

std::vector<Figure> filter_figures(const std::vector<LearnedFilter>& all) {
  std::vector<Figure> figures;
  for (const LearnedFilter& f : all) {
    std::string id = "response-" + f.kind;
    for (char& c : id) {
      if (c == ' ' || c == ',') c = '-';
    }
    Figure figure{
        id,
        "Response, " + f.kind,
        fmt::format("Of `{}`, from white noise that no training note holds: the true filter and the model.", f.chain),
        {}};
    const auto panel = [&](const char* title, const char* unit, const std::vector<double>& truth,
                           const std::vector<double>& learned) {
      figure.panels.push_back(
          {axes(title, unit), {{"model", "b", f.learned.hz, learned}, {"true", "dash", f.truth.hz, truth}}, {}});
    };
    panel("magnitude", "magnitude, dB", f.truth.magnitude_db, f.learned.magnitude_db);
    panel("group delay", "group delay, ms", f.truth.delay_ms, f.learned.delay_ms);
    figures.push_back(figure);
  }
  return figures;
}

std::string eq_page_html(const EqPage& page, const std::vector<LearnedFilter>& all) {
  std::string html = page_head("cafx: learned equalisation");
  html += fmt::format(
      "<p class=\"eyebrow\">An experiment</p><h1>Learned equalisation</h1><p class=\"lead\">Shelving, peaking, low- "
      "and "
      "high-pass filters, each learned from dry and filtered audio by {}.</p><h2>The numbers</h2>{}<p "
      "class=\"quiet\">ESR: energy of the error over energy of the target, mean over the test notes, rendered at a hop "
      "of {} samples; dry: of the unfiltered notes. Errors of magnitude and group delay: means over frequencies on a "
      "logarithmic axis, where the true magnitude is over {:.0f} dB.</p><h2>The responses</h2>",
      escape(page.model), table_html(all), all.empty() ? 0 : all.front().hop, kFloorDb);
  for (const Figure& figure : filter_figures(all)) {
    html += "<section class=\"note\"><h3>" + escape(figure.title) + "</h3><div class=\"two\">";
    for (const Panel& p : figure.panels)
      html += "<figure>" + chart(p.series, p.axes) + legend(p.series) + "<figcaption>" + escape(p.axes.title) +
              "</figcaption></figure>";
    html += "</div><p class=\"quiet\">" + escape(figure.caption) + "</p></section>";
  }
  return html + "<h2>Make it again</h2><pre>" + escape(page.commands) +
         "</pre><details><summary>The sweep file</summary><pre>" + escape(page.spec) + "</pre></details>" + kPageEnd;
}

std::string eq_table_markdown(const EqPage& page, const std::vector<LearnedFilter>& all) {
  std::string md = "Learned by " + page.model + ".\n\n|", rule = "|";
  for (const char* name : kHead) {
    md += fmt::format(" {} |", name);
    rule += " --- |";
  }
  md += "\n" + rule + "\n";
  for (const LearnedFilter& f : all) {
    md += "|";
    for (const std::string& cell : cells(f)) md += " " + cell + " |";
    md += "\n";
  }
  return md;
}

}  // namespace cafx
