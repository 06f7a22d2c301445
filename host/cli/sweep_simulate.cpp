#include "host/cli/sweep_simulate.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

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
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "cafx-simulate-XXXXXX").string();
    if (!mkdtemp(name.data())) throw Error("{}: cannot be made; set TMPDIR to a folder that can be written", name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Tasks of a real sweep, with durations from what was recorded or measured; of none, a hundredth of pretrainings and the
// runs behind them, from 5 minutes to 2 hours and from 2 to 16 GB, evenly in the logarithm.
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

int simulate_command(const SimulateArguments& args) {
  ProgressLine line(args.quiet || args.json);
  const double empty_mb = resident_mb();
  auto start = Clock::now();
  std::vector<std::string> sources;
  std::vector<Task> tasks = tasks_of(args, sources);
  if (tasks.empty()) throw Error("{}: makes no runs", args.file);
  const double plan_seconds = since(start), plan_mb = resident_mb();
  std::vector<DeviceSlots> devices;
  for (int i = 0; i < args.gpus; ++i) {
    devices.push_back(
        {fmt::format("cuda:{}", i), args.slots, args.slots, static_cast<std::size_t>(args.memory_gb * 1073741824.0)});
  }
  const Scratch scratch;
  start = Clock::now();
  write_tasks(scratch.path() / "tasks.jsonl", tasks);
  const double write_seconds = since(start);
  const auto plan_bytes = fs::file_size(scratch.path() / "tasks.jsonl");

  Index index(scratch.path() / "index.sqlite");
  std::vector<Row> rows(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) rows[i].task = &tasks[i];
  start = Clock::now();
  index.rebuild(rows, "validation_mae");
  const double rebuild_seconds = since(start);
  rows = {};

  Simulation simulation(tasks, devices, args.model);
  SchedulerOptions options;
  options.stop = stop_when_asked();
  Scheduler* scheduler = nullptr;
  long updates = 0, over = 0;
  double index_seconds = 0.0;
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
    index_seconds += since(began);
    ++updates;
    if (since(shown) < 0.3) return;
    shown = Clock::now();
    line.show(static_cast<double>(over) / static_cast<double>(tasks.size()),
              fmt::format("simulate: {} of {} over, {} running, hour {:.1f}", over, tasks.size(),
                          scheduler->n_running(), simulation.now() / 3600.0));
  };
  Scheduler s(tasks, devices, simulation, simulation, nullptr, nullptr, options);
  scheduler = &s;
  start = Clock::now();
  if (!s.run()) return kExitStopped;
  const double all_seconds = since(start);
  const double schedule_seconds = all_seconds - index_seconds - simulation.counts().own_seconds;
  const double end_mb = resident_mb();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);

  std::map<State, int> states;
  for (int i = 0; i < static_cast<int>(tasks.size()); ++i) ++states[s.state(i)];
  start = Clock::now();
  const auto counts = index.counts();
  const double counts_ms = 1e3 * since(start);
  start = Clock::now();
  const auto best = index.best(10);
  const double best_ms = 1e3 * since(start);
  int indexed = 0;
  for (const auto& [state, n] : counts) indexed += n;
  CAFX_CHECK(indexed == static_cast<int>(tasks.size()), indexed, tasks.size());

  const auto n = static_cast<double>(tasks.size());
  const Simulation::Counts& c = simulation.counts();
  const double slots = static_cast<double>(args.gpus) * args.slots, bound = simulation.lower_bound();
  nlohmann::ordered_json json = {
      {"tasks", tasks.size()},
      {"gpus", args.gpus},
      {"slots", slots},
      {"done", states[State::kDone]},
      {"failed", states[State::kFailed]},
      {"blocked", states[State::kBlocked]},
      {"starts", c.starts},
      {"worker_deaths", c.worker_deaths},
      {"host_deaths", c.host_deaths},
      {"killed_by_hosts", c.killed_by_hosts},
      {"makespan_hours", simulation.now() / 3600.0},
      {"lower_bound_hours", bound / 3600.0},
      {"makespan_over_bound", simulation.now() / bound},
      {"slots_busy", c.busy_seconds / (slots * simulation.now())},
      {"lost_hours", c.lost_seconds / 3600.0},
      {"plan_seconds", plan_seconds},
      {"plan_file_bytes", plan_bytes},
      {"plan_file_seconds", write_seconds},
      {"scheduler_seconds", schedule_seconds},
      {"scheduler_us_per_start", 1e6 * schedule_seconds / static_cast<double>(c.starts)},
      {"index_bytes", index.bytes()},
      {"index_rebuild_seconds", rebuild_seconds},
      {"index_us_per_update", 1e6 * index_seconds / static_cast<double>(std::max(1L, updates))},
      {"index_updates", updates},
      {"index_counts_ms", counts_ms},
      {"index_best_ms", best_ms},
      {"memory_plan_mb", plan_mb - empty_mb},
      {"memory_end_mb", end_mb - empty_mb},
      {"memory_peak_mb", static_cast<double>(usage.ru_maxrss) * 1024.0 / 1e6},
      {"sources", sources}};
  if (args.json) {
    write_table("-", json.dump(1) + "\n");
    return 0;
  }
  std::string text = fmt::format(
      "{} tasks on {} GPUs of {} slots: {} done, {} failed, {} blocked\n"
      "deaths: {} workers, {} hosts with {} workers; {} starts in all; {:.1f} slot hours done again or thrown away\n"
      "makespan {:.2f} h; no schedule ends before {:.2f} h: {:.3f} times that; slots busy {:.1f} %\n"
      "scheduler: {:.2f} s of this machine, {:.1f} us for each start\n"
      "index: {:.1f} MB, {:.1f} us for each of {} updates, {:.2f} s to make anew; states counted in {:.2f} ms, "
      "the best ten in {:.2f} ms\n"
      "plan: {:.2f} s, its file {:.1f} MB in {:.2f} s\n"
      "memory: {:.1f} MB for the plan ({:.0f} bytes a task), {:.1f} MB at the end, {:.1f} MB at most\n",
      tasks.size(), args.gpus, args.slots, states[State::kDone], states[State::kFailed], states[State::kBlocked],
      c.worker_deaths, c.host_deaths, c.killed_by_hosts, c.starts, c.lost_seconds / 3600.0, simulation.now() / 3600.0,
      bound / 3600.0, simulation.now() / bound, 100.0 * c.busy_seconds / (slots * simulation.now()), schedule_seconds,
      1e6 * schedule_seconds / static_cast<double>(c.starts), static_cast<double>(index.bytes()) / 1e6,
      1e6 * index_seconds / static_cast<double>(std::max(1L, updates)), updates, rebuild_seconds, counts_ms, best_ms,
      plan_seconds, static_cast<double>(plan_bytes) / 1e6, write_seconds, plan_mb - empty_mb,
      1e6 * (plan_mb - empty_mb) / n, end_mb - empty_mb, static_cast<double>(usage.ru_maxrss) * 1024.0 / 1e6);
  for (const std::string& source : sources) text += "  from " + source + "\n";
  write_text("-", text);
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
  c->add_option("--memory-gb", args->memory_gb, "of each GPU")->check(CLI::Range(0.1, 1e6))->capture_default_str();
  c->add_option("--jitter", args->model.jitter, "deviation of the logarithm of a duration from its estimate")
      ->check(CLI::Range(0.0, 3.0))
      ->capture_default_str();
  c->add_option("--failures", args->model.failures, "share of tasks that break down by themselves")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  c->add_option("--deaths-per-hour", args->model.deaths_per_hour, "of each worker")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  c->add_option("--host-deaths-per-hour", args->model.host_deaths_per_hour, "of each host, with all that runs on it")
      ->check(CLI::Range(0.0, 1e6))
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
