#include "host/sweep/worker.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "host/eval/eval.h"
#include "host/sweep/lease.h"
#include "host/sweep/task.h"
#include "host/train/cohort.h"
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

void write_json(const fs::path& path, const Json& json) {
  const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  write_file_atomically(path, text.data(), text.size());
}

// Renews the lease while training advances, publishes progress, and checks for `prune`.
class Watch : public TrainObserver {
 public:
  Watch(const WorkerOptions& options, const fs::path& run, const Lease& lease)
      : options_(options),
        run_(run),
        lease_(lease),
        until_(options.until_epoch),
        last_sign_(Clock::now()),
        thread_([this] { beat(); }) {}
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
    if (p.stage == "train" && until_ > 0 && p.epoch >= until_) {
      rung_epoch_ = p.epoch;
      record_rung(p.best);
      if (options_.verdicts) {
        at_rung_ = Rung::kReached;
      } else {
        stop_ = true;
      }
    }
  }
  // Whether the run waits at its rung (TrainOptions::waits).
  bool waits() {
    if (at_rung_ == Rung::kNone) return false;
    sign();
    if (at_rung_ == Rung::kReached) {
      at_rung_ = Rung::kSaved;  // when this is asked again
      return true;
    }
    const std::optional<int> until = Store::read_verdict(run_, n_rungs_);
    if (!until) return true;
    if (*until < 0) {
      stop_ = true;
    } else {
      until_ = *until;
      rung_epoch_ = 0;
    }
    at_rung_ = Rung::kNone;
    return false;
  }
  void sign() {
    const std::lock_guard lock(mutex_);
    last_sign_ = Clock::now();
  }

  bool at_a_rung() const { return rung_epoch_ > 0; }
  bool pruned() const { return pruned_; }
  const std::atomic<bool>* stop() const { return &stop_; }  // at a rung, or pruned

 private:
  // Before any checkpoint holds this epoch: a process that is killed in between repeats the epoch and finds its rung
  // written, whereas a rung behind the checkpoint would be lost.
  void record_rung(double best) {
    lease_.check();
    Json rungs = Store::read_json(run_ / "rungs.json");
    if (!rungs.is_array()) rungs = Json::array();
    if (rungs.empty() || rungs.back().at(0).get<int>() < rung_epoch_) {
      rungs.push_back({rung_epoch_, best});
      write_json(run_ / "rungs.json", rungs);
    }
    n_rungs_ = rungs.size();
  }
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
      if (fs::exists(run_ / "prune")) {
        pruned_ = true;
        stop_ = true;
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
    const fs::path temporary = run_ / ".progress.partial";
    {
      std::ofstream out(temporary);
      out << json.dump();
    }
    std::error_code ignored;
    fs::rename(temporary, run_ / "progress.json", ignored);
  }

  const WorkerOptions& options_;
  const fs::path& run_;
  const Lease& lease_;
  int until_;  // the epoch of its rung; 0: none
  std::mutex mutex_;
  std::condition_variable wake_;
  Clock::time_point last_sign_;
  TrainProgress last_;
  bool news_ = false, end_ = false;
  std::atomic<bool> pruned_{false}, stop_{false};
  enum class Rung { kNone, kReached, kSaved };
  Rung at_rung_ = Rung::kNone;
  int rung_epoch_ = 0;
  std::size_t n_rungs_ = 0;
  std::thread thread_;  // last: it uses all of the above
};

// Recordings that a process has read, each set once for all members of a cohort that learn from it, and what several
// sets have in common once for all of them.
class Recordings {
 public:
  struct Read {
    Dataset data;
    Split split;
  };
  explicit Recordings(const std::vector<fs::path>& runs) {
    std::set<std::string> keys;
    for (const fs::path& run : runs) {
      const Json task = Store::read_json(run / "task.json");
      if (task.is_object() && task.contains("config")) keys.insert(key_of(task["config"]));
    }
    if (keys.size() > 1) shelf_ = std::make_unique<Shelf>();  // one set alone has nothing to share
  }
  Read& of(const RunConfig& config) {
    RunConfig copy = config;
    std::unique_ptr<Read>& read = read_[key_of(to_json(describe(copy)))];
    if (!read) {
      auto fresh = std::make_unique<Read>();
      fresh->data = load_dataset(data_of(config), config.model->sample_rate, shelf_.get());
      fresh->split = split_dataset(fresh->data, config.data);
      read = std::move(fresh);
    }
    return *read;
  }
  // No more sets are to come: what was only kept for them goes.
  void complete() { shelf_.reset(); }

 private:
  // What decides a set, of a config as tasks have it.
  static std::string key_of(const Json& config) {
    std::string key;
    for (const auto& [name, value] : config.items()) {
      const bool decides = name.rfind("data.", 0) == 0 || name.rfind("teacher.", 0) == 0 || name == "model.sample_rate";
      if (decides) key += name + value.dump() + "\n";
    }
    return key;
  }
  std::unique_ptr<Shelf> shelf_;
  std::map<std::string, std::unique_ptr<Read>> read_;
};

constexpr int kExitStopped = 130;

// One run in this process: claimed, made a member of the process's cohort, concluded.
class Work {
 public:
  Work(const WorkerOptions& options, fs::path run, Lease lease)
      : options_(options), run_(std::move(run)), lease_(std::move(lease)) {}

  // Calls work(), whose value is an exit code; so is what comes of an error.
  template <class Do>
  int guarded(Do work) {
    try {
      return work();
    } catch (const LeaseLost&) {
      watch_.reset();  // the folder is another process's
      return kExitBusy;
    } catch (const WriteError& e) {
      if (!e.disk_full()) return fail(e.what());
      say(e.what());
      give_back();
      return kExitDiskFull;
    } catch (const Error& e) {
      return fail(e.what());
    }
  }

  // Reads and checks what the run needs; kExitDone: `member` can be trained.
  int prepare(Recordings& recordings, Member& member) {
    started_ = Clock::now();
    const Json task = Store::read_json(run_ / "task.json");
    config_ = config_of_json(task.at("config"), (run_ / "task.json").string());
    const std::string key = task.at("key");
    if (!folder_is_free()) {
      give_back();
      return kExitBusy;
    }
    watch_ = std::make_unique<Watch>(options_, run_, lease_);
    recordings_ = &recordings.of(config_);
    watch_->sign();
    std::string init, teacher;
    const bool begun = fs::exists(run_ / "checkpoint.safetensors");
    if (!config_.train.init_from.empty()) {
      init = weights_identity(begun ? run_ / "init.safetensors" : fs::path(config_.train.init_from));
    }
    if (!config_.teacher.model.empty()) {
      teacher = weights_identity(begun ? run_ / kTeacherFile : weights_of_teacher(config_));
    }
    if (run_hash(config_, content_hash(recordings_->data), init, teacher) != key) {
      throw Error(
          "the audio under '{}' or the weights to start or learn from have changed since the sweep was planned; plan "
          "it again",
          config_.data.path);
    }
    TrainOptions options;
    options.folder = run_;
    options.threads = options_.threads;
    options.isa = options_.isa;
    options.device = options_.device;
    options.gpus = options_.gpus;
    options.stop = watch_->stop();
    options.stop_all = options_.stop;
    if (options_.verdicts) options.waits = [this] { return watch_->waits(); };
    options.observer = watch_.get();
    options.checkpoint_seconds = options_.checkpoint_seconds;
    options.before_write = [this] { lease_.check(); };
    member = {config_, &recordings_->data, &recordings_->split, options, nullptr};
    return kExitDone;
  }

  // What becomes of the run once it has left the cohort.
  int conclude(const MemberOutcome& member) {
    if (member.thrown) std::rethrow_exception(member.thrown);
    add_usage(member.trained);
    if (!member.trained.finished) return stopped();
    Json metrics = metrics_of_training();
    if (config_.train.epochs > 0) {
      const ModelFile file = load_model(run_);
      ThreadPool pool(options_.threads > 0 ? options_.threads : available_threads());
      Context context;
      context.isa = options_.isa.empty() ? best_isa() : parse_isa(options_.isa);
      context.pool = &pool;
      use_device(context, options_.device);
      const auto& [data, split] = *recordings_;
      if (!split.test.empty()) {
        const Evaluation e = evaluate(*file.model, context, data, split.test, "test", config_.model->geometry().hop);
        lease_.check();
        const std::string text = to_json(e);
        write_file_atomically(run_ / "eval.json", text.data(), text.size());
        add_test(metrics, e);
      }
    }
    lease_.check();
    Outcome outcome;
    outcome.state = State::kDone;
    outcome.metrics = metrics;
    Store::write_outcome(run_, outcome);
    give_back();
    return kExitDone;
  }

 private:
  void give_back() {
    watch_.reset();  // no sign of life for a run that another process may claim
    lease_.give_back();
  }

  Json metrics_of_training() const {
    const Json result = Store::read_json(run_ / "result.json");
    Json metrics = Json::object();
    if (!result.is_object()) return metrics;
    for (const auto& [name, value] : result.items()) {  // what decides the run, not how well it went, is left out
      if (value.is_number() && name != "seed" && name != "sample_rate" && name != "epochs") metrics[name] = value;
    }
    if (config_.train.epochs == 0) {
      const Json about = load_model(run_ / "pretrained.safetensors").metadata;
      const std::string name = training_name(config_.train);
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

  int stopped() {
    lease_.check();
    if (watch_->pruned()) {
      Outcome outcome = Store::read_outcome(run_);
      outcome.state = State::kPruned;
      outcome.reason = RunFolder::read(run_ / "prune").substr(0, 500);
      Store::write_outcome(run_, outcome);
      give_back();
      return kExitDone;
    }
    const bool at_a_rung = watch_->at_a_rung();
    give_back();
    if (at_a_rung) return kExitRequeue;
    return options_.requeue && *options_.requeue ? kExitRequeue : kExitStopped;
  }

  int fail(const std::string& reason) {
    try {
      lease_.check();
      Outcome outcome = Store::read_outcome(run_);
      outcome.state = State::kFailed;
      outcome.reason = reason;
      Store::write_outcome(run_, outcome);
      give_back();
    } catch (const LeaseLost&) {
      return kExitBusy;
    } catch (const WriteError& e) {
      give_back();
      return e.disk_full() ? kExitDiskFull : kExitFailed;
    }
    say(reason);
    return kExitFailed;
  }

  // The process before may still be ending, or be frozen on this host: its lock ends with it.
  bool folder_is_free() const {
    const int fd = open((run_ / "run.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
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
    Json usage = Store::read_json(run_ / "usage.json");
    if (!usage.is_object()) usage = {{"seconds", 0.0}, {"steps", 0}};
    rusage r{};
    getrusage(RUSAGE_SELF, &r);
    const long before = usage.value("steps", 0L);
    const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
    const auto members = static_cast<double>(options_.runs.size());
    usage["seconds"] = usage.value("seconds", 0.0) + seconds / members;
    if (options_.runs.size() == 1) {  // in company neither speed nor memory is the run's own
      usage["training_seconds"] = usage.value("training_seconds", 0.0) + trained.seconds;
      usage["trained_steps"] = usage.value("trained_steps", 0L) + std::max(0L, trained.steps - before);
      usage["peak_bytes"] = std::max(usage.value("peak_bytes", 0L), r.ru_maxrss * 1024L);
    }
    usage["cohort"] = std::max(usage.value("cohort", std::size_t{1}), options_.runs.size());
    usage["steps"] = trained.steps;
    usage["threads"] = options_.threads;
    usage["device"] = options_.device;
    write_json(run_ / "usage.json", usage);
  }

  const WorkerOptions& options_;
  const fs::path run_;
  Lease lease_;
  RunConfig config_;
  Recordings::Read* recordings_ = nullptr;
  std::unique_ptr<Watch> watch_;
  Clock::time_point started_;
};

// Claims a run; null, and why in `code`, where there is nothing to do.
std::unique_ptr<Work> claim(const WorkerOptions& options, const fs::path& run, int& code) {
  const Json task = Store::read_json(run / "task.json");
  if (!task.is_object()) {
    throw Error("{}: task.json is missing or damaged; give the folder of a run that a sweep made", run.string());
  }
  code = kExitDone;
  if (Store::read_outcome(run).state != State::kQueued) return nullptr;
  std::optional<Lease> lease;
  try {
    lease = Lease::claim(run, task.value("lease_seconds", 60.0), Store::steps_done(run));
  } catch (const WriteError& e) {
    std::fprintf(stderr, "cafx: %s\n", printable_line(e.what()).c_str());
    code = e.disk_full() ? kExitDiskFull : kExitFailed;
    return nullptr;
  }
  if (!lease) {
    code = kExitBusy;
    return nullptr;
  }
  if (Store::read_outcome(run).state == State::kQueued) {
    return std::make_unique<Work>(options, run, std::move(*lease));
  }
  lease->give_back();  // it has ended between the check and the claim
  return nullptr;
}

// Of a cohort: what its scheduler has to know, beside what the folders say.
int gravest(const std::vector<int>& codes) {
  for (const int code : {kExitDiskFull, kExitStopped, kExitRequeue}) {
    if (std::find(codes.begin(), codes.end(), code) != codes.end()) return code;
  }
  return kExitDone;
}

}  // namespace

int work(const WorkerOptions& options) {
  std::vector<int> codes;
  std::vector<std::unique_ptr<Work>> works;
  std::vector<Member> members;
  Recordings recordings(options.runs);
  for (const fs::path& run : options.runs) {
    int code = kExitDone;
    std::unique_ptr<Work> work = claim(options, run, code);
    Member member;
    if (work) code = work->guarded([&] { return work->prepare(recordings, member); });
    codes.push_back(code);
    if (!work || code != kExitDone) continue;

    member.left = [&codes, i = codes.size() - 1, it = work.get()](const MemberOutcome& outcome) {
      codes[i] = it->guarded([&] { return it->conclude(outcome); });
    };
    members.push_back(std::move(member));
    works.push_back(std::move(work));
  }
  recordings.complete();
  if (!members.empty()) train_cohort(std::move(members));
  return codes.size() == 1 ? codes[0] : gravest(codes);
}

}  // namespace cafx
