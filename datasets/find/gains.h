// datasets/find/gains.h -- pairs of one device that should be alike, held against one another.
#pragma once

#include <string>
#include <vector>

#include "datasets/find/lags.h"
#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

inline constexpr std::size_t kFewAlike = 5;  // pairs: of fewer none is held against the others

// Setting and knobs: pairs of one kind went through the same device alike.
std::string kind_of(const Pair&);

// Notes to which the device gives another gain, in the same bands, than to others of their kind that are about as loud.
void tell_gains(const std::vector<Pair>&, const Lags&, int rate, std::vector<Finding>&);

}  // namespace cafx
