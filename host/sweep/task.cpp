#include "host/sweep/task.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "host/train/checkpoint.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace fs = std::filesystem;

const char* to_string(TaskKind k) { return k == TaskKind::kPretrain ? "pretrain" : "train"; }

const char* to_string(State s) {
  static const char* const names[] = {"waiting", "queued", "running", "paused", "done", "failed", "pruned", "blocked"};
  return names[static_cast<int>(s)];
}

Json Store::read_json(const fs::path& path) {
  std::ifstream in(path);
  return in ? Json::parse(in, nullptr, false) : Json(Json::value_t::discarded);
}

std::size_t bytes_together(const std::vector<const Task*>& tasks) {
  std::map<std::string, std::size_t> once;
  std::size_t total = 0;
  for (const Task* t : tasks) {
    std::size_t own = t->bytes;
    for (const auto& [name, bytes] : t->shares) {
      const std::size_t part = std::min(bytes, own);
      own -= part;
      once[name] = std::max(once[name], part);
    }
    total += own;
  }
  for (const auto& [name, bytes] : once) total += bytes;
  return total;
}

void Store::make(const Task& t, const Task* parent, double lease_seconds) const {
  const fs::path folder = run(t);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw WriteError(fmt::format("{}: cannot be made: {}", folder.string(), error.message()), error.value());
  if (fs::exists(folder / "task.json")) return;
  Json settings = Json::object();
  for (const auto& [key, value] : t.point) settings[key] = value;
  Json json = {{"kind", to_string(t.kind)},
               {"key", t.key},
               {"config", t.config},
               {"settings", settings},
               {"lease_seconds", lease_seconds}};
  if (parent) json["parent"] = parent->folder;
  const std::string text = json.dump(1) + "\n";
  write_file_atomically(folder / "task.json", text.data(), text.size());
}

double Outcome::validation() const {
  for (const auto& [name, value] : metrics.items()) {
    if (name.rfind("validation_", 0) == 0 && value.is_number()) return value;
  }
  return std::nan("");
}

Outcome Store::read_outcome(const fs::path& run) {
  Outcome o;
  const Json json = read_json(run / "outcome.json");
  if (json.is_object()) {
    const std::string state = json.value("state", "");
    o.state = state == "done"     ? State::kDone
              : state == "failed" ? State::kFailed
              : state == "pruned" ? State::kPruned
                                  : State::kQueued;
    o.reason = json.value("reason", "");
    if (json.contains("metrics")) o.metrics = json["metrics"];
  }
  const Json rungs = read_json(run / "rungs.json");
  if (rungs.is_array()) {
    for (const Json& r : rungs) o.rungs.emplace_back(r.at(0).get<int>(), r.at(1).get<double>());
  }
  return o;
}

void Store::write_outcome(const fs::path& run, const Outcome& o) {
  Json json = {{"state", to_string(o.state)}, {"metrics", o.metrics}};
  if (!o.reason.empty()) json["reason"] = o.reason;
  const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  write_file_atomically(run / "outcome.json", text.data(), text.size());
}

void Store::write_verdict(const fs::path& run, std::size_t n_rungs, int until_epoch) {
  const std::string text = Json({{"rungs", n_rungs}, {"until_epoch", until_epoch}}).dump() + "\n";
  write_file_atomically(run / "verdict.json", text.data(), text.size());
}

std::optional<int> Store::read_verdict(const fs::path& run, std::size_t n_rungs) {
  const Json json = read_json(run / "verdict.json");
  if (!json.is_object() || json.value("rungs", std::size_t{0}) != n_rungs) return std::nullopt;  // of a rung before
  return json.value("until_epoch", -1);
}

Progress Store::read_progress(const fs::path& run) {
  Progress p;
  const Json j = read_json(run / "progress.json");
  if (!j.is_object()) return p;
  const auto number = [&](const char* key) {
    return j.contains(key) && j[key].is_number() ? j[key].get<double>() : std::nan("");
  };
  p.stage = j.value("stage", "");
  p.epoch = j.value("epoch", 0);
  p.epochs = j.value("epochs", 0);
  p.loss = number("loss");
  p.best = number("best");
  p.frames_per_second = number("frames_per_second");
  p.fraction = number("fraction");
  p.seconds_left = number("seconds_left");
  return p;
}

long Store::steps_done(const fs::path& run) {
  const fs::path path = run / "checkpoint.safetensors";
  if (!fs::exists(path)) return 0;
  try {
    return read_checkpoint_head(path).counters.total_steps;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace cafx
