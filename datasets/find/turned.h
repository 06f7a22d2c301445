// datasets/find/turned.h -- how alike responses are, and where a recording is turned over part-way.
#pragma once

#include <cstddef>
#include <vector>

#include "datasets/find/take.h"

namespace cafx {

// How much each is like what all have in common, the first principal component: -1 .. 1, most of them positive.
std::vector<double> likeness_to_all(std::vector<std::vector<float>>);

// The windows, by index, from which on the sign of a recording is another than before; none where it is not sure. `r`
// are the correlations of the takes, `peak` the index of all that their common peak has.
//
// A cable or an edit turns all frequencies over at once, from one window to the next, and for long. What turns the
// phase of a part of them (a filter between low and high notes), slowly (a phaser, a shifter of frequencies) or now and
// then (a distortion of single notes) is a device.
std::vector<std::size_t> find_turns(const std::vector<Take>&, const std::vector<std::vector<float>>& r,
                                    std::size_t peak);

}  // namespace cafx
