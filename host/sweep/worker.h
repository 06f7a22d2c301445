// host/sweep/worker.h -- the process of one run, or of a cohort (host/train/cohort.h): claims them, trains or resumes,
// evaluates, writes the outcomes.
//
//   Ends with   0 done, 2 failed (outcome.json has the reason), 74 the disk is full, 75 another holds the run,
//               85 paused at a rung or asked to requeue, 130 asked to stop; anything else is a death: the next worker
//               resumes from the checkpoint. A cohort ends with the code of a member that asks for most: 74, 130, 85,
//               else 0; what became of each is in its folder, and a member that another process holds is left out.
//
//   SIGINT, SIGTERM and the end of the parent process save and stop; SIGUSR1 saves and requeues (85).
//   A file `prune` in the run's folder ends the run as pruned, with the text in it as the reason.
//   A member of a cohort that reaches its rung writes it to rungs.json, waits for the verdict of its scheduler
//   (verdict.json, Store::write_verdict) where WorkerOptions::verdicts says so, and goes on or leaves.
#pragma once

#include <atomic>
#include <filesystem>
#include <vector>

#include "host/train/train.h"

namespace cafx {

inline constexpr int kExitDone = 0, kExitFailed = 2, kExitDiskFull = 74, kExitBusy = 75, kExitRequeue = 85;

struct WorkerOptions {
  std::vector<std::filesystem::path> runs;  // one, or the members of a cohort
  int threads = 0;
  std::string isa, device = "cpu";
  std::string gpus;       // that share every batch, as choose_gpus takes them; empty: `device` alone
  int until_epoch = 0;    // of the supervised stage: pause there; 0: to the end
  bool verdicts = false;  // members of a cohort wait at their rung for the verdict, instead of leaving
  double stall_seconds = 1800.0;
  double checkpoint_seconds = 20.0;
  const std::atomic<bool>* stop = nullptr;  // set by the signals
  const std::atomic<bool>* requeue = nullptr;
};

int work(const WorkerOptions&);

}  // namespace cafx
