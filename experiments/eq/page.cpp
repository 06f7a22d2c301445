#include "experiments/eq/page.h"

#include <iterator>

#include <fmt/format.h>

#include "host/draw/page.h"

namespace cafx {

namespace {

constexpr const char* kHead[] = {"filter",
                                 "SoX chain",
                                 "loss",
                                 "ESR, test notes",
                                 "ESR, best of zero phase",
                                 "ESR, dry",
                                 "magnitude, mean error in dB",
                                 "group delay, mean error in ms"};

// One for each training.
std::vector<std::vector<std::string>> rows(const std::vector<LearnedFilter>& all) {
  std::vector<std::vector<std::string>> text;
  for (const LearnedFilter& f : all) {
    for (const Learned& l : f.learned) {
      text.push_back({f.kind, f.chain, l.loss, fmt::format("{:.4f}", l.esr), fmt::format("{:.4f}", f.zero_phase_esr),
                      fmt::format("{:.3f}", f.dry_esr), fmt::format("{:.2f}", l.magnitude_error_db),
                      fmt::format("{:.3f}", l.delay_error_ms)});
    }
  }
  return text;
}

std::string table_html(const std::vector<LearnedFilter>& all) {
  std::string html = "<div class=\"scroll\"><table><tr>";
  for (const char* name : kHead) html += fmt::format("<th>{}</th>", name);
  html += "</tr>";
  for (const auto& row : rows(all)) {
    html += "<tr>";
    for (const std::string& cell : row) html += "<td>" + escape(cell) + "</td>";
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
        fmt::format("Of `{}`, from white noise that no training note holds: the true filter, and models by their loss.",
                    f.chain),
        {}};
    const auto panel = [&](const char* title, const char* unit, std::vector<double> Response::*values) {
      static constexpr const char* kColours[] = {"b", "c"};
      Panel p{axes(title, unit), {}, {}};
      for (std::size_t i = 0; i < f.learned.size(); ++i) {
        const Learned& l = f.learned[i];
        p.series.push_back({l.loss, kColours[i % std::size(kColours)], l.response.hz, l.response.*values});
      }
      p.series.push_back({"true", "dash", f.truth.hz, f.truth.*values});
      figure.panels.push_back(p);
    };
    panel("magnitude", "magnitude, dB", &Response::magnitude_db);
    panel("group delay", "group delay, ms", &Response::delay_ms);
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
      "of {} samples; dry: of the unfiltered notes; best of zero phase: the least that a fixed filter without phase "
      "can "
      "have. With gains that stand still the EQ net is such a filter, since its deconvolution turns back the phase of "
      "its convolution: MAE gives magnitude away where phase is missing, MR-STFT sees magnitudes alone. Errors of "
      "magnitude and group delay: means over frequencies on a "
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
  for (const auto& row : rows(all)) {
    md += "|";
    for (const std::string& cell : row) md += " " + cell + " |";
    md += "\n";
  }
  return md;
}

}  // namespace cafx
