// datasets/repair/sync.h -- single impulses that some data sets have before and after the music, to be aligned by.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "datasets/pair.h"

namespace cafx {

struct SyncImpulses {
  int before = 0, after = 0;       // how many
  std::size_t begin = 0, end = 0;  // what lies between them, with 50 ms kept from the impulses
};

// An impulse: what is louder than 1 % of its peak lasts at most 10 ms, with 50 ms of silence on either side. Those of
// the first and the last 5 seconds count, while there is nothing but impulses.
SyncImpulses find_sync_impulses(std::span<const float> dry, int rate);
// Leaves dry and wet with what lies between the impulses of dry; returns what was found.
SyncImpulses cut_sync_impulses(Pair&, int rate);

}  // namespace cafx
