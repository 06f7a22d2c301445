// host/sweep/lease.h -- exclusive claims of runs: one process at a time, also over a shared file system; when it dies,
// exactly one other takes over.
//
//   lease.1, lease.2, ...   in the run's folder, one for each claim, never deleted while the run is unfinished. The
//                           highest is valid. It is made by link(2), which succeeds for one claimant alone, on NFS too,
//                           from a file that already holds owner, process and the step of the run.
//   lease.N.free            the owner of N gave the run back.
//
//   The owner touches lease.N; its age is measured against a file touched at the same moment on the same file system,
//   so clocks of hosts need not agree. A lease is dead after `seconds` without a touch, or at once if its process ran
//   in this kernel and process namespace and has ended.
//
// Fencing  `check` throws LeaseLost once lease.N+1 exists; training calls it before every write, and again right
//          before the run counts as finished. On one host the lock in the run folder (run_folder.h) keeps the old
//          process out as long as it lives. Between hosts, an owner that was frozen between check and rename can
//          restore an older file of the same run: harmless, since a run is deterministic.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "kernels/base/error.h"

namespace cafx {

class LeaseLost : public Error {
 public:
  using Error::Error;
};

struct LeaseState {
  int generation = 0;  // 0: never claimed
  bool held = false;   // claimed, not given back, owner not known to be dead
  bool died = false;   // claimed, not given back, owner gone or silent
  std::string host;
  long pid = 0;
  bool here = false;     // its process is one of this kernel and namespace
  double silence = 0.0;  // seconds since its last touch
};

// Deaths in a row without progress between them.
int deaths_without_progress(const std::filesystem::path& run);

LeaseState inspect_lease(const std::filesystem::path& run, double seconds);

class Lease {
 public:
  // Nothing if another process holds the run. `progress`: steps done so far, to count deaths without progress.
  static std::optional<Lease> claim(const std::filesystem::path& run, double seconds, long progress);

  void beat() const;   // renews the lease
  void check() const;  // throws LeaseLost if another process has the run
  void give_back() const;
  int generation() const { return generation_; }

 private:
  Lease(std::filesystem::path run, int generation, std::string owner)
      : run_(std::move(run)), generation_(generation), owner_(std::move(owner)) {}
  std::filesystem::path run_;
  int generation_;
  std::string owner_;
};

}  // namespace cafx
