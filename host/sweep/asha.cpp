// Pruners: asynchronous successive halving, and median stopping.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "host/sweep/search.h"

namespace cafx {

namespace {

// Epoch of the n-th rung; 0 if the run ends before.
int rung_epoch(int first, int factor, int epochs, int n) {
  long epoch = first;
  for (int i = 0; i < n && epoch < epochs; ++i) epoch *= factor;
  return epoch < epochs ? static_cast<int>(epoch) : 0;
}

// Trials with a known k-th rung, sorted by value; NaN (a failed run) counts as worst.
struct AtRung {
  double value;
  std::size_t trial;
};
std::vector<AtRung> at_rung(const std::vector<Trial>& trials, std::size_t k) {
  std::vector<AtRung> all;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (trials[i].rungs.size() <= k) continue;
    const double v = trials[i].rungs[k].second;
    all.push_back({std::isnan(v) ? std::numeric_limits<double>::infinity() : v, i});
  }
  std::sort(all.begin(), all.end(), [&](const AtRung& a, const AtRung& b) {
    return a.value != b.value ? a.value < b.value : trials[a.trial].task < trials[b.trial].task;
  });
  return all;
}

class Rungs : public Pruner {
 public:
  Rungs(int first, int factor) : first_(first), factor_(factor) {}
  int next_rung(int n, int epochs) const override { return rung_epoch(first_, factor_, epochs, n); }

  std::vector<Verdict> judge(const std::vector<Trial>& trials) const override {
    std::map<std::string, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < trials.size(); ++i) groups[trials[i].group].push_back(i);
    std::vector<Verdict> verdicts(trials.size(), Verdict::kStay);
    for (const auto& [group, members] : groups) {
      std::vector<Trial> alike;
      for (const std::size_t i : members) alike.push_back(trials[i]);
      const auto some = judge_alike(alike);
      for (std::size_t k = 0; k < members.size(); ++k) verdicts[members[k]] = some[k];
    }
    return verdicts;
  }

 protected:
  virtual std::vector<Verdict> judge_alike(const std::vector<Trial>&) const = 0;
  int first_, factor_;
};

class Asha : public Rungs {
 public:
  using Rungs::Rungs;
  bool asynchronous() const override { return true; }

 protected:
  std::vector<Verdict> judge_alike(const std::vector<Trial>& trials) const override {
    std::vector<Verdict> verdicts(trials.size(), Verdict::kStay);
    std::size_t most = 0;
    for (const Trial& t : trials) most = std::max(most, t.rungs.size());
    for (std::size_t k = 0; k < most; ++k) {
      const auto all = at_rung(trials, k);
      const std::size_t n = all.size() / static_cast<std::size_t>(factor_);
      for (std::size_t i = 0; i < n; ++i) {
        // Trials that have continued are no longer at their last rung.
        const std::size_t t = all[i].trial;
        if (trials[t].rungs.size() == k + 1 && trials[t].state == State::kPaused) verdicts[t] = Verdict::kContinue;
      }
    }
    // Too few runs fill a rung: if nothing moves and none has finished, the best one continues to the end.
    const bool all_paused = std::all_of(trials.begin(), trials.end(), [](const Trial& t) {
      return t.state == State::kPaused || t.state == State::kFailed || t.state == State::kBlocked;
    });
    const bool any = std::find(verdicts.begin(), verdicts.end(), Verdict::kContinue) != verdicts.end();
    if (all_paused && !any && most > 0) {
      for (const AtRung& a : at_rung(trials, most - 1)) {
        if (trials[a.trial].state != State::kPaused) continue;
        verdicts[a.trial] = Verdict::kContinue;
        break;
      }
    }
    return verdicts;
  }
};

class Median : public Rungs {
 public:
  using Rungs::Rungs;
  bool asynchronous() const override { return false; }  // a median of few says little

 protected:
  std::vector<Verdict> judge_alike(const std::vector<Trial>& trials) const override {
    constexpr std::size_t kEnough = 4;  // fewest other runs at the rung for a meaningful median
    std::vector<Verdict> verdicts(trials.size(), Verdict::kContinue);
    for (std::size_t i = 0; i < trials.size(); ++i) {
      if (trials[i].state != State::kPaused || trials[i].rungs.empty()) continue;
      const std::size_t k = trials[i].rungs.size() - 1;
      std::vector<double> others;
      for (const AtRung& a : at_rung(trials, k)) {
        if (a.trial != i) others.push_back(a.value);
      }
      if (others.size() < kEnough) continue;
      const double median = others[(others.size() - 1) / 2], own = trials[i].rungs[k].second;
      if (!(own <= median)) verdicts[i] = Verdict::kStop;
    }
    return verdicts;
  }
};

}  // namespace

std::unique_ptr<Pruner> make_asha(int first, int factor) { return std::make_unique<Asha>(first, factor); }

std::unique_ptr<Pruner> make_median(int first, int factor) { return std::make_unique<Median>(first, factor); }

}  // namespace cafx
