#include "host/sweep/slurm.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "host/sweep/cohort_sizes.h"
#include "host/sweep/slurm_commands.h"
#include "host/sweep/slurm_program.h"
#include "host/train/cohort.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

// As part of one of Slurm's patterns for file names, where %A and its like stand for numbers.
std::string plain_in_pattern(const std::string& text) {
  if (text.find('\\') != std::string::npos) {
    throw Error("{}: holds a backslash, which Slurm's names of log files cannot express; choose another --store", text);
  }
  std::string plain;
  for (const char c : text) plain += c == '%' ? std::string("%%") : std::string(1, c);
  return plain;
}

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
  option("--output=" +
         shell_quoted(plain_in_pattern((folder / "logs" / name).string()) + (run ? "-%A_%a.txt" : "-%j.txt")));
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
  // Without days, two parts are minutes and seconds, one is minutes; with days, hours come first.
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

namespace {

// Runs in the order given, those of one architecture together: a cohort stands where its first member does.
std::vector<std::vector<int>> cohorts_of(const std::vector<Row>& rows, const std::vector<int>& tasks,
                                         const CohortOf& cohort) {
  std::vector<std::vector<int>> all;
  std::map<std::string, std::size_t> open;  // by kinship: the cohort that takes more
  for (const int i : tasks) {
    const Task& t = *rows[static_cast<std::size_t>(i)].task;
    const bool may = t.kind == TaskKind::kTrain && t.config.is_object() && t.config.value("train.gpus", "").empty();
    const int most = may ? cohort(t) : 1;
    if (most > 1) {
      const auto [place, is_new] = open.emplace(kinship(t.config), all.size());
      if (!is_new && static_cast<int>(all[place->second].size()) < most) {
        all[place->second].push_back(i);
        continue;
      }
      place->second = all.size();
    }
    all.push_back({i});
  }
  return all;
}

// The type that --gres names, as in "gpu:h100:2"; empty: any.
std::string gpu_of(const std::string& gres) {
  const std::size_t at = gres.find("gpu:");
  if (at == std::string::npos) return "";
  const std::string type = gres.substr(at + 4, gres.find_first_of(":,(", at + 4) - at - 4);
  return type.find_first_not_of("0123456789") == std::string::npos ? "" : type;
}

}  // namespace

CohortOf slurm_cohorts(const Spec& spec, const Plan& plan, const fs::path& store, const std::string& device) {
  const bool asks =
      device.rfind("cuda", 0) == 0 || spec.sweep.device == "cuda" || spec.slurm.gres.find("gpu") != std::string::npos;
  const bool gpu = asks && device != "cpu";
  const int usual = cohort_size(spec.sweep.cohort, gpu);
  if (spec.sweep.cohort != "auto" || !gpu) return [usual](const Task&) { return usual; };
  const auto runs = static_cast<int>(
      std::count_if(plan.tasks.begin(), plan.tasks.end(), [](const Task& t) { return t.kind == TaskKind::kTrain; }));
  const int parallel = spec.slurm.parallel, part = parallel > 0 ? (runs + parallel - 1) / parallel : runs;
  std::map<std::string, int> known;  // by kinship
  return [=, file = store / "cohorts.json", type = gpu_of(spec.slurm.gres)](const Task& t) mutable {
    const auto [size, is_new] = known.emplace(kinship(t.config), usual);
    if (is_new) size->second = measured_cohort_size(file, t, type).value_or(usual);
    return std::clamp(part, 1, size->second);
  };
}

std::vector<SlurmArray> slurm_arrays(const std::vector<Row>& rows, const SlurmQueue& queue, int max_size,
                                     const CohortOf& cohort) {
  std::map<int, std::vector<int>> groups;  // by parent; -1: no parent to wait for
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
    // Pretrainings and trainings without a parent get separate arrays, for their names in the queue.
    for (const TaskKind kind : {TaskKind::kPretrain, TaskKind::kTrain}) {
      SlurmArray array;
      int n_pretrain = 0;
      const auto put = [&, parent = parent] {  // Clang before 16 takes no structured binding by reference
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
        array.n_runs = 0;
      };
      std::vector<int> of_kind;
      std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(of_kind),
                   [&](int i) { return rows[static_cast<std::size_t>(i)].task->kind == kind; });
      for (std::vector<int>& members : cohorts_of(rows, of_kind, cohort)) {
        array.n_runs += static_cast<int>(members.size());
        array.tasks.push_back(std::move(members));
        if (static_cast<int>(array.tasks.size()) == max_size) put();
      }
      put();
    }
  }
  return arrays;
}

namespace {

// One submission: its arrays, its scripts and its folder.
class Submission {
 public:
  Submission(const Spec& spec, const Plan& plan, const Store& store, const SlurmSubmission& s)
      : spec_(spec), plan_(plan), store_(store), s_(s), program_(store.root()) {
    read_queue();
    const auto rows = read_rows(plan.tasks, store, spec.sweep.lease_seconds);
    arrays_ = slurm_arrays(rows, queue_, in_slurm_ ? max_array_size() : kSlurmArraySize,
                           slurm_cohorts(spec, plan, store.root(), s.device));
    write_scripts();
  }

  // The scripts with the commands that would submit them.
  std::string dry_text() const {
    if (arrays_.empty()) return "# nothing to submit: every run is finished, failed or in the queue\n";
    std::string text;
    for (std::size_t k = 0; k < scripts_.size(); ++k) {
      std::string after;
      if (k == arrays_.size()) after = " --dependency=afterany:<all of these>";
      if (k < arrays_.size() && arrays_[k].parent >= 0) after = " --dependency=afterok:" + parent_in_words(arrays_[k]);
      text += fmt::format("# {0}.sh, submitted with: sbatch --parsable{1} {2}/{0}.sh\n{3}\n", scripts_[k].name, after,
                          folder_.string(), scripts_[k].text);
    }
    return text;
  }

  std::string submit() {
    write_folder();
    for (const std::string& job : held_) run_program({"scontrol", "release", job});
    std::map<int, std::string> job_of;  // by task of the plan
    std::set<std::string> all;
    for (const std::string& id : waiting_) all.insert(id.substr(0, id.find('_')));
    std::string text;
    for (std::size_t k = 0; k < arrays_.size(); ++k) {
      const SlurmArray& a = arrays_[k];
      std::string after;
      if (a.parent >= 0) after = "afterok:" + (a.parent_job.empty() ? job_of.at(a.parent) : a.parent_job);
      const std::string id = sbatch(scripts_[k], after);
      for (std::size_t i = 0; i < a.tasks.size(); ++i) {
        for (const int task : a.tasks[i]) job_of[task] = fmt::format("{}_{}", id, i);
      }
      n_submitted_ += a.n_runs;
      all.insert(id);
      const std::string in_cohorts =
          a.n_runs > static_cast<int>(a.tasks.size()) ? fmt::format(" in {} tasks", a.tasks.size()) : "";
      text +=
          fmt::format("job {}: {} runs{}, {}{}\n", id, a.n_runs, in_cohorts, a.name, after.empty() ? "" : ", " + after);
    }
    if (n_submitted_ > 0) {
      std::string after = "afterany";
      for (const std::string& id : all) after += ":" + id;
      text += fmt::format("job {}: the tables, once all have ended\n", sbatch(scripts_.back(), after));
    }
    if (!queue_.empty()) text += fmt::format("{} runs were in the queue already\n", queue_.size());
    if (!held_.empty()) text += fmt::format("{} held jobs released\n", held_.size());
    if (n_submitted_ == 0 && queue_.empty()) text += "nothing to submit: every run is finished or failed\n";
    return text;
  }

 private:
  void read_queue() {
    int code = 0;
    for (const auto& [folder, job] : jobs_of(s_.sweep, code)) {
      waiting_.push_back(job.id);
      if (!folder.empty()) queue_[folder] = job;
      if (job.reason == "JobHeldUser") held_.insert(job.id);
    }
    in_slurm_ = code == 0;
    if (in_slurm_ || s_.dry) return;
    throw Error("squeue {}; --launcher slurm works where Slurm's commands do; --dry-run shows what it would submit",
                code == 127 ? "was not found" : "failed: Slurm's controller does not answer");
  }

  void write_scripts() {
    // The folder's name is a hash of all its content.
    std::string content = program_.path.string() + "\n" + spec_.text + "\n" + s_.device + "\n" + s_.isa + "\n";
    std::vector<std::string> lists;
    for (const SlurmArray& a : arrays_) {
      std::string list;
      for (const std::vector<int>& members : a.tasks) {
        for (const int i : members) {
          list += plan_.tasks[static_cast<std::size_t>(i)].folder + (i == members.back() ? "\n" : " ");
        }
      }
      content += a.name + "\n" + list;
      lists.push_back(list);
    }
    folder_ = s_.sweep / "slurm" / hash_of(content);
    for (std::size_t k = 0; k < arrays_.size(); ++k) {
      const SlurmArray& a = arrays_[k];
      std::string text = head(spec_, folder_, a.name, true);
      text += fmt::format("#SBATCH --array=0-{}{}\n", a.tasks.size() - 1,
                          spec_.slurm.parallel > 0 ? fmt::format("%{}", spec_.slurm.parallel) : "");
      text += setup(spec_);
      std::string words = "sweep slurm-task " + shell_quoted((folder_ / (a.name + ".list")).string());
      if (!s_.device.empty()) words += " --device " + shell_quoted(s_.device);
      if (!s_.isa.empty()) words += " --isa " + shell_quoted(s_.isa);
      scripts_.push_back({a.name, text + slurm_start(spec_.slurm, program_.path, words), lists[k]});
    }
    scripts_.push_back({"report",
                        head(spec_, folder_, "report", false) + setup(spec_) +
                            slurm_start(spec_.slurm, program_.path, "sweep report " + shell_quoted(s_.sweep.string())),
                        ""});
  }

  // The job that an array waits for: its id, or the script that will become it.
  std::string parent_in_words(const SlurmArray& a) const {
    for (const SlurmArray& p : arrays_) {
      const auto at = std::find(p.tasks.begin(), p.tasks.end(), std::vector<int>{a.parent});
      if (at != p.tasks.end()) return fmt::format("<job of {}.sh>_{}", p.name, at - p.tasks.begin());
    }
    return a.parent_job;
  }

  void write_folder() const {
    if (spec_.slurm.container.empty()) program_.copy();
    fs::create_directories(folder_ / "logs");
    write_file_atomically(folder_ / "sweep.toml", spec_.text.data(), spec_.text.size());
    for (const Script& script : scripts_) {
      write_file_atomically(folder_ / (script.name + ".list"), script.list.data(), script.list.size());
      write_file_atomically(folder_ / (script.name + ".sh"), script.text.data(), script.text.size());
    }
    for (const SlurmArray& a : arrays_) {
      for (const std::vector<int>& members : a.tasks) {
        for (const int i : members) {
          const Task& t = plan_.tasks[static_cast<std::size_t>(i)];
          store_.make(t, t.parent >= 0 ? &plan_.tasks[static_cast<std::size_t>(t.parent)] : nullptr,
                      spec_.sweep.lease_seconds);
        }
      }
    }
  }

  std::string sbatch(const Script& script, const std::string& dependency) const {
    std::vector<std::string> words{"sbatch", "--parsable"};
    if (!dependency.empty()) words.push_back("--dependency=" + dependency);
    words.push_back((folder_ / (script.name + ".sh")).string());
    const Ran ran = run_program(words);
    const std::string id = ran.out.substr(0, ran.out.find_first_of(";\n"));
    if (ran.code == 0 && !id.empty()) return id;
    throw Error(
        "sbatch {} failed: {}{}", words.back(), ran.code == 127 ? "it was not found" : one_line(ran.error),
        n_submitted_ ? fmt::format("; {} runs are submitted, the same command submits the others", n_submitted_) : "");
  }

  const Spec& spec_;
  const Plan& plan_;
  const Store& store_;
  const SlurmSubmission& s_;
  PinnedProgram program_;
  bool in_slurm_ = false;             // Slurm's commands answer
  SlurmQueue queue_;                  // of this sweep
  std::vector<std::string> waiting_;  // ids of its jobs in the queue
  std::set<std::string> held_;        // those that a user holds
  std::vector<SlurmArray> arrays_;
  std::vector<Script> scripts_;  // one for each array, then the report's
  fs::path folder_;
  int n_submitted_ = 0;  // runs
};

}  // namespace

std::string submit_to_slurm(const Spec& spec, const Plan& plan, const Store& store, const SlurmSubmission& s) {
  Submission submission(spec, plan, store, s);
  return s.dry ? submission.dry_text() : submission.submit();
}

int cancel_in_slurm(const fs::path& sweep) {
  if (!fs::exists(sweep / "slurm")) return 0;
  int code = 0;
  std::set<std::string> ids, tasks;
  for (const auto& [folder, job] : jobs_of(fs::absolute(sweep).lexically_normal(), code)) {
    ids.insert(job.id.substr(0, job.id.find('_')));
    tasks.insert(job.id);
  }
  if (ids.empty()) return 0;
  std::vector<std::string> words{"scancel"};
  words.insert(words.end(), ids.begin(), ids.end());
  const Ran ran = run_program(words);
  if (ran.code != 0) throw Error("scancel failed: {}", one_line(ran.error));
  return static_cast<int>(tasks.size());
}

}  // namespace cafx
