#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/cli/sweep.h"
#include "host/cli/sweep_simulate.h"
#include "host/sweep/lease.h"
#include "host/sweep/page.h"
#include "host/sweep/slurm.h"
#include "host/sweep/worker.h"
#include "kernels/base/printable.h"
#include "kernels/base/shell_word.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

struct SweepArguments {
  std::string sweep, store, device, isa, cohort, launcher = "local";
  int slots = 0, threads = 0, lines = 40;
  bool json = false, quiet = false, fresh = false, no_measure = false, once = false, dry_run = false;
};

// The spec that the arguments name, with the settings that they override.
Spec spec_of(const SweepArguments& args) {
  Spec spec = find_sweep(args.sweep, args.store);
  if (!args.device.empty()) spec.sweep.device = args.device;
  if (args.slots > 0) spec.sweep.slots = args.slots;
  if (args.threads > 0) spec.sweep.threads = args.threads;
  if (!args.cohort.empty()) {
    cohort_size(args.cohort, false);
    spec.sweep.cohort = args.cohort;
  }
  return spec;
}

// A sweep that was started: its folder holds the tasks.
struct Started {
  Spec spec;
  Store store;
  fs::path folder;
  std::vector<Task> tasks;

  explicit Started(const SweepArguments& args)
      : spec(spec_of(args)), store(spec.sweep.store), folder(store.sweep(spec.name)) {
    read();
  }
  void read() { tasks = read_tasks(folder / "tasks.jsonl"); }
  std::vector<Row> rows() const { return read_rows(tasks, store, spec.sweep.lease_seconds); }
};

// The words of a command that name the sweep as this one was named.
std::string as_given(const SweepArguments& args) {
  return shell_word(args.sweep) + (args.store.empty() ? "" : " --store " + shell_word(args.store));
}

SweepOptions options_of(const SweepArguments& args) {
  SweepOptions options;
  options.isa = args.isa;
  options.measure = !args.no_measure;
  options.fresh = args.fresh;
  return options;
}

int plan_command(const SweepArguments& args) {
  const Spec spec = spec_of(args);
  DataCatalogue data(spec.sweep.store);
  const PlannedSweep planned = plan_sweep(spec, data, options_of(args));
  if (args.json) {
    write_table("-", plan_json(spec, planned));
  } else {
    write_text("-", plan_text(spec, planned, args.lines));
  }
  return 0;
}

int run_on_slurm(const SweepArguments& args) {
  const Spec spec = spec_of(args);
  const std::string text = submit_sweep(spec, options_of(args), args.device, args.dry_run);
  if (args.dry_run || !args.quiet) write_text("-", text);
  if (!args.dry_run && !args.quiet) {
    const std::string name = spec.name + (args.store.empty() ? "" : " --store " + shell_word(args.store));
    write_text("-", fmt::format("look: cafx sweep status {0}    end: cafx sweep stop {0}\n", name));
  }
  return 0;
}

int run_command(const SweepArguments& args) {
  if (args.launcher == "slurm") return run_on_slurm(args);
  if (args.dry_run) throw Error("--dry-run goes with --launcher slurm; 'cafx sweep plan' shows what would run here");
  return run_sweep_shown(spec_of(args), options_of(args), {as_given(args), args.json, args.quiet});
}

int status_command(const SweepArguments& args) {
  Started o(args);
  const bool terminal = isatty(STDOUT_FILENO) == 1 && !args.json && !args.once;
  if (terminal) stop_when_asked();
  for (;;) {
    o.read();  // a sweep that proposes points grows
    const auto rows = o.rows();
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

int stop_command(const SweepArguments& args) {
  const Spec spec = spec_of(args);
  const fs::path folder = Store(spec.sweep.store).sweep(spec.name);
  if (!fs::exists(folder / "tasks.jsonl"))
    throw Error("{}: has not been started; there is nothing to stop", folder.string());
  write_text((folder / "stop").string(), "asked to stop\n");
  const int cancelled = cancel_in_slurm(folder);
  if (cancelled > 0) write_text("-", fmt::format("{} jobs cancelled in Slurm's queue\n", cancelled));
  const auto rows = Started(args).rows();
  const bool runs = std::any_of(rows.begin(), rows.end(), [](const Row& r) { return r.state == State::kRunning; });
  write_text("-", fmt::format("{}; go on with: cafx sweep run {}\n",
                              runs ? fmt::format("asked: every run of {} saves and ends within seconds", spec.name)
                                   : fmt::format("no run of {} is at work", spec.name),
                              as_given(args)));
  return 0;
}

int retry_command(const SweepArguments& args) {
  const Started o(args);
  const int n = put_back(o.spec, o.tasks, State::kFailed);
  write_text("-", fmt::format("{} failed runs of {} are to be run again\n", n, o.spec.name));
  if (n == 0) return 0;
  return run_command(args);
}

int report_command(const SweepArguments& args) {
  const Started o(args);
  const auto rows = o.rows();
  write_sweep_tables(o.spec, rows);
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

void add_common(CLI::App* c, SweepArguments& args) {
  c->add_option("sweep", args.sweep, "TOML file of the sweep, its name, or its folder")->required();
  c->add_option("--store", args.store, "folder of all runs; what the file says, or runs")->option_text("FOLDER");
}

void add_devices(CLI::App* c, SweepArguments& args) {
  c->add_option("--device", args.device, "cpu, cuda:0,cuda:1, or auto: as sweep.device")->option_text("NAMES");
  c->add_option("--slots", args.slots, "runs at a time on the CPU: as sweep.slots")->check(CLI::Range(0, 100000));
  c->add_option("--threads", args.threads, "threads of all runs together: as sweep.threads")
      ->check(CLI::Range(0, 100000));
  c->add_option("--cohort", args.cohort, "most runs that a process trains side by side: as sweep.cohort")
      ->option_text("auto|off|N");
  c->add_option("--isa", args.isa, "portable, avx2 or avx512")->option_text("NAME");
  c->add_flag("--no-measure", args.no_measure, "do not measure speeds that no finished run has recorded");
}

void add_launcher(CLI::App* c, SweepArguments& args) {
  c->add_option("--launcher", args.launcher, "local: processes of this host; slurm: job arrays, as [slurm] says")
      ->check(CLI::IsMember({"local", "slurm"}))
      ->capture_default_str();
  c->add_flag("--dry-run", args.dry_run, "slurm: print the scripts, submit nothing");
}

}  // namespace

int run_sweep_shown(const Spec& spec, SweepOptions options, const SweepDisplay& display) {
  SweepResult result;
  {
    ProgressLine line(display.quiet);
    options.catch_stop = stop_when_asked;
    options.say = [&](const std::string& text) {
      line.line("cafx: " + text);
      std::fflush(stderr);
    };
    options.progress = [&](double fraction, const std::string& text) { line.show(fraction, text); };
    result = run_sweep(spec, options);
  }
  if (display.json) {
    write_table("-", results_json(result.rows, spec.name, spec.sweep.objective));
  } else if (!display.quiet) {
    write_text("-", status_text(result.rows, spec.name, spec.sweep.objective, 20, 160));
  }
  const std::string words = printable_line(display.name);
  const char* name = words.c_str();
  if (!result.finished) {
    std::fprintf(stderr, "cafx: stopped and saved; go on with: cafx sweep run %s\n", name);
    return kExitStopped;
  }
  if (result.n_failed > 0) {
    std::fprintf(stderr,
                 "cafx: %d runs failed; 'cafx sweep status %s' tells why, 'cafx sweep retry %s' runs them again\n",
                 result.n_failed, name, name);
    return kExitError;
  }
  return 0;
}

void add_sweep(CLI::App& app, Run& run) {
  CLI::App* sweep = app.add_subcommand("sweep", "many runs: plan them, run them on all there is, compare them");
  sweep->require_subcommand(1);
  sweep->footer(
      "Example:  cafx sweep plan experiments/sweeps/rates.toml\n"
      "          cafx sweep run experiments/sweeps/rates.toml      starts it, or goes on with it\n"
      "          cafx sweep status rates\n"
      "host/sweep/README.md describes the file.");
  const auto command = [&](const char* name, const char* help, int (*body)(const SweepArguments&),
                           const char* example) {
    auto args = std::make_shared<SweepArguments>();
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
  w->add_option("run", options->runs, "folder of the run; several are trained side by side")->required();
  w->add_option("--threads", options->threads, "threads to use; 0: all");
  w->add_option("--isa", options->isa, "portable, avx2 or avx512");
  w->add_option("--device", options->device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  w->add_option("--gpus", options->gpus, "GPUs that share every batch, such as 0,1; none: --device alone");
  w->add_option("--until-epoch", options->until_epoch, "pause after this supervised epoch; 0: to the end");
  w->add_flag("--verdicts", options->verdicts, "wait there for the scheduler's verdict in verdict.json");
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
