// host/train/reels.h -- recordings joined end to end in memory, as training reads them, each list of them once.
//
//   A reel takes the samples over: the recordings, and all that share with them (datasets/recording.h), read them there
//   from then on, so that audio is never held twice.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "datasets/recording.h"

namespace cafx {

struct Reel {
  std::shared_ptr<const float[]> samples;
  std::size_t n = 0;
};

class Reels {
 public:
  // The reel that holds these recordings, in this order: one of before, or a new one.
  Reel of(const std::vector<SharedRecording*>& recordings);

 private:
  std::vector<Reel> reels_;
};

}  // namespace cafx
