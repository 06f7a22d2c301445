#include "datasets/find/lag_windows.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "datasets/find/lag_coarse.h"
#include "datasets/find/lag_job.h"
#include "datasets/find/lag_steps.h"
#include "datasets/find/statistics.h"
#include "datasets/find/turned.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr std::size_t kMostWindows = 256;
constexpr double kReachSeconds = 1.0;  // steps up to this are followed
constexpr long kFine = 192;            // samples around the path in the second look; 16384 in all at 16 kHz
constexpr std::size_t kPool = 16;
constexpr double kJump = 2.5, kMove = 0.03;  // what a jump of the path costs, and a sample of moving
constexpr double kWorth = 1.0;               // of a jump: what each side loses with the other's lag
constexpr double kBreakSeconds = 3.5;        // the path may jump that much earlier or later than the lag
constexpr double kTurn = 0.25;               // seconds: a loop has no shorter turn

void choose_windows(Job& job, const Course& course) {
  const std::size_t n = job.dry.size(), w = job.length;
  const std::size_t hop = std::max(w / 2, n / kMostWindows);
  std::vector<std::size_t> all;
  std::vector<double> levels;
  double most_dry = 0.0, most_wet = 0.0;
  std::vector<double> wet_levels;
  for (std::size_t at = 0; at + w <= n; at += hop) {
    all.push_back(at);
    levels.push_back(energy(job.dry, static_cast<long>(at), static_cast<long>(w)));
    const double middle = static_cast<double>(at) + 0.5 * static_cast<double>(w);
    wet_levels.push_back(energy(job.wet, static_cast<long>(at) + std::lround(course.at(middle)), static_cast<long>(w)));
    most_dry = std::max(most_dry, levels.back());
    most_wet = std::max(most_wet, wet_levels.back());
  }
  job.begin.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (levels[i] > 1e-5 * most_dry && wet_levels[i] > 1e-6 * most_wet) job.begin.push_back(all[i]);
  }
}

using Map = std::vector<std::vector<float>>;  // of each window: magnitudes at lags -reach .. reach beside the course

Map correlogram(const Job& job, const Course& course, long reach) {
  Map map(job.begin.size());
  for (std::size_t i = 0; i < map.size(); ++i) {
    map[i] = correlation(take_of(job, i, course, 0.0, reach), 0, 2 * reach);
    float most = 1e-12f;
    for (float& v : map[i]) most = std::max(most, v = std::abs(v));
    for (float& v : map[i]) v /= most;
  }
  return map;
}

// Whether the recording fits as well without the lag: a loop does at every turn.
bool fits_without(Job job, const Course& course) {
  constexpr long kBeside = 32;
  choose_windows(job, {});
  const std::size_t stride = std::max<std::size_t>(1, job.begin.size() / 16);
  std::vector<double> ratio;
  for (std::size_t i = 0; i < job.begin.size(); i += stride) {
    double height[2] = {0.0, 0.0};
    for (const bool with : {false, true}) {
      const auto r = correlation(take_of(job, i, with ? course : Course{}, 0.0, kBeside), 0, 2 * kBeside);
      height[with ? 1 : 0] = static_cast<double>(std::abs(r[strongest(r)]));
    }
    if (height[1] > 0.0) ratio.push_back(height[0] / height[1]);
  }
  if (ratio.empty()) return false;
  std::nth_element(ratio.begin(), ratio.begin() + static_cast<long>(ratio.size() / 2), ratio.end());
  return ratio[ratio.size() / 2] > 0.85;
}

// The slope beside the course that most windows share: a sum along straight lines through pooled correlations.
double find_slope(const Job& job, const Map& map, double most_bend) {
  const std::size_t bins = map.front().size() / kPool;
  std::vector<std::vector<float>> pooled(map.size(), std::vector<float>(bins, 0.0f));
  for (std::size_t i = 0; i < map.size(); ++i) {
    for (std::size_t k = 0; k < bins * kPool; ++k) pooled[i][k / kPool] = std::max(pooled[i][k / kPool], map[i][k]);
  }
  const double t0 = job.middle(0), t1 = job.middle(map.size() - 1), half = 0.5 * (t1 - t0), center = 0.5 * (t0 + t1);
  if (half <= 0.0) return 0.0;
  const long most = static_cast<long>(most_bend / kPool);
  double best = -1.0, slope = 0.0;
  for (long bend = -most; bend <= most; ++bend) {
    std::vector<long> shift(map.size());
    for (std::size_t i = 0; i < map.size(); ++i) {
      shift[i] = std::lround(static_cast<double>(bend) * (job.middle(i) - center) / half);
    }
    for (long k = most; k + most < static_cast<long>(bins); ++k) {
      double sum = 0.0;
      for (std::size_t i = 0; i < map.size(); ++i) sum += pooled[i][static_cast<std::size_t>(k + shift[i])];
      sum -= 1e-4 * static_cast<double>(std::abs(bend));
      if (sum > best) {
        best = sum;
        slope = static_cast<double>(bend) * kPool / half;
      }
    }
  }
  return slope;
}

// The best way through the windows: it stays, moves a little, or jumps at a price. Indices of the map; what it
// is worth.
std::vector<int> best_path(const Map& map, double* worth) {
  const int n = static_cast<int>(map.front().size());
  std::vector<float> score(static_cast<std::size_t>(n), 0.0f), next(score);
  std::vector<std::vector<std::int8_t>> move(map.size(), std::vector<std::int8_t>(static_cast<std::size_t>(n)));
  std::vector<int> jump_from(map.size(), 0);
  constexpr std::int8_t kJumped = 100;
  for (std::size_t i = 0; i < map.size(); ++i) {
    const int top = static_cast<int>(std::max_element(score.begin(), score.end()) - score.begin());
    jump_from[i] = top;
    const float jumped = score[static_cast<std::size_t>(top)] - static_cast<float>(kJump);
    for (int k = 0; k < n; ++k) {
      float best = i == 0 ? 0.0f : jumped;
      std::int8_t how = i == 0 ? std::int8_t{0} : kJumped;
      for (int d = -2; d <= 2 && i > 0; ++d) {
        if (k - d < 0 || k - d >= n) continue;
        const float s =
            score[static_cast<std::size_t>(k - d)] - static_cast<float>(kMove) * static_cast<float>(std::abs(d));
        if (s > best) {
          best = s;
          how = static_cast<std::int8_t>(d);
        }
      }
      float here = 0.0f;
      for (int d = std::max(0, k - 2); d <= std::min(n - 1, k + 2); ++d)
        here = std::max(here, map[i][static_cast<std::size_t>(d)]);
      next[static_cast<std::size_t>(k)] = best + here;
      move[i][static_cast<std::size_t>(k)] = how;
    }
    score.swap(next);
  }
  std::vector<int> path(map.size());
  int at = static_cast<int>(std::max_element(score.begin(), score.end()) - score.begin());
  *worth = static_cast<double>(score[static_cast<std::size_t>(at)]);
  for (std::size_t i = map.size(); i-- > 0;) {
    path[i] = at;
    const std::int8_t how = move[i][static_cast<std::size_t>(at)];
    at = how == kJumped ? jump_from[i] : at - how;
  }
  return path;
}

float near_peak(std::span<const float> r, int k) {
  float most = 0.0f;
  for (int d = std::max(0, k - 3); d <= std::min(static_cast<int>(r.size()) - 1, k + 3); ++d) {
    most = std::max(most, r[static_cast<std::size_t>(d)]);
  }
  return most;
}

// Segments of the path between its jumps. A segment of one or two windows is no evidence: it joins its neighbour.
std::vector<int> segments_of(const Map& map, std::vector<int>& path, bool& sure) {
  constexpr int kLeast = 3;
  std::vector<std::pair<std::size_t, std::size_t>> runs;
  for (std::size_t i = 0, begin = 0; i < path.size(); ++i) {
    if (i + 1 == path.size() || std::abs(path[i + 1] - path[i]) > 2) {
      runs.push_back({begin, i + 1});
      begin = i + 1;
    }
  }
  const auto level = [&](const auto& run) {
    std::vector<int> v(path.begin() + static_cast<long>(run.first), path.begin() + static_cast<long>(run.second));
    std::nth_element(v.begin(), v.begin() + static_cast<long>(v.size() / 2), v.end());
    return v[v.size() / 2];
  };
  std::vector<std::pair<std::size_t, std::size_t>> kept;
  for (const auto& run : runs) {
    const bool too_short = run.second - run.first < kLeast && run.first != 0;
    const bool first_was_short = kept.size() == 1 && kept[0].second - kept[0].first < kLeast;
    const bool alike = !kept.empty() && std::abs(level(kept.back()) - level(run)) <= 2;
    if (!kept.empty() && (too_short || first_was_short || alike)) {
      const int keep = first_was_short ? level(run) : level(kept.back());
      const auto& change = first_was_short ? kept.back() : run;
      if (!alike) {
        for (std::size_t i = change.first; i < change.second; ++i) path[i] = keep;
      }
      kept.back().second = run.second;
    } else {
      kept.push_back(run);
    }
  }
  std::vector<int> segment(path.size(), 0);
  sure = true;
  for (std::size_t s = 0; s < kept.size(); ++s) {
    for (std::size_t i = kept[s].first; i < kept[s].second; ++i) segment[i] = static_cast<int>(s);
    if (s == 0) continue;
    for (const auto& [own, other] : {std::pair(kept[s - 1], level(kept[s])), std::pair(kept[s], level(kept[s - 1]))}) {
      double worth = 0.0;
      for (std::size_t i = own.first; i < own.second; ++i)
        worth += near_peak(map[i], path[i]) - near_peak(map[i], other);
      if (worth < kWorth) sure = false;
    }
  }
  return segment;
}

struct Fine {
  std::vector<Take> takes;
  std::vector<std::vector<float>> r;  // at -kFine .. kFine beside the path
};

std::size_t common_peak(const std::vector<std::vector<float>>& r, double& standing) {
  std::vector<float> together(r.front().size(), 0.0f);
  for (const auto& one : r) {
    for (std::size_t k = 0; k < together.size(); ++k) together[k] += std::abs(one[k]);
  }
  const std::size_t peak = strongest(together);
  standing = standing_out(together, peak);
  return peak;
}

// Whether these windows peak within 3 samples of `peak` too, or nearly as high there: a response may have two.
bool peaks_near(const std::vector<std::vector<float>>& r, std::size_t from, std::size_t to, std::size_t peak) {
  constexpr std::size_t kNear = 3;
  constexpr float kNearlyAsHigh = 0.8f;
  std::vector<float> together(r.front().size(), 0.0f);
  for (std::size_t i = from; i < to; ++i) {
    for (std::size_t k = 0; k < together.size(); ++k) together[k] += std::abs(r[i][k]);
  }
  float there = 0.0f;
  for (std::size_t k = peak > kNear ? peak - kNear : 0; k < std::min(together.size(), peak + kNear + 1); ++k)
    there = std::max(there, together[k]);
  return there >= kNearlyAsHigh * together[strongest(together)];
}

double match_of(const Job& job, const std::vector<double>& at) {
  constexpr std::size_t kMost = 24;
  std::vector<double> found;
  const std::size_t stride = std::max<std::size_t>(1, at.size() / kMost);
  for (std::size_t i = 0; i < at.size(); i += stride) {
    const long n = static_cast<long>(job.length), from = static_cast<long>(job.begin[i]) + std::lround(at[i]) - 64;
    if (from < 0 || from + n + 128 > static_cast<long>(job.wet.size())) continue;
    const std::size_t size = fft_size(static_cast<std::size_t>(n + 128));
    const auto r =
        correlate(spectrum(job.dry.data() + job.begin[i], job.length, size),
                  spectrum(job.wet.data() + from, static_cast<std::size_t>(n + 128), size), kMatchWhitening, 0, 128);
    found.push_back(std::abs(r[strongest(r)]));
  }
  if (found.empty()) return 0.0;
  std::nth_element(found.begin(), found.begin() + static_cast<long>(found.size() / 2), found.end());
  return found[found.size() / 2];
}

// The second look: what the windows have in common is matched against each, so that each tells its lag to a part of a
// sample.
void look_closely(const Job& job, const Course& course, const std::vector<double>& offset,
                  const std::vector<int>& segment, Windows& out, Template& response) {
  Fine fine;
  for (std::size_t i = 0; i < offset.size(); ++i) {
    fine.takes.push_back(take_of(job, i, course, offset[i], kFine));
    fine.r.push_back(correlation(fine.takes.back(), 0, 2 * kFine));
  }
  const std::size_t n = offset.size(), peak = common_peak(fine.r, out.standing_out);
  out.halves_agree = peaks_near(fine.r, 0, n / 2, peak) && peaks_near(fine.r, n / 2, n, peak);
  out.turned.clear();
  for (const std::size_t i : find_turns(fine.takes, fine.r, peak)) {
    const double before = job.middle(i - 1), behind = job.middle(i);
    out.turned.push_back({0.5 * (before + behind), 0.5 * (behind - before)});
  }
  response = Template();
  double sum = 0.0;
  for (const auto& r : fine.r) {
    response.add(r, static_cast<long>(peak), std::abs(r[strongest(r)]));
    sum += r[peak];
  }
  out.sign = sum < 0.0 ? -1.0 : 1.0;
  std::vector<double> at(n);
  Matcher match(response);
  for (std::size_t i = 0; i < n; ++i) {
    constexpr long kNear = 24;
    const long middle = static_cast<long>(peak);
    const auto r = match(fine.takes[i], middle - kNear, middle + kNear);
    const auto top = static_cast<std::size_t>(std::max_element(r.begin(), r.end()) - r.begin());
    const double place = between_samples(r, top) + static_cast<double>(middle - kNear - kFine);
    at[i] = static_cast<double>(std::lround(course.at(job.middle(i)) + offset[i])) + place;
    out.lags.push_back({job.middle(i), at[i], 0.02 + standing_out(r, top), segment[i]});
  }
  out.match = match_of(job, at);
}

// Steps that the path crossed by small moves: guessed from the lags, looked at closely at the segments' own lags, twice
// since windows beside a step are told apart only then.
void look_for_small_steps(const Job& job, const Course& course, std::vector<double> offset, std::vector<int>& segment,
                          Windows& out, Template& response) {
  const Windows before = out;
  for (int round = 0; round < 2; ++round) {
    for (WindowLag& x : out.lags) x.segment = 0;
    if (!guess_small_steps(out.lags)) break;
    for (std::size_t i = 0; i < segment.size(); ++i) {
      segment[i] = out.lags[i].segment;
      offset[i] = out.lags[i].lag - course.at(job.middle(i));
    }
    to_medians(offset, segment);
    out.lags.clear();
    look_closely(job, course, offset, segment, out, response);
  }
  for (WindowLag& x : out.lags) x.segment = 0;
  if (!guess_small_steps(out.lags) || !steps_hold(out.lags)) out = before;
  for (std::size_t i = 0; i < segment.size(); ++i) segment[i] = out.lags[i].segment;
}

// Whether no two windows in a row, that are not beside a break, lie at one other lag: a recording that lost samples
// once may have lost more. In the quiet tail of a note a window's peak may lie anywhere.
bool explained(const std::vector<WindowLag>& lags, const std::vector<Doubt>& doubts) {
  constexpr double kLow = 0.7, kOff = 3.0, kSame = 4.0;
  constexpr std::size_t kBesideBreak = 2;
  const auto off = [&](std::size_t i) {
    const std::size_t a = i > kBesideBreak ? i - kBesideBreak : 0, b = std::min(lags.size() - 1, i + kBesideBreak);
    const bool beside = lags[a].segment != lags[i].segment || lags[b].segment != lags[i].segment;
    return !beside && doubts[i].there < kLow && std::abs(doubts[i].by) > kOff;
  };
  for (std::size_t i = 0; i + 1 < lags.size(); ++i) {
    if (off(i) && off(i + 1) && std::abs(doubts[i].by - doubts[i + 1].by) <= kSame) return false;
  }
  return true;
}

// Stretches that lie elsewhere than their segment, and steps within a segment beside others: of which there may be
// more.
void find_what_is_left(const Job& job, Matcher& match, const Map& map, const Course& mapped, long reach, Windows& out) {
  const double slope = slope_of(out.lags);
  constexpr double kDoubted = 0.85;  // of the peak: what lies as high is not looked at again
  std::vector<Doubt> doubts;
  for (std::size_t from = 0; from < out.lags.size();) {
    std::size_t to = from;
    std::vector<double> level;
    for (; to < out.lags.size() && out.lags[to].segment == out.lags[from].segment; ++to)
      level.push_back(out.lags[to].lag - slope * out.lags[to].t);
    const double lag = median(level);
    for (std::size_t i = from; i < to; ++i) {
      const double expected = lag + slope * out.lags[i].t;
      const auto k = static_cast<int>(std::lround(expected - mapped.at(out.lags[i].t))) + static_cast<int>(reach);
      const auto height = static_cast<double>(near_peak(map[i], k));
      doubts.push_back(height < kDoubted ? doubt(job, i, expected, match) : Doubt{0.0, 0.0, height});
    }
    if (to - from < out.lags.size()) {
      std::vector<WindowLag> own(out.lags.begin() + static_cast<long>(from), out.lags.begin() + static_cast<long>(to));
      for (WindowLag& x : own) x.segment = 0;
      if (guess_small_steps(own) && steps_hold(own)) out.sure_of_breaks = false;
    }
    from = to;
  }
  if (!out.breaks.empty() && !explained(out.lags, doubts)) out.sure_of_breaks = false;
  for (const End& e : find_elsewhere(job, doubts))
    (e.sure || !out.breaks.empty() ? out.edges : out.maybe_edges).push_back({e.at, e.margin});
  constexpr double kUnlike = 0.5;  // of the peak, wherever that is
  constexpr double kFar = 128.0;   // samples: further than what modulates time moves
  const auto strays = std::count_if(doubts.begin(), doubts.end(),
                                    [](const Doubt& d) { return d.there < kUnlike && std::abs(d.by) > kFar; });
  out.strays = static_cast<double>(strays) / static_cast<double>(std::max<std::size_t>(1, doubts.size()));
  constexpr std::size_t kTakes = 6;  // windows in a row: longer than a note that the device bends out of shape
  for (std::size_t i = 0; i < doubts.size();) {
    std::size_t to = i;
    while (to < doubts.size() && doubts[to].there < kUnlike) ++to;
    if (to - i >= kTakes && to - i < doubts.size()) {
      const double from = job.middle(i), end = job.middle(to - 1);
      out.unlike.push_back({0.5 * (from + end), 0.5 * (end - from)});
    }
    i = std::max(to, i + 1);
  }
}

Windows measure(std::span<const float> dry, std::span<const float> wet, int rate) {
  Windows out;
  Job job(dry, wet, static_cast<std::size_t>(rate));
  if (dry.size() < 4 * job.length || wet.size() < 4 * job.length) return out;
  const CoarseLag coarse = find_coarse_lag(dry, wet, rate);
  Course course{coarse.lag, coarse.slope};
  if (std::abs(coarse.lag) > kTurn * rate && fits_without(job, course)) course = {};
  choose_windows(job, course);
  if (job.begin.size() < 4) return out;
  const long reach = static_cast<long>(kReachSeconds * rate);
  const double half = 0.5 * static_cast<double>(dry.size());
  Map map = correlogram(job, course, reach);
  double worth = 0.0;
  std::vector<int> path = best_path(map, &worth);
  const auto consider = [&](const Course& other) {
    Map its_map = correlogram(job, other, reach);
    double its_worth = 0.0;
    std::vector<int> its_path = best_path(its_map, &its_worth);
    if (its_worth < worth) return;
    course = other;
    worth = its_worth;
    map = std::move(its_map);
    path = std::move(its_path);
  };
  // Turned about the middle, which stays. Several steps look like a slope from afar, so none is considered too.
  const double bend = find_slope(job, map, std::min(2.0e-3 * half, 2000.0));
  if (bend != 0.0) consider({course.lag - bend * half, course.slope + bend});
  if (coarse.slope != 0.0) consider({course.at(half), 0.0});
  std::vector<int> segment = segments_of(map, path, out.sure_of_breaks);
  Template response;
  const Course mapped = course;
  std::vector<double> offset(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) offset[i] = static_cast<double>(path[i]) - static_cast<double>(reach);
  look_closely(job, course, offset, segment, out, response);
  if (!out.turned.empty()) return out;
  // Windows of which the ends lie apart by a drift are looked at once more, at the speed that was found.
  const double slope = slope_of(out.lags), turn = slope - course.slope;
  if (std::abs(turn) * static_cast<double>(job.length) > 0.02 && std::abs(slope) < 3e-3) {
    course.lag -= turn * half;
    course.slope = slope;
    for (std::size_t i = 0; i < offset.size(); ++i) offset[i] = out.lags[i].lag - course.at(job.middle(i));
    to_medians(offset, segment);
    out.lags.clear();
    look_closely(job, course, offset, segment, out, response);
  }
  if (out.lags.back().segment == 0) look_for_small_steps(job, course, offset, segment, out, response);
  Matcher match(response);
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    if (segment[i + 1] == segment[i]) continue;
    const double t0 = job.middle(i), t1 = job.middle(i + 1), t = 0.5 * (t0 + t1);
    const double wide = kBreakSeconds * rate, turned = slope_of(out.lags);
    const Jump jump{lag_beside(out.lags, i, -1, turned, t) - turned * t,
                    lag_beside(out.lags, i + 1, 1, turned, t) - turned * t, turned};
    bool sure = true;
    out.breaks.push_back(find_break(job, match, t0 - wide, t1 + wide, jump, sure));
    out.sure_of_breaks = out.sure_of_breaks && sure;
  }
  find_what_is_left(job, match, map, mapped, reach, out);
  for (const End& end : find_ends(job, match, out.lags)) {
    const auto same = [&](const Break& edge) { return std::abs(edge.at - end.at) < edge.margin + end.margin; };
    const bool known = std::any_of(out.edges.begin(), out.edges.end(), same);
    if (end.sure) std::erase_if(out.maybe_edges, same);
    if (!known) (end.sure ? out.edges : out.maybe_edges).push_back({end.at, end.margin});
  }
  out.response = response.taps();
  return out;
}

}  // namespace

Windows measure_windows(std::span<const float> dry, std::span<const float> wet, int rate) {
  Windows found = measure(dry, wet, rate);
  if (found.turned.empty()) return found;
  // Both signs together have hardly a response in common: all else is measured once the signs are one.
  Recording mended(wet.begin(), wet.end());
  for (const Break& turn : found.turned) {
    const auto behind =
        std::find_if(found.lags.begin(), found.lags.end(), [&](const auto& w) { return w.t > turn.at; });
    const long from = std::clamp(std::lround(turn.at + behind->lag), 0L, static_cast<long>(mended.size()));
    for (auto v = mended.begin() + from; v != mended.end(); ++v) *v = -*v;
  }
  Windows all = measure(dry, mended, rate);
  all.turned = found.turned;
  return all;
}

}  // namespace cafx
