// Time and memory of tasks, from records of earlier runs or from measurements.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>

#include "host/sweep/plan.h"
#include "host/train/memory_plan.h"
#include "host/train/schedule.h"
#include "host/train/stepper.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/rng.h"
#include "kernels/device/memory.h"
#include "models/registry.h"

namespace cafx {

namespace {

using Clock = std::chrono::steady_clock;

// Bytes of this process in the CPU's memory; 0 if unknown.
std::size_t resident() {
  std::ifstream in("/proc/self/statm");
  std::size_t pages = 0, now = 0;
  in >> pages >> now;
  return now * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

struct Speed {
  double frames_per_second = 0.0;
  std::size_t bytes = 0;                        // of the device's memory, used by training
  std::optional<double> beside = std::nullopt;  // seconds of a run beside its training, as recorded
};

// Training steps on noise; the data has no influence on the speed.
Speed measure(const Context& context, const RunConfig& config, int batch, const std::string& form) {
  const bool cpu = context.device == Device::kCpu;
  const std::size_t before = cpu ? resident() : free_memory(context);
  const std::unique_ptr<Model> model = make_model(*config.model, form);
  model->params().initialize(1);
  const int length = place_samples(config), n = length * (batch + 1);
  std::vector<float> audio(static_cast<std::size_t>(n));
  const Rng rng{1, 2};
  for (std::size_t i = 0; i < audio.size(); ++i) audio[i] = static_cast<float>(0.05 * rng.normal(i));
  std::vector<FrameRef> refs;
  for (int b = 0; b < batch; ++b) refs.push_back({static_cast<std::int64_t>(b) * length, 0, n});
  Places places(context, {audio.data(), audio.size(), 0}, refs);
  const std::vector<float> zeros(static_cast<std::size_t>(model->params().n_floats()), 0.0f);
  StepSettings settings;
  settings.batch = batch;
  settings.length = length;
  settings.block = block_samples(config);
  settings.loss = Loss(config.train.loss, 1.0);
  const auto stepper = make_stepper(context, *model, places, settings, zeros, zeros);
  std::vector<std::uint32_t> order(static_cast<std::size_t>(batch));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  const std::vector<float> rates(static_cast<std::size_t>(settings.updates()), 1e-6f);
  long steps = -1;  // the first step makes plans and is not timed
  auto start = Clock::now();
  double seconds = 0.0;
  while (seconds < 0.3 || steps < 2) {
    stepper->begin_epoch(order, rates, 0, 0);
    stepper->enqueue(1);
    stepper->collect(true);
    if (++steps == 0) start = Clock::now();
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds > 5.0 && steps >= 1) break;
  }
  const std::size_t after = cpu ? resident() : free_memory(context), low = cpu ? before : after,
                    high = cpu ? after : before;
  return {static_cast<double>(steps) * batch / seconds, high > low ? high - low : 0};
}

// Of a place: a frame, or a segment.
double multiply_adds(const RunConfig& config, const std::string& form) {
  double total = 0.0;
  for (const LayerRow& r : make_model(*config.model, form)->layers()) total += static_cast<double>(r.multiply_adds);
  return config.model->geometry().frame > 0 ? total : total * place_samples(config);
}

RunSize size_of(const RunConfig& c, double frames_of_all_epochs) {
  double epochs = 0.0;
  for (const Stage& s : stages_of(c)) epochs += s.id == Stage::kRefine ? 0.0 : (s.reconstructs ? 2.0 : 1.0) * s.epochs;
  const auto places = static_cast<std::size_t>(frames_of_all_epochs / std::max(1.0, epochs));
  return {places * static_cast<std::size_t>(samples_between_places(c)) * 2, places * 2};
}
// What a process takes beside what it held before it trained.
std::size_t bytes_beside(const Context& context, const RunConfig& c, const RunSize& size, std::size_t measured) {
  const MemoryPlan plan =
      plan_memory(context, c, places_at_once(c.train.batch, c.train.accumulate, 1), place_samples(c), size);
  // Checkpoints and the table of results are put together beside that. Peaks of 18 runs on a CPU with 8, 32 and 128
  // filters, batches of 2, 8 and 32: 10 MB and 60 (training) to 89 (pretraining) bytes for each parameter more than
  // plan and process; plan.weights is 20 bytes for each.
  const std::size_t beside = context.device == Device::kCpu ? (10u << 20) + plan.weights / 2 * 9 : 0;
  return beside + plan.audio + std::max(plan.weights + plan.activations, measured);
}

// The settings that say which recordings a run hears; `dry`: those that say which dry ones.
std::string recordings_of(const Task& t, bool dry) {
  Json settings = Json::object();
  for (const auto& [key, value] : t.config.items()) {
    const bool of_wet = key == "data.effect" || key == "data.setting" || key == "data.chain" || key == "data.wet";
    if (key.rfind("data.", 0) == 0 && !(dry && of_wet)) settings[key] = value;
  }
  Hasher hasher;
  hasher.add(settings.dump());
  return (dry ? "dry " : "wet ") + hasher.hex();
}

}  // namespace

void estimate(Plan& plan, const Store& store, const Context& context, bool may_measure,
              std::vector<std::string>& sources) {
  std::map<std::string, Speed> speeds;
  std::map<std::string, std::size_t> bytes;  // a process with such a run
  const bool cpu = context.device == Device::kCpu;
  // What a worker has before it trains: as much as this process, which has read the same recordings. A CUDA context
  // cannot be measured from within; it is left to the tenth of a GPU's memory that is not given to runs.
  const std::size_t process = cpu ? resident() : 0;
  int n_peaks = 0, n_recorded = 0, n_measured = 0, n_scaled = 0;
  const auto model_key = [](const Task& t, const RunConfig& c) {
    AnyConfig m = c.model;
    std::string key = std::string(to_string(t.kind)) + m->type() + to_json(m->fields()).dump();
    if (m->geometry().frame == 0) key += fmt::format(" {} {}", c.train.segment_seconds, c.train.block);
    return key + std::to_string(c.train.batch);
  };
  const auto config_of = [](const Task& t) { return config_of_json(t.config, "plan"); };
  // Records first: of any run in the store with the same model and batch.
  for (const Task& t : plan.tasks) {
    const Json usage = Store::read_json(store.run(t) / "usage.json");
    if (!usage.is_object() || usage.value("training_seconds", 0.0) <= 0.0 || usage.value("trained_steps", 0L) <= 0)
      continue;
    const RunConfig c = config_of(t);
    Speed& s = speeds[model_key(t, c)];
    StepSettings settings;
    settings.length = place_samples(c);
    settings.block = block_samples(c);
    s.frames_per_second = static_cast<double>(usage.value("trained_steps", 0L)) / settings.updates() * c.train.batch /
                          usage.value("training_seconds", 1.0);
    s.beside = std::max(0.0, usage.value("seconds", 0.0) - usage.value("training_seconds", 0.0));
    ++n_recorded;
    if (cpu && usage.value("device", "") == "cpu" && usage.value("peak_bytes", 0L) > 0) {
      std::size_t& most = bytes[model_key(t, c)];
      most = std::max(most, static_cast<std::size_t>(usage.value("peak_bytes", 0L)));
      ++n_peaks;
    }
  }
  constexpr int kMostMeasured = 6;
  const double start = cpu ? 0.1 : 2.0;  // seconds until a process makes steps, its recordings apart
  double reference_work = 0.0;           // multiply-adds per second
  for (Task& t : plan.tasks) {
    if (!t.refused.empty()) continue;
    const RunConfig c = config_of(t);
    const std::string key = model_key(t, c);
    const std::string form = t.kind == TaskKind::kPretrain ? kPretrain : kSupervised;
    const double work = multiply_adds(c, form);
    auto found = speeds.find(key);
    if (found == speeds.end()) {
      Speed s;
      if (may_measure && n_measured < kMostMeasured) {
        s = measure(context, c, places_at_once(c.train.batch, c.train.accumulate, 1), form);
        reference_work = s.frames_per_second * work;
        ++n_measured;
      } else {
        constexpr double kGuess = 5e9;  // multiply-adds a second, if nothing was measured
        s.frames_per_second = (reference_work > 0.0 ? reference_work : kGuess) / std::max(1.0, work);
        ++n_scaled;
      }
      found = speeds.emplace(key, s).first;
    }
    // A pass forward is a third of a step. What was recorded as training has the validations in it.
    const Speed& speed = found->second;
    const double steps = speed.beside ? t.frames : t.frames + t.forward / 3.0;
    t.of_steps = steps / std::max(1e-9, speed.frames_per_second);
    t.seconds = *t.of_steps + speed.beside.value_or(start + t.reading);
    const RunSize size = size_of(c, t.frames);
    if (!bytes.contains(key)) bytes[key] = process + bytes_beside(context, c, size, found->second.bytes);
    t.bytes = bytes[key];
    const std::size_t a_side = sizeof(float) * size.samples / 2;
    t.shares = {{recordings_of(t, true), a_side}, {recordings_of(t, false), a_side}};
    if (process > 0) t.shares.emplace_back("process", process);
  }
  if (n_recorded) sources.push_back(fmt::format("{} speeds recorded by runs in {}", n_recorded, store.root().string()));
  if (n_measured) sources.push_back(fmt::format("{} models measured here, some steps each", n_measured));
  if (n_peaks)
    sources.push_back(fmt::format("{} peaks of memory recorded by those runs, else from the memory plan", n_peaks));
  if (n_scaled) {
    sources.push_back(fmt::format("{} models scaled by their multiply-adds from {}", n_scaled,
                                  reference_work > 0.0 ? "those measured" : "a guess of 5e9 a second"));
  }
}

}  // namespace cafx
