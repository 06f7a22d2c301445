// host/report/knobs.h -- the knobs of a model, to be heard: one note at positions of each knob, the others at their
// start.
#pragma once

#include <string>
#include <vector>

#include "models/model.h"

namespace cafx {

inline constexpr int kHeardPositions = 7;     // of a continuous knob, from end to end
inline constexpr double kHeardSeconds = 2.0;  // of the note

// A slider for each knob over audio players, which a reader without scripts sees in a row; empty for a model without
// knobs. x: a dry note at the model's rate. The model's position is as it was afterwards.
std::string knobs_section(Model&, const std::string& note, const std::vector<float>& x, int hop);

}  // namespace cafx
