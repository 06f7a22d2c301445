#include "host/report/seeds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/draw/page.h"
#include "host/draw/svg.h"
#include "host/metrics/metrics.h"
#include "host/report/learning.h"
#include "host/report/parts.h"
#include "host/version.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

using OrderedJson = nlohmann::ordered_json;

// NaN where it is not there.
double number_at(const OrderedJson& json, const std::string& key) {
  return json.is_object() && json.contains(key) && json[key].is_number() ? json[key].get<double>() : std::nan("");
}

// Of a seed, under a name as the result's means have it: "validation_mae", "test.esr".
double value_of(const OrderedJson& seed, const std::string& name) {
  const std::string test = "test.";
  if (name.rfind(test, 0) != 0) return number_at(seed.value("result", OrderedJson::object()), name);
  return number_at(seed.value("test", OrderedJson::object()).value("mean", OrderedJson::object()),
                   name.substr(test.size()));
}

std::string heading_of(const std::string& name) {
  for (const MetricName& m : kMetricNames) {
    if (name == std::string("test.") + m.key) return m.heading;
  }
  return name;
}

std::string seed_cell(double v) { return "<td>" + (std::isfinite(v) ? figure_text(v) : std::string("-")) + "</td>"; }

std::string seed_cards(const OrderedJson& result) {
  std::string html = "<div class=\"cards\">";
  for (const auto& [name, mean] : result["mean"].items()) {
    if (name.rfind("test.", 0) == 0 && name != "test.mae" && name != "test.esr") continue;
    const double half = number_at(result["interval"], name);
    html += fmt::format("<div class=\"card\">{}<b>{}</b>{}</div>", escape(name),
                        mean.is_number() ? figure_text(mean.get<double>()) : "-",
                        std::isfinite(half) ? "±" + figure_text(half) : "one seed");
  }
  return html + "</div>";
}

std::string seed_table(const OrderedJson& result, bool links) {
  const OrderedJson& means = result["mean"];
  std::string html = "<h2>The seeds in numbers</h2><div class=\"scroll\"><table><tr><th>seed</th>";
  for (const auto& [name, mean] : means.items()) html += "<th>" + escape(heading_of(name)) + "</th>";
  html += "</tr>";
  for (const OrderedJson& seed : result["seeds"]) {
    const std::string number = std::to_string(seed.value("seed", 0L)), folder = escape(seed.value("folder", ""));
    html += "<tr><td>" + (links ? fmt::format("<a href=\"{}/\">{}</a>", folder, number) : number) + "</td>";
    if (seed.contains("error")) {
      html += fmt::format("<td class=\"words\" colspan=\"{}\">failed: {}</td>", std::max<std::size_t>(1, means.size()),
                          escape(seed.value("error", "")));
    } else {
      for (const auto& [name, mean] : means.items()) html += seed_cell(value_of(seed, name));
    }
    html += "</tr>";
  }
  for (const char* row : {"mean", "interval"}) {
    const bool is_mean = std::string(row) == "mean";
    html += fmt::format("<tr class=\"sum\"><td>{}</td>", is_mean ? "mean" : "95 % interval, ±");
    for (const auto& [name, mean] : means.items()) html += seed_cell(number_at(result[row], name));
    html += "</tr>";
  }
  return html +
         "</table></div><p class=\"quiet\">Of each seed: the error that stopped the training, then the means over the "
         "test notes. The interval is of the mean over seeds, by Student's t: of intervals found so, 19 in 20 "
         "hold the mean over all seeds that there are. It says nothing of other notes or other recordings.</p>";
}

std::string seed_curves(const OrderedJson& result, const std::vector<std::string>& metrics_csv) {
  static const char* const css[] = {"thin", "thin b", "thin c", "thin d"};
  std::vector<Series> training, validation;
  std::string training_of, validation_of;
  for (std::size_t i = 0; i < std::min(metrics_csv.size(), result["seeds"].size()); ++i) {
    const SupervisedEpochs e = supervised_epochs(metrics_csv[i]);
    if (e.epoch.empty()) continue;
    const std::string label = fmt::format("seed {}", result["seeds"][i].value("seed", 0L));
    training.push_back({label, css[i % 4], e.epoch, e.training});
    validation.push_back({label, css[i % 4], e.epoch, e.validation});
    training_of = e.training_of;
    validation_of = e.validation_of;
  }
  if (validation.empty()) return "";
  const auto figure = [&](const std::vector<Series>& all, const char* of, const std::string& what) {
    Axes axes;
    axes.title = fmt::format("{} of the {} of every seed over its supervised epochs", what, of);
    axes.x_label = "supervised epoch";
    axes.y_label = fmt::format("{}: {}", of, what);
    axes.log_y = true;
    axes.height = 300;
    return "<figure>" + chart(all, axes) + (all.size() <= std::size(css) ? legend(all) : "") + "</figure>";
  };
  return fmt::format(
      "<h2>How they learned</h2><div class=\"two\">{}{}</div><p class=\"quiet\">One line a seed, over the epochs of "
      "training and refinement.{} A line that ends early was stopped by its validation, or broke down.</p>",
      figure(validation, "validation", validation_of), figure(training, "training", training_of),
      validation.size() <= std::size(css) ? "" : " Colours only tell neighbours apart.");
}

}  // namespace

std::string seeds_html(const SeedsInput& in) {
  const OrderedJson result = OrderedJson::parse(in.result_json, nullptr, false);
  if (!result.is_object() || !result.contains("seeds") || !result["seeds"].is_array() || !result.contains("mean") ||
      !result["mean"].is_object() || !result.contains("interval")) {
    throw Error("{}: its result.json is not that of several seeds; 'cafx resume' of the folder writes it anew",
                in.title);
  }
  std::size_t finished = 0;
  for (const OrderedJson& seed : result["seeds"]) finished += seed.contains("error") ? 0 : 1;
  std::string html = page_head("cafx: " + in.title, "", true);
  html += fmt::format(
      "<p class=\"eyebrow\">A training from several seeds</p><h1>{}</h1><p class=\"quiet\">The same training from {} "
      "seeds{}: other weights to start from, another order of what it learns from. cafx {}.</p>",
      escape(in.title), result["seeds"].size(),
      finished < result["seeds"].size() ? fmt::format(", {} of which finished", finished) : "", kVersion);
  html += seed_cards(result) + seed_table(result, in.links) + seed_curves(result, in.metrics_csv);
  html += recordings_section(in.data_json);
  html += "<h2>Make it again</h2><pre>" + escape(in.command) + "</pre>";
  if (!in.config_toml.empty()) {
    html += "<details><summary>The whole config, of the first seed</summary><pre>" + escape(in.config_toml) +
            "</pre></details>";
  }
  html += "<details><summary>The result</summary><pre>" + escape(in.result_json) + "</pre></details>";
  return html + kPageEnd;
}

}  // namespace cafx
