#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "host/sweep/scheduler.h"
#include "host/sweep/sweep.h"
#include "host/train/cohort.h"

namespace cafx {

namespace {

std::string time_text(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f} s", std::max(0.0, seconds));
  if (seconds >= 360.0) return fmt::format("{:.1f} h", seconds / 3600.0);
  const long s = std::lround(seconds);
  return s >= 60 ? fmt::format("{} min {:02} s", s / 60, s % 60) : fmt::format("{} s", s);
}

struct Totals {
  int n_pretrain = 0, n_train = 0, n_done = 0, n_refused = 0;
  double seconds = 0.0, seconds_left = 0.0;  // on one slot
  double chain = 0.0;                        // seconds of the longest open chain: a pretraining and a run behind it
};

Totals totals_of(const std::vector<Row>& rows) {
  Totals sum;
  for (const Row& r : rows) {
    (r.task->kind == TaskKind::kPretrain ? sum.n_pretrain : sum.n_train) += 1;
    sum.seconds += r.task->seconds;
    const bool done = r.state == State::kDone;
    sum.n_done += done;
    sum.n_refused += !r.task->refused.empty();
    double own = done ? 0.0 : r.task->seconds;
    sum.seconds_left += own;
    if (r.task->parent >= 0) {
      const Row& p = rows[static_cast<std::size_t>(r.task->parent)];
      if (p.state != State::kDone) own += p.task->seconds;
    }
    sum.chain = std::max(sum.chain, own);
  }
  return sum;
}

std::vector<Row> rows_of(const Spec& spec, const PlannedSweep& planned) {
  return read_rows(planned.plan.tasks, Store(spec.sweep.store), spec.sweep.lease_seconds);
}

// Which runs can share a process, and why others cannot; empty: no device takes cohorts.
std::string cohorts_text(const std::vector<Row>& rows, const std::vector<DeviceSlots>& devices) {
  int most = 1;
  bool by_speed = false;
  for (const DeviceSlots& d : devices) {
    most = std::max(most, d.cohort);
    by_speed = by_speed || !d.speed_of.empty();
  }
  std::map<std::string, std::pair<const Task*, int>> kinds;  // by kinship: the first run, and how many there are
  std::vector<const Task*> firsts;
  for (const Row& r : rows) {
    if (r.task->kind != TaskKind::kTrain || !r.task->config.is_object() || !r.task->refused.empty()) continue;
    auto& [first, n] = kinds[kinship(r.task->config)];
    if (n++ > 0) continue;
    first = r.task;
    firsts.push_back(r.task);
  }
  if (most < 2 || firsts.empty()) return "";
  std::string text = fmt::format("up to {} runs train side by side in a process{}: ", most,
                                 by_speed ? ", or as many as a measurement says" : "");
  constexpr std::size_t kShown = 4;
  for (std::size_t k = 0; k < std::min(kShown, firsts.size()); ++k) {
    text += fmt::format("{}{}", k > 0 ? ", " : "", kinds[kinship(firsts[k]->config)].second);
  }
  text += firsts.size() == 1 ? " of one kind\n"
                             : fmt::format("{} of {} kinds\n", firsts.size() > kShown ? ", ..." : "", firsts.size());
  for (std::size_t k = 1; k < std::min(kShown, firsts.size()); ++k) {
    text += fmt::format("  not {} with {}: {}\n", firsts[0]->folder, firsts[k]->folder,
                        why_apart(firsts[0]->config, firsts[k]->config));
  }
  return text;
}

}  // namespace

std::string plan_json(const Spec& spec, const PlannedSweep& planned) {
  const auto rows = rows_of(spec, planned);
  const Totals sum = totals_of(rows);
  Json json = {{"sweep", spec.name},         {"seconds", sum.seconds},    {"seconds_left", sum.seconds_left},
               {"sources", planned.sources}, {"warnings", Json::array()}, {"tasks", Json::array()}};
  for (const RecordingWarning& w : planned.plan.warnings) json["warnings"].push_back(text_of(w));
  for (const Row& r : rows) {
    const Task& t = *r.task;
    Json settings = Json::object();
    for (const auto& [key, value] : t.point) settings[key] = value;
    json["tasks"].push_back(
        {{"kind", to_string(t.kind)},
         {"folder", t.folder},
         {"settings", settings},
         {"state", to_string(r.state)},
         {"seconds", t.seconds},
         {"bytes", t.bytes},
         {"refused", t.refused},
         {"parent", t.parent < 0 ? "" : planned.plan.tasks[static_cast<std::size_t>(t.parent)].folder}});
  }
  return json.dump(2) + "\n";
}

std::string plan_text(const Spec& spec, const PlannedSweep& planned, int lines) {
  const auto rows = rows_of(spec, planned);
  const Totals sum = totals_of(rows);
  std::string text = fmt::format(
      "sweep {}: {} points are {} training runs from {} pretrainings; {} of {} are done already in {}\n", spec.name,
      planned.plan.n_points, sum.n_train, sum.n_pretrain, sum.n_done, rows.size(), spec.sweep.store);
  if (spec.sweep.sampling == "tpe")
    text += fmt::format("up to {} points more are proposed while it runs\n", spec.sweep.budget);
  text +=
      fmt::format("{:<10} {:<24} {:<8} {:>10} {:>9}  {}\n", "kind", "run", "state", "at most", "memory", "settings");
  int n = 0;
  for (const Row& r : rows) {
    if (++n > lines) {
      text += fmt::format("... and {} more; 'cafx sweep plan {} --lines {}' shows all\n",
                          static_cast<int>(rows.size()) - lines, spec.path.string(), rows.size());
      break;
    }
    text += fmt::format("{:<10} {:<24} {:<8} {:>10} {:>6.0f} MB  {}\n", to_string(r.task->kind), r.task->folder,
                        to_string(r.state), time_text(r.task->seconds), static_cast<double>(r.task->bytes) / 1e6,
                        label(r.task->point));
  }
  if (sum.n_refused > 0)
    text += fmt::format("{} of them cannot be trained on their recordings; the others run:\n", sum.n_refused);
  for (const Row& r : rows) {
    if (!r.task->refused.empty()) text += fmt::format("  {}: {}\n", r.task->folder, r.task->refused);
  }
  if (!planned.plan.warnings.empty()) text += "the recordings:\n";
  for (const RecordingWarning& w : planned.plan.warnings) text += "  " + text_of(w) + "\n";
  const auto devices = find_devices(spec.sweep);
  int slots = 0;
  std::string names;
  for (const DeviceSlots& d : devices) {
    slots += d.slots;
    names += fmt::format("{}{} x {}", names.empty() ? "" : ", ", d.slots, d.name);
  }
  const auto hours = [](double seconds) {
    return seconds > 0.0 && seconds < 360.0 ? fmt::format("{:.4f}", seconds / 3600.0)
                                            : fmt::format("{:.2f}", seconds / 3600.0);
  };
  text += fmt::format("at most {} {} hours to go (of {}), if no stage ends early; on {}: about {}\n",
                      hours(sum.seconds_left), devices[0].name != "cpu" ? "GPU" : "slot", hours(sum.seconds), names,
                      time_text(std::max(sum.seconds_left / slots, sum.chain)));
  for (const std::string& s : planned.sources) text += "  from " + s + "\n";
  if (const std::string why = why_incomparable(spec); !why.empty()) text += "note: " + why + "\n";
  return text + cohorts_text(rows, devices);
}

}  // namespace cafx
