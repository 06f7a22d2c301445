#include "datasets/find/lag_windows.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "datasets/audio_file.h"
#include "datasets/find/lag.h"
#include "datasets/find/lag_coarse.h"
#include "datasets/find/lag_steps.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr std::size_t kMostWindows = 256;
constexpr double kReachSeconds = 1.0;  // steps up to this are followed
constexpr long kFine = 256;            // samples around the path in the second look
constexpr int kPool = 16;
constexpr double kJump = 2.5, kMove = 0.03;          // what a jump of the path costs, and a sample of moving
constexpr double kWorth = 2.0;                       // of a jump: what each side loses with the other's lag
constexpr double kTurn = 0.25;                       // seconds: a loop has no shorter turn
constexpr double kEdgeOff = 8.0, kEdgeMargin = 0.4;  // samples; by how much such a peak stands out
constexpr double kRuledOut = 2.0;                    // times the evidence against a break's place

// lag(t) = lag + slope t, by which wet is looked up.
struct Course {
  double lag = 0.0, slope = 0.0;
  double at(double t) const { return lag + slope * t; }
};

struct Job {
  const std::vector<float>&dry, &wet;
  std::size_t length = 0;            // of a window
  std::vector<std::size_t> begin{};  // of windows that hold sound

  double middle(std::size_t i) const { return static_cast<double>(begin[i]) + 0.5 * static_cast<double>(length); }
};

double energy(const std::vector<float>& x, long from, long n) {
  double sum = 0.0;
  const long a = std::max(0L, from), b = std::min(static_cast<long>(x.size()), from + n);
  for (long i = a; i < b; ++i)
    sum += static_cast<double>(x[static_cast<std::size_t>(i)]) * x[static_cast<std::size_t>(i)];
  return sum;
}

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

// A window of dry, and wet around it from `reach` before to `reach` behind, at the course and at dry's speed.
Take take_of(const Job& job, std::size_t i, const Course& course, double offset, long reach) {
  const long n = static_cast<long>(job.length), m = n + 2 * reach;
  std::vector<float> dry(job.length), wet;
  double mean = 0.0;  // an offset would correlate with itself at every lag
  for (long k = 0; k < n; ++k) mean += static_cast<double>(job.dry[job.begin[i] + static_cast<std::size_t>(k)]);
  mean /= static_cast<double>(n);
  for (long k = 0; k < n; ++k) {
    const double taper = 0.5 - 0.5 * std::cos(2.0 * M_PI * (static_cast<double>(k) + 0.5) / static_cast<double>(n));
    const auto v = static_cast<double>(job.dry[job.begin[i] + static_cast<std::size_t>(k)]) - mean;
    dry[static_cast<std::size_t>(k)] = static_cast<float>(taper * v);
  }
  const long from = static_cast<long>(job.begin[i]) + std::lround(course.at(job.middle(i)) + offset) - reach;
  // Warped about the window's middle.
  const double ratio = 1.0 + course.slope;
  const long span = static_cast<long>(std::ceil(static_cast<double>(m) * ratio)) + 2;
  const long first = from - std::lround(0.5 * static_cast<double>(m) * course.slope);
  wet.resize(static_cast<std::size_t>(span));
  for (long k = 0; k < span; ++k) {
    const long at = first + k;
    wet[static_cast<std::size_t>(k)] =
        at >= 0 && at < static_cast<long>(job.wet.size()) ? job.wet[static_cast<std::size_t>(at)] : 0.0f;
  }
  if (std::abs(course.slope) * static_cast<double>(n) > 0.25) wet = resample(wet, ratio, 1.0);
  wet.resize(static_cast<std::size_t>(m), 0.0f);
  return make_take(dry.data(), dry.size(), wet.data(), wet.size(), fft_size(static_cast<std::size_t>(m)));
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

// The best way through the windows: it stays, moves a little, or jumps at a price. Indices of the map; what it is
// worth.
std::vector<int> best_path(const Map& map, double* worth = nullptr) {
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
  if (worth) *worth = static_cast<double>(score[static_cast<std::size_t>(at)]);
  for (std::size_t i = map.size(); i-- > 0;) {
    path[i] = at;
    const std::int8_t how = move[i][static_cast<std::size_t>(at)];
    at = how == kJumped ? jump_from[i] : at - how;
  }
  return path;
}

float near_peak(const std::vector<float>& r, int k) {
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

// The lag beside a break, at the break's time: the median of the nearest windows of the segment, carried on by the
// slope.
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

// Where in [from, to) the lag jumps: short frames are asked which of both lags they correlate at. A place is ruled out
// where the frames that speak against it outweigh twice those that speak against the best one.
Break find_break(const Job& job, double from, double to, double lag_before, double lag_after) {
  constexpr long kFrame = 1536, kHop = 160, kSpare = 16, kNear = 3;
  const long n = static_cast<long>(job.dry.size());
  std::vector<double> gain;  // of the lag before over that after
  std::vector<double> place;
  for (long at = std::lround(from) - kFrame / 2; at + kFrame / 2 <= std::lround(to); at += kHop) {
    if (at < 0 || at + kFrame > n) continue;
    const auto score = [&](double lag) {
      const long w = at + std::lround(lag) - kSpare, span = kFrame + 2 * kSpare;
      if (w < 0 || w + span > static_cast<long>(job.wet.size())) return 0.0;
      const Bins a = spectrum(job.dry.data() + at, kFrame, 2048), b = spectrum(job.wet.data() + w, span, 2048);
      const auto r = correlate(a, b, kMatchWhitening, kSpare - kNear, kSpare + kNear);
      return static_cast<double>(std::abs(r[strongest(r)]));
    };
    const double level = energy(job.dry, at, kFrame);
    gain.push_back((score(lag_before) - score(lag_after)) * std::sqrt(level));
    place.push_back(static_cast<double>(at) + kFrame / 2.0);
  }
  const double half = 0.5 * (to - from);
  if (gain.empty()) return {0.5 * (from + to), half};
  std::vector<double> total(gain.size() + 1, 0.0);  // of a break before frame i
  double weight = 0.0;
  for (std::size_t i = 0; i < gain.size(); ++i) {
    total[i + 1] = total[i] + gain[i];
    weight += std::abs(gain[i]);
  }
  const auto best = static_cast<std::size_t>(std::max_element(total.begin(), total.end()) - total.begin());
  double against = 0.0;
  for (std::size_t i = 0; i < gain.size(); ++i) against += std::max(0.0, i < best ? -gain[i] : gain[i]);
  const auto place_of = [&](std::size_t i) { return i == 0 ? place.front() - kHop / 2.0 : place[i - 1] + kHop / 2.0; };
  Break found{place_of(best), 0.0};
  for (std::size_t i = 0; i < total.size(); ++i) {
    if (total[best] - total[i] > kRuledOut * against + 0.02 * weight) continue;
    found.margin = std::max(found.margin, std::abs(place_of(i) - found.at));
  }
  return found;
}

struct Fine {
  std::vector<Take> takes;
  std::vector<std::vector<float>> r;  // at -kFine .. kFine beside the path
};

std::size_t common_peak(const std::vector<std::vector<float>>& r, std::size_t from, std::size_t to, double* standing) {
  std::vector<float> together(r.front().size(), 0.0f);
  for (std::size_t i = from; i < to; ++i) {
    for (std::size_t k = 0; k < together.size(); ++k) together[k] += std::abs(r[i][k]);
  }
  const std::size_t peak = strongest(together);
  if (standing) *standing = standing_out(together, peak);
  return peak;
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
  const std::size_t n = offset.size(), peak = common_peak(fine.r, 0, n, &out.standing_out);
  const auto same = [&](std::size_t other) { return std::max(other, peak) - std::min(other, peak) <= 3; };
  out.halves_agree = same(common_peak(fine.r, 0, n / 2, nullptr)) && same(common_peak(fine.r, n / 2, n, nullptr));
  response = Template();
  double sum = 0.0;
  for (const auto& r : fine.r) {
    response.add(r, static_cast<long>(peak), std::abs(r[strongest(r)]));
    sum += r[peak];
  }
  out.sign = sum < 0.0 ? -1.0 : 1.0;
  std::vector<double> at(n);
  for (std::size_t i = 0; i < n; ++i) {
    constexpr long kNear = 24;
    const long middle = static_cast<long>(peak);
    const auto r = response.match(fine.takes[i], middle - kNear, middle + kNear);
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

// How far the window lies from the lag that it should have, where its peak, with the response that all windows share
// taken out, stands out elsewhere.
std::optional<double> off_by(const Job& job, std::size_t window, double lag, const Template& response) {
  const long reach = static_cast<long>(kReachSeconds * static_cast<double>(job.length));
  const Course there{lag, 0.0};
  const auto r = response.match(take_of(job, window, there, 0.0, reach), 0, 2 * reach);
  const auto top = static_cast<std::size_t>(std::max_element(r.begin(), r.end()) - r.begin());
  const double off = static_cast<double>(top) - static_cast<double>(reach);
  if (std::abs(off) <= kEdgeOff || standing_out(r, top) < kEdgeMargin) return std::nullopt;
  return off;
}

// What is heard at another lag at the beginning or the end of the recording, too short for a segment.
void find_edges(const Job& job, const Template& response, Windows& out) {
  const std::size_t last = out.lags.size() - 1;
  if (out.lags.size() < 8) return;
  const auto length = static_cast<double>(job.length), end = static_cast<double>(job.dry.size());
  const double slope = slope_of(out.lags);
  const double t0 = job.middle(0), lag0 = lag_beside(out.lags, 3, 1, slope, t0);
  if (const auto off = off_by(job, 0, lag0, response)) {
    const Break found = find_break(job, 0.0, t0 + 2.5 * length, lag0 + *off, lag0);
    const double to = std::min(found.at + found.margin, t0 + 2.5 * length);
    out.edges.push_back({0.5 * to, 0.5 * to});
  }
  const double t1 = job.middle(last), lag1 = lag_beside(out.lags, last - 3, -1, slope, t1);
  if (const auto off = off_by(job, last, lag1, response)) {
    const Break found = find_break(job, t1 - 2.5 * length, end, lag1, lag1 + *off);
    const double from = std::max(found.at - found.margin, t1 - 2.5 * length);
    out.edges.push_back({0.5 * (from + end), 0.5 * (end - from)});
  }
}

}  // namespace

Windows measure_windows(const std::vector<float>& dry, const std::vector<float>& wet, int rate) {
  if (rate > 24000) {
    Windows w = measure_windows(decimate(dry, 2), decimate(wet, 2), rate / 2);
    for (WindowLag& l : w.lags) {
      l.t *= 2.0;
      l.lag *= 2.0;
    }
    for (auto* list : {&w.breaks, &w.edges}) {
      for (Break& b : *list) {
        b.at *= 2.0;
        b.margin *= 2.0;
      }
    }
    return w;
  }
  Windows out;
  Job job{dry, wet, static_cast<std::size_t>(rate)};
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
  std::vector<double> offset(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) offset[i] = static_cast<double>(path[i]) - static_cast<double>(reach);
  look_closely(job, course, offset, segment, out, response);
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
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    if (segment[i + 1] == segment[i]) continue;
    const double t0 = job.middle(i), t1 = job.middle(i + 1), t = 0.5 * (t0 + t1);
    const auto length = static_cast<double>(job.length);
    const double turned = slope_of(out.lags);
    out.breaks.push_back(find_break(job, t0 - 3.5 * length, t1 + 3.5 * length, lag_beside(out.lags, i, -1, turned, t),
                                    lag_beside(out.lags, i + 1, 1, turned, t)));
  }
  find_edges(job, response, out);
  return out;
}

}  // namespace cafx
