// datasets/positions.h -- whether training hears the knobs of data.knobs where a model is asked to play them.
#pragma once

#include <string>
#include <vector>

#include "datasets/config.h"
#include "datasets/finding.h"
#include "datasets/pair.h"
#include "datasets/split.h"
#include "kernels/base/knobs.h"

namespace cafx {

// Where the knob stands by what a name or a table says; a comma between digits is the point of a number. Errors: as
// value_of of kernels/base/knobs.h.
double value_in(const Knob&, const KnobValue&, const std::string& where);

// Refused where all of training has a knob at one position: nothing tells what it does. Warned of: a switch's position
// without a recording in training, a range that reaches beyond training's positions by more than half of what these
// span, and recorded ends of a knob that training lacks.
std::vector<Finding> check_positions(const Dataset&, const Split&, const DataConfig&);

}  // namespace cafx
