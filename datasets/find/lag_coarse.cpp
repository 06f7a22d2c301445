#include "datasets/find/lag_coarse.h"

#include <algorithm>
#include <cmath>

#include "datasets/find/take.h"

namespace cafx {

namespace {

constexpr int kCoarseRate = 4000;
constexpr std::size_t kExcerpts = 12, kCandidates = 4;
constexpr double kExcerptSeconds = 4.0;
constexpr double kNearSeconds[] = {8.0, 64.0, 240.0};
constexpr double kEnough = 0.85;  // of the excerpts agree: no need to look further. Notes in time agree at wrong beats
constexpr double kSteepest = 2.5e-3;  // a slope that clocks, tapes and film rates reach
constexpr double kTolerance = 12.0;   // samples at the coarse rate

struct Candidate {
  double lag = 0.0, height = 0.0;
};
struct LoudExcerpt {
  double t = 0.0;                  // its middle
  double least = 0.0, most = 0.0;  // lags at which wet holds its counterpart
  std::vector<Candidate> candidates;
};

std::vector<Candidate> highest(std::vector<float> r, long from) {
  std::vector<Candidate> found;
  for (std::size_t k = 0; k < kCandidates; ++k) {
    const std::size_t peak = strongest(r);
    const double height = std::abs(r[peak]);
    if (!(height > 0.0)) break;
    found.push_back({static_cast<double>(from + static_cast<long>(peak)), height});
    const std::size_t a = peak > 6 ? peak - 6 : 0, b = std::min(r.size(), peak + 7);
    std::fill(r.begin() + static_cast<long>(a), r.begin() + static_cast<long>(b), 0.0f);
  }
  const double most = found.empty() ? 1.0 : found.front().height;
  for (Candidate& c : found) c.height /= most;
  return found;
}

// The loudest stretch of n samples in each of equal parts.
std::vector<std::size_t> loudest_places(std::span<const float> x, std::size_t n, std::size_t parts) {
  std::vector<double> energy(x.size() + 1, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    energy[i + 1] = energy[i] + static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  std::vector<std::size_t> places;
  double most = 0.0;
  std::vector<double> levels;
  for (std::size_t p = 0; p < parts; ++p) {
    const std::size_t from = p * x.size() / parts, to = std::max(from + n, (p + 1) * x.size() / parts);
    std::size_t best = std::min(from, x.size() - n);
    double level = -1.0;
    for (std::size_t at = from; at + n <= std::min(to, x.size()); at += n / 4) {
      const double e = energy[at + n] - energy[at];
      if (e > level) {
        level = e;
        best = at;
      }
    }
    places.push_back(best);
    levels.push_back(std::max(level, energy[best + n] - energy[best]));
    most = std::max(most, levels.back());
  }
  std::vector<std::size_t> loud;
  for (std::size_t p = 0; p < parts; ++p) {
    if (levels[p] > 1e-4 * most && (loud.empty() || loud.back() != places[p])) loud.push_back(places[p]);
  }
  return loud;
}

// Excerpts of which wet holds the counterpart count in full, the others by half: they can say nothing.
double support_of(const std::vector<LoudExcerpt>& excerpts, double lag, double slope) {
  double sum = 0.0, n = 0.0;
  for (const LoudExcerpt& e : excerpts) {
    const double here = lag + slope * e.t;
    if (here < e.least || here > e.most) continue;
    n += 1.0;
    double best = 0.0;
    for (const Candidate& c : e.candidates) {
      if (std::abs(c.lag - here) <= kTolerance) best = std::max(best, c.height);
    }
    sum += best;
  }
  const double share = n / static_cast<double>(std::max<std::size_t>(1, excerpts.size()));
  return n > 0.0 ? sum / n * 0.5 * (1.0 + share) : 0.0;
}

// The line that most of the excerpts agree on; of nearly equal ones that of the smallest lag: loops fit at every turn.
CoarseLag vote(const std::vector<LoudExcerpt>& excerpts) {
  CoarseLag best;
  const auto consider = [&](double lag, double slope, double middle) {
    const double support = support_of(excerpts, lag, slope);
    const double here = std::abs(lag + slope * middle), there = std::abs(best.lag + best.slope * middle);
    if (support > best.support + 0.05 || (support > best.support - 0.05 && here + 2.0 * kTolerance < there) ||
        (support > best.support && here <= there + 2.0 * kTolerance)) {
      best = {lag, slope, support};
    }
  };
  const double middle = excerpts.empty() ? 0.0 : 0.5 * (excerpts.front().t + excerpts.back().t);
  for (const LoudExcerpt& a : excerpts) {
    for (const Candidate& c : a.candidates) consider(c.lag, 0.0, middle);
  }
  for (std::size_t i = 0; i < excerpts.size(); ++i) {
    for (std::size_t j = i + 1; j < excerpts.size(); ++j) {
      const double apart = excerpts[j].t - excerpts[i].t;
      for (const Candidate& a : excerpts[i].candidates) {
        for (const Candidate& b : excerpts[j].candidates) {
          const double slope = (b.lag - a.lag) / apart;
          if (std::abs(slope) > kSteepest || std::abs(b.lag - a.lag) < kTolerance) continue;
          consider(a.lag - slope * excerpts[i].t, slope, middle);
        }
      }
    }
  }
  return best;
}

std::vector<LoudExcerpt> look(std::span<const float> dry, std::span<const float> wet,
                              const std::vector<std::size_t>& places, std::size_t n, std::size_t range) {
  std::vector<LoudExcerpt> excerpts;
  for (const std::size_t at : places) {
    const std::size_t from = at > range ? at - range : 0, to = std::min(wet.size(), at + n + range);
    if (from + n > to) continue;
    const std::size_t size = fft_size(to - from + n);
    const Take take = make_take(dry.data() + at, n, wet.data() + from, to - from, size);
    const long first = static_cast<long>(from) - static_cast<long>(at);
    const auto r = correlation(take, 0, static_cast<long>(to - from - n));
    excerpts.push_back({static_cast<double>(at) + 0.5 * static_cast<double>(n), -static_cast<double>(at),
                        static_cast<double>(wet.size()) - static_cast<double>(at + n), highest(r, first)});
  }
  return excerpts;
}

}  // namespace

Recording decimate(std::span<const float> x, int q) {
  if (q <= 1) return {x.begin(), x.end()};
  const int reach = 8 * q;
  std::vector<float> taps;
  for (int k = -reach; k <= reach; ++k) {
    const double t = 0.9 * k / q, window = 0.5 + 0.5 * std::cos(M_PI * k / (reach + 1));
    taps.push_back(static_cast<float>(0.9 / q * window * (k == 0 ? 1.0 : std::sin(M_PI * t) / (M_PI * t))));
  }
  Recording y(x.size() / static_cast<std::size_t>(q));
  const long n = static_cast<long>(x.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const long at = static_cast<long>(i) * q, from = std::max(0L, at - reach), to = std::min(n - 1, at + reach);
    float sum = 0.0f;
    for (long k = from; k <= to; ++k)
      sum += taps[static_cast<std::size_t>(k - at + reach)] * x[static_cast<std::size_t>(k)];
    y[i] = sum;
  }
  return y;
}

CoarseLag find_coarse_lag(std::span<const float> dry, std::span<const float> wet, int rate) {
  const int q = std::max(1, rate / kCoarseRate);
  const Recording d = decimate(dry, q), w = decimate(wet, q);
  const double coarse = static_cast<double>(rate) / q;
  const auto n = std::min(static_cast<std::size_t>(kExcerptSeconds * coarse), std::min(d.size(), w.size()) / 3);
  const auto places = loudest_places(d, n, std::clamp<std::size_t>(d.size() / n, 3, kExcerpts));
  CoarseLag best;
  for (const double seconds : kNearSeconds) {
    const auto range = static_cast<std::size_t>(seconds * coarse);
    const CoarseLag found = vote(look(d, w, places, n, range));
    if (found.support > best.support + 0.05) best = found;
    if (best.support >= kEnough || range >= std::max(d.size(), w.size())) break;
  }
  best.lag *= q;
  return best;
}

}  // namespace cafx
