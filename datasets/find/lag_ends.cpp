// Whether a recording's ends lie at the lag of the rest: a step near an end leaves too few windows to be a segment.
#include <algorithm>
#include <cmath>

#include "datasets/find/lag_job.h"
#include "datasets/find/lag_steps.h"
#include "datasets/find/statistics.h"

namespace cafx {

namespace {

constexpr double kLookSeconds = 4.5;     // from an end inwards
constexpr double kMostSlope = 3e-3;      // of the lag: more is another speed
constexpr double kQuietFrame = 1e-5;     // of the loudest frame's energy: says nothing
constexpr std::size_t kLeastFrames = 2;  // frames, which overlap by three quarters
constexpr long kNearLag = 3, kBesideTop = 8;
// By how much the sum at the lag of the rest falls short of its peak, times the root of the number of frames; and the
// same for a peak that stands out from all others as well. The greatest of 350 sound ends: 1.32 and .81.
constexpr double kSureThere = 1.9, kSurePeak = 1.2, kDoubtThere = 0.8, kDoubtPeak = 0.45;

// Frames of three eighths of a second from an end inwards, the outermost first: matched correlations at the lag of the
// rest, and `reach` to either side.
struct EndFrames {
  Job job;
  std::vector<std::vector<float>> r;
};

EndFrames frames_from(bool front, const Job& job, Matcher& match, const Course& rest, long reach) {
  EndFrames frames{Job(job.dry, job.wet, 3 * job.length / 8), {}};
  const auto size = static_cast<long>(frames.job.length), hop = size / 4, n = static_cast<long>(job.dry.size());
  double most = 0.0;
  for (long at = 0; at + size <= n; at += hop) most = std::max(most, energy(job.dry, at, size));
  const auto look = std::min(n - size, std::lround(kLookSeconds * static_cast<double>(job.length)));
  for (long inwards = 0; inwards <= look; inwards += hop) {
    const long at = front ? inwards : n - size - inwards;
    const long here = at + std::lround(rest.at(static_cast<double>(at) + 0.5 * static_cast<double>(size)));
    if (here < 0 || here + size > static_cast<long>(job.wet.size())) continue;  // not recorded
    if (energy(job.dry, at, size) < kQuietFrame * most) continue;
    frames.job.begin.push_back(static_cast<std::size_t>(at));
    frames.r.push_back(match(take_of(frames.job, frames.job.begin.size() - 1, rest, 0.0, reach), 0, 2 * reach));
  }
  return frames;
}

float height_near(std::span<const float> r, long at) {
  const auto first = r.begin() + std::max(0L, at - kNearLag);
  return *std::max_element(first, r.begin() + std::min(static_cast<long>(r.size()), at + kNearLag + 1));
}

struct Evidence {
  double there = 0.0, peak = 0.0;  // as kSureThere and kSurePeak say
  long at = 0;                     // of the peak
};

Evidence weigh(std::span<const float> sum, std::size_t n_frames, long reach) {
  const long top = std::max_element(sum.begin(), sum.end()) - sum.begin();
  if (std::abs(top - reach) <= kNearLag || !(sum[static_cast<std::size_t>(top)] > 0.0f)) return {};
  float second = 0.0f;
  for (long k = 0; k < static_cast<long>(sum.size()); ++k) {
    if (std::abs(k - top) > kBesideTop && std::abs(k - reach) > kBesideTop)
      second = std::max(second, sum[static_cast<std::size_t>(k)]);
  }
  const double most = sum[static_cast<std::size_t>(top)], root = std::sqrt(static_cast<double>(n_frames));
  const double there = 1.0 - static_cast<double>(height_near(sum, reach)) / most, apart = 1.0 - second / most;
  return {there * root, std::min(there, 2.0 * apart) * root, top};
}

// Up to which frame the end lies at lag `at`; all of them: the rest of it does too, which is no end.
std::size_t frames_elsewhere(const std::vector<std::vector<float>>& r, long at, long reach) {
  double gain = 0.0, most = 0.0;
  std::size_t end = 0;
  for (std::size_t k = 0; k < r.size(); ++k) {
    gain += static_cast<double>(height_near(r[k], at) - height_near(r[k], reach));
    if (gain <= most) continue;
    most = gain;
    end = k + 1;
  }
  return end;
}

}  // namespace

std::vector<End> find_ends(const Job& job, Matcher& match, const std::vector<WindowLag>& lags) {
  const double slope = slope_of(lags);
  std::vector<End> found;
  if (std::abs(slope) > kMostSlope) return found;
  const long reach = static_cast<long>(job.length / 4);
  for (const bool front : {true, false}) {
    const int segment = front ? lags.front().segment : lags.back().segment;
    std::vector<double> level;
    for (const WindowLag& x : lags) {
      if (x.segment == segment) level.push_back(x.lag - slope * x.t);
    }
    const EndFrames frames = frames_from(front, job, match, {median(level), slope}, reach);
    std::vector<float> sum(static_cast<std::size_t>(2 * reach + 1), 0.0f);
    double most = 0.0;
    long at = 0;
    bool sure = false;
    for (std::size_t k = 0; k < frames.r.size(); ++k) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += frames.r[k][i];
      if (k + 1 < kLeastFrames) continue;
      const Evidence now = weigh(sum, k + 1, reach);
      if (now.there < kDoubtThere && now.peak < kDoubtPeak) continue;
      sure = sure || now.there >= kSureThere || now.peak >= kSurePeak;
      if (now.there + now.peak <= most) continue;
      most = now.there + now.peak;
      at = now.at;
    }
    if (most == 0.0) continue;
    // The place lies between this frame and the next one's far side.
    const std::size_t n = frames_elsewhere(frames.r, at, reach);
    if (n == 0 || n + kLeastFrames > frames.r.size()) continue;
    const double begin = static_cast<double>(frames.job.begin[n]);
    const double inner = front ? begin + static_cast<double>(frames.job.length) : begin;
    const double outer = front ? 0.0 : static_cast<double>(job.dry.size());
    found.push_back({0.5 * (inner + outer), 0.5 * std::abs(inner - outer), sure});
  }
  return found;
}

}  // namespace cafx
