#include "host/sweep/slurm.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "host/sweep/slurm_commands.h"
#include "host/sweep/slurm_program.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

std::string hash_of(const std::string& text) {
  Hasher hasher;
  hasher.add(text);
  return hasher.hex().substr(0, 16);
}

struct Script {
  std::string name, text, list;
};

std::string head(const Spec& spec, const fs::path& folder, const std::string& name, bool run) {
  const SlurmConfig& c = spec.slurm;
  std::string text = "#!/bin/bash\n";
  const auto option = [&](const std::string& words) { text += "#SBATCH " + words + "\n"; };
  option("--job-name=" + spec.name + "." + name);
  option("--comment=" + shell_quoted((folder / (name + ".list")).string()));
  option("--output=" + shell_quoted((folder / "logs" / (name + (run ? "-%A_%a.txt" : "-%j.txt"))).string()));
  option("--open-mode=append");
  option("--requeue");
  option("--kill-on-invalid-dep=yes");
  if (!c.account.empty()) option("--account=" + c.account);
  if (!c.partition.empty()) option("--partition=" + c.partition);
  if (!c.qos.empty()) option("--qos=" + c.qos);
  if (run) {
    if (c.signal_seconds > 0) option(fmt::format("--signal=B:USR1@{}", c.signal_seconds));
    if (!c.time.empty()) option("--time=" + c.time);
    if (!c.memory.empty()) option("--mem=" + c.memory);
    const bool pretrain = name.rfind("pretrain", 0) == 0;
    const std::string& gres = pretrain && !c.pretrain_gres.empty() ? c.pretrain_gres : c.gres;
    if (!gres.empty()) option("--gres=" + gres);
    if (c.cpus > 0) option(fmt::format("--cpus-per-task={}", c.cpus));
  } else {
    option("--time=10");
  }
  for (const std::string& o : c.options) option(o);
  return text;
}

std::string setup(const Spec& spec) {
  std::string text;
  for (const std::string& line : spec.slurm.setup) text += line + "\n";
  return text;
}

}  // namespace

long slurm_seconds(const std::string& time) {
  if (time.empty() || time == "0" || time == "UNLIMITED" || time == "INFINITE") return 0;
  std::string rest = time;
  const std::size_t dash = rest.find('-');
  std::vector<long> parts;
  long days = 0;
  const auto number = [](const std::string& text) {
    const bool good = !text.empty() && text.size() < 8 && text.find_first_not_of("0123456789") == std::string::npos;
    return good ? std::atol(text.c_str()) : -1;
  };
  if (dash != std::string::npos) {
    days = number(rest.substr(0, dash));
    rest = rest.substr(dash + 1);
    if (days < 0) return -1;
  }
  for (std::size_t at = 0; at <= rest.size();) {
    const std::size_t colon = std::min(rest.find(':', at), rest.size());
    parts.push_back(number(rest.substr(at, colon - at)));
    if (parts.back() < 0) return -1;
    at = colon + 1;
  }
  if (parts.size() > 3) return -1;
  static constexpr long kUnit[] = {3600, 60, 1};
  // Without days two parts are minutes and seconds, and one is minutes; with days they are hours first.
  const std::size_t first = dash != std::string::npos || parts.size() == 3 ? 0 : 1;
  long seconds = days * 86400;
  for (std::size_t i = 0; i < parts.size(); ++i) seconds += parts[i] * kUnit[first + i];
  return seconds;
}

void check_for_slurm(const Spec& spec) {
  const std::string where = spec.path.string();
  const auto beside = [&](const std::string& what, const std::string& why) {
    throw Error(
        "{}: {} does not go with --launcher slurm: {}. What works: a batch job that calls 'cafx sweep run' on the "
        "nodes "
        "it got (several schedulers share one store), or grid, random and sobol without pruning as job arrays",
        where, what, why);
  };
  if (spec.sweep.prune != "none") {
    beside(fmt::format("sweep.prune = \"{}\"", spec.sweep.prune),
           "a scheduler must live beside the runs to compare them");
  }
  if (spec.sweep.sampling == "tpe") {
    beside("sweep.sampling = \"tpe\"", "its points are proposed from results while the sweep runs");
  }
  if (spec.sweep.device != "auto" && spec.sweep.device != "cpu" && spec.sweep.device != "cuda") {
    throw Error(
        "{}: sweep.device = \"{}\": on a cluster Slurm says which GPU a run gets (slurm.gres = \"gpu:1\"); expected "
        "auto, cpu or cuda",
        where, spec.sweep.device);
  }
  const auto plain = [&](const std::string& key, const std::string& text) {
    if (text.find_first_of("\n\r") != std::string::npos) throw Error("{}: slurm.{}: expected one line", where, key);
  };
  const SlurmConfig& c = spec.slurm;
  for (const auto& [key, text] : {std::pair("account", c.account),
                                  {"partition", c.partition},
                                  {"qos", c.qos},
                                  {"time", c.time},
                                  {"memory", c.memory},
                                  {"gres", c.gres},
                                  {"pretrain_gres", c.pretrain_gres}}) {
    plain(key, text);
    if (text.find(' ') != std::string::npos) throw Error("{}: slurm.{} = \"{}\": holds a space", where, key, text);
  }
  for (const std::string& o : c.options) {
    plain("options", o);
    if (o.rfind("--", 0) != 0)
      throw Error("{}: slurm.options: \"{}\": expected options such as --exclude=node7", where, o);
  }
  for (const std::string& line : c.setup) plain("setup", line);
  plain("container", c.container);
  const long seconds = slurm_seconds(c.time);
  if (seconds < 0) {
    throw Error("{}: slurm.time = \"{}\": expected minutes, H:M:S or D-H:M:S, as sbatch takes them", where, c.time);
  }
  // Slurm may send the signal up to a minute early.
  if (seconds > 0 && seconds < c.signal_seconds + 120) {
    throw Error(
        "{}: slurm.time = \"{}\" leaves no time to train before the signal at {} s before its end "
        "(slurm.signal_seconds); "
        "expected at least {} s",
        where, c.time, c.signal_seconds, c.signal_seconds + 120);
  }
}

std::vector<SlurmArray> slurm_arrays(const std::vector<Row>& rows, const SlurmQueue& queue, int max_size) {
  std::map<int, std::vector<int>> groups;  // by parent; -1: those that wait for nothing
  const auto state = [&](int i) { return rows[static_cast<std::size_t>(i)].state; };
  for (int i = 0; i < static_cast<int>(rows.size()); ++i) {
    const Task& t = *rows[static_cast<std::size_t>(i)].task;
    if (state(i) == State::kDone || state(i) == State::kFailed || state(i) == State::kPruned ||
        state(i) == State::kBlocked || queue.count(t.folder)) {
      continue;
    }
    const bool waits = t.parent >= 0 && state(t.parent) != State::kDone;
    groups[waits ? t.parent : -1].push_back(i);
  }
  std::vector<SlurmArray> arrays;
  int n_train = 0;
  for (auto& [parent, tasks] : groups) {
    std::stable_sort(tasks.begin(), tasks.end(), [&](int a, int b) {
      return rows[static_cast<std::size_t>(a)].task->priority > rows[static_cast<std::size_t>(b)].task->priority;
    });
    // Pretrainings and trainings that wait for nothing: arrays of their own, for their names in the queue.
    for (const TaskKind kind : {TaskKind::kPretrain, TaskKind::kTrain}) {
      SlurmArray array;
      int n_pretrain = 0;
      const auto put = [&] {
        if (array.tasks.empty()) return;
        array.name = kind == TaskKind::kPretrain ? (n_pretrain ? fmt::format("pretrain.{}", n_pretrain) : "pretrain")
                                                 : fmt::format("train.{}", n_train);
        (kind == TaskKind::kPretrain ? n_pretrain : n_train) += 1;
        array.parent = parent;
        if (parent >= 0) {
          const auto found = queue.find(rows[static_cast<std::size_t>(parent)].task->folder);
          if (found != queue.end()) array.parent_job = found->second.id;
        }
        arrays.push_back(array);
        array.tasks.clear();
      };
      for (const int i : tasks) {
        if (rows[static_cast<std::size_t>(i)].task->kind != kind) continue;
        array.tasks.push_back(i);
        if (static_cast<int>(array.tasks.size()) == max_size) put();
      }
      put();
    }
  }
  return arrays;
}

std::string submit_to_slurm(const Spec& spec, const Plan& plan, const Store& store, const SlurmSubmission& s) {
  const auto rows = read_rows(plan.tasks, store, spec.sweep.lease_seconds);
  int code = 0;
  SlurmQueue queue;
  std::vector<std::string> waiting, held;  // jobs of this sweep that are in the queue
  for (const auto& [folder, job] : jobs_of(s.sweep, code)) {
    waiting.push_back(job.id);
    if (!folder.empty()) queue[folder] = job;
    if (job.reason == "JobHeldUser") held.push_back(job.id);
  }
  if (code != 0 && !s.dry) {
    throw Error("squeue {}; --launcher slurm works where Slurm's commands do; --dry-run shows what it would submit",
                code == 127 ? "was not found" : "failed: Slurm's controller does not answer");
  }
  const auto arrays = slurm_arrays(rows, queue, code == 0 ? max_array_size() : kSlurmArraySize);

  const PinnedProgram program(store.root());
  // The folder's name covers all that is in it: what runs, on what, and how.
  std::string content = program.path.string() + "\n" + spec.text + "\n" + s.device + "\n" + s.isa + "\n";
  std::vector<std::string> lists;
  for (const SlurmArray& a : arrays) {
    std::string list;
    for (const int i : a.tasks) list += plan.tasks[static_cast<std::size_t>(i)].folder + "\n";
    content += a.name + "\n" + list;
    lists.push_back(list);
  }
  const fs::path folder = s.sweep / "slurm" / hash_of(content);
  std::vector<Script> scripts;
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const SlurmArray& a = arrays[k];
    std::string text = head(spec, folder, a.name, true);
    text += fmt::format("#SBATCH --array=0-{}{}\n", a.tasks.size() - 1,
                        spec.slurm.parallel > 0 ? fmt::format("%{}", spec.slurm.parallel) : "");
    text += setup(spec);
    std::string words = "sweep slurm-task " + shell_quoted((folder / (a.name + ".list")).string());
    if (!s.device.empty()) words += " --device " + shell_quoted(s.device);
    if (!s.isa.empty()) words += " --isa " + shell_quoted(s.isa);
    scripts.push_back({a.name, text + slurm_start(spec.slurm, program.path, words), lists[k]});
  }
  scripts.push_back({"report",
                     head(spec, folder, "report", false) + setup(spec) +
                         slurm_start(spec.slurm, program.path, "sweep report " + shell_quoted(s.sweep.string())),
                     ""});

  if (s.dry) {
    std::string text;
    if (arrays.empty()) text += "# nothing to submit: every run is finished, failed or in the queue\n";
    for (std::size_t k = 0; k < scripts.size() && !arrays.empty(); ++k) {
      std::string after;
      if (k < arrays.size() && arrays[k].parent >= 0) {
        const SlurmArray& a = arrays[k];
        std::string job = a.parent_job;
        for (const SlurmArray& p : arrays) {
          const auto at = std::find(p.tasks.begin(), p.tasks.end(), a.parent);
          if (at != p.tasks.end()) job = fmt::format("<job of {}.sh>_{}", p.name, at - p.tasks.begin());
        }
        after = " --dependency=afterok:" + job;
      }
      if (k == arrays.size()) after = " --dependency=afterany:<all of these>";
      text += fmt::format("# {0}.sh, submitted with: sbatch --parsable{1} {2}/{0}.sh\n{3}\n", scripts[k].name, after,
                          folder.string(), scripts[k].text);
    }
    return text;
  }

  if (spec.slurm.container.empty()) program.copy();
  fs::create_directories(folder / "logs");
  write_file_atomically(folder / "sweep.toml", spec.text.data(), spec.text.size());
  for (const Script& script : scripts) {
    write_file_atomically(folder / (script.name + ".list"), script.list.data(), script.list.size());
    write_file_atomically(folder / (script.name + ".sh"), script.text.data(), script.text.size());
  }
  for (const SlurmArray& a : arrays) {
    for (const int i : a.tasks) {
      const Task& t = plan.tasks[static_cast<std::size_t>(i)];
      store.make(t, t.parent >= 0 ? &plan.tasks[static_cast<std::size_t>(t.parent)] : nullptr,
                 spec.sweep.lease_seconds);
    }
  }
  for (const std::string& job : held) run_program({"scontrol", "release", job});

  std::map<int, std::string> job_of;  // by task of the plan
  std::string text;
  int n = 0;
  const auto submit = [&](const Script& script, const std::string& dependency) {
    std::vector<std::string> words{"sbatch", "--parsable"};
    if (!dependency.empty()) words.push_back("--dependency=" + dependency);
    words.push_back((folder / (script.name + ".sh")).string());
    const Ran ran = run_program(words);
    const std::string id = ran.out.substr(0, ran.out.find_first_of(";\n"));
    if (ran.code != 0 || id.empty()) {
      throw Error("sbatch {} failed: {}{}", words.back(), ran.code == 127 ? "it was not found" : one_line(ran.error),
                  n ? fmt::format("; {} runs are submitted, the same command submits the others", n) : "");
    }
    return id;
  };
  std::set<std::string> all;
  for (const std::string& id : waiting) all.insert(id.substr(0, id.find('_')));
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const SlurmArray& a = arrays[k];
    std::string after;
    if (a.parent >= 0) {
      after = a.parent_job;
      if (after.empty()) after = job_of.at(a.parent);
      after = "afterok:" + after;
    }
    const std::string id = submit(scripts[k], after);
    for (std::size_t i = 0; i < a.tasks.size(); ++i) job_of[a.tasks[i]] = fmt::format("{}_{}", id, i);
    n += static_cast<int>(a.tasks.size());
    all.insert(id);
    text += fmt::format("job {}: {} runs, {}{}\n", id, a.tasks.size(), a.name, after.empty() ? "" : ", " + after);
  }
  if (n > 0) {
    std::string after = "afterany";
    for (const std::string& id : all) after += ":" + id;
    text += fmt::format("job {}: the tables, once all have ended\n", submit(scripts.back(), after));
  }
  if (!queue.empty()) text += fmt::format("{} runs were in the queue already\n", queue.size());
  if (!held.empty()) text += fmt::format("{} held jobs released\n", held.size());
  if (n == 0 && queue.empty()) text += "nothing to submit: every run is finished or failed\n";
  return text;
}

int cancel_in_slurm(const fs::path& sweep) {
  if (!fs::exists(sweep / "slurm")) return 0;
  int code = 0;
  std::set<std::string> ids;
  const auto jobs = jobs_of(fs::absolute(sweep).lexically_normal(), code);
  for (const auto& [folder, job] : jobs) ids.insert(job.id.substr(0, job.id.find('_')));
  if (ids.empty()) return 0;
  std::vector<std::string> words{"scancel"};
  words.insert(words.end(), ids.begin(), ids.end());
  const Ran ran = run_program(words);
  if (ran.code != 0) throw Error("scancel failed: {}", one_line(ran.error));
  return static_cast<int>(jobs.size());
}

}  // namespace cafx
