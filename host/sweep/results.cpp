#include "host/sweep/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "host/sweep/lease.h"
#include "kernels/base/csv.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace {

void add_name(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

std::string hours(double seconds) {
  if (!(seconds >= 0.0)) return "?";
  if (seconds >= 3600.0) return fmt::format("{:.1f} h", seconds / 3600.0);
  return seconds >= 60.0 ? fmt::format("{:.0f} min", seconds / 60.0) : fmt::format("{:.0f} s", seconds);
}

// Cut to whole characters: a longer line would wrap on a terminal and push the table out of sight.
std::string cut(const std::string& line, int columns) {
  int n = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;  // UTF-8
    if (begins && ++n > columns) return line.substr(0, i);
  }
  return line;
}

// The whole text on lines of at most `columns` characters, broken at spaces, each line set in.
std::string wrapped(const std::string& text, int columns) {
  const std::size_t most = static_cast<std::size_t>(std::max(columns, 40)) - 4;
  std::string lines, line;
  std::size_t n = 0;  // characters of the line
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    const auto length = static_cast<std::size_t>(
        std::count_if(word.begin(), word.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
    if (n > 0 && n + 1 + length > most) {
      lines += "    " + line + "\n";
      line.clear();
      n = 0;
    }
    line += (n > 0 ? " " : "") + word;
    n += (n > 0 ? 1 : 0) + length;
    at = end + 1;
  }
  return line.empty() ? lines : lines + "    " + line + "\n";
}

int rank(State s) {
  static const State order[] = {State::kRunning, State::kFailed, State::kBlocked, State::kPaused,
                                State::kDone,    State::kPruned, State::kQueued,  State::kWaiting};
  return static_cast<int>(std::find(std::begin(order), std::end(order), s) - std::begin(order));
}

}  // namespace

std::vector<Row> read_rows(const std::vector<Task>& tasks, const Store& store, double lease_seconds) {
  std::vector<Row> rows;
  for (const Task& t : tasks) {
    Row row;
    row.task = &t;
    const auto run = store.run(t);
    row.outcome = Store::read_outcome(run);
    if (!t.refused.empty()) {
      row.outcome.state = State::kFailed;
      row.outcome.reason = t.refused;
    }
    row.state = row.outcome.state;
    const Json usage = Store::read_json(run / "usage.json");
    if (usage.is_object()) row.seconds = usage.value("seconds", 0.0);
    if (row.state == State::kQueued) {
      const LeaseState lease = inspect_lease(run, lease_seconds);
      if (lease.generation > 0) row.progress = Store::read_progress(run);
      if (t.parent >= 0) {
        const Row& p = rows[static_cast<std::size_t>(t.parent)];
        if (p.state == State::kFailed) {
          row.state = State::kBlocked;
          row.outcome.reason = "its pretraining failed: " + p.outcome.reason;
        } else if (p.state != State::kDone) {
          row.state = State::kWaiting;
        }
      }
      if (lease.held) {
        row.state = State::kRunning;
      } else if (!row.outcome.rungs.empty() && row.state == State::kQueued) {
        row.state = State::kPaused;
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

double objective_of(const Row& row, const std::string& objective) {
  const auto found = row.outcome.metrics.find(objective);
  if (row.state == State::kDone && found != row.outcome.metrics.end() && found->is_number())
    return found->get<double>();
  return std::nan("");
}

std::vector<std::string> setting_names(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& r : rows) {
    for (const auto& [key, value] : r.task->point) add_name(names, key);
  }
  return names;
}

std::vector<std::string> metric_names(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  // Validation and training bear the name of what they measure.
  for (const char* first : {"validation_", "training_", "test.mae", "test.esr", "steps"}) {
    for (const Row& r : rows) {
      if (r.task->kind != TaskKind::kTrain) continue;
      for (const auto& [key, value] : r.outcome.metrics.items()) {
        if (key.rfind(first, 0) == 0 && (key == first || first[std::strlen(first) - 1] == '_')) add_name(names, key);
      }
    }
  }
  for (const Row& r : rows) {
    if (r.task->kind != TaskKind::kTrain) continue;
    for (const auto& [key, value] : r.outcome.metrics.items()) add_name(names, key);
  }
  return names;
}

std::string setting_text(const Task& t, const std::string& name) {
  for (const auto& [key, value] : t.point) {
    if (key == name) return value_text(value);
  }
  return "";
}

std::string results_csv(const std::vector<Row>& rows) {
  const auto settings = setting_names(rows), metrics = metric_names(rows);
  std::vector<std::string> cells{"run", "state"};
  cells.insert(cells.end(), settings.begin(), settings.end());
  cells.insert(cells.end(), metrics.begin(), metrics.end());
  cells.insert(cells.end(), {"pretraining", "reason"});
  std::string text = csv_line(cells);
  for (const Row& r : rows) {
    if (r.task->kind != TaskKind::kTrain) continue;
    cells = {r.task->folder, to_string(r.state)};
    for (const auto& s : settings) cells.push_back(setting_text(*r.task, s));
    for (const auto& m : metrics) {
      cells.push_back(r.outcome.metrics.contains(m) ? value_text(r.outcome.metrics[m]) : "");
    }
    cells.push_back(r.task->parent >= 0 ? rows[static_cast<std::size_t>(r.task->parent)].task->folder : "");
    cells.push_back(r.outcome.reason);
    text += csv_line(cells);
  }
  return text;
}

std::string results_json(const std::vector<Row>& rows, const std::string& name, const std::string& objective) {
  Json all = {{"sweep", name}, {"objective", objective}, {"runs", Json::array()}};
  for (const Row& r : rows) {
    Json settings = Json::object();
    for (const auto& [key, value] : r.task->point) settings[key] = value;
    Json run = {{"run", r.task->folder}, {"kind", to_string(r.task->kind)}, {"state", to_string(r.state)},
                {"settings", settings},  {"metrics", r.outcome.metrics},    {"seconds", r.seconds}};
    if (r.task->parent >= 0) run["pretraining"] = rows[static_cast<std::size_t>(r.task->parent)].task->folder;
    if (!r.outcome.reason.empty()) run["reason"] = r.outcome.reason;
    if (!r.outcome.rungs.empty()) run["rungs"] = r.outcome.rungs;
    all["runs"].push_back(run);
  }
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Summary summarise(const std::vector<Row>& rows, const std::string& objective) {
  Summary s;
  double best = 0.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    ++s.count[r.state];
    ++s.n;
    s.seconds_done += r.seconds;
    const bool open = r.state == State::kQueued || r.state == State::kWaiting || r.state == State::kRunning ||
                      r.state == State::kPaused;
    if (open) {
      const double done = std::isfinite(r.progress.fraction) ? r.progress.fraction : 0.0;
      s.seconds_left += r.task->seconds * (1.0 - done);
    }
    const double value = objective_of(r, objective);
    if (r.task->kind == TaskKind::kTrain && std::isfinite(value) && (s.best < 0 || value < best)) {
      s.best = static_cast<int>(i);
      best = value;
    }
  }
  return s;
}

std::string status_text(const std::vector<Row>& rows, const std::string& name, const std::string& objective, int lines,
                        int columns) {
  const Summary s = summarise(rows, objective);
  std::string text = fmt::format("sweep {}: {} tasks", name, s.n);
  for (const auto& [state, n] : s.count) text += fmt::format(", {} {}", n, to_string(state));
  text += fmt::format("; {} of work left by the plan", hours(s.seconds_left));
  const auto running = s.count.find(State::kRunning);
  if (running != s.count.end()) text += fmt::format(", about {} at this rate", hours(s.seconds_left / running->second));
  text = cut(printable_line(text), columns) + "\n";
  if (s.best >= 0) {
    const Row& b = rows[static_cast<std::size_t>(s.best)];
    text += cut(printable_line(fmt::format("best {} {:.6g}: {}  ({})", objective, objective_of(b, objective),
                                           label(b.task->point), b.task->folder)),
                columns) +
            "\n";
  }
  std::vector<const Row*> shown;
  for (const Row& r : rows) shown.push_back(&r);
  std::stable_sort(shown.begin(), shown.end(), [&](const Row* a, const Row* b) {
    if (a->state != b->state) return rank(a->state) < rank(b->state);
    const double x = objective_of(*a, objective), y = objective_of(*b, objective);
    return std::isfinite(x) && (!std::isfinite(y) || x < y);
  });
  text += cut(fmt::format("{:<22} {:<8} {:>5} {:<14} {:>9} {:>11} {:>8}  {}", "run", "state", "%", "stage", "frames/s",
                          "best", "left", "settings"),
              columns) +
          "\n";
  int n = 0;
  for (const Row* r : shown) {
    if (++n > lines) {
      text += fmt::format("... and {} more\n", static_cast<int>(shown.size()) - lines);
      break;
    }
    const Progress& p = r->progress;
    const bool running = r->state == State::kRunning;
    const double value = r->state == State::kDone ? objective_of(*r, objective) : p.best;
    const std::string line = fmt::format(
        "{:<22} {:<8} {:>5} {:<14} {:>9} {:>11} {:>8}  {}", r->task->folder, to_string(r->state),
        r->state == State::kDone ? "100"
        : !p.stage.empty()       ? fmt::format("{:.0f}", 100.0 * p.fraction)
                                 : "",
        running && !p.stage.empty() ? fmt::format("{} {}/{}", p.stage, p.epoch, p.epochs) : "",
        running && std::isfinite(p.frames_per_second) && !p.stage.empty() ? fmt::format("{:.0f}", p.frames_per_second)
                                                                          : "",
        std::isfinite(value) && (r->state == State::kDone || !p.stage.empty()) ? fmt::format("{:.6g}", value) : "",
        running && !p.stage.empty() ? hours(p.seconds_left) : "", printable_line(label(r->task->point)));
    text += cut(line, columns) + "\n";
    if (r->outcome.reason.empty()) continue;
    const std::string why = wrapped(printable_line(r->outcome.reason), columns);
    n += static_cast<int>(std::count(why.begin(), why.end(), '\n'));
    text += why;
  }
  return text;
}

}  // namespace cafx
