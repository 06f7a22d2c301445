// host/sweep/slurm.h -- a sweep as job arrays of a Slurm cluster: submitted here, run there, in the same folders.
//
//   STORE/.pinned/HASH/cafx        the binary as it was at submission
//   STORE/NAME.sweep/slurm/HASH/   one submission: sweep.toml, NAME.list (run folders, one for each array task), NAME.sh
//                                  (the scripts that sbatch got), logs/
//
//   One array holds the pretrainings, longest first; for each pretraining one array holds what starts from it and waits
//   for that array task alone (afterok); a last job writes the tables. Each array task is `cafx sweep slurm-task`: a
//   scheduler of one run, so a crash, a hang, a full disk and the retry budget are dealt with as on one host.
//
//   What is in the queue is asked of Slurm (squeue; a job's comment names its list), so that submitting again adds only
//   what is neither finished nor queued. Nothing about jobs is kept in files.
//
// Errors   Error where sbatch is missing or refuses, with its words; what was submitted before stays submitted.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "host/sweep/plan.h"
#include "host/sweep/results.h"
#include "host/sweep/slurm_commands.h"

namespace cafx {

// Refuses what needs a scheduler beside the runs, times shorter than the warning before their end, and devices by number.
void check_for_slurm(const Spec&);
// Seconds of Slurm's forms M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; -1 where the text is none of them, 0 for "" (no limit).
long slurm_seconds(const std::string& time);

using SlurmQueue = std::map<std::string, QueuedJob>;  // by run folder

struct SlurmArray {
  std::string name;        // "pretrain", "train.0", ...
  std::vector<int> tasks;  // of the plan; the n-th is array task n
  int parent = -1;         // task that they all wait for
  std::string parent_job;  // its id, where it is in the queue already; else it is in another of these arrays
};
// Arrays for all that is neither finished nor failed nor queued.
std::vector<SlurmArray> slurm_arrays(const std::vector<Row>&, const SlurmQueue&, int max_array_size);

struct SlurmSubmission {
  std::filesystem::path sweep;  // STORE/NAME.sweep, absolute
  std::string device, isa;      // as given, for the runs
  bool dry = false;             // only print
};
// Prepares and submits, or prints; returns text for the user.
std::string submit_to_slurm(const Spec&, const Plan&, const Store&, const SlurmSubmission&);

// Cancels what Slurm holds of a sweep; running ones save first. Returns how many jobs; 0 without Slurm.
int cancel_in_slurm(const std::filesystem::path& sweep);

struct SlurmTaskOptions {
  std::filesystem::path list;
  std::string device, isa;
  std::atomic<bool>* stop = nullptr;           // SIGTERM or SIGUSR1 came
  const std::atomic<bool>* requeue = nullptr;  // SIGUSR1 came
};
// Works on the array task that the environment names. Returns the process's exit code: 0 done, 2 failed, 85 put back
// into the queue, 130 stopped.
int slurm_task(const SlurmTaskOptions&);

}  // namespace cafx
