// host/sweep/lease.h -- who works on a run: one process at a time, also over a shared file system, and a dead one's run
// goes to exactly one other.
//
//   lease.1, lease.2, ...   in the run's folder, one for each claim, never deleted while the run is unfinished. The
//                           highest counts. It is made by link(2), which one claimant alone can win, on NFS too, from a
//                           file that already holds owner, process and where the run stood.
//   lease.N.free            the owner of N gave the run back.
//
//   The owner touches lease.N; its age is measured against a file touched at the same moment on the same file system, so
//   that clocks of hosts need not agree. A lease is dead when it is silent for `seconds`, or at once when its process ran
//   in this very kernel and process namespace and is gone.
//
// Fencing  `check` throws LeaseLost once lease.N+1 exists; training asks before everything it writes, and once more right
//          before it would count as finished. On one host the lock in the run folder (run_folder.h) keeps the old process
//          out as long as it lives. Between hosts an owner that was frozen between asking and renaming can put back an
//          older file of the same run: the same bits follow from it, since a run is deterministic.
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
  bool held = false;   // claimed, not given back, and its owner is alive as far as can be told
  bool died = false;   // claimed, not given back, owner gone or silent
  std::string host;
  long pid = 0;
  bool here = false;     // its process is one of this kernel and namespace
  double silence = 0.0;  // seconds since its last sign
};

// Deaths in a row after which the run stood where it had stood before.
int deaths_without_progress(const std::filesystem::path& run);

LeaseState inspect_lease(const std::filesystem::path& run, double seconds);

class Lease {
 public:
  // Nothing where another holds the run. `progress`: the step at which the run stands, for the count of deaths.
  static std::optional<Lease> claim(const std::filesystem::path& run, double seconds, long progress);

  void beat() const;   // a sign of life
  void check() const;  // LeaseLost where another has taken the run
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
