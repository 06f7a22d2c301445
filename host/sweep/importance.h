// host/sweep/importance.h -- which settings influence the objective: functional ANOVA over a random forest.
//
//   64 regression trees learn the objective from the settings. A tree is constant on boxes, so its mean over all other
//   settings, as a function of one, is exact. The variance of that function over the tree's whole variance is the share
//   of this setting alone. The remainder to 1 is due to interactions of settings.
//
// Source   Hutter, Hoos, Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "host/sweep/results.h"

namespace cafx {

// A setting as a coordinate. Words, and numbers with at most 16 values, are levels at equal distances; others are
// placed between their least and greatest value, on a logarithmic scale where they span a factor of 30 or more.
struct Parameter {
  std::string name;
  std::vector<double> at;                             // for each row, in [0, 1]
  std::vector<std::pair<double, std::string>> ticks;  // position and label
};
// Of training runs; settings that are the same in all rows are left out. A conditional setting that is inactive in a
// run is a level of its own, "-".
std::vector<Parameter> parameters_of(const std::vector<const Row*>&);

// Share of each setting alone, 0 to 1. x[i][r]: setting i of run r, in [0, 1]; y[r]: finite. Deterministic.
// Empty for fewer than 8 runs, or if all results are equal.
std::vector<double> importance(const std::vector<std::vector<double>>& x, const std::vector<double>& y,
                               std::uint64_t seed = 1);

}  // namespace cafx
