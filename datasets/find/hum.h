// datasets/find/hum.h -- the hum of the mains in wet, and wet that plays on where dry is silent.
#pragma once

#include <vector>

#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

// A tone of 50 or 60 Hz that sounds all along wet, and in dry does not: no model can learn it, and errors count it. Of
// recordings of kLongSeconds and more.
void tell_hum(const Pair&, int rate, std::vector<Finding>&);

// Dry is silent for a while, in which wet plays about as loud as elsewhere for a second and more: a tail that dies away
// is the device's. Of long recordings too.
void tell_muted(const Pair&, long lag, int rate, std::vector<Finding>&);

}  // namespace cafx
