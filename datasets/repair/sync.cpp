#include "datasets/repair/sync.h"

#include <algorithm>
#include <cmath>

namespace cafx {

namespace {

constexpr double kSyncReach = 5.0, kSyncSilence = 0.05, kSyncLength = 0.01;  // seconds
constexpr float kSyncQuiet = 0.01f;                                          // of the impulse

// Impulses from the front of x until anything else sounds: how many, and the sample behind the last one's silence.
std::pair<int, std::size_t> leading_impulses(const std::vector<float>& x, int rate) {
  const auto samples = [&](double seconds) { return static_cast<std::size_t>(seconds * rate); };
  const std::size_t reach = std::min(x.size() / 2, samples(kSyncReach)), silence = samples(kSyncSilence),
                    length = samples(kSyncLength);
  float loudest = 0.0f;
  for (const float v : x) loudest = std::max(loudest, std::abs(v));
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

SyncImpulses find_sync_impulses(const std::vector<float>& dry, int rate) {
  SyncImpulses found;
  const auto [before, begin] = leading_impulses(dry, rate);
  const auto [after, end] = leading_impulses({dry.rbegin(), dry.rend()}, rate);
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
  for (std::vector<float>* side : {&pair.dry, &pair.wet}) {
    const std::size_t end = std::min(found.end, side->size()), begin = std::min(found.begin, end);
    side->erase(side->begin() + static_cast<long>(end), side->end());
    side->erase(side->begin(), side->begin() + static_cast<long>(begin));
  }
  return found;
}

}  // namespace cafx
