// datasets/repair/repair.h -- does what the plan says, and nothing else.
//
//   Of each side  x = gain (x - dc)
//   Drift         wet is resampled by libsoxr so that both run at dry's clock
//   Latency       the late side loses its beginning, by whole samples
//   Steps         the pair becomes several, one for each stretch of constant lag; the step's margin on both sides of
//                 the place belongs to none
// Pairs without a plan keep their bits.
#pragma once

#include <vector>

#include "datasets/plan.h"

namespace cafx {

void repair(std::vector<Pair>&, const RepairPlan&, int sample_rate);

}  // namespace cafx
