// One task of a job array, on the node that Slurm gave it: a run, or the members of a cohort.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "host/sweep/scheduler.h"
#include "host/sweep/slurm.h"
#include "host/sweep/slurm_commands.h"
#include "host/sweep/worker.h"
#include "kernels/base/error.h"
#include "kernels/base/printable.h"

namespace cafx {

namespace fs = std::filesystem;

namespace {

long number_from(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atol(text) : 0;
}

// The array task's own id, as scontrol takes it.
std::string own_job() {
  const char* array = std::getenv("SLURM_ARRAY_JOB_ID");
  const char* task = std::getenv("SLURM_ARRAY_TASK_ID");
  return array && task ? std::string(array) + "_" + task : "";
}

// Whether Slurm still runs this job: checked after a SIGTERM, which announces a preemption with a grace period (the job
// runs until that is over), a cancellation or a requeue.
bool meant_to_run() {
  const Ran ran = run_program({"scontrol", "--oneliner", "show", "job", own_job()});
  return ran.code == 0 && ran.out.find(" JobState=RUNNING") != std::string::npos;
}

Task task_of(const Store& store, const std::string& folder) {
  Task task;
  task.folder = folder;
  const fs::path run = store.run(task);
  const Json json = Store::read_json(run / "task.json");
  if (!json.is_object()) throw Error("{}: task.json is missing or damaged; submit the sweep again", run.string());
  task.key = json.at("key");
  task.config = json.at("config");
  task.kind = json.value("kind", "") == "pretrain" ? TaskKind::kPretrain : TaskKind::kTrain;
  const std::string parent = json.value("parent", "");
  if (!parent.empty() && Store::read_outcome(store.root() / parent).state != State::kDone) {
    throw Error("{}: its pretraining {} is not done; submit the sweep again", folder, parent);
  }
  return task;
}

// Memory that each run takes, by the plan that was made at submission.
void take_bytes(std::vector<Task>& tasks, const fs::path& plan) {
  for (const Task& planned : read_tasks(plan)) {
    for (Task& t : tasks) {
      if (t.folder == planned.folder) t.bytes = planned.bytes, t.shares = planned.shares;
    }
  }
}

}  // namespace

int slurm_task(const SlurmTaskOptions& options) {
  const std::string job = own_job();
  if (job.empty())
    throw Error(
        "sweep slurm-task: is started by Slurm, as a task of an array; use 'cafx sweep run FILE --launcher slurm'");
  const fs::path list = fs::absolute(options.list).lexically_normal();
  const auto folders = lines_of(list);
  const long index = number_from("SLURM_ARRAY_TASK_ID");
  if (index < 0 || index >= static_cast<long>(folders.size())) {
    throw Error("{}: has {} lines, array task {} is none of them", list.string(), folders.size(), index);
  }
  const fs::path sweep = list.parent_path().parent_path().parent_path();
  Spec spec = read_spec(list.parent_path() / "sweep.toml");
  const Store store(sweep.parent_path());
  std::vector<Task> tasks;
  for (const std::string& folder : folders_of_line(folders[static_cast<std::size_t>(index)])) {
    tasks.push_back(task_of(store, folder));
  }
  if (tasks.empty()) throw Error("{}: its line {} names no run", list.string(), index + 1);
  const Task& task = tasks[0];
  const auto say = [](const std::string& text) {
    std::fprintf(stderr, "cafx: %s\n", printable_line(text).c_str());
    std::fflush(stderr);
  };
  if (!options.device.empty()) spec.sweep.device = options.device;
  long cpus = number_from("SLURM_CPUS_PER_TASK");
  if (cpus <= 0) cpus = number_from("SLURM_CPUS_ON_NODE");
  if (spec.sweep.threads == 0) spec.sweep.threads = static_cast<int>(std::min<long>(cpus, available_threads()));
  auto devices = find_devices(spec.sweep);
  if (task.config.value("train.gpus", "").empty()) devices.resize(1);
  for (DeviceSlots& d : devices) {
    d.slots = 1;
    d.cohort = static_cast<int>(tasks.size());
    if (tasks.size() == 1) d.bytes = 0;
  }
  if (tasks.size() > 1) take_bytes(tasks, sweep / "tasks.jsonl");
  const char* node = std::getenv("SLURMD_NODENAME");
  const std::string others = tasks.size() > 1 ? fmt::format(" and {} more", tasks.size() - 1) : "";
  say(fmt::format("{}{}: job {} on {}, {} with {} threads, started {} times before", task.folder, others, job,
                  node ? node : "?", devices[0].name, devices[0].threads, number_from("SLURM_RESTART_COUNT")));

  FolderBoard board(store, spec.sweep.lease_seconds);
  LocalOptions local;
  local.isa = options.isa;
  local.stall_seconds = spec.sweep.stall_seconds;
  const auto launcher = make_local_launcher(store, local);
  SchedulerOptions how;
  how.retries = spec.sweep.retries;
  how.stop = options.stop;
  how.asked_to_stop = [&] { return fs::exists(sweep / "stop"); };
  how.say = say;
  Scheduler scheduler(tasks, devices, board, *launcher, nullptr, nullptr, how);
  if (scheduler.run()) {
    bool failed = false;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const State state = scheduler.state(static_cast<int>(i));
      say(fmt::format("{}: {}", tasks[i].folder, to_string(state)));
      failed = failed || state == State::kFailed;
    }
    return failed ? kExitFailed : kExitDone;
  }
  const bool warned = options.requeue && *options.requeue;
  if (!fs::exists(sweep / "stop") && (warned || meant_to_run())) {
    // Printed first: Slurm ends this process as soon as it has requeued the job.
    say(fmt::format("{}: saved; job {} goes back into the queue", task.folder, job));
    const Ran ran = run_program({"scontrol", "requeue", job});
    // 127: no scontrol, as in a container; the script around it puts the job back.
    if (ran.code == 0 || ran.code == 127) return kExitRequeue;
    say(fmt::format("scontrol requeue failed: {}; 'cafx sweep run' submits it again", one_line(ran.error)));
  }
  say(fmt::format("{}: stopped and saved", task.folder));
  return 130;
}

}  // namespace cafx
