// host/sweep/launcher.h -- how a task becomes a process (launch_local.cpp).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "host/sweep/task.h"

namespace cafx {

struct Job {
  int task = 0;             // index in the plan; of a cohort, the first one's
  int device = 0;           // index in the scheduler's devices
  std::string device_name;  // "cpu", "cuda:1"
  std::string gpus;         // "0,1": all GPUs of the run; empty: device_name alone
  int threads = 1;
  int until_epoch = 0;    // pause there; 0: to the end
  bool verdicts = false;  // members wait there for the verdict, instead of leaving (worker.h)
};

struct Exit {
  int task = 0;
  int code = 0;    // of the process (worker.h)
  int signal = 0;  // that killed it; 0: none
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  // One process for one run, or for the members of a cohort; the first is Job::task.
  virtual void start(const std::vector<const Task*>& members, const Job&) = 0;
  // Workers that have ended; waits up to `seconds` for the first.
  virtual std::vector<Exit> wait(double seconds) = 0;
  // Signals all workers to save and end.
  virtual void stop() = 0;
  // Seconds on the clock by which tasks run.
  virtual double now() const = 0;
};

struct LocalOptions {
  std::string binary = "/proc/self/exe";
  std::string isa;
  double stall_seconds = 1800.0;
};
// Worker processes of this host, one run or cohort each. When the launcher's process ends, they save and end.
std::unique_ptr<Launcher> make_local_launcher(const Store&, const LocalOptions&);

}  // namespace cafx
