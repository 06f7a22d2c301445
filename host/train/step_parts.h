// host/train/step_parts.h -- which frames a step takes, and in which parts.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/optimizer/optimizer.h"
#include "models/cafx/cafx.h"

namespace cafx {

inline int frames_of_step(long step, std::size_t n_frames, int batch) {
  return static_cast<int>(std::min<long>(batch, static_cast<long>(n_frames) - step * batch));
}

// Frames [first, last) of a batch of n, for each part of it; parts differ by one frame at most.
template <class Body>
void over_parts(int n, int parts, Body body) {
  parts = std::min(parts, n);
  for (int k = 0; k < parts; ++k) {
    const auto first = static_cast<int>(static_cast<long>(k) * n / parts);
    body(k, first, static_cast<int>((static_cast<long>(k) + 1) * n / parts));
  }
}

inline std::vector<TensorSpan> spans_of(const CafxModel& model) {
  std::vector<TensorSpan> spans;
  for (const ParamSpec& p : model.params()) spans.push_back({p.offset, p.size});
  return spans;
}

}  // namespace cafx
