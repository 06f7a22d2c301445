#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/cli/sweep.h"
#include "host/cli/sweep_simulate.h"
#include "host/sweep/index.h"
#include "host/sweep/page.h"
#include "host/sweep/scheduler.h"
#include "host/sweep/slurm.h"
#include "host/sweep/worker.h"
#include "host/train/run_folder.h"
#include "kernels/base/printable.h"
#include "kernels/base/safetensors.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string sweep, store, device, isa, launcher = "local";
  int slots = 0, threads = 0, lines = 40;
  bool json = false, quiet = false, fresh = false, no_measure = false, once = false, dry_run = false;
};

// A sweep by its file, by its folder STORE/NAME.sweep, or by its name in the store.
struct Opened {
  Spec spec;
  Store store;
  fs::path folder;
  bool started = false;  // its folder holds a plan
};

Opened open_sweep(const Arguments& args) {
  const fs::path given(args.sweep);
  const fs::path root = args.store.empty() ? "runs" : args.store;
  fs::path file;
  if (fs::is_regular_file(given)) {
    file = given;
  } else if (fs::is_directory(given) && fs::exists(given / "sweep.toml")) {
    file = given / "sweep.toml";
  } else if (fs::exists(root / (args.sweep + ".sweep") / "sweep.toml")) {
    file = root / (args.sweep + ".sweep") / "sweep.toml";
  } else {
    throw Error(
        "{}: is no sweep: neither a TOML file nor a folder made by 'cafx sweep run', and {} holds none of that name",
        args.sweep, root.string());
  }
  Spec spec = read_spec(file);
  if (file.filename() == "sweep.toml" && file.parent_path().extension() == ".sweep") {
    spec.name = file.parent_path().stem().string();
    spec.sweep.store = file.parent_path().parent_path().string();
    if (spec.sweep.store.empty()) spec.sweep.store = ".";
  }
  if (!args.store.empty()) spec.sweep.store = args.store;
  if (!args.device.empty()) spec.sweep.device = args.device;
  if (args.slots > 0) spec.sweep.slots = args.slots;
  if (args.threads > 0) spec.sweep.threads = args.threads;
  Opened o{spec, Store(spec.sweep.store), {}, false};
  o.folder = o.store.sweep(spec.name);
  o.started = fs::exists(o.folder / "tasks.jsonl");
  return o;
}

std::string hours(double seconds) {
  return seconds < 360.0 ? time_text(seconds) : fmt::format("{:.1f} h", seconds / 3600.0);
}

// For a shell, in quotes where it needs them.
std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || std::strchr("-_./+:,@%=", c) != nullptr;
  });
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// The words of a command that name the sweep as this one was named.
std::string as_given(const Arguments& args) {
  return shell_word(args.sweep) + (args.store.empty() ? "" : " --store " + shell_word(args.store));
}

// Plans anew from the spec; cheap, since what the recordings hold is remembered.
Plan plan_of(const Opened& o, DataCatalogue& data, const Arguments& args, std::vector<std::string>& sources) {
  Plan plan = make_plan(o.spec, data);
  Context context;
  const auto devices = find_devices(o.spec.sweep);
  const int per_run = std::max(1, devices[0].threads / devices[0].slots);
  ThreadPool pool(per_run);
  context.isa = args.isa.empty() ? best_isa() : parse_isa(args.isa);
  context.pool = &pool;
  use_device(context, devices[0].name);
  estimate(plan, o.store, context, !args.no_measure, sources);
  for (const std::string& f : o.spec.sweep.first) {
    const bool known = std::any_of(plan.tasks.begin(), plan.tasks.end(), [&](const Task& t) {
      return (" " + label(t.point) + " ").find(" " + f + " ") != std::string::npos;
    });
    if (!known && !plan.tasks.empty() && o.spec.sweep.sampling != "tpe") {
      throw Error("{}: sweep.first: no run has '{}'; the settings of one are: {}", o.spec.path.string(), f,
                  label(plan.tasks.back().point));
    }
  }
  prioritise(plan.tasks, o.spec.sweep.first);
  return plan;
}

int plan_command(const Arguments& args) {
  const Opened o = open_sweep(args);
  DataCatalogue data(o.store.root());
  std::vector<std::string> sources;
  const Plan plan = plan_of(o, data, args, sources);
  const auto rows = read_rows(plan.tasks, o.store, o.spec.sweep.lease_seconds);
  const auto devices = find_devices(o.spec.sweep);
  int slots = 0;
  for (const DeviceSlots& d : devices) slots += d.slots;
  double all = 0.0, open = 0.0, chain = 0.0;
  int n_pretrain = 0, n_train = 0, n_done = 0;
  for (const Row& r : rows) {
    (r.task->kind == TaskKind::kPretrain ? n_pretrain : n_train) += 1;
    all += r.task->seconds;
    const bool done = r.state == State::kDone;
    n_done += done;
    if (!done) open += r.task->seconds;
    double own = done ? 0.0 : r.task->seconds;
    if (r.task->parent >= 0) {
      const Row& p = rows[static_cast<std::size_t>(r.task->parent)];
      if (p.state != State::kDone) own += p.task->seconds;
    }
    chain = std::max(chain, own);
  }
  if (args.json) {
    Json json = {{"sweep", o.spec.name},
                 {"seconds", all},
                 {"seconds_left", open},
                 {"sources", sources},
                 {"tasks", Json::array()}};
    for (const Row& r : rows) {
      Json settings = Json::object();
      for (const auto& [key, value] : r.task->point) settings[key] = value;
      json["tasks"].push_back(
          {{"kind", to_string(r.task->kind)},
           {"folder", r.task->folder},
           {"settings", settings},
           {"state", to_string(r.state)},
           {"seconds", r.task->seconds},
           {"bytes", r.task->bytes},
           {"parent", r.task->parent < 0 ? "" : plan.tasks[static_cast<std::size_t>(r.task->parent)].folder}});
    }
    write_table("-", json.dump(2) + "\n");
    return 0;
  }
  std::string text =
      fmt::format("sweep {}: {} points are {} training runs from {} pretrainings; {} of {} are done already in {}\n",
                  o.spec.name, plan.n_points, n_train, n_pretrain, n_done, rows.size(), o.store.root().string());
  if (o.spec.sweep.sampling == "tpe")
    text += fmt::format("up to {} points more are proposed while it runs\n", o.spec.sweep.budget);
  text +=
      fmt::format("{:<10} {:<24} {:<8} {:>10} {:>9}  {}\n", "kind", "run", "state", "at most", "memory", "settings");
  int n = 0;
  for (const Row& r : rows) {
    if (++n > args.lines) {
      text += fmt::format("... and {} more; --lines {} shows all\n", static_cast<int>(rows.size()) - args.lines,
                          rows.size());
      break;
    }
    text += fmt::format("{:<10} {:<24} {:<8} {:>10} {:>6.0f} MB  {}\n", to_string(r.task->kind), r.task->folder,
                        to_string(r.state), hours(r.task->seconds), static_cast<double>(r.task->bytes) / 1e6,
                        label(r.task->point));
  }
  std::string names;
  for (const DeviceSlots& d : devices) names += fmt::format("{}{} x {}", names.empty() ? "" : ", ", d.slots, d.name);
  const bool gpu = devices[0].name != "cpu";
  text += fmt::format("at most {} {} hours to go (of {}), if no stage ends early; on {}: about {}\n",
                      fmt::format("{:.2f}", open / 3600.0), gpu ? "GPU" : "slot", fmt::format("{:.2f}", all / 3600.0),
                      names, hours(std::max(open / slots, chain)));
  for (const std::string& s : sources) text += "  from " + s + "\n";
  write_text("-", text);
  return 0;
}

void write_tables(const Opened& o, const std::vector<Row>& rows) {
  const auto csv = results_csv(rows), json = results_json(rows, o.spec.name, o.spec.sweep.objective);
  write_text((o.folder / "results.csv").string(), csv);
  write_text((o.folder / "results.json").string(), json);
}

// One on each host keeps an index; a folder that another host works in is left without.
std::unique_ptr<Index> open_index(const Opened& o) {
  try {
    return std::make_unique<Index>(o.folder / "index.sqlite");
  } catch (const Error&) {
    return nullptr;
  }
}

// The sweep's folder, ready for its runs; --fresh puts aside what the store has of them.
void prepare_folder(const Opened& o, const Plan& plan, const Arguments& args) {
  std::error_code error;
  fs::create_directories(o.folder, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --store", o.folder.string(), error.message());
  if (args.fresh) {
    for (const Task& t : plan.tasks) {
      if (!fs::exists(o.store.run(t))) continue;
      if (inspect_lease(o.store.run(t), o.spec.sweep.lease_seconds).held) {
        throw Error("{}: is being worked on; stop that first, then --fresh can put it aside", o.store.run(t).string());
      }
      const auto stamp = std::chrono::system_clock::now().time_since_epoch().count();
      fs::create_directories(o.store.root() / ".replaced");
      fs::rename(o.store.run(t), o.store.root() / ".replaced" / fmt::format("{}-{}", t.folder, stamp));
    }
  }
  write_text((o.folder / "sweep.toml").string(), o.spec.text);
  write_tasks(o.folder / "tasks.jsonl", plan.tasks);
  fs::remove(o.folder / "stop", error);
}

// Submits and returns: Slurm runs the sweep, and its last job writes the tables.
int run_on_slurm(const Opened& o, const Arguments& args) {
  check_for_slurm(o.spec);
  // Planned without the GPUs of the nodes, and without a measurement that would tell of this machine only.
  Opened here = o;
  here.spec.sweep.device = "cpu";
  Arguments how = args;
  how.no_measure = true;
  DataCatalogue data(o.store.root());
  std::vector<std::string> sources;
  const Plan plan = plan_of(here, data, how, sources);
  if (plan.tasks.empty()) throw Error("{}: makes no runs", args.sweep);
  SlurmSubmission s{fs::absolute(o.folder).lexically_normal(), args.device, args.isa, args.dry_run};
  if (!s.dry) prepare_folder(o, plan, args);
  const std::string text = submit_to_slurm(o.spec, plan, o.store, s);
  if (s.dry || !args.quiet) write_text("-", text);
  if (!s.dry && !args.quiet) {
    const std::string name = o.spec.name + (args.store.empty() ? "" : " --store " + shell_word(args.store));
    write_text("-", fmt::format("look: cafx sweep status {0}    end: cafx sweep stop {0}\n", name));
  }
  return 0;
}

int run_command(const Arguments& args) {
  const Opened o = open_sweep(args);
  if (args.launcher == "slurm") return run_on_slurm(o, args);
  if (args.dry_run) throw Error("--dry-run goes with --launcher slurm; 'cafx sweep plan' shows what would run here");
  const auto say_error = [](const std::string& line) { std::fprintf(stderr, "cafx: %s\n", printable(line).c_str()); };
  DataCatalogue data(o.store.root());
  std::vector<std::string> sources;
  Plan plan = plan_of(o, data, args, sources);
  if (plan.tasks.empty() && o.spec.sweep.sampling != "tpe") throw Error("{}: makes no runs", args.sweep);
  prepare_folder(o, plan, args);

  ProgressLine line(args.quiet);
  FolderBoard board(o.store, o.spec.sweep.lease_seconds);
  LocalOptions local;
  local.isa = args.isa;
  local.stall_seconds = o.spec.sweep.stall_seconds;
  const auto launcher = make_local_launcher(o.store, local);
  std::unique_ptr<Pruner> pruner;
  if (o.spec.sweep.prune == "asha") pruner = make_asha(o.spec.sweep.rung_first, o.spec.sweep.rung_factor);
  if (o.spec.sweep.prune == "median") pruner = make_median(o.spec.sweep.rung_first, o.spec.sweep.rung_factor);
  auto index = open_index(o);
  if (index) index->rebuild(read_rows(plan.tasks, o.store, o.spec.sweep.lease_seconds), o.spec.sweep.objective);
  SchedulerOptions options;
  options.retries = o.spec.sweep.retries;
  options.stop = stop_when_asked();
  options.asked_to_stop = [&] { return fs::exists(o.folder / "stop"); };
  options.say = [&](const std::string& text) {
    line.line("cafx: " + text);
    std::fflush(stderr);
  };
  Scheduler* scheduler = nullptr;
  options.changed = [&](int task, State state) {
    if (!index || !scheduler) return;
    Row row;
    row.task = &plan.tasks[static_cast<std::size_t>(task)];
    row.state = state;
    row.outcome = scheduler->outcome(task);
    index->update(task, row, o.spec.sweep.objective);
  };
  options.tick = [&] {
    const auto n = static_cast<int>(plan.tasks.size());
    int done = 0, failed = 0;
    double work = 0.0, all = 0.0;
    for (int i = 0; i < n; ++i) {
      const State s = scheduler->state(i);
      const Task& t = plan.tasks[static_cast<std::size_t>(i)];
      done += s == State::kDone || s == State::kPruned;
      failed += s == State::kFailed || s == State::kBlocked;
      all += t.seconds;
      if (s == State::kRunning) {
        const double f = Store::read_progress(o.store.run(t)).fraction;
        if (std::isfinite(f)) work += f * t.seconds;
      } else if (s != State::kQueued && s != State::kWaiting) {
        work += t.seconds;
      }
    }
    line.show(all > 0.0 ? work / all : 0.0,
              fmt::format("sweep {}: {} of {} done, {} running{}", o.spec.name, done, n, scheduler->n_running(),
                          failed ? fmt::format(", {} failed", failed) : ""));
  };
  std::unique_ptr<Proposer> proposer;
  if (o.spec.sweep.sampling == "tpe") {
    proposer =
        make_tpe(o.spec, plan, data, o.folder / "proposals.json", [&](std::vector<Task>& tasks, std::size_t before) {
          // Like the tasks that are there: what is new differs in a few settings.
          for (std::size_t i = before; i < tasks.size(); ++i)
            tasks[i].seconds = before > 0 ? tasks[before - 1].seconds : 0.0;
          prioritise(tasks, o.spec.sweep.first);
          write_tasks(o.folder / "tasks.jsonl", tasks);
        });
  }
  write_tasks(o.folder / "tasks.jsonl", plan.tasks);  // with those proposed before
  Scheduler s(plan.tasks, find_devices(o.spec.sweep), board, *launcher, pruner.get(), proposer.get(), options);
  scheduler = &s;
  const bool finished = s.run();
  const auto rows = read_rows(plan.tasks, o.store, o.spec.sweep.lease_seconds);
  if (index) index->rebuild(rows, o.spec.sweep.objective);
  write_tables(o, rows);
  if (args.json) {
    write_table("-", results_json(rows, o.spec.name, o.spec.sweep.objective));
  } else if (!args.quiet) {
    write_text("-", status_text(rows, o.spec.name, o.spec.sweep.objective, 20, 160));
  }
  if (!finished) {
    say_error(fmt::format("stopped and saved; go on with: cafx sweep run {}", as_given(args)));
    return kExitStopped;
  }
  const Summary sum = summarise(rows, o.spec.sweep.objective);
  const auto of = [&](State state) {
    const auto found = sum.count.find(state);
    return found == sum.count.end() ? 0 : found->second;
  };
  if (of(State::kFailed) + of(State::kBlocked) > 0) {
    say_error(fmt::format("{} runs failed; 'cafx sweep status {}' tells why, 'cafx sweep retry {}' tries them again",
                          of(State::kFailed) + of(State::kBlocked), as_given(args), as_given(args)));
    return kExitError;
  }
  return 0;
}

std::vector<Task> started_tasks(const Opened& o) { return read_tasks(o.folder / "tasks.jsonl"); }

int status_command(const Arguments& args) {
  const Opened o = open_sweep(args);
  const bool terminal = isatty(STDOUT_FILENO) == 1 && !args.json && !args.once;
  if (terminal) stop_when_asked();
  for (;;) {
    const auto tasks = started_tasks(o);
    const auto rows = read_rows(tasks, o.store, o.spec.sweep.lease_seconds);
    if (args.json) {
      write_table("-", results_json(rows, o.spec.name, o.spec.sweep.objective));
      return 0;
    }
    winsize size{};
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20;
    const int columns = known ? size.ws_col : 200, lines = known ? std::max(1, size.ws_row - 6) : args.lines;
    const auto text = status_text(rows, o.spec.name, o.spec.sweep.objective, std::min(lines, args.lines), columns);
    if (!terminal) {
      write_text("-", text);
      return 0;
    }
    // Over what stands there, and the rest cleared after: clearing first would flicker.
    std::string screen = "\033[H";
    for (const char c : printable(text)) screen += c == '\n' ? std::string("\033[K\n") : std::string(1, c);
    write_screen(screen + "(Ctrl-C ends this view, not the sweep)\033[K\n\033[J");
    // A second, or until the terminal has another size.
    for (int i = 0; i < 10 && !stop_requested; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      winsize now{};
      if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &now) == 0 && (now.ws_col != size.ws_col || now.ws_row != size.ws_row))
        break;
    }
    const Summary sum = summarise(rows, o.spec.sweep.objective);
    const bool over =
        !sum.count.count(State::kRunning) && !sum.count.count(State::kQueued) && !sum.count.count(State::kWaiting);
    if (stop_requested || over) return 0;
  }
}

int stop_command(const Arguments& args) {
  const Opened o = open_sweep(args);
  if (!o.started) throw Error("{}: has not been started; there is nothing to stop", o.folder.string());
  write_text((o.folder / "stop").string(), "asked to stop\n");
  const int cancelled = cancel_in_slurm(o.folder);
  if (cancelled > 0) write_text("-", fmt::format("{} jobs cancelled in Slurm's queue\n", cancelled));
  write_text("-", fmt::format("asked: every run of {} saves and ends within seconds; go on with: cafx sweep run {}\n",
                              o.spec.name, as_given(args)));
  return 0;
}

int retry_command(const Arguments& args) {
  const Opened o = open_sweep(args);
  int n = 0;
  for (const Task& t : started_tasks(o)) {
    const auto run = o.store.run(t);
    if (Store::read_outcome(run).state != State::kFailed) continue;
    const auto lease = Lease::claim(run, o.spec.sweep.lease_seconds, Store::steps_done(run));
    if (!lease) continue;
    // Deaths are counted anew.
    std::error_code ignored;
    fs::remove(run / "outcome.json", ignored);
    for (int g = 1; g < lease->generation(); ++g) write_text((run / fmt::format("lease.{}.free", g)).string(), "");
    lease->give_back();
    ++n;
  }
  write_text("-", fmt::format("{} failed runs of {} are to be run again\n", n, o.spec.name));
  if (n == 0) return 0;
  return run_command(args);
}

int report_command(const Arguments& args) {
  const Opened o = open_sweep(args);
  const auto tasks = started_tasks(o);
  const auto rows = read_rows(tasks, o.store, o.spec.sweep.lease_seconds);
  write_tables(o, rows);
  constexpr std::size_t kCurves = 60;
  SweepPage page{o.spec.name, o.spec.sweep.objective,
                 o.spec.text, "..",
                 &rows,       read_learning_curves(rows, o.store, o.spec.sweep.objective, kCurves)};
  write_text((o.folder / "report.html").string(), sweep_html(page));
  write_text("-", fmt::format("{0}/report.html\n{0}/results.csv\n{0}/results.json\n", o.folder.string()));
  return 0;
}

std::atomic<bool> requeue_requested{false};

// Slurm sends SIGTERM to each process of a job, and more than once: the default of main, where the second one ends the
// process at once, would leave no time to save.
void signals_of_jobs() {
  std::signal(SIGTERM, [](int) { stop_requested = true; });
  if (std::signal(SIGHUP, [](int) { stop_requested = true; }) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGUSR1, [](int) {
    requeue_requested = true;
    stop_requested = true;
  });
}

int worker_command(const WorkerOptions& given) {
  WorkerOptions options = given;
  if (const char* text = std::getenv("CAFX_CHECKPOINT_SECONDS"))
    options.checkpoint_seconds = std::strtod(text, nullptr);
  options.stop = stop_when_asked();
  options.requeue = &requeue_requested;
  signals_of_jobs();
  return work(options);
}

int slurm_task_command(const SlurmTaskOptions& given) {
  SlurmTaskOptions options = given;
  options.stop = stop_when_asked();
  options.requeue = &requeue_requested;
  signals_of_jobs();
  return slurm_task(options);
}

void add_common(CLI::App* c, Arguments& args) {
  c->add_option("sweep", args.sweep, "TOML file of the sweep, its name, or its folder")->required();
  c->add_option("--store", args.store, "folder of all runs; what the file says, or runs")->option_text("FOLDER");
}

void add_devices(CLI::App* c, Arguments& args) {
  c->add_option("--device", args.device, "cpu, cuda:0,cuda:1, or auto: as sweep.device")->option_text("NAMES");
  c->add_option("--slots", args.slots, "runs at a time on the CPU: as sweep.slots")->check(CLI::Range(0, 100000));
  c->add_option("--threads", args.threads, "threads of all runs together: as sweep.threads")
      ->check(CLI::Range(0, 100000));
  c->add_option("--isa", args.isa, "portable, avx2 or avx512")->option_text("NAME");
  c->add_flag("--no-measure", args.no_measure, "do not measure speeds that no finished run has recorded");
}

Arguments arguments_of(const SweepCommand& c) {
  Arguments args;
  args.sweep = c.file;
  args.store = c.store;
  args.device = c.device;
  args.isa = c.isa;
  args.slots = c.slots;
  args.threads = c.threads;
  args.quiet = c.quiet;
  return args;
}

void add_launcher(CLI::App* c, Arguments& args) {
  c->add_option("--launcher", args.launcher, "local: processes of this host; slurm: job arrays, as [slurm] says")
      ->check(CLI::IsMember({"local", "slurm"}))
      ->capture_default_str();
  c->add_flag("--dry-run", args.dry_run, "slurm: print the scripts, submit nothing");
}

}  // namespace

int sweep_plan(const SweepCommand& c) { return plan_command(arguments_of(c)); }
int sweep_run(const SweepCommand& c) { return run_command(arguments_of(c)); }

void add_sweep(CLI::App& app, Run& run) {
  CLI::App* sweep = app.add_subcommand("sweep", "many runs: plan them, run them on all there is, compare them");
  sweep->require_subcommand(1);
  sweep->footer(
      "Example:  cafx sweep plan experiments/sweeps/rates.toml\n"
      "          cafx sweep run experiments/sweeps/rates.toml      starts it, or goes on with it\n"
      "          cafx sweep status rates\n"
      "host/sweep/README.md describes the file.");
  const auto command = [&](const char* name, const char* help, int (*body)(const Arguments&), const char* example) {
    auto args = std::make_shared<Arguments>();
    CLI::App* c = sweep->add_subcommand(name, help);
    add_common(c, *args);
    c->footer(std::string("Example:  ") + example);
    c->callback([args, &run, body] { run = [args, body] { return body(*args); }; });
    return std::pair(c, args);
  };
  {
    auto [c, args] = command("plan", "what would run, how long it would take, and from what measurement", plan_command,
                             "cafx sweep plan experiments/sweeps/rates.toml");
    add_devices(c, *args);
    c->add_option("--lines", args->lines, "most runs to list")->capture_default_str();
    c->add_flag("--json", args->json, "as JSON");
  }
  for (const char* name : {"run", "resume"}) {
    auto [c, args] = command(
        name, std::string(name) == "run" ? "runs a sweep, or goes on with it where it was left" : "the same as run",
        run_command,
        "cafx sweep run experiments/sweeps/rates.toml --slots 4\n"
        "          cafx sweep run experiments/sweeps/rates.toml --launcher slurm --dry-run");
    add_devices(c, *args);
    add_launcher(c, *args);
    c->add_flag("--fresh", args->fresh,
                "compute again what the store has already; the old folders go to STORE/.replaced");
    c->add_flag("--json", args->json, "the results as JSON on standard output");
    c->add_flag("--quiet", args->quiet, "no progress, no table");
  }
  {
    auto [c, args] = command("status", "where every run stands; on a terminal it goes on until Ctrl-C", status_command,
                             "cafx sweep status rates");
    c->add_option("--lines", args->lines, "most runs to list")->capture_default_str();
    c->add_flag("--json", args->json, "as JSON");
    c->add_flag("--once", args->once, "once, also on a terminal");
  }
  command("stop", "asks a sweep, on whatever host, to save and end", stop_command, "cafx sweep stop rates");
  command("report", "a page about all runs, and their results as CSV and JSON", report_command,
          "cafx sweep report rates");
  {
    auto [c, args] = command("retry", "runs that failed, again", retry_command, "cafx sweep retry rates");
    add_devices(c, *args);
    add_launcher(c, *args);
    c->add_flag("--quiet", args->quiet, "no progress, no table");
  }
  add_sweep_simulate(*sweep, run);
  auto options = std::make_shared<WorkerOptions>();
  CLI::App* w = sweep->add_subcommand("worker", "works on one run; the scheduler starts these");
  w->add_option("run", options->run, "folder of the run")->required();
  w->add_option("--threads", options->threads, "threads to use; 0: all");
  w->add_option("--isa", options->isa, "portable, avx2 or avx512");
  w->add_option("--device", options->device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  w->add_option("--gpus", options->gpus, "GPUs that share every batch, such as 0,1; none: --device alone");
  w->add_option("--until-epoch", options->until_epoch, "pause after this supervised epoch; 0: to the end");
  w->add_option("--stall-seconds", options->stall_seconds, "without progress for so long, it counts as hung");
  w->footer("Example:  cafx sweep worker runs/default-0123456789ab --threads 2");
  w->callback([options, &run] { run = [options] { return worker_command(*options); }; });
  auto slurm = std::make_shared<SlurmTaskOptions>();
  CLI::App* t = sweep->add_subcommand("slurm-task", "one task of a job array; the scripts of --launcher slurm call it");
  t->add_option("list", slurm->list, "file of run folders; SLURM_ARRAY_TASK_ID says which one")->required();
  t->add_option("--device", slurm->device, "cpu, cuda or auto: as sweep.device");
  t->add_option("--isa", slurm->isa, "portable, avx2 or avx512");
  t->footer("Example:  cafx sweep slurm-task runs/rates.sweep/slurm/0123456789abcdef/train.0.list");
  t->callback([slurm, &run] { run = [slurm] { return slurm_task_command(*slurm); }; });
}

}  // namespace cafx
