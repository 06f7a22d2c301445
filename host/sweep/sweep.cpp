#include "host/sweep/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "host/sweep/cohort_sizes.h"
#include "host/sweep/index.h"
#include "host/sweep/lease.h"
#include "host/sweep/scheduler.h"
#include "host/sweep/slurm.h"
#include "host/train/checkpoint_files.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

void write_text(const fs::path& path, const std::string& text) {
  write_file_atomically(path, text.data(), text.size());
}

Store store_of(const Spec& spec) { return Store(spec.sweep.store); }
fs::path folder_of(const Spec& spec) { return store_of(spec).sweep(spec.name); }

// Where the file that a sweep's folder was made from lies. Another file of that name would put its plan in place of
// this sweep's; a copy that has come to lie elsewhere, and the same file after a change, go on with it.
constexpr const char* kOrigin = "origin";

void refuse_namesake(const Spec& spec) {
  const fs::path folder = folder_of(spec), copy = folder / "sweep.toml";
  std::error_code none;
  if (!fs::exists(copy, none) || fs::equivalent(copy, spec.path, none) || !fs::exists(folder / kOrigin, none)) return;
  const std::string origin = RunFolder::read(folder / kOrigin);
  const bool other = fs::exists(origin, none) && !fs::equivalent(origin, spec.path, none);
  if (!other || RunFolder::read(copy) == spec.text) return;
  throw Error(
      "{}: {} is the sweep \"{}\" of another file, {}; give this one a name of its own (name = ...), or remove that "
      "folder, which holds no runs, where its plan is no longer wanted",
      spec.path.string(), folder.string(), spec.name, origin);
}

void write_origin(const Spec& spec) {
  const fs::path folder = folder_of(spec);
  std::error_code none;
  if (fs::equivalent(folder / "sweep.toml", spec.path, none)) return;  // asked for by its name
  write_text(folder / kOrigin, fs::absolute(spec.path).lexically_normal().string());
}

// Every entry of sweep.first must match a task, else a misspelled one would do nothing.
void check_first(const Spec& spec, const std::vector<Task>& tasks) {
  if (tasks.empty() || spec.sweep.sampling == "tpe") return;
  for (const std::string& f : spec.sweep.first) {
    const bool known = std::any_of(tasks.begin(), tasks.end(), [&](const Task& t) {
      return (" " + label(t.point) + " ").find(" " + f + " ") != std::string::npos;
    });
    if (!known) {
      throw Error("{}: sweep.first: no run has '{}'; the settings of one are: {}", spec.path.string(), f,
                  label(tasks.back().point));
    }
  }
}

// One process on each host keeps an index; a folder that another host works in is left without.
std::unique_ptr<Index> open_index(const Spec& spec) {
  try {
    return std::make_unique<Index>(folder_of(spec) / "index.sqlite");
  } catch (const Error&) {
    return nullptr;
  }
}

void put_aside(const Store& store, const Task& t) {
  const auto stamp = std::chrono::system_clock::now().time_since_epoch().count();
  fs::create_directories(store.root() / ".replaced");
  fs::rename(store.run(t), store.root() / ".replaced" / fmt::format("{}-{}", t.folder, stamp));
}

void put_all_aside(const Spec& spec, const std::vector<Task>& tasks) {
  const Store store = store_of(spec);
  for (const Task& t : tasks) {
    if (!fs::exists(store.run(t))) continue;
    if (inspect_lease(store.run(t), spec.sweep.lease_seconds).held) {
      throw Error("{}: is being worked on; stop that first, then --fresh can put it aside", store.run(t).string());
    }
    put_aside(store, t);
  }
}

// A run that has ended is to be worked on again: its outcome goes, deaths are counted anew. False: another process has
// it.
bool reopen(const fs::path& run, double lease_seconds) {
  const auto lease = Lease::claim(run, lease_seconds, Store::steps_done(run));
  if (!lease) return false;
  std::error_code ignored;
  fs::remove(run / "prune", ignored);
  fs::remove(run / "outcome.json", ignored);
  for (int g = 1; g < lease->generation(); ++g) write_text((run / fmt::format("lease.{}.free", g)).string(), "");
  lease->give_back();
  return true;
}

// Finished runs whose weights were removed: a checkpoint gives those of a training back in a moment. A pretraining that
// others still wait for begins anew; a run that nobody waits for may have been cleared away on purpose.
void restore_weights(const Spec& spec, const std::vector<Task>& tasks,
                     const std::function<void(const std::string&)>& say) {
  const Store store = store_of(spec);
  std::vector<bool> wanted(tasks.size());
  std::vector<std::string> gone;
  for (std::size_t i = tasks.size(); i-- > 0;) {  // children come after their parents
    const Task& t = tasks[i];
    const fs::path run = store.run(t);
    if (store.outcome(t).state != State::kDone) {
      if (t.parent >= 0) wanted[static_cast<std::size_t>(t.parent)] = true;
      continue;
    }
    const bool trains = t.kind == TaskKind::kTrain;
    if (fs::exists(run / (trains ? "best.safetensors" : "pretrained.safetensors"))) continue;
    if (trains && fs::exists(run / kCheckpointFile)) {
      if (reopen(run, spec.sweep.lease_seconds) && say) {
        say(fmt::format("{}: its weights are gone; they are written again, of the checkpoint", t.folder));
      }
    } else if (wanted[i]) {
      put_aside(store, t);
      if (say) say(fmt::format("{}: its weights are gone, and runs wait for them; it is run again", t.folder));
    } else {
      gone.push_back(t.folder);
    }
  }
  if (gone.empty() || !say) return;
  say(fmt::format("{}{}: finished, but the weights are gone; remove the folder to have it computed again", gone.back(),
                  gone.size() > 1 ? fmt::format(" and {} more", gone.size() - 1) : ""));
}

void prepare_folder(const Spec& spec, const std::vector<Task>& tasks, const SweepOptions& options) {
  const fs::path folder = folder_of(spec);
  std::error_code error;
  refuse_namesake(spec);
  fs::create_directories(folder, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --store", folder.string(), error.message());
  if (options.fresh) put_all_aside(spec, tasks);
  restore_weights(spec, tasks, options.say);
  write_origin(spec);
  write_text(folder / "sweep.toml", spec.text);
  write_tasks(folder / "tasks.jsonl", tasks);
  close_refused(tasks, 0, store_of(spec), spec.sweep.lease_seconds);
  fs::remove(folder / "stop", error);
  // A run that was pruned in other company, or before this sweep asked for all of its runs.
  const int n = spec.sweep.prune == "median" ? 0 : put_back(spec, tasks, State::kPruned);
  if (n > 0 && options.say)
    options.say(fmt::format("{} run{} pruned earlier, to be trained to the end now", n, n == 1 ? "" : "s"));
}

std::unique_ptr<Pruner> make_pruner(const SweepConfig& c) {
  if (c.prune == "asha") return make_asha(c.rung_first, c.rung_factor);
  if (c.prune == "median") return make_median(c.rung_first, c.rung_factor);
  return nullptr;
}

// One run of the scheduler on this host, with what it reports to: index, display, tables.
class LocalSweep {
 public:
  LocalSweep(const Spec& spec, const SweepOptions& options)
      : spec_(spec),
        options_(options),
        store_(store_of(spec)),
        folder_(folder_of(spec)),
        data_(store_.root()),
        sizes_(store_.root() / "cohorts.json", options.measure ? measure_cohort_size : CohortSizes::Measure(),
               options.say) {}

  SweepResult run() {
    plan_ = plan_sweep(spec_, data_, options_).plan;
    if (plan_.tasks.empty() && spec_.sweep.sampling != "tpe") throw Error("{}: makes no runs", spec_.path.string());
    prepare_folder(spec_, plan_.tasks, options_);
    if (const std::string why = why_incomparable(spec_); !why.empty() && options_.say) options_.say("note: " + why);
    for (const Task& t : plan_.tasks) {
      if (!t.refused.empty() && options_.say) options_.say(fmt::format("{}: failed: {}", t.folder, t.refused));
    }
    say_warnings();
    FolderBoard board(store_, spec_.sweep.lease_seconds);
    LocalOptions local;
    local.isa = options_.isa;
    local.stall_seconds = spec_.sweep.stall_seconds;
    const auto launcher = make_local_launcher(store_, local);
    const auto pruner = make_pruner(spec_.sweep);
    index_ = open_index(spec_);
    if (index_) index_->rebuild(rows(), spec_.sweep.objective);
    const auto proposer = make_proposer();
    write_tasks(folder_ / "tasks.jsonl", plan_.tasks);  // with those proposed before
    Scheduler scheduler(plan_.tasks, find_devices(spec_.sweep), board, *launcher, pruner.get(), proposer.get(),
                        scheduler_options());
    scheduler_ = &scheduler;
    SweepResult result;
    result.finished = scheduler.run();
    scheduler_ = nullptr;
    result.tasks = std::move(plan_.tasks);
    result.rows = read_rows(result.tasks, store_, spec_.sweep.lease_seconds);
    if (index_) index_->rebuild(result.rows, spec_.sweep.objective);
    write_sweep_tables(spec_, result.rows);
    for (const Row& r : result.rows) result.n_failed += r.state == State::kFailed || r.state == State::kBlocked;
    return result;
  }

 private:
  // Those that have not been said yet: a search finds recordings while it runs.
  void say_warnings() {
    for (; n_warned_ < plan_.warnings.size(); ++n_warned_) {
      if (options_.say) options_.say(text_of(plan_.warnings[n_warned_]));
    }
  }

  std::vector<Row> rows() const { return read_rows(plan_.tasks, store_, spec_.sweep.lease_seconds); }

  std::unique_ptr<Proposer> make_proposer() {
    if (spec_.sweep.sampling != "tpe") return nullptr;
    const auto added = [this](std::vector<Task>& tasks, std::size_t before) {
      // Reuse the estimate of the existing tasks; new ones differ in a few settings.
      for (std::size_t i = before; i < tasks.size(); ++i)
        tasks[i].seconds = before > 0 ? tasks[before - 1].seconds : 0.0;
      prioritise(tasks, spec_.sweep.first);
      close_refused(tasks, before, store_, spec_.sweep.lease_seconds);
      say_warnings();
      write_tasks(folder_ / "tasks.jsonl", tasks);
    };
    return make_tpe(spec_, plan_, data_, folder_ / "proposals.json", added);
  }

  SchedulerOptions scheduler_options() {
    SchedulerOptions o;
    o.retries = spec_.sweep.retries;
    o.objective = spec_.sweep.objective;
    o.stop = options_.catch_stop ? options_.catch_stop() : nullptr;
    o.asked_to_stop = [this] { return fs::exists(folder_ / "stop"); };
    o.say = [this](const std::string& text) {
      if (options_.say) options_.say(text);
    };
    o.cohort_by_speed = [this](const Task& t, const DeviceSlots& d, bool idle) {
      return sizes_.of(t, d.name, d.speed_of, idle);
    };
    o.changed = [this](int task, State state) { update_index(task, state); };
    o.tick = [this] { show(); };
    return o;
  }

  void update_index(int task, State state) {
    if (!index_ || !scheduler_) return;
    Row row;
    row.task = &plan_.tasks[static_cast<std::size_t>(task)];
    row.state = state;
    row.outcome = scheduler_->outcome(task);
    index_->update(task, row, spec_.sweep.objective);
  }

  void show() {
    if (!options_.progress || !scheduler_) return;
    const auto n = static_cast<int>(plan_.tasks.size());
    int done = 0, failed = 0;
    double work = 0.0, all = 0.0;
    for (int i = 0; i < n; ++i) {
      const State s = scheduler_->state(i);
      const Task& t = plan_.tasks[static_cast<std::size_t>(i)];
      done += s == State::kDone || s == State::kPruned;
      failed += s == State::kFailed || s == State::kBlocked;
      all += t.seconds;
      if (s == State::kRunning) {
        const double f = Store::read_progress(store_.run(t)).fraction;
        if (std::isfinite(f)) work += f * t.seconds;
      } else if (s != State::kQueued && s != State::kWaiting) {
        work += t.seconds;
      }
    }
    options_.progress(all > 0.0 ? work / all : 0.0,
                      fmt::format("sweep {}: {} of {} done, {} running{}", spec_.name, done, n, scheduler_->n_running(),
                                  failed ? fmt::format(", {} failed", failed) : ""));
  }

  const Spec& spec_;
  const SweepOptions& options_;
  Store store_;
  fs::path folder_;
  DataCatalogue data_;
  Plan plan_;
  std::size_t n_warned_ = 0;
  std::unique_ptr<Index> index_;
  CohortSizes sizes_;
  Scheduler* scheduler_ = nullptr;
};

}  // namespace

Spec find_sweep(const std::string& name, const std::string& store) {
  const fs::path given(name), root = store.empty() ? "runs" : store;
  fs::path file;
  if (fs::is_regular_file(given)) {
    file = given;
  } else if (fs::is_directory(given) && fs::exists(given / "sweep.toml")) {
    file = given / "sweep.toml";
  } else if (fs::exists(root / (name + ".sweep") / "sweep.toml")) {
    file = root / (name + ".sweep") / "sweep.toml";
  } else {
    throw Error(
        "{}: is no sweep: neither a TOML file nor a folder made by 'cafx sweep run', and {} holds none of that name",
        name, root.string());
  }
  Spec spec = read_spec(file);
  if (file.filename() == "sweep.toml" && file.parent_path().extension() == ".sweep") {
    spec.name = file.parent_path().stem().string();
    spec.sweep.store = file.parent_path().parent_path().string();
    if (spec.sweep.store.empty()) spec.sweep.store = ".";
  }
  if (!store.empty()) spec.sweep.store = store;
  return spec;
}

PlannedSweep plan_sweep(const Spec& spec, DataCatalogue& data, const SweepOptions& options) {
  PlannedSweep planned{make_plan(spec, data), {}};
  Context context;
  const auto devices = find_devices(spec.sweep);
  ThreadPool pool(std::max(1, devices[0].threads / devices[0].slots));  // as one run has
  context.isa = options.isa.empty() ? best_isa() : parse_isa(options.isa);
  context.pool = &pool;
  use_device(context, devices[0].name);
  estimate(planned.plan, store_of(spec), context, options.measure, planned.sources);
  check_first(spec, planned.plan.tasks);
  prioritise(planned.plan.tasks, spec.sweep.first);
  return planned;
}

SweepResult run_sweep(const Spec& spec, const SweepOptions& options) { return LocalSweep(spec, options).run(); }

int put_back(const Spec& spec, const std::vector<Task>& tasks, State state) {
  const Store store = store_of(spec);
  int n = 0;
  for (const Task& t : tasks) n += store.outcome(t).state == state && reopen(store.run(t), spec.sweep.lease_seconds);
  return n;
}

void write_sweep_tables(const Spec& spec, const std::vector<Row>& rows) {
  write_text(folder_of(spec) / "results.csv", results_csv(rows));
  write_text(folder_of(spec) / "results.json", results_json(rows, spec.name, spec.sweep.objective));
}

std::string submit_sweep(const Spec& spec, const SweepOptions& options, const std::string& device, bool dry) {
  check_for_slurm(spec);
  // Planned for the CPU and without a measurement: the nodes' GPUs are not here, and this machine's speed is not
  // theirs.
  Spec here = spec;
  here.sweep.device = "cpu";
  SweepOptions how = options;
  how.measure = false;
  DataCatalogue data(store_of(spec).root());
  const Plan plan = plan_sweep(here, data, how).plan;
  if (plan.tasks.empty()) throw Error("{}: makes no runs", spec.path.string());
  if (!dry) prepare_folder(spec, plan.tasks, how);
  return submit_to_slurm(spec, plan, store_of(spec),
                         {fs::absolute(folder_of(spec)).lexically_normal(), device, options.isa, dry});
}

}  // namespace cafx
