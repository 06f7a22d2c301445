// host/sweep/search.h -- rules that end runs early, and searches that add runs while the sweep runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/sweep/task.h"

namespace cafx {

// The view of a training run for pruners and proposers.
struct Trial {
  int task = 0;
  State state = State::kQueued;
  std::vector<std::pair<int, double>> rungs;  // supervised epochs, best validation error by then
  double value = 0.0;                         // objective; NaN until done
  int epochs = 0;                             // supervised ones, at most
  std::string group;                          // only trials of one group are compared: same recordings, same measure
};

// Runs pause at rungs, first x factor^k supervised epochs. Reached rungs are stored in the run's folder
// (rungs.json), so that every decision can be repeated after a crash.
class Pruner {
 public:
  virtual ~Pruner() = default;
  // The epoch at which a run of `epochs` that has passed `n` rungs must pause next; 0: none, to the end.
  virtual int next_rung(int n, int epochs) const = 0;
  // Whether a run goes on as soon as it may; else only when all that train beside it have come to its rung.
  virtual bool asynchronous() const = 0;
  enum class Verdict { kStay, kContinue, kStop };
  // One verdict for each trial; only those of paused ones are used.
  virtual std::vector<Verdict> judge(const std::vector<Trial>&) const = 0;
};
// Asynchronous successive halving (Li et al. 2018, arXiv:1810.05934): a paused run continues once it is among the best
// 1/factor of those that have reached its rung; others stay paused and may be promoted later. No work is thrown away.
std::unique_ptr<Pruner> make_asha(int first, int factor);
// Median stopping (Golovin et al. 2017): stops a run whose best is worse than the median of the others at that rung.
std::unique_ptr<Pruner> make_median(int first, int factor);

// Adds tasks while the sweep runs.
class Proposer {
 public:
  virtual ~Proposer() = default;
  // May append tasks; `free`: how many more could start now. Returns whether it added any.
  virtual bool propose(std::vector<Task>& tasks, const std::vector<Trial>&, int free) = 0;
  virtual bool finished() const = 0;  // no more tasks will be added
};
struct Plan;
class DataCatalogue;
// The tree-structured Parzen estimator (Bergstra et al. 2011), one axis at a time. Points proposed are kept in
// `journal`; `added` is called with the tasks and how many there were before, to fill in estimates.
std::unique_ptr<Proposer> make_tpe(const Spec&, Plan&, DataCatalogue&, const std::filesystem::path& journal,
                                   std::function<void(std::vector<Task>&, std::size_t)> added);
// The most promising point in the unit cube, given points and their values (less is better).
std::vector<double> tpe_suggest(const std::vector<std::vector<double>>& points, const std::vector<double>& values,
                                int dimensions, std::uint64_t seed, int index);

}  // namespace cafx
