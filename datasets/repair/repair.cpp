#include "datasets/repair/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace cafx {

namespace {

void repair_side(SharedRecording& side, const SidePlan& plan, int rate) {
  if (plan.baseline.empty() && plan.dc == 0.0 && plan.gain == 1.0) return;
  Recording& x = side.edit();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dc = plan.baseline.empty() ? plan.dc : baseline_at(plan.baseline, i, rate);
    x[i] = static_cast<float>((static_cast<double>(x[i]) - dc) * plan.gain);
  }
}

// dry[begin, end) with wet at `lag`, cut to what both have.
Pair stretch(const Pair& whole, long begin, long end, long lag) {
  Pair p = without_audio(whole);
  begin = std::max({begin, 0L, -lag});
  end = std::min({end, static_cast<long>(whole.dry.size()), static_cast<long>(whole.wet.size()) - lag});
  if (end > begin) {
    p.dry = Recording(whole.dry.begin() + begin, whole.dry.begin() + end);
    p.wet = Recording(whole.wet.begin() + begin + lag, whole.wet.begin() + end + lag);
  }
  return p;
}

// Moves wet by `lag` samples (positive: it is late) and cuts both to what they share.
void align(Pair& p, long lag) {
  SharedRecording &late = lag > 0 ? p.wet : p.dry, &early = lag > 0 ? p.dry : p.wet;
  const auto by = static_cast<std::size_t>(std::abs(lag));
  if (late.size() <= by) return;
  Recording& moved = late.edit();
  moved.erase(moved.begin(), moved.begin() + static_cast<long>(by));
  const std::size_t n = std::min(late.size(), early.size());
  late.resize(n);
  early.resize(n);
}

}  // namespace

void repair(std::vector<Pair>& pairs, const RepairPlan& plan, int rate) {
  CAFX_CHECK(plan.pairs.size() == pairs.size(), plan.pairs.size(), pairs.size());
  std::vector<Pair> repaired;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    Pair& p = pairs[i];
    const PairPlan& todo = plan.pairs[i];
    repair_side(p.dry, todo.dry, rate);
    repair_side(p.wet, todo.wet, rate);
    if (todo.ppm != 0.0) p.wet = resample(p.wet, 1.0 + 1e-6 * todo.ppm, 1.0);
    if (todo.steps.empty()) {
      if (const long lag = std::lround(todo.latency)) align(p, lag);
      repaired.push_back(std::move(p));
      continue;
    }
    double lag = todo.latency;
    long begin = 0;
    for (std::size_t s = 0; s <= todo.steps.size(); ++s) {
      const bool last = s == todo.steps.size();
      const long margin = last ? 0 : std::lround(todo.steps[s].margin * rate);
      long end = static_cast<long>(p.dry.size());
      for (std::size_t k = s; k < todo.steps.size(); ++k) {  // what is left out may overlap
        end = std::min(end, std::lround((todo.steps[k].seconds - todo.steps[k].margin) * rate));
      }
      Pair part = stretch(p, begin, end, std::lround(lag));
      part.offset_seconds = p.offset_seconds + static_cast<double>(begin) / rate;
      part.name = s == 0 ? p.name : fmt::format("{}@{:.3f}", p.name, part.offset_seconds);
      if (part.dry.size() >= 64) repaired.push_back(std::move(part));
      if (last) break;
      begin = std::max(begin, std::lround(todo.steps[s].seconds * rate) + margin);
      lag += todo.steps[s].samples;
    }
  }
  pairs = std::move(repaired);
}

}  // namespace cafx
