// datasets/find/hum.h -- the hum of the mains in wet.
#pragma once

#include <vector>

#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

// A tone of 50 or 60 Hz that sounds all along wet, and in dry does not: no model can learn it, and errors count it. Of
// recordings of kLongSeconds and more. Whether it was told.
bool tell_hum(const Pair&, int rate, std::vector<Finding>&);

}  // namespace cafx
