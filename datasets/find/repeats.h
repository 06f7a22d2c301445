// datasets/find/repeats.h -- whether a stretch of audio is in another one too, at whatever level and place.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace cafx {

struct Repeat {
  int of = -1;            // index in `where`; -1: found nowhere
  double likeness = 0.0;  // correlation at the best place, 0 .. 1
};

// For each of `what`, the one of `where` that holds the same audio: over half of the shorter one agrees up to a gain,
// to -23 dB, from 100 Hz to 3 kHz with their spectra evened out by a first difference. Those with another spectrum are
// not looked at.
std::vector<Repeat> find_repeats(const std::vector<std::span<const float>>& what,
                                 const std::vector<std::span<const float>>& where, int rate);

}  // namespace cafx
