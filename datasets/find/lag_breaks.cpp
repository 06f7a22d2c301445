// Where lags jump, and what lies at another lag at either end.
#include <algorithm>
#include <cmath>

#include "datasets/find/lag_job.h"
#include "datasets/find/lag_steps.h"

namespace cafx {

namespace {

constexpr double kLiesElsewhere = 8.0;  // samples
constexpr double kEdgeMargin = 0.4;     // a window at an end, alone, stands out by this
constexpr double kWitness = 0.15;       // the peak of a short frame stands out by this
constexpr double kClear = 0.3;          // that of a window
constexpr long kBeside = 448;           // samples to either side of a lag: over a period of a bass
constexpr long kShortest = 1536;        // samples of a frame
constexpr int kInARow = 3;              // frames that agree are no accident

struct Frame {
  double begin = 0.0, end = 0.0;
  bool after = false, clear = true;  // clear: one peak stands out
  double gain = 0.0;                 // of the lag before over that after, by its energy
  double middle() const { return 0.5 * (begin + end); }
};

// The matched correlation of dry[at, at + n) at the lags first .. last.
std::vector<float> frame_match(const Job& job, Matcher& match, std::span<const float> taper, long at, long first,
                               long last) {
  const auto n = static_cast<long>(taper.size());
  std::vector<float> dry = stretch_of(job.dry, at, n);
  for (std::size_t k = 0; k < taper.size(); ++k) dry[k] *= taper[k];
  const std::vector<float> wet = stretch_of(job.wet, at + first, n + last - first);
  const std::size_t size = fft_size(wet.size());
  return match(make_take(dry.data(), dry.size(), wet.data(), wet.size(), size), 0, last - first);
}

// At which of both lags the frame lies.
Frame ask(const Job& job, Matcher& match, std::span<const float> taper, long at, const Jump& jump) {
  const double t = static_cast<double>(at) + 0.5 * static_cast<double>(taper.size());
  const double lags[2] = {jump.before + jump.slope * t, jump.after + jump.slope * t};
  const double apart = std::abs(lags[1] - lags[0]);
  const double near = std::min(3.0, 0.3 * apart), own = std::clamp(0.5 * apart, 2.0, 8.0);
  double height[2] = {0.0, 0.0}, elsewhere[2] = {0.0, 0.0};
  const bool together = apart <= 2.0 * kBeside;
  std::vector<float> r;
  long first = 0;
  for (int side = 0; side < 2; ++side) {
    if (!together || side == 0) {
      const double lo = together ? std::min(lags[0], lags[1]) : lags[side];
      first = std::lround(lo) - kBeside;
      r = frame_match(job, match, taper, at, first,
                      std::lround(together ? std::max(lags[0], lags[1]) : lags[side]) + kBeside);
    }
    const double place = lags[side] - static_cast<double>(first);
    for (std::size_t k = 0; k < r.size(); ++k) {
      const double off = std::abs(static_cast<double>(k) - place), v = static_cast<double>(r[k]);
      if (off <= std::max(near, 1.0)) height[side] = std::max(height[side], v);
      if (off > own) elsewhere[side] = std::max(elsewhere[side], v);
    }
  }
  const int side = height[1] > height[0] ? 1 : 0;
  const double second = together ? elsewhere[side] : std::max({elsewhere[side], elsewhere[1 - side], height[1 - side]});
  const auto size = static_cast<long>(taper.size());
  Frame frame{static_cast<double>(at), static_cast<double>(at + size), side == 1, true, height[0] - height[1]};
  frame.clear = height[side] > 0.0 && second <= (1.0 - kWitness) * height[side];
  frame.gain *= std::sqrt(energy(job.dry, at, size));
  return frame;
}

// The place in [a, b] that most of the frames' correlations speak for.
double likeliest(const std::vector<Frame>& frames, double a, double b) {
  double place = 0.5 * (a + b), sum = 0.0, most = -1e300, before = a;
  for (const Frame& f : frames) {
    if (f.middle() < a || f.middle() > b) continue;
    if (sum > most) {
      most = sum;
      place = 0.5 * (before + f.middle());
    }
    before = f.middle();
    sum += f.gain;
  }
  return sum > most ? 0.5 * (before + b) : place;
}

// Where most frames agree; all between the nearest three in a row on either side is uncertain.
Break between(std::vector<Frame> frames, double from, double to, bool& sure) {
  std::sort(frames.begin(), frames.end(), [](const Frame& a, const Frame& b) { return a.middle() < b.middle(); });
  const auto n = static_cast<long>(frames.size());
  long best = 0, agree = std::count_if(frames.begin(), frames.end(), [](const Frame&f) { return f.after; });
  for (long i = 0, now = agree; i < n; ++i) {
    now += frames[static_cast<std::size_t>(i)].after ? -1 : 1;
    if (now > agree) {
      agree = now;
      best = i + 1;
    }
  }
  // The nearest of three in a row.
  const auto nearest = [&](long begin, long step, bool after) -> const Frame* {
    const Frame* first = nullptr;
    int in_a_row = 0;
    for (long i = begin; i >= 0 && i < n; i += step) {
      const Frame& f = frames[static_cast<std::size_t>(i)];
      if (f.after != after) {
        in_a_row = 0;
        continue;
      }
      if (in_a_row++ == 0) first = &f;
      if (in_a_row == kInARow) return first;
    }
    return nullptr;
  };
  const Frame *left = nearest(best - 1, -1, false), *right = nearest(best, 1, true);
  sure = left && right;
  const double a = left ? left->begin : from, b = right ? right->end : to;
  return {0.5 * (a + b), 0.5 * std::abs(b - a)};
}

}  // namespace

double lag_beside(const std::vector<WindowLag>& lags, std::size_t nearest, int step, double slope, double t) {
  constexpr std::size_t kNearest = 7;
  std::vector<double> v;
  for (std::size_t i = nearest; i < lags.size() && v.size() < kNearest; i += static_cast<std::size_t>(step)) {
    if (lags[i].segment != lags[nearest].segment) break;
    v.push_back(lags[i].lag + slope * (t - lags[i].t));
  }
  std::nth_element(v.begin(), v.begin() + static_cast<long>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

// Frames of a tenth and of four tenths of a second (at 16 kHz), and of a whole one where these say too little. Those of
// which one peak stands out at one of both lags are witnesses; a tone that fits a period away as well is none.
Break find_break(const Job& job, Matcher& match, double from, double to, const Jump& jump, bool& sure) {
  from = std::max(0.0, from);
  to = std::min(to, static_cast<double>(job.dry.size()));
  std::vector<Frame> frames, shortest;
  const auto look = [&](std::size_t length) {
    const std::vector<float> taper = taper_of(length);
    const auto size = static_cast<long>(length), hop = size / 4;
    double most = 0.0;
    for (long at = std::lround(from); at + size <= std::lround(to); at += hop)
      most = std::max(most, energy(job.dry, at, size));
    for (long at = std::lround(from); at + size <= std::lround(to); at += hop) {
      if (energy(job.dry, at, size) < 1e-4 * most) continue;
      const Frame frame = ask(job, match, taper, at, jump);
      if (frame.clear) frames.push_back(frame);
      if (size == kShortest) shortest.push_back(frame);
    }
  };
  look(kShortest);
  look(4 * kShortest);
  Break found = between(frames, from, to, sure);
  if (!sure) {
    look(job.length);
    found = between(frames, from, to, sure);
  }
  const double a = found.at - found.margin, b = found.at + found.margin, place = likeliest(shortest, a, b);
  return {place, std::max(place - a, b - place)};
}

Doubt doubt(const Job& job, std::size_t window, double lag, Matcher& match) {
  const long reach = static_cast<long>(job.length);
  const auto r = match(take_of(job, window, {lag, 0.0}, 0.0, reach), 0, 2 * reach);
  const auto top = static_cast<std::size_t>(std::max_element(r.begin(), r.end()) - r.begin());
  const float there = *std::max_element(r.begin() + (reach - 3), r.begin() + (reach + 4));
  return {static_cast<double>(top) - static_cast<double>(reach), standing_out(r, top),
          r[top] > 0.0f ? static_cast<double>(there / r[top]) : 1.0};
}

std::vector<End> find_elsewhere(const Job& job, const std::vector<Doubt>& doubts) {
  constexpr double kConfirmed = 0.95, kSame = 4.0, kAlone = 0.6;
  std::vector<End> found;
  const std::size_t n = doubts.size();
  if (n < 8) return found;
  const auto off = [&](std::size_t i) { return std::abs(doubts[i].by) > kLiesElsewhere && doubts[i].margin >= kClear; };
  const auto end = static_cast<double>(job.dry.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (!off(i)) continue;
    std::size_t last = i;
    for (std::size_t k = i + 1; k < n && (off(k) || doubts[k].there < kConfirmed); ++k) {
      if (off(k) && std::abs(doubts[k].by - doubts[i].by) <= kSame) last = k;
    }
    const bool at_end = i == 0 || i + 1 == n;
    if (last == i && doubts[i].margin < (at_end ? kEdgeMargin : kAlone)) continue;
    std::size_t before = i, after = last;
    while (before > 0 && (off(before) || doubts[before].there < kConfirmed)) --before;
    while (after + 1 < n && (off(after) || doubts[after].there < kConfirmed)) ++after;
    const bool from_start = before == 0 && doubts[0].there < kConfirmed,
               to_end = after + 1 == n && doubts[n - 1].there < kConfirmed;
    const double from = from_start ? 0.0 : job.middle(before), to = to_end ? end : job.middle(after);
    found.push_back({0.5 * (from + to), 0.5 * (to - from), from_start || to_end});
    i = after;
  }
  return found;
}

}  // namespace cafx
