#include "datasets/repair/sync.h"

#include <algorithm>
#include <cmath>

namespace cafx {

namespace {

constexpr double kSyncReach = 5.0, kSyncSilence = 0.05, kSyncLength = 0.01;  // seconds
constexpr float kSyncQuiet = 0.01f;                                          // of the impulse

// Impulses from the front of x until anything else sounds: how many, and the sample behind the last one's silence. x is
// the beginning of a recording of `whole` samples whose highest magnitude is `loudest`.
std::pair<int, std::size_t> leading_impulses(std::span<const float> x, std::size_t whole, float loudest, int rate) {
  const auto samples = [&](double seconds) { return static_cast<std::size_t>(seconds * rate); };
  const std::size_t reach = std::min(whole / 2, samples(kSyncReach)), silence = samples(kSyncSilence),
                    length = samples(kSyncLength);
  int n = 0;
  std::size_t at = 0, behind = 0;
  while (at < reach) {
    while (at < reach && std::abs(x[at]) <= kSyncQuiet * loudest) ++at;
    if (at + length + silence > x.size() || at == reach) break;
    float peak = 0.0f;
    for (std::size_t i = at; i < at + length; ++i) peak = std::max(peak, std::abs(x[i]));
    const bool alone =
        std::all_of(x.begin() + static_cast<long>(at + length), x.begin() + static_cast<long>(at + length + silence),
                    [&](float v) { return std::abs(v) <= kSyncQuiet * peak; });
    if (!alone) break;
    ++n;
    at = behind = at + length + silence;
  }
  return {n, behind};
}

}  // namespace

SyncImpulses find_sync_impulses(std::span<const float> dry, int rate) {
  SyncImpulses found;
  float loudest = 0.0f;
  for (const float v : dry) loudest = std::max(loudest, std::abs(v));
  const auto near = std::min(dry.size(), static_cast<std::size_t>((kSyncReach + 1.0) * rate));
  const auto last = dry.last(near);
  const std::vector<float> backwards(last.rbegin(), last.rend());
  const auto [before, begin] = leading_impulses(dry.first(near), dry.size(), loudest, rate);
  const auto [after, end] = leading_impulses(backwards, dry.size(), loudest, rate);
  found.before = before;
  found.after = after;
  found.begin = begin;
  found.end = dry.size() - end;
  if (found.begin >= found.end) return {0, 0, 0, dry.size()};
  return found;
}

SyncImpulses cut_sync_impulses(Pair& pair, int rate) {
  const SyncImpulses found = find_sync_impulses(pair.dry, rate);
  if (found.before + found.after == 0) return found;
  for (SharedRecording* side : {&pair.dry, &pair.wet}) {
    Recording& x = side->edit();
    const std::size_t end = std::min(found.end, x.size()), begin = std::min(found.begin, end);
    x.erase(x.begin() + static_cast<long>(end), x.end());
    x.erase(x.begin(), x.begin() + static_cast<long>(begin));
  }
  return found;
}

}  // namespace cafx
