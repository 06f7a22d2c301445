#include "host/train/frames.h"

#include <algorithm>
#include <cmath>

namespace cafx {

FrameSet make_frames(const Dataset& data, const std::vector<int>& which, int frame, int hop, double silence_db) {
  FrameSet set;
  const double quiet = std::pow(10.0, silence_db / 20.0);
  for (const int i : which) {
    const Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    const auto begin = static_cast<std::int64_t>(set.dry.size()), n = static_cast<std::int64_t>(pair.dry.size());
    set.dry.insert(set.dry.end(), pair.dry.begin(), pair.dry.end());
    set.wet.insert(set.wet.end(), pair.wet.begin(), pair.wet.end());
    // The first frame still holds sample 0, the last one sample n - 1, as in rendering.
    for (std::int64_t start = -static_cast<std::int64_t>(frame - hop); start < n; start += hop) {
      const std::int64_t from = std::max<std::int64_t>(start, 0), to = std::min<std::int64_t>(start + frame, n);
      const auto loud = [&](const std::vector<float>& x) {
        return std::any_of(x.begin() + from, x.begin() + to, [&](float v) { return std::abs(v) >= quiet; });
      };
      if (loud(pair.dry) || loud(pair.wet)) set.refs.push_back({begin + start, begin, begin + n});
    }
  }
  return set;
}

}  // namespace cafx
