// host/train/frames.h -- the frames that a model trains on, over the concatenated audio of all pairs.
#pragma once

#include <vector>

#include "datasets/dataset.h"
#include "kernels/frames/frames.h"

namespace cafx {

struct FrameSet {
  std::vector<float> dry, wet;
  std::vector<FrameRef> refs;
};
// Of the pairs `which`, at every `hop` samples; those in which dry and wet stay below silence_db are left out.
FrameSet make_frames(const Dataset&, const std::vector<int>& which, int frame, int hop, double silence_db);

}  // namespace cafx
