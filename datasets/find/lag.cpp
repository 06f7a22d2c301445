#include "datasets/find/lag.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "datasets/find/lag_coarse.h"
#include "datasets/find/lag_fine.h"
#include "datasets/find/lag_steps.h"
#include "datasets/find/lag_windows.h"
#include "datasets/find/statistics.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

// Signs of a drift below these are the phases of notes, not a clock.
constexpr double kLeastDrift = 1.5;                               // samples over the whole recording
constexpr double kDriftDeviations = 6.0, kMaybeDeviations = 2.0;  // of the slope's own standard deviation
constexpr double kBlockDeviations = 4.0;                          // of that which stretches left out tell
constexpr double kOpenDeviations = 2.6;                           // of the same, where a drift is to be ruled out
constexpr double kLineNotStep = 0.95;               // windows lie this much nearer to a line than to a step
constexpr double kPeak = 0.3, kPeakByFilter = 0.4;  // by which the common peak stands out
constexpr double kAgreement = 0.6;                  // share of the windows that must lie on the model
constexpr double kNear = 3.0;                       // samples: a window lies on the model
constexpr double kWander = 3.0;  // samples: windows that wander this far (median) say nothing of a clock

// Least squares that outliers do not pull: weights fall with the distance (Huber, reweighted).
struct Line {
  std::vector<double> base;  // lag of each segment at time 0
  double slope = 0.0, deviation = 0.0, scatter = 0.0;
};

Line fit(const std::vector<WindowLag>& w, int n_segments, bool sloped) {
  Line line;
  line.base.assign(static_cast<std::size_t>(n_segments), 0.0);
  std::vector<double> weight(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) weight[i] = w[i].weight;
  for (int round = 0; round < 12; ++round) {
    std::vector<double> sw(line.base.size()), st(line.base.size()), sl(line.base.size());
    for (std::size_t i = 0; i < w.size(); ++i) {
      const auto s = static_cast<std::size_t>(w[i].segment);
      sw[s] += weight[i];
      st[s] += weight[i] * w[i].t;
      sl[s] += weight[i] * w[i].lag;
    }
    double tt = 0.0, tl = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const auto s = static_cast<std::size_t>(w[i].segment);
      const double t = w[i].t - st[s] / sw[s], l = w[i].lag - sl[s] / sw[s];
      tt += weight[i] * t * t;
      tl += weight[i] * t * l;
    }
    line.slope = sloped && tt > 0.0 ? tl / tt : 0.0;
    for (std::size_t s = 0; s < line.base.size(); ++s) {
      line.base[s] = sw[s] > 0.0 ? (sl[s] - line.slope * st[s]) / sw[s] : 0.0;
    }
    std::vector<double> distance(w.size());
    for (std::size_t i = 0; i < w.size(); ++i) {
      distance[i] = std::abs(w[i].lag - line.base[static_cast<std::size_t>(w[i].segment)] - line.slope * w[i].t);
    }
    line.scatter = std::max(0.15, 1.4826 * median(distance));
    double n = 0.0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double k = distance[i] / (1.5 * line.scatter);
      weight[i] = w[i].weight / std::max(1.0, k * k);
      n += weight[i] / std::max(1e-9, w[i].weight);
    }
    // Windows overlap by half, so half of them count.
    line.deviation = tt > 0.0 ? line.scatter / std::sqrt(0.5 * tt * std::max(1.0, n) / std::max(1e-9, n)) : 0.0;
  }
  return line;
}

// The slope's standard deviation by leaving out stretches, a jackknife: the windows of one note err alike.
double deviation_by_stretches(const std::vector<WindowLag>& w, int n_segments) {
  constexpr double kWindows = 4.0, kLeast = 4.0, kMost = 16.0;  // windows of a stretch; stretches
  const double n = std::clamp(std::floor(static_cast<double>(w.size()) / kWindows), kLeast, kMost);
  std::vector<double> slopes;
  double mean = 0.0, sum = 0.0;
  for (double k = 0.0; k < n; k += 1.0) {
    const auto from = static_cast<long>(k * static_cast<double>(w.size()) / n);
    const auto to = static_cast<long>((k + 1.0) * static_cast<double>(w.size()) / n);
    std::vector<WindowLag> rest(w.begin(), w.begin() + from);
    rest.insert(rest.end(), w.begin() + to, w.end());
    slopes.push_back(fit(rest, n_segments, true).slope);
    mean += slopes.back() / n;
  }
  for (const double s : slopes) sum += (s - mean) * (s - mean);
  return std::sqrt(sum * (n - 1.0) / n);
}

// Whether both halves of the recording show the same drift on their own.
bool halves_agree(const std::vector<WindowLag>& w, int n_segments, const Line& all) {
  const std::size_t half = w.size() / 2;
  for (const auto& [from, to] : {std::pair<std::size_t, std::size_t>(0, half), std::pair(half, w.size())}) {
    const std::vector<WindowLag> part(w.begin() + static_cast<long>(from), w.begin() + static_cast<long>(to));
    if (part.size() < 4) return false;
    const Line own = fit(part, n_segments, true);
    const double apart = std::abs(own.slope - all.slope);
    if (apart > std::max(0.4 * std::abs(all.slope), 4.0 * own.deviation)) return false;
  }
  return true;
}

}  // namespace

long lag_at(const Lag& found, long sample, int rate) {
  double lag = found.lag + 1e-6 * found.ppm * static_cast<double>(sample);
  for (const Step& s : found.steps) {
    if (s.seconds * rate <= static_cast<double>(sample)) lag += s.samples;
  }
  return std::lround(lag);
}

Lag find_lag(std::span<const float> dry, std::span<const float> wet, int rate) {
  if (rate > kMostRate) {
    Lag half = find_lag(decimate(dry, 2), decimate(wet, 2), rate / 2);
    half.lag *= 2.0;
    half.wander *= 2.0;
    for (Step& s : half.steps) s.samples *= 2.0;
    // To the sample, and of two the smaller: wet that is moved too far lies before dry, which no model can learn.
    constexpr double kRoundUp = 0.6;
    if (half.sure && half.turned.empty())
      half.lag = std::floor(half.lag + beside_lag(dry, wet, rate, half) + 1.0 - kRoundUp);
    return half;
  }
  Lag found;
  const Windows windows = measure_windows(dry, wet, rate);
  found.n_windows = static_cast<int>(windows.lags.size());
  found.match = windows.match;
  found.strays = windows.strays;
  found.sign = windows.sign;
  found.response = windows.response;
  found.rule = "windows of the recording on one line";
  if (windows.lags.size() < 4) return found;
  const auto& w = windows.lags;
  const int n_segments = static_cast<int>(windows.breaks.size()) + 1;
  Line line = fit(w, n_segments, true);
  const double duration = w.back().t - w.front().t;
  const bool drifts = std::abs(line.slope) * duration > kLeastDrift &&
                      std::abs(line.slope) > kDriftDeviations * line.deviation && line.scatter < 2.0 * kWander;
  const double deviation = deviation_by_stretches(w, n_segments), unknown = kOpenDeviations * deviation;
  const auto left = [&](double slope) { return 0.5 * duration * slope; };  // at either end, at most
  if (drifts) {
    found.sure_of_drift = w.size() >= 8 && halves_agree(w, n_segments, line) && left(unknown) <= kNear &&
                          std::abs(line.slope) > kBlockDeviations * deviation;
    if (n_segments == 1) {
      const LineOrStep as = compare_line_and_step(w, line.slope);
      found.sure_of_drift = found.sure_of_drift && as.line <= kLineNotStep * as.step;
    }
  } else {
    if (left(std::abs(line.slope) + unknown) > kNear) found.open_ppm = 1e6 * (std::abs(line.slope) + unknown);
    const double shift = std::abs(line.slope) * duration;
    if (shift > kLeastDrift && std::abs(line.slope) > kMaybeDeviations * line.deviation &&
        line.scatter < 2.0 * kWander) {
      found.maybe_ppm = 1e6 * line.slope;
    }
    line = fit(w, n_segments, false);
  }
  std::vector<double> distance;
  double on = 0.0, all = 0.0;
  for (const WindowLag& x : w) {
    const double d = std::abs(x.lag - line.base[static_cast<std::size_t>(x.segment)] - line.slope * x.t);
    distance.push_back(d);
    all += x.weight;
    if (d <= kNear) on += x.weight;
  }
  found.wander = median(distance);
  found.lag = line.base.front();
  found.ppm = 1e6 * line.slope;
  for (std::size_t i = 0; i < windows.breaks.size(); ++i) {
    const double by = line.base[i + 1] - line.base[i];
    if (std::abs(by) <= kSmallLag) continue;
    found.steps.push_back({windows.breaks[i].at / rate, by, windows.breaks[i].margin / rate});
  }
  found.sure_of_steps = windows.sure_of_breaks;
  for (const Break& edge : windows.edges) found.edges.push_back({edge.at / rate, 0.0, edge.margin / rate});
  for (const Break& edge : windows.maybe_edges) found.maybe_edges.push_back({edge.at / rate, 0.0, edge.margin / rate});
  for (const Break& turn : windows.turned) found.turned.push_back({turn.at / rate, 0.0, turn.margin / rate});
  for (const Break& other : windows.unlike) found.unlike.push_back({other.at / rate, 0.0, other.margin / rate});
  const double agreement = found.agreement = all > 0.0 ? on / all : 0.0;
  found.confidence = std::min(agreement, windows.standing_out > 0.3 ? 1.0 : windows.standing_out / 0.3);
  // A filter turns low notes to where another peak stands out a little.
  const bool by_filter = std::abs(found.lag) > kSmallLag && std::abs(found.lag) <= kFilterSeconds * rate;
  found.sure =
      agreement >= kAgreement && windows.standing_out >= (by_filter ? kPeakByFilter : kPeak) && windows.halves_agree;
  found.rule = fmt::format("{:.0f} % of {} windows lie on it, their common peak stands out by {:.0f} %",
                           100.0 * agreement, w.size(), 100.0 * windows.standing_out);
  return found;
}

}  // namespace cafx
