// datasets/find/lags.h -- how the wet files of a data set lie in time, and which of them are not of their dry file.
//
//   Notes (under 6 s) of one take have one lag: correlations of all together peak there, where single bass notes peak
//   up to a period off. A note whose own peak stands out elsewhere, with the response that the others share taken out,
//   has a lag of its own. Where most do, they were cut by hand, and each is asked alone, with a response that is found
//   from all. Longer recordings are looked at one by one (find/lag.h).
#pragma once

#include <string>
#include <vector>

#include "datasets/config.h"
#include "datasets/find/lag.h"
#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

struct PairLag {
  Lag lag;
  bool heard = false;       // both sides hold sound
  bool mismatched = false;  // of another take: nothing can be said of its lag
  bool alone = false;       // its lag is its own, not that of all notes
  bool asked_long = false;  // looked at in windows
};

struct Lags {
  std::vector<PairLag> pairs;
  // Of the notes together:
  int n_notes = 0, n_agree = 0;
  double common = 0.0, standing_out = 0.0;
  bool common_sure = false;
  bool phase = false;             // the common lag is one that is left to the model (find/onset.h)
  bool by_hand = false;           // notes have lags of their own
  bool apart = false;             // they have, and whose is which cannot be told
  double polarity = 0.0;          // -1 .. 1, of the correlations at the lags that are sure; below -0.7: inverted
  std::vector<Finding> findings;  // mismatches and wrong rates
};

// `levels_good[i]`: both sides of the pair are finite and not silent.
Lags find_lags(const std::vector<Pair>&, const std::vector<bool>& levels_good, const DataConfig&, int rate);

}  // namespace cafx
