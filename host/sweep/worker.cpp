#include "host/sweep/worker.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "host/eval/eval.h"
#include "host/sweep/lease.h"
#include "host/sweep/task.h"
#include "host/train/run_folder.h"
#include "host/train/targets.h"
#include "kernels/base/printable.h"
#include "kernels/base/safetensors.h"
#include "kernels/device/memory.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

Json finite(double x) { return std::isfinite(x) ? Json(x) : Json(); }

// Renews the lease while training advances, publishes progress, and checks for `prune`.
class Watch : public TrainObserver {
 public:
  Watch(const WorkerOptions& options, const Lease& lease)
      : options_(options), lease_(lease), last_sign_(Clock::now()), thread_([this] { beat(); }) {}
  ~Watch() override {
    {
      const std::lock_guard lock(mutex_);
      end_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  void message(const std::string&) override { sign(); }
  void progress(const TrainProgress& p) override {
    const std::lock_guard lock(mutex_);
    last_sign_ = Clock::now();
    last_ = p;
    news_ = true;
  }
  void epoch(const TrainProgress& p) override {
    progress(p);
    if (p.stage == "train" && options_.until_epoch > 0 && p.epoch >= options_.until_epoch) {
      rung_epoch_ = p.epoch;
      rung_value_ = p.best;
      *options_.stop = true;
    }
  }
  void sign() {
    const std::lock_guard lock(mutex_);
    last_sign_ = Clock::now();
  }

  int rung_epoch() const { return rung_epoch_; }
  double rung_value() const { return rung_value_; }
  bool pruned() const { return pruned_; }

 private:
  void beat() {
    std::unique_lock lock(mutex_);
    while (!end_) {
      const double silent = std::chrono::duration<double>(Clock::now() - last_sign_).count();
      const bool alive = silent < options_.stall_seconds, news = news_;
      const TrainProgress p = last_;
      news_ = false;
      lock.unlock();
      if (alive) lease_.beat();
      if (news) write_progress(p);
      if (fs::exists(options_.run / "prune")) {
        pruned_ = true;
        *options_.stop = true;
      }
      lock.lock();
      wake_.wait_for(lock, std::chrono::milliseconds(700), [this] { return end_; });
    }
  }

  // For displays only: its loss is harmless, so it is not synced and a full disk is no error here.
  void write_progress(const TrainProgress& p) const {
    const Json json = {{"stage", p.stage},
                       {"epoch", p.epoch},
                       {"epochs", p.epochs},
                       {"loss", finite(p.loss)},
                       {"best", finite(p.best)},
                       {"frames_per_second", finite(p.frames_per_second)},
                       {"fraction", finite(p.fraction)},
                       {"seconds_left", finite(p.seconds_left)}};
    const fs::path temporary = options_.run / ".progress.partial";
    {
      std::ofstream out(temporary);
      out << json.dump();
    }
    std::error_code ignored;
    fs::rename(temporary, options_.run / "progress.json", ignored);
  }

  const WorkerOptions& options_;
  const Lease& lease_;
  std::mutex mutex_;
  std::condition_variable wake_;
  Clock::time_point last_sign_;
  TrainProgress last_;
  bool news_ = false, end_ = false;
  std::atomic<bool> pruned_{false};
  int rung_epoch_ = 0;
  double rung_value_ = 0.0;
  std::thread thread_;  // last: it uses all of the above
};

void write_json(const fs::path& path, const Json& json) {
  const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  write_file_atomically(path, text.data(), text.size());
}

class Work {
 public:
  Work(const WorkerOptions& options, Lease lease) : options_(options), lease_(std::move(lease)) {}

  int run() {
    started_ = Clock::now();
    try {
      return attempt();
    } catch (const LeaseLost&) {
      return kExitBusy;
    } catch (const WriteError& e) {
      if (!e.disk_full()) return fail(e.what());
      say(e.what());
      lease_.give_back();
      return kExitDiskFull;
    } catch (const Error& e) {
      return fail(e.what());
    }
  }

 private:
  int attempt() {
    const Json task = Store::read_json(options_.run / "task.json");
    const RunConfig config = config_of_json(task.at("config"), (options_.run / "task.json").string());
    const std::string key = task.at("key");
    if (!folder_is_free()) {
      lease_.give_back();
      return kExitBusy;
    }
    Watch watch(options_, lease_);
    Dataset data = load_dataset(data_of(config), config.model->sample_rate);
    const Split split = split_dataset(data, config.data);
    watch.sign();
    std::string init, teacher;
    const bool begun = fs::exists(options_.run / "checkpoint.safetensors");
    if (!config.train.init_from.empty()) {
      init = weights_identity(begun ? options_.run / "init.safetensors" : fs::path(config.train.init_from));
    }
    if (!config.teacher.model.empty()) {
      teacher = weights_identity(begun ? options_.run / kTeacherFile : weights_of_teacher(config));
    }
    if (run_hash(config, content_hash(data), init, teacher) != key) {
      throw Error(
          "the audio under '{}' or the weights to start or learn from have changed since the sweep was planned; plan "
          "it again",
          config.data.path);
    }
    TrainOptions options;
    options.folder = options_.run;
    options.threads = options_.threads;
    options.isa = options_.isa;
    options.device = options_.device;
    options.gpus = options_.gpus;
    options.stop = options_.stop;
    options.observer = &watch;
    options.checkpoint_seconds = options_.checkpoint_seconds;
    options.before_write = [this] { lease_.check(); };
    const TrainOutcome trained = begun ? resume(config, data, split, options) : train(config, data, split, options);
    add_usage(trained);
    if (!trained.finished) return stopped(watch);
    Json metrics = metrics_of_training(config);
    if (config.train.epochs > 0) {
      const ModelFile file = load_model(options_.run);
      ThreadPool pool(options_.threads > 0 ? options_.threads : available_threads());
      Context context;
      context.isa = options_.isa.empty() ? best_isa() : parse_isa(options_.isa);
      context.pool = &pool;
      use_device(context, options_.device);
      if (!split.test.empty()) {
        const Evaluation e = evaluate(*file.model, context, data, split.test, "test", config.model->geometry().hop);
        lease_.check();
        const std::string text = to_json(e);
        write_file_atomically(options_.run / "eval.json", text.data(), text.size());
        add_test(metrics, e);
      }
    }
    lease_.check();
    Outcome outcome;
    outcome.state = State::kDone;
    outcome.metrics = metrics;
    Store::write_outcome(options_.run, outcome);
    lease_.give_back();
    return kExitDone;
  }

  Json metrics_of_training(const RunConfig& config) const {
    const Json result = Store::read_json(options_.run / "result.json");
    Json metrics = Json::object();
    if (!result.is_object()) return metrics;
    for (const auto& [name, value] : result.items()) {  // what decides the run, not how well it went, is left out
      if (value.is_number() && name != "seed" && name != "sample_rate" && name != "epochs") metrics[name] = value;
    }
    if (config.train.epochs == 0) {
      const Json about = load_model(options_.run / "pretrained.safetensors").metadata;
      const std::string name = training_name(config.train);
      metrics[name] = std::strtod(about.value(name, "nan").c_str(), nullptr);
    }
    return metrics;
  }

  static void add_test(Json& metrics, const Evaluation& e) {
    const Json json = Json::parse(to_json(e));
    if (!json.contains("mean")) return;
    for (const auto& [name, value] : json["mean"].items()) {
      if (value.is_number()) metrics["test." + name] = value;
    }
  }

  int stopped(const Watch& watch) {
    lease_.check();
    if (watch.pruned()) {
      Outcome outcome = Store::read_outcome(options_.run);
      outcome.state = State::kPruned;
      outcome.reason = RunFolder::read(options_.run / "prune").substr(0, 500);
      Store::write_outcome(options_.run, outcome);
      lease_.give_back();
      return kExitDone;
    }
    if (watch.rung_epoch() > 0) {
      Json rungs = Store::read_json(options_.run / "rungs.json");
      if (!rungs.is_array()) rungs = Json::array();
      rungs.push_back({watch.rung_epoch(), watch.rung_value()});
      write_json(options_.run / "rungs.json", rungs);
      lease_.give_back();
      return kExitRequeue;
    }
    lease_.give_back();
    return options_.requeue && *options_.requeue ? kExitRequeue : 130;
  }

  int fail(const std::string& reason) {
    try {
      lease_.check();
      Outcome outcome = Store::read_outcome(options_.run);
      outcome.state = State::kFailed;
      outcome.reason = reason;
      Store::write_outcome(options_.run, outcome);
      lease_.give_back();
    } catch (const LeaseLost&) {
      return kExitBusy;
    } catch (const WriteError& e) {
      lease_.give_back();
      return e.disk_full() ? kExitDiskFull : kExitFailed;
    }
    say(reason);
    return kExitFailed;
  }

  // The process before may still be ending, or be frozen on this host: its lock ends with it.
  bool folder_is_free() const {
    const int fd = open((options_.run / "run.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) return true;  // training reports the error
    bool free = false;
    for (int i = 0; i < 50 && !free; ++i) {
      free = flock(fd, LOCK_EX | LOCK_NB) == 0;
      if (!free) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    close(fd);
    return free;
  }

  static void say(const std::string& text) { std::fprintf(stderr, "cafx: %s\n", printable_line(text).c_str()); }

  void add_usage(const TrainOutcome& trained) const {
    Json usage = Store::read_json(options_.run / "usage.json");
    if (!usage.is_object()) usage = {{"seconds", 0.0}, {"steps", 0}};
    rusage r{};
    getrusage(RUSAGE_SELF, &r);
    const long before = usage.value("steps", 0L);
    usage["seconds"] = usage.value("seconds", 0.0) + std::chrono::duration<double>(Clock::now() - started_).count();
    usage["training_seconds"] = usage.value("training_seconds", 0.0) + trained.seconds;
    usage["trained_steps"] = usage.value("trained_steps", 0L) + std::max(0L, trained.steps - before);
    usage["steps"] = trained.steps;
    usage["threads"] = options_.threads;
    usage["device"] = options_.device;
    usage["peak_bytes"] = std::max(usage.value("peak_bytes", 0L), r.ru_maxrss * 1024L);
    write_json(options_.run / "usage.json", usage);
  }

  const WorkerOptions& options_;
  Lease lease_;
  Clock::time_point started_;
};

}  // namespace

int work(const WorkerOptions& options) {
  const Json task = Store::read_json(options.run / "task.json");
  if (!task.is_object()) {
    throw Error("{}: task.json is missing or damaged; give the folder of a run that a sweep made",
                options.run.string());
  }
  const double seconds = task.value("lease_seconds", 60.0);
  std::optional<Lease> lease;
  try {
    if (Store::read_outcome(options.run).state != State::kQueued) return kExitDone;
    lease = Lease::claim(options.run, seconds, Store::steps_done(options.run));
  } catch (const WriteError& e) {
    std::fprintf(stderr, "cafx: %s\n", printable_line(e.what()).c_str());
    return e.disk_full() ? kExitDiskFull : kExitFailed;
  }
  if (!lease) return kExitBusy;
  // It may have ended between the check and the claim.
  if (Store::read_outcome(options.run).state != State::kQueued) {
    lease->give_back();
    return kExitDone;
  }
  return Work(options, std::move(*lease)).run();
}

}  // namespace cafx
