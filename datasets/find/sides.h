// datasets/find/sides.h -- what the levels of dry and wet tell about the whole data set: sides that were swapped, files
// that were normalised one by one, drop-outs. All are warnings: an effect may do the same.
#pragma once

#include <vector>

#include "datasets/find/lags.h"
#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

// Devices that bend the signal compress it, flatten its tops and add overtones. Where wet has more dynamic than dry,
// higher tops and a duller sound, all three clearly, dry looks like the device's output. A linear effect cannot be
// told.
void tell_swapped_by_sound(const std::vector<Pair>&, const Lags&, int rate, std::vector<Finding>&);

// Wet files whose peaks are equal although those of their dry files are not: the device's gain then differs from file
// to file. Tops cut flat are equal too, and are not meant.
void tell_normalised(const std::vector<Pair>&, std::vector<Finding>&);

// Wet is silent for 5 to 500 ms, from one sample to the next, while dry plays on: a block that was lost in place.
void tell_dropouts(const Pair&, const PairLag&, int rate, std::vector<Finding>&);

}  // namespace cafx
