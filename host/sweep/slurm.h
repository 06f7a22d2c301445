// host/sweep/slurm.h -- a sweep as job arrays of a Slurm cluster: submitted here, run there, in the same folders.
//
//   STORE/.pinned/HASH/cafx        the binary as it was at submission
//   STORE/NAME.sweep/slurm/HASH/   one submission: sweep.toml, NAME.list (a line for each array task: its run
//                                  folder, or those of a cohort), NAME.sh (the scripts that sbatch
//                                  got), logs/
//
//   One array holds the pretrainings, longest first. For each pretraining, one array holds the runs that start from it
//   and waits for that array task alone (afterok). A last job writes the tables. Each array task is `cafx sweep
//   slurm-task`: a scheduler of one run, or of a cohort (sweep.cohort), so crashes, hangs, full disks and retries are
//   handled as on one host; members of a cohort that the GPU's memory does not hold run after the others.
//
//   The queue is read from Slurm (squeue; a job's comment names its list), never from files: submitting again adds only
//   runs that are neither finished nor queued.
//
// Errors   Error if sbatch is missing or refuses, with its message; earlier submissions stay.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "host/sweep/plan.h"
#include "host/sweep/results.h"
#include "host/sweep/slurm_commands.h"

namespace cafx {

// Refuses features that need a scheduler beside the runs, times shorter than the warning before their end, device
// numbers.
void check_for_slurm(const Spec&);
// Seconds of Slurm's forms M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; -1 for any other text, 0 for "" (no limit).
long slurm_seconds(const std::string& time);

using SlurmQueue = std::map<std::string, QueuedJob>;  // by run folder

struct SlurmArray {
  std::string name;                     // "pretrain", "train.0", ...
  std::vector<std::vector<int>> tasks;  // of the plan; the n-th are array task n's: one run, or the members of a cohort
  int n_runs = 0;
  int parent = -1;         // task that they all wait for
  std::string parent_job;  // its id if it is queued already; empty: it is in another of these arrays
};
// Most runs that share an array task with this one.
using CohortOf = std::function<int(const Task&)>;
// By sweep.cohort; with "auto" on a GPU as many as were measured on its kind (STORE/cohorts.json, cohort_sizes.h), else
// some, and no more than let slurm.parallel tasks work at once. `device`: as given for the runs.
CohortOf slurm_cohorts(const Spec&, const Plan&, const std::filesystem::path& store, const std::string& device);
// Arrays of all runs that are neither finished nor failed nor queued; runs of one architecture in cohorts, as far as
// `cohort` allows.
std::vector<SlurmArray> slurm_arrays(const std::vector<Row>&, const SlurmQueue&, int max_array_size,
                                     const CohortOf& cohort);

struct SlurmSubmission {
  std::filesystem::path sweep;  // STORE/NAME.sweep, absolute
  std::string device, isa;      // as given, for the runs
  bool dry = false;             // only print
};
// Prepares and submits, or prints; returns text for the user.
std::string submit_to_slurm(const Spec&, const Plan&, const Store&, const SlurmSubmission&);

// Cancels a sweep's jobs in Slurm; running ones save first. Returns the number of jobs; 0 without Slurm.
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
