// datasets/find/silence.h -- silence of one side, held against the other: a pause, a muted track, or a device that gave
// nothing.
#pragma once

#include <vector>

#include "datasets/find/lags.h"
#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

// One side silent for a second and more in all, while the other plays on. Where an effect is silent by itself, as a
// gate, dry is quieter there than where it sounds.
void tell_muted(const Pair&, const Lag&, int rate, std::vector<Finding>&);

// A long pause of both sides, or of one beside which the other is quiet.
void tell_pauses(const Pair&, const Lag&, bool wet, int rate, std::vector<Finding>&);

// What sounds in wet where dry pauses, as loud at the end of a pause as in all others: noise.
void tell_noise(const Pair&, const Lag&, int rate, std::vector<Finding>&);

}  // namespace cafx
