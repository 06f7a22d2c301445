#include "host/cli/sweep_simulate.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <optional>

#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/sweep/index.h"
#include "host/sweep/simulate.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct SimulateArguments {
  std::string file, store;
  int runs = 100000, gpus = 1024, slots = 4;
  double memory_gb = 80.0;
  SimulationModel model;
  bool json = false, quiet = false, no_measure = false;
};

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Of this process, now.
double resident_mb() {
  std::ifstream in("/proc/self/statm");
  long all = 0, resident = 0;
  in >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

// A folder that goes when this does.
class TemporaryStore {
 public:
  TemporaryStore() {
    std::string name = (fs::temp_directory_path() / "cafx-simulate-XXXXXX").string();
    if (!mkdtemp(name.data())) throw Error("{}: cannot be made; set TMPDIR to a folder that can be written", name);
    path_ = name;
  }
  ~TemporaryStore() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Tasks of a real sweep, with durations from what was recorded or measured; of none, a hundredth of pretrainings and
// the runs behind them, from 5 minutes to 2 hours and from 2 to 16 GB, evenly in the logarithm.
std::vector<Task> tasks_of(const SimulateArguments& args, std::vector<std::string>& sources) {
  if (args.file.empty()) {
    const int n_pretrain = std::max(1, args.runs / 100);
    sources.push_back("made-up tasks: 5 min to 2 h, 2 to 16 GB, evenly in the logarithm");
    constexpr std::size_t kGb = std::size_t{1} << 30;
    return synthetic_tasks(n_pretrain, std::max(0, args.runs / n_pretrain - 1), 300.0, 7200.0, 2 * kGb, 16 * kGb,
                           args.model.seed);
  }
  Spec spec = read_spec(args.file);
  if (!args.store.empty()) spec.sweep.store = args.store;
  const Store store(spec.sweep.store);
  DataCatalogue data(store.root());
  Plan plan = make_plan(spec, data);
  Context context;
  ThreadPool pool(available_threads());
  context.isa = best_isa();
  context.pool = &pool;
  use_device(context, "cpu");
  estimate(plan, store, context, !args.no_measure, sources);
  prioritise(plan.tasks, spec.sweep.first);
  return std::move(plan.tasks);
}

// What the simulation and the scheduler's own parts cost.
struct Costs {
  double empty_mb = 0.0, plan_mb = 0.0, end_mb = 0.0, peak_mb = 0.0;
  double plan_seconds = 0.0, write_seconds = 0.0, rebuild_seconds = 0.0;
  double index_seconds = 0.0, schedule_seconds = 0.0;
  double counts_ms = 0.0, best_ms = 0.0;
  std::uintmax_t plan_bytes = 0;
  std::size_t index_bytes = 0;
  long updates = 0;

  double us_per_update() const { return 1e6 * index_seconds / static_cast<double>(std::max(1L, updates)); }
};

// How the simulated sweep went.
struct Course {
  std::map<State, int> states;
  Simulation::Counts counts;
  double hours = 0.0, bound_hours = 0.0, slots = 0.0;

  double busy() const { return counts.busy_seconds / (slots * 3600.0 * hours); }
};

// Writes the plan and an index of it into `scratch`, timed.
void write_plan(const std::vector<Task>& tasks, const fs::path& scratch, Index& index, Costs& costs) {
  auto start = Clock::now();
  write_tasks(scratch / "tasks.jsonl", tasks);
  costs.write_seconds = since(start);
  costs.plan_bytes = fs::file_size(scratch / "tasks.jsonl");
  std::vector<Row> rows(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) rows[i].task = &tasks[i];
  start = Clock::now();
  index.rebuild(rows, "validation_mae");
  costs.rebuild_seconds = since(start);
}

// Runs the scheduler; nothing where it was stopped.
std::optional<Course> simulate(std::vector<Task>& tasks, const SimulateArguments& args, Index& index, Costs& costs,
                               ProgressLine& line) {
  std::vector<DeviceSlots> devices;
  for (int i = 0; i < args.gpus; ++i) {
    devices.push_back(
        {fmt::format("cuda:{}", i), args.slots, args.slots, static_cast<std::size_t>(args.memory_gb * 1073741824.0)});
  }
  Simulation simulation(tasks, devices, args.model);
  SchedulerOptions options;
  options.stop = stop_when_asked();
  Scheduler* scheduler = nullptr;
  long over = 0;
  auto shown = Clock::now();
  options.changed = [&](int task, State state) {
    over += state == State::kDone || state == State::kFailed || state == State::kBlocked;
    if (!scheduler) return;
    const auto began = Clock::now();
    Row row;
    row.task = &tasks[static_cast<std::size_t>(task)];
    row.state = state;
    row.outcome = scheduler->outcome(task);
    index.update(task, row, "validation_mae");
    costs.index_seconds += since(began);
    ++costs.updates;
    if (since(shown) < 0.3) return;
    shown = Clock::now();
    line.show(static_cast<double>(over) / static_cast<double>(tasks.size()),
              fmt::format("simulate: {} of {} over, {} running, hour {:.1f}", over, tasks.size(),
                          scheduler->n_running(), simulation.now() / 3600.0));
  };
  Scheduler s(tasks, devices, simulation, simulation, nullptr, nullptr, options);
  scheduler = &s;
  const auto start = Clock::now();
  if (!s.run()) return std::nullopt;
  Course course;
  course.counts = simulation.counts();
  costs.schedule_seconds = since(start) - costs.index_seconds - course.counts.own_seconds;
  costs.end_mb = resident_mb();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  costs.peak_mb = static_cast<double>(usage.ru_maxrss) * 1024.0 / 1e6;
  for (int i = 0; i < static_cast<int>(tasks.size()); ++i) ++course.states[s.state(i)];
  course.hours = simulation.now() / 3600.0;
  course.bound_hours = simulation.lower_bound() / 3600.0;
  course.slots = static_cast<double>(args.gpus) * args.slots;
  return course;
}

// Times two questions to the index, and checks that it holds every task.
void query_index(Index& index, std::size_t n_tasks, Costs& costs) {
  auto start = Clock::now();
  const auto counts = index.counts();
  costs.counts_ms = 1e3 * since(start);
  start = Clock::now();
  index.best(10);
  costs.best_ms = 1e3 * since(start);
  std::size_t indexed = 0;
  for (const auto& [state, n] : counts) indexed += static_cast<std::size_t>(n);
  CAFX_CHECK(indexed == n_tasks, indexed, n_tasks);
  costs.index_bytes = index.bytes();
}

std::string json_of(std::size_t n_tasks, const SimulateArguments& args, Course& x, const Costs& c,
                    const std::vector<std::string>& sources) {
  const nlohmann::ordered_json json = {
      {"tasks", n_tasks},
      {"gpus", args.gpus},
      {"slots", x.slots},
      {"done", x.states[State::kDone]},
      {"failed", x.states[State::kFailed]},
      {"blocked", x.states[State::kBlocked]},
      {"starts", x.counts.starts},
      {"worker_deaths", x.counts.worker_deaths},
      {"host_deaths", x.counts.host_deaths},
      {"killed_by_hosts", x.counts.killed_by_hosts},
      {"makespan_hours", x.hours},
      {"lower_bound_hours", x.bound_hours},
      {"makespan_over_bound", x.hours / x.bound_hours},
      {"slots_busy", x.busy()},
      {"lost_hours", x.counts.lost_seconds / 3600.0},
      {"plan_seconds", c.plan_seconds},
      {"plan_file_bytes", c.plan_bytes},
      {"plan_file_seconds", c.write_seconds},
      {"scheduler_seconds", c.schedule_seconds},
      {"scheduler_us_per_start", 1e6 * c.schedule_seconds / static_cast<double>(x.counts.starts)},
      {"index_bytes", c.index_bytes},
      {"index_rebuild_seconds", c.rebuild_seconds},
      {"index_us_per_update", c.us_per_update()},
      {"index_updates", c.updates},
      {"index_counts_ms", c.counts_ms},
      {"index_best_ms", c.best_ms},
      {"memory_plan_mb", c.plan_mb - c.empty_mb},
      {"memory_end_mb", c.end_mb - c.empty_mb},
      {"memory_peak_mb", c.peak_mb},
      {"sources", sources}};
  return json.dump(1) + "\n";
}

std::string text_of(std::size_t n_tasks, const SimulateArguments& args, Course& x, const Costs& c,
                    const std::vector<std::string>& sources) {
  std::string text =
      fmt::format("{} tasks on {} GPUs of {} slots: {} done, {} failed, {} blocked\n", n_tasks, args.gpus, args.slots,
                  x.states[State::kDone], x.states[State::kFailed], x.states[State::kBlocked]);
  text += fmt::format(
      "deaths: {} workers, {} hosts with {} workers; {} starts in all; {:.1f} slot hours repeated or thrown away\n",
      x.counts.worker_deaths, x.counts.host_deaths, x.counts.killed_by_hosts, x.counts.starts,
      x.counts.lost_seconds / 3600.0);
  text += fmt::format("makespan {:.2f} h; no schedule ends before {:.2f} h: {:.3f} times that; slots busy {:.1f} %\n",
                      x.hours, x.bound_hours, x.hours / x.bound_hours, 100.0 * x.busy());
  text += fmt::format("scheduler: {:.2f} s of this machine, {:.1f} us for each start\n", c.schedule_seconds,
                      1e6 * c.schedule_seconds / static_cast<double>(x.counts.starts));
  text += fmt::format(
      "index: {:.1f} MB, {:.1f} us for each of {} updates, {:.2f} s to rebuild; states counted in {:.2f} ms, the best "
      "ten in {:.2f} ms\n",
      static_cast<double>(c.index_bytes) / 1e6, c.us_per_update(), c.updates, c.rebuild_seconds, c.counts_ms,
      c.best_ms);
  text += fmt::format("plan: {:.2f} s, its file {:.1f} MB in {:.2f} s\n", c.plan_seconds,
                      static_cast<double>(c.plan_bytes) / 1e6, c.write_seconds);
  text += fmt::format("memory: {:.1f} MB for the plan ({:.0f} bytes a task), {:.1f} MB at the end, {:.1f} MB at most\n",
                      c.plan_mb - c.empty_mb, 1e6 * (c.plan_mb - c.empty_mb) / static_cast<double>(n_tasks),
                      c.end_mb - c.empty_mb, c.peak_mb);
  for (const std::string& source : sources) text += "  from " + source + "\n";
  return text;
}

int simulate_command(const SimulateArguments& args) {
  ProgressLine line(args.quiet || args.json);
  Costs costs;
  costs.empty_mb = resident_mb();
  const auto start = Clock::now();
  std::vector<std::string> sources;
  std::vector<Task> tasks = tasks_of(args, sources);
  if (tasks.empty()) throw Error("{}: makes no runs", args.file);
  costs.plan_seconds = since(start);
  costs.plan_mb = resident_mb();
  const TemporaryStore scratch;
  Index index(scratch.path() / "index.sqlite");
  write_plan(tasks, scratch.path(), index, costs);
  std::optional<Course> course = simulate(tasks, args, index, costs, line);
  if (!course) return kExitStopped;
  query_index(index, tasks.size(), costs);
  if (args.json) {
    write_table("-", json_of(tasks.size(), args, *course, costs, sources));
  } else {
    write_text("-", text_of(tasks.size(), args, *course, costs, sources));
  }
  return 0;
}

}  // namespace

void add_sweep_simulate(CLI::App& sweep, Run& run) {
  auto args = std::make_shared<SimulateArguments>();
  CLI::App* c =
      sweep.add_subcommand("simulate", "the scheduler on a cluster that does not exist: how long, at what cost");
  c->add_option("sweep", args->file, "TOML file of a sweep whose tasks are taken; none: made-up tasks");
  c->add_option("--store", args->store, "folder of finished runs to learn durations from")->option_text("FOLDER");
  c->add_option("--runs", args->runs, "made-up tasks, pretrainings included")
      ->check(CLI::Range(1, 10000000))
      ->capture_default_str();
  c->add_option("--gpus", args->gpus, "of the cluster")->check(CLI::Range(1, 100000))->capture_default_str();
  c->add_option("--slots", args->slots, "runs at a time on each")->check(CLI::Range(1, 1000))->capture_default_str();
  c->add_option("--memory-gb", args->memory_gb, "of each GPU")->check(number_between(0.1, 1e6))->capture_default_str();
  c->add_option("--jitter", args->model.jitter, "deviation of the logarithm of a duration from its estimate")
      ->check(number_between(0.0, 3.0))
      ->capture_default_str();
  c->add_option("--failures", args->model.failures, "share of tasks that break down by themselves")
      ->check(number_between(0.0, 1.0))
      ->capture_default_str();
  c->add_option("--deaths-per-hour", args->model.deaths_per_hour, "of each worker")
      ->check(number_between(0.0, 1e9))
      ->capture_default_str();
  c->add_option("--host-deaths-per-hour", args->model.host_deaths_per_hour, "of each host, with all that runs on it")
      ->check(number_between(0.0, 1e6))
      ->capture_default_str();
  c->add_option("--gpus-per-host", args->model.devices_per_host, "that die together")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  c->add_option("--seed", args->model.seed, "of all chance")->capture_default_str();
  c->add_flag("--no-measure", args->no_measure, "do not measure speeds that no finished run has recorded");
  c->add_flag("--json", args->json, "as JSON");
  c->add_flag("--quiet", args->quiet, "no progress");
  c->footer(
      "Example:  cafx sweep simulate --runs 100000 --gpus 1024\n"
      "          cafx sweep simulate experiments/sweeps/rates.toml --gpus 8 --deaths-per-hour 0.1");
  c->callback([args, &run] { run = [args] { return simulate_command(*args); }; });
}

}  // namespace cafx
