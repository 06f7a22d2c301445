#include "datasets/find/lag_steps.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cafx {

// By least squares within the segments, windows far from their segment's mean lag left out.
double slope_of(const std::vector<WindowLag>& lags) {
  std::vector<double> n, t, l;
  for (const WindowLag& x : lags) {
    const auto s = static_cast<std::size_t>(x.segment);
    if (s >= n.size()) n.resize(s + 1), t.resize(s + 1), l.resize(s + 1);
    n[s] += x.weight;
    t[s] += x.weight * x.t;
    l[s] += x.weight * x.lag;
  }
  double slope = 0.0;
  for (int round = 0; round < 4; ++round) {
    double tt = 0.0, tl = 0.0;
    for (const WindowLag& x : lags) {
      const auto s = static_cast<std::size_t>(x.segment);
      const double dt = x.t - t[s] / n[s], dl = x.lag - l[s] / n[s];
      const double weight = x.weight / std::max(1.0, std::pow(dl - slope * dt, 2));
      tt += weight * dt * dt;
      tl += weight * dt * dl;
    }
    slope = tt > 0.0 ? tl / tt : 0.0;
  }
  return slope;
}

namespace {

constexpr std::size_t kLeast = 4, kMostSteps = 4;  // windows of a segment
constexpr double kFarLag = 6.0, kStep = 3.0;
constexpr double kPrice = 0.15;  // of a step, in samples of the windows' mean distance

// Of windows at one level: the level, and the sum of their distances, far ones counted as kFarLag.
struct LagLevel {
  double lag = 0.0, cost = 0.0;
};

LagLevel level_of(const std::vector<WindowLag>& lags, std::size_t from, std::size_t to, double slope = 0.0) {
  std::vector<std::pair<double, double>> v;  // lag, weight
  double half = 0.0;
  for (std::size_t i = from; i < to; ++i) {
    v.push_back({lags[i].lag - slope * lags[i].t, lags[i].weight});
    half += 0.5 * lags[i].weight;
  }
  std::sort(v.begin(), v.end());
  LagLevel level{v.back().first, 0.0};
  double sum = 0.0;
  for (const auto& [lag, weight] : v) {
    if ((sum += weight) < half) continue;
    level.lag = lag;
    break;
  }
  for (const auto& [lag, weight] : v) level.cost += weight * std::min(kFarLag, std::abs(lag - level.lag));
  return level;
}

}  // namespace

LineOrStep compare_line_and_step(std::vector<WindowLag> lags, double slope) {
  LineOrStep found;
  const std::size_t n = lags.size();
  found.line = level_of(lags, 0, n, slope).cost;
  found.step = level_of(lags, 0, n).cost;
  for (std::size_t i = kLeast; i + kLeast <= n; ++i)
    found.step = std::min(found.step, level_of(lags, 0, i).cost + level_of(lags, i, n).cost);
  return found;
}

bool guess_small_steps(std::vector<WindowLag>& lags) {
  const std::size_t n = lags.size();
  if (n < 2 * kLeast + 2 || lags.back().segment != 0) return false;
  double weights = 0.0;
  for (const WindowLag& x : lags) weights += x.weight;
  const double one = level_of(lags, 0, n).cost, line = level_of(lags, 0, n, slope_of(lags)).cost;
  // best[k][j]: the first j windows in k + 1 segments.
  std::vector<std::vector<double>> best(kMostSteps + 1, std::vector<double>(n + 1, std::numeric_limits<double>::max()));
  std::vector<std::vector<std::size_t>> begin(kMostSteps + 1, std::vector<std::size_t>(n + 1, 0));
  std::vector<std::vector<LagLevel>> levels(n, std::vector<LagLevel>(n + 1));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + kLeast; j <= n; ++j) levels[i][j] = level_of(lags, i, j);
  }
  for (std::size_t j = kLeast; j <= n; ++j) best[0][j] = levels[0][j].cost;
  for (std::size_t k = 1; k <= kMostSteps; ++k) {
    for (std::size_t j = (k + 1) * kLeast; j <= n; ++j) {
      for (std::size_t i = k * kLeast; i + kLeast <= j; ++i) {
        const double cost = best[k - 1][i] + levels[i][j].cost;
        if (cost >= best[k][j]) continue;
        const std::size_t before = k == 1 ? 0 : begin[k - 1][i];
        if (std::abs(levels[before][i].lag - levels[i][j].lag) < kStep) continue;
        best[k][j] = cost;
        begin[k][j] = i;
      }
    }
  }
  std::size_t steps = 0;
  for (std::size_t k = 1; k <= kMostSteps; ++k) {  // each further step must pay for itself
    const auto price = [&](std::size_t of) { return best[of][n] + kPrice * weights * static_cast<double>(of); };
    if (best[k][n] < std::numeric_limits<double>::max() && price(k) < price(steps)) steps = k;
  }
  const double parted = best[steps][n];
  if (steps == 0 || parted > 0.7 * one || parted > 0.7 * line || parted > 1.6 * weights) return false;
  std::size_t end = n;
  for (std::size_t k = steps; k > 0; --k) {
    for (std::size_t i = begin[k][end]; i < end; ++i) lags[i].segment = static_cast<int>(k);
    end = begin[k][end];
  }
  return true;
}

bool steps_hold(std::vector<WindowLag>& lags) {
  const std::size_t n = lags.size();
  double weights = 0.0, parted = 0.0;
  int segment = 0;
  std::size_t begin = 0;
  std::vector<int> merged(n, 0);
  for (std::size_t from = 0; from < n;) {
    std::size_t to = from;
    while (to < n && lags[to].segment == lags[from].segment) ++to;
    if (from > 0) {
      if (std::abs(level_of(lags, begin, from).lag - level_of(lags, from, to).lag) >= kStep) {
        ++segment;
        begin = from;
      }
    }
    for (std::size_t i = from; i < to; ++i) merged[i] = segment;
    from = to;
  }
  for (std::size_t i = 0; i < n; ++i) {
    lags[i].segment = merged[i];
    weights += lags[i].weight;
  }
  double sloped = 0.0;  // a lag that wanders slowly has slopes of its own between the steps
  for (std::size_t from = 0; from < n;) {
    std::size_t to = from;
    while (to < n && lags[to].segment == lags[from].segment) ++to;
    parted += level_of(lags, from, to).cost;
    std::vector<WindowLag> own(lags.begin() + static_cast<long>(from), lags.begin() + static_cast<long>(to));
    for (WindowLag& x : own) x.segment = 0;
    sloped += level_of(own, 0, own.size(), slope_of(own)).cost;
    from = to;
  }
  std::vector<WindowLag> as_one = lags;
  for (WindowLag& x : as_one) x.segment = 0;
  const double one = level_of(as_one, 0, n).cost, line = level_of(as_one, 0, n, slope_of(as_one)).cost;
  const bool hold =
      segment > 0 && parted <= 0.5 * one && parted <= 0.5 * line && parted <= 0.8 * weights && sloped > 0.6 * parted;
  if (!hold) lags = std::move(as_one);
  return hold;
}

void to_medians(std::vector<double>& offset, const std::vector<int>& segment) {
  for (std::size_t begin = 0; begin < offset.size();) {
    std::size_t end = begin;
    while (end < offset.size() && segment[end] == segment[begin]) ++end;
    std::vector<double> v(offset.begin() + static_cast<long>(begin), offset.begin() + static_cast<long>(end));
    std::nth_element(v.begin(), v.begin() + static_cast<long>(v.size() / 2), v.end());
    std::fill(offset.begin() + static_cast<long>(begin), offset.begin() + static_cast<long>(end), v[v.size() / 2]);
    begin = end;
  }
}

}  // namespace cafx
