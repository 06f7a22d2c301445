#include "host/train/reels.h"

#include <malloc.h>

#include <algorithm>

namespace cafx {

namespace {

constexpr std::size_t kTrimBytes = 64 << 20;

// Memory freed in the middle of the heap stays with the process until malloc_trim.
void give_back_freed() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

bool holds(const Reel& reel, const std::vector<SharedRecording*>& recordings) {
  const float* at = reel.samples.get();
  for (const SharedRecording* x : recordings) {
    if (x->data() != at && !std::equal(x->begin(), x->end(), at)) return false;
    at += x->size();
  }
  return true;
}

}  // namespace

Reel Reels::of(const std::vector<SharedRecording*>& recordings) {
  std::size_t n = 0;
  for (const SharedRecording* x : recordings) n += x->size();
  for (const Reel& reel : reels_) {
    if (reel.n == n && holds(reel, recordings)) return reel;
  }
  const std::shared_ptr<float[]> samples(new float[n]);  // pages come to be as they are written
  std::size_t at = 0, freed = 0;
  for (SharedRecording* x : recordings) {
    std::copy(x->begin(), x->end(), samples.get() + at);
    x->move_to(std::shared_ptr<const float>(samples, samples.get() + at));
    at += x->size();
    freed += x->size() * sizeof(float);
    if (freed < kTrimBytes) continue;
    give_back_freed();
    freed = 0;
  }
  give_back_freed();
  reels_.push_back({samples, n});
  return reels_.back();
}

}  // namespace cafx
