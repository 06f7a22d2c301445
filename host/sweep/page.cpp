#include "host/sweep/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "host/draw/page.h"
#include "host/draw/svg.h"
#include "host/report/learning.h"
#include "host/sweep/importance.h"
#include "host/version.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr std::size_t kMostRows = 3000, kMostLines = 1000, kMostPoints = 200;

std::string number(double v) { return std::isfinite(v) ? fmt::format("{:.5g}", v) : ""; }

std::string duration(double seconds) {
  if (seconds >= 3600.0) return fmt::format("{:.1f} h", seconds / 3600.0);
  return seconds >= 60.0 ? fmt::format("{:.0f} min", seconds / 60.0) : fmt::format("{:.1f} s", seconds);
}

double metric(const Row& r, const std::string& name) {
  const auto found = r.outcome.metrics.find(name);
  return found != r.outcome.metrics.end() && found->is_number() ? found->get<double>() : std::nan("");
}

// As label(), with four digits.
std::string short_label(const Point& point) {
  std::string text;
  for (const auto& [key, value] : point) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key,
                        value.is_number_float() ? fmt::format("{:.4g}", value.get<double>()) : value_text(value));
  }
  return text;
}

std::string state_badge(State s) { return fmt::format("<span class=\"state {0}\">{0}</span>", to_string(s)); }

class Page {
 public:
  explicit Page(const SweepPage& in) : in_(in), rows_(*in.rows) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i].task->kind == TaskKind::kTrain) runs_.push_back(i);
    }
    // Best first, then runs without a result, in the order of the plan.
    std::stable_sort(runs_.begin(), runs_.end(), [&](std::size_t a, std::size_t b) {
      const double x = value(a), y = value(b);
      return std::isfinite(x) && (!std::isfinite(y) || x < y);
    });
    for (const std::size_t r : runs_) n_done_ += std::isfinite(value(r));
  }

  std::string html() {
    std::string body = heading() + cards() + over_seeds() + parallel() + shares() + learning() + failures() + table();
    if (!in_.spec.empty())
      body += "<h2>The sweep's file</h2><details><summary>TOML</summary><pre>" + escape(in_.spec) + "</pre></details>";
    return page_head("cafx sweep: " + in_.name, sweep_style(), true) + body +
           "<script type=\"application/json\" id=\"data\">" + data() + "</script><script>" + sweep_script() +
           "</script>" + kPageEnd;
  }

 private:
  double value(std::size_t row) const { return objective_of(rows_[row], in_.objective); }

  std::string run_name(const Row& r) const {
    if (in_.link.empty()) return escape(r.task->folder);
    return fmt::format("<a href=\"{0}/{1}/\">{1}</a>", escape(in_.link), escape(r.task->folder));
  }

  std::string heading() const {
    std::map<State, int> count;
    for (const std::size_t r : runs_) ++count[rows_[r].state];
    std::string states;
    for (const auto& [state, n] : count)
      states += fmt::format("{}{} {}", states.empty() ? "" : ", ", n, to_string(state));
    return fmt::format(
        "<p class=\"eyebrow\">A sweep</p><h1>{}</h1><p class=\"quiet\">{} training runs from {} pretrainings: {}. "
        "Compared by {}, lower is better. cafx {}.</p>",
        escape(in_.name), runs_.size(), rows_.size() - runs_.size(), states.empty() ? "none" : states,
        escape(in_.objective), kVersion);
  }

  std::string cards() const {
    if (n_done_ == 0) return "<p>No run has a result yet.</p>";
    const Row& best = rows_[runs_[0]];
    std::string html = "<div class=\"cards\">";
    const auto card = [&](const std::string& over, const std::string& big, const std::string& under) {
      html += fmt::format("<div class=\"card\">{}<b>{}</b>{}</div>", over, big, under);
    };
    card("best " + escape(in_.objective), number(value(runs_[0])), escape(short_label(best.task->point)));
    const double median = value(runs_[n_done_ / 2]);
    card("median of " + std::to_string(n_done_), number(median),
         fmt::format("{:.1f} times the best", median / value(runs_[0])));
    std::size_t lowest = runs_[0];
    bool any = false;
    for (std::size_t i = 0; i < n_done_; ++i) {
      const double v = metric(rows_[runs_[i]], "test.esr");
      if (!std::isfinite(v)) continue;
      if (!any || v < metric(rows_[lowest], "test.esr")) lowest = runs_[i];
      any = true;
    }
    if (any && in_.objective != "test.esr")
      card("lowest test.esr", number(metric(rows_[lowest], "test.esr")),
           escape(short_label(rows_[lowest].task->point)));
    double seconds = 0.0;
    for (const Row& r : rows_) seconds += r.seconds;
    card("work so far", duration(seconds), "pretraining and training, one run at a time");
    return html + "</div>";
  }

  // Where seeds are an axis: mean and spread over them.
  std::string over_seeds() const {
    struct Group {
      std::string label;
      std::vector<double> values;
      int n = 0;
    };
    std::vector<Group> groups;
    std::map<std::string, std::size_t> known;
    for (const std::size_t r : runs_) {
      Point rest;
      bool seeded = false;
      for (const auto& setting : rows_[r].task->point) {
        if (setting.first == "train.seed") {
          seeded = true;
        } else {
          rest.push_back(setting);
        }
      }
      if (!seeded) return "";
      const auto [at, is_new] = known.emplace(label(rest), groups.size());
      if (is_new) groups.push_back({short_label(rest), {}, 0});
      Group& g = groups[at->second];
      ++g.n;
      if (std::isfinite(value(r))) g.values.push_back(value(r));
    }
    if (groups.size() == runs_.size() || groups.empty()) return "";
    const auto mean = [](const Group& g) {
      return g.values.empty()
                 ? std::nan("")
                 : std::accumulate(g.values.begin(), g.values.end(), 0.0) / static_cast<double>(g.values.size());
    };
    std::stable_sort(groups.begin(), groups.end(), [&](const Group& a, const Group& b) {
      return std::isfinite(mean(a)) && (!std::isfinite(mean(b)) || mean(a) < mean(b));
    });
    std::string html = fmt::format(
        "<h2>Over seeds</h2><div class=\"scroll\"><table><thead><tr><th>settings</th><th>{} mean</th><th>standard "
        "deviation</th><th>least</th><th>greatest</th><th>seeds done</th></tr></thead><tbody>",
        escape(in_.objective));
    constexpr std::size_t kMost = 10;
    for (std::size_t i = 0; i < std::min(kMost, groups.size()); ++i) {
      const Group& g = groups[i];
      double square = 0.0;
      for (const double v : g.values) square += (v - mean(g)) * (v - mean(g));
      const double spread =
          g.values.size() > 1 ? std::sqrt(square / static_cast<double>(g.values.size() - 1)) : std::nan("");
      const auto [lo, hi] = std::minmax_element(g.values.begin(), g.values.end());
      html += fmt::format(
          "<tr><td class=\"settings\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} of {}</td></tr>",
          g.label.empty() ? "the base" : escape(g.label), number(mean(g)), number(spread),
          g.values.empty() ? "" : number(*lo), g.values.empty() ? "" : number(*hi), g.values.size(), g.n);
    }
    html += "</tbody></table></div>";
    if (groups.size() > kMost) html += fmt::format("<p class=\"quiet\">The best {} of {}.</p>", kMost, groups.size());
    return html;
  }

  std::string parallel() const {
    if (n_done_ == 0 || parameters().empty()) return "";
    return "<h2>Parallel coordinates</h2><div id=\"parallel\"><noscript><p>This picture needs scripts.</p></noscript>"
           "</div><p class=\"quiet\" id=\"told\"></p><div class=\"tools\"><button id=\"clear\" type=\"button\">show all"
           "</button><span class=\"quiet\">A line is a run, blue the best to red the worst. Draw along an axis to keep "
           "a "
           "range: it also chooses the rows of the table; a tap takes it away.</span></div>";
  }

  std::string shares() const {
    const auto& p = parameters();
    if (p.empty()) return "";
    std::string html = "<h2>What matters</h2>";
    // Errors differ by factors, so the analysis explains their logarithm.
    std::vector<double> y;
    bool log = true;
    for (std::size_t i = 0; i < n_done_; ++i) log = log && value(runs_[i]) > 0.0;
    for (std::size_t i = 0; i < n_done_; ++i) y.push_back(log ? std::log(value(runs_[i])) : value(runs_[i]));
    std::vector<std::vector<double>> x;
    for (const Parameter& q : p) x.emplace_back(q.at.begin(), q.at.begin() + static_cast<long>(n_done_));
    const auto share = importance(x, y);
    if (share.empty())
      return html + fmt::format(
                        "<p class=\"quiet\">{} finished runs are too few (8 are needed), or all of them are equal.</p>",
                        n_done_);
    std::vector<std::size_t> order(p.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return share[a] > share[b]; });
    html += "<div class=\"shares\">";
    double sum = 0.0;
    const auto bar = [&](const std::string& name, double v, const char* css) {
      html += fmt::format("<span>{}</span><i class=\"{}\" style=\"width:{:.1f}%\"></i><b>{:.0f} %</b>", name, css,
                          100.0 * v, 100.0 * v);
    };
    for (const std::size_t i : order) {
      bar(escape(p[i].name), share[i], "");
      sum += share[i];
    }
    bar("together", std::max(0.0, 1.0 - sum), "rest");
    return html + fmt::format(
                      "</div><p class=\"quiet\">Share of the variance of {}{} that each setting explains alone, by "
                      "functional ANOVA over a random forest of {} finished runs (Hutter et al. 2014); "
                      "\u201ctogether\u201d is "
                      "what only combinations explain. The forest sees these runs alone: shares of few runs, or of "
                      "ranges that hardly differ, say little.</p>",
                      log ? "the logarithm of " : "", escape(in_.objective), n_done_);
  }

  std::string learning() const {
    if (in_.curves.empty()) return "";
    std::vector<Series> all;
    // The best ones are drawn last, over the others.
    std::vector<const LearningCurve*> best;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, n_done_); ++i) {
      for (const LearningCurve& c : in_.curves) {
        if (c.row == runs_[i]) best.push_back(&c);
      }
    }
    const auto series = [&](const LearningCurve& c, const std::string& name, const char* css) {
      Series s{name, css, {}, {}};
      const std::size_t stride = std::max<std::size_t>(1, c.epoch.size() / kMostPoints);
      for (std::size_t i = 0; i < c.epoch.size(); ++i) {
        if (i % stride && i + 1 < c.epoch.size()) continue;
        s.x.push_back(c.epoch[i]);
        s.y.push_back(c.validation[i]);
      }
      return s;
    };
    for (const LearningCurve& c : in_.curves) {
      if (std::find(best.begin(), best.end(), &c) == best.end()) all.push_back(series(c, "", "faint"));
    }
    static const char* const css[] = {"", "c", "d"};
    std::vector<Series> named;
    for (std::size_t i = 0; i < best.size(); ++i) {
      named.push_back(
          series(*best[i], fmt::format("{}: {}", i + 1, short_label(rows_[best[i]->row].task->point)), css[i]));
    }
    for (std::size_t i = named.size(); i > 0; --i) all.push_back(named[i - 1]);
    Axes axes;
    axes.title = "validation error of the runs over their supervised epochs";
    axes.x_label = "supervised epoch";
    axes.y_label = "validation MAE";
    axes.log_y = true;
    axes.height = 320;
    return fmt::format(
        "<h2>How they learned</h2><figure>{}{}<figcaption>Mean absolute error on the validation notes after each "
        "supervised epoch. {} runs are drawn; the best {} in colour. A line that ends early was stopped, paused or "
        "broke down.</figcaption></figure>",
        chart(all, axes), legend(named), in_.curves.size(), best.size());
  }

  std::string failures() const {
    std::string html;
    int n = 0;
    for (const Row& r : rows_) {
      if (r.state != State::kFailed && r.state != State::kBlocked) continue;
      if (++n > 200) continue;
      html += fmt::format(
          "<tr><td>{}</td><td class=\"words\">{}</td><td class=\"settings\">{}</td><td class=\"reason\">{}</td></tr>",
          run_name(r), state_badge(r.state), escape(short_label(r.task->point)), escape(r.outcome.reason));
    }
    if (n == 0) return "";
    return fmt::format(
        "<h2>What failed</h2><div class=\"scroll\"><table id=\"failed\"><thead><tr><th>run</th><th "
        "class=\"words\">state</th>"
        "<th class=\"words\">settings</th><th class=\"words\">reason</th></tr></thead><tbody>{}</tbody></table></div>"
        "<p class=\"quiet\">{}What a run's processes said is in its worker.log; <code>cafx sweep retry {}</code> tries "
        "them again.</p>",
        html, n > 200 ? fmt::format("The first 200 of {}. ", n) : "", escape(in_.name));
  }

  std::string table() const {
    std::vector<Row> copies;
    for (const std::size_t r : runs_) copies.push_back(rows_[r]);
    const auto settings = setting_names(copies), metrics = metric_names(copies);
    std::string html =
        "<h2>Every run</h2><div class=\"tools\"><input id=\"search\" type=\"search\" placeholder=\"words that a row "
        "must hold\" "
        "aria-label=\"words that a row must hold\"><span class=\"quiet\" id=\"count\"></span></div><div "
        "class=\"tall\"><table "
        "id=\"runs\"><thead><tr>";
    const auto head = [&](const std::string& name) {
      html += fmt::format("<th data-name=\"{0}\"{1}><button type=\"button\">{0}</button></th>", escape(name),
                          name == in_.objective ? " aria-sort=\"ascending\"" : "");
    };
    head("run");
    head("state");
    for (const auto& s : settings) head(s);
    for (const auto& m : metrics) head(m);
    head("seconds");
    html += "</tr></thead><tbody>";
    const std::size_t n = std::min(kMostRows, runs_.size());
    for (std::size_t i = 0; i < n; ++i) {
      const Row& r = rows_[runs_[i]];
      html += fmt::format("<tr data-row=\"{}\"><td>{}</td><td>{}</td>", runs_[i], run_name(r), state_badge(r.state));
      for (const auto& name : settings) {
        const std::string text = setting_text(*r.task, name);
        double v = std::nan("");
        for (const auto& [key, given] : r.task->point) {
          if (key == name && given.is_number()) v = given.get<double>();
        }
        html += std::isfinite(v) ? fmt::format("<td data-v=\"{}\">{}</td>", v, escape(text))
                                 : "<td>" + escape(text) + "</td>";
      }
      for (const auto& name : metrics) {
        const double v = metric(r, name);
        html += std::isfinite(v) ? fmt::format("<td data-v=\"{}\">{}</td>", v, number(v)) : "<td data-v=\"\"></td>";
      }
      html += fmt::format("<td data-v=\"{}\">{:.1f}</td></tr>", r.seconds, r.seconds);
    }
    html += "</tbody></table></div><p class=\"quiet\">";
    if (n < runs_.size()) html += fmt::format("The best {} of {} runs. ", n, runs_.size());
    return html + "All of them, to the last digit, are in results.csv and results.json beside this page.</p>";
  }

  // The settings of runs_, in its order.
  const std::vector<Parameter>& parameters() const {
    if (!known_) {
      std::vector<const Row*> all;
      for (const std::size_t r : runs_) all.push_back(&rows_[r]);
      parameters_ = parameters_of(all);
      known_ = true;
    }
    return parameters_;
  }

  std::string data() const {
    Json json = {{"axes", Json::array()}, {"runs", Json::array()}};
    const auto& p = parameters();
    if (n_done_ > 0 && !p.empty()) {
      for (const Parameter& q : p) json["axes"].push_back({{"name", q.name}, {"ticks", q.ticks}});
      const double least = value(runs_[0]), most = value(runs_[n_done_ - 1]);
      const bool log = least > 0.0 && most / least >= 5.0;
      const auto place = [&](double v) {
        if (!(most > least)) return 0.5;
        return log ? std::log(v / least) / std::log(most / least) : (v - least) / (most - least);
      };
      Json ticks = Json::array();
      for (const double u : {0.0, 0.25, 0.5, 0.75, 1.0}) {
        if (most > least)
          ticks.push_back(
              {u, fmt::format("{:.3g}", log ? least * std::pow(most / least, u) : least + u * (most - least))});
      }
      if (!(most > least)) ticks.push_back({0.5, fmt::format("{:.3g}", least)});
      json["axes"].push_back({{"name", in_.objective}, {"ticks", ticks}});
      // As many lines as a picture can show, evenly over the ranks.
      const std::size_t stride = (n_done_ + kMostLines - 1) / kMostLines;
      for (std::size_t i = 0; i < n_done_; i += stride) {
        Json at = Json::array();
        for (const Parameter& q : p) at.push_back(std::round(1e4 * q.at[i]) / 1e4);
        at.push_back(std::round(1e4 * place(value(runs_[i]))) / 1e4);
        json["runs"].push_back({{"row", runs_[i]},
                                {"rank", i / stride},
                                {"at", at},
                                {"text", fmt::format("{} {}: {}", in_.objective, number(value(runs_[i])),
                                                     short_label(rows_[runs_[i]].task->point))}});
      }
    }
    std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace), safe;
    for (const char c : text) safe += c == '<' ? "\\u003c" : std::string(1, c);
    return safe;
  }

  const SweepPage& in_;
  const std::vector<Row>& rows_;
  std::vector<std::size_t> runs_;  // rows of training runs, best first
  std::size_t n_done_ = 0;         // of runs_: those with a result, which come first
  mutable std::vector<Parameter> parameters_;
  mutable bool known_ = false;
};

}  // namespace

std::vector<LearningCurve> read_learning_curves(const std::vector<Row>& rows, const Store& store,
                                                const std::string& objective, std::size_t most) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const State s = rows[i].state;
    if (rows[i].task->kind == TaskKind::kTrain && s != State::kQueued && s != State::kWaiting && s != State::kBlocked)
      order.push_back(i);
  }
  const auto key = [&](std::size_t i) {
    const double v = objective_of(rows[i], objective);
    return std::pair(rows[i].state == State::kFailed ? 0 : std::isfinite(v) ? 1 : 2, std::isfinite(v) ? v : 0.0);
  };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return key(a) < key(b); });
  // Failed runs are shown too, but never in place of good ones.
  const auto first_good =
      std::find_if(order.begin(), order.end(), [&](auto i) { return rows[i].state != State::kFailed; });
  std::rotate(order.begin(), first_good - std::min<long>(first_good - order.begin(), static_cast<long>(most / 4)),
              order.end());
  if (order.size() > most) order.resize(most);
  std::vector<LearningCurve> curves;
  for (const std::size_t i : order) {
    std::ifstream in(store.run(*rows[i].task) / "metrics.csv");
    std::ostringstream text;
    text << in.rdbuf();
    SupervisedEpochs epochs = supervised_epochs(text.str());
    LearningCurve c{i, std::move(epochs.epoch), std::move(epochs.validation)};
    if (!c.epoch.empty()) curves.push_back(std::move(c));
  }
  return curves;
}

std::string sweep_html(const SweepPage& in) {
  CAFX_CHECK(in.rows != nullptr, in.name);
  return Page(in).html();
}

}  // namespace cafx
