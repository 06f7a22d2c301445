// datasets/find/rate.h -- headers that state a rate which the file does not have.
#pragma once

#include <optional>
#include <vector>

#include "datasets/pair.h"

namespace cafx {

struct WrongRate {
  bool wet = true;  // whose header
  int stated = 0, true_rate = 0;
  double match = 0.0;  // correlation with the other side at the true rate, whitened to the power 0.5
};

// Evidence is content alone: at the true rate the sides correlate as those of one take, and clearly better than
// `as_is`, and at least by `least`. `usual`, the rate of most files, decides whose header is wrong where it could
// be either's. Lengths only choose which rates are tried first.
std::optional<WrongRate> find_wrong_rate(const Pair&, double as_is, double least, int usual, int rate);

// The rate that most files state; dry files decide between equals.
int usual_rate(const std::vector<Pair>&);

}  // namespace cafx
