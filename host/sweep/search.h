// host/sweep/search.h -- what may end a run early, and what may add runs while the sweep goes on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/sweep/task.h"

namespace cafx {

// A training run as searchers see it.
struct Trial {
  int task = 0;
  State state = State::kQueued;
  std::vector<std::pair<int, double>> rungs;  // supervised epochs, best validation error by then
  double value = 0.0;                         // objective; NaN until done
  int epochs = 0;                             // supervised ones, at most
  std::string group;                          // only trials of one group are compared: those of the same recordings
};

// Runs pause at rungs, first x factor^k supervised epochs. The rungs that a run has reached stand in its folder
// (rungs.json), so that every decision can be made again after a crash.
class Pruner {
 public:
  virtual ~Pruner() = default;
  // The epoch at which a run of `epochs` that has passed `n` rungs must pause next; 0: none, to the end.
  virtual int next_rung(int n, int epochs) const = 0;
  enum class Verdict { kStay, kContinue, kStop };
  // For each trial; only the verdicts of paused ones count.
  virtual std::vector<Verdict> judge(const std::vector<Trial>&) const = 0;
};
// Asynchronous successive halving (Li et al. 2018, arXiv:1810.05934): a paused run goes on once it is among the best
// 1/factor of those that have reached its rung; others stay paused, to be promoted later. Nothing is thrown away.
std::unique_ptr<Pruner> make_asha(int first, int factor);
// Median stopping (Golovin et al. 2017): stopped when its best is worse than the median of the others' at that rung.
std::unique_ptr<Pruner> make_median(int first, int factor);

// Adds tasks while the sweep runs.
class Proposer {
 public:
  virtual ~Proposer() = default;
  // May append to the tasks; `free`: how many more could start now. Returns whether it added any.
  virtual bool propose(std::vector<Task>& tasks, const std::vector<Trial>&, int free) = 0;
  virtual bool finished() const = 0;  // nothing will be added any more
};
struct Plan;
class DataCatalogue;
// The tree-structured Parzen estimator (Bergstra et al. 2011), one axis at a time. Points proposed are kept in `journal`;
// `added` is called with the tasks and how many there were before, to fill in estimates.
std::unique_ptr<Proposer> make_tpe(const Spec&, Plan&, DataCatalogue&, const std::filesystem::path& journal,
                                   std::function<void(std::vector<Task>&, std::size_t)> added);
// The point in the unit cube that looks best, given points and what came of them (less is better).
std::vector<double> tpe_suggest(const std::vector<std::vector<double>>& points, const std::vector<double>& values,
                                int dimensions, std::uint64_t seed, int index);

}  // namespace cafx
