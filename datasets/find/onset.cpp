#include "datasets/find/onset.h"

#include <algorithm>
#include <cmath>

#include "datasets/find/lag.h"
#include "datasets/find/lag_coarse.h"
#include "datasets/find/spectrum.h"

namespace cafx {

namespace {

constexpr double kTapSeconds = 0.004;
// Shares of wet's energy, measured on the shipped notes through their effects and the study's chains, on made notes
// through each setting, and through low passes of 300 to 800 Hz and high passes of 400 to 1500 Hz, at 16 kHz. Before a
// planted delay taps are worth up to .005 and a twentieth of what is left, mostly a tenth of that; before a phase that
// seems 9 to 18 samples late .004 (a twofold of what is left) to .5. Where wet is early by 3 samples, taps before dry
// are worth .015 and more, but for narrow bands, whose answer can be foretold: a causal model does so too.
constexpr double kLeastBefore = 0.0005, kMostBefore = 0.005, kBeforeShare = 0.05;
constexpr double kLeastBehind = 0.01, kBehindRatio = 4.0;
constexpr std::size_t kPart = 1 << 17, kMostPieces = 48;
constexpr double kQuietPart = 1e-3;          // of the loudest part's energy: says nothing
constexpr double kRegularization = 1e-6;     // of dry's energy: bands without sound have no answer
constexpr long kNearOnset = 2, kBeside = 8;  // samples: the lag is known to so many; taps before it, and behind it

struct PhaseSums {
  std::vector<double> own, cross;  // of dry with itself at lags 0 .. K-1; of dry and wet at lags first .. first+N-1
  long first = 0;
};

// A piece of a pair, without its mean.
std::vector<float> piece(std::span<const float> x, std::size_t from, std::size_t n) {
  std::vector<float> y(x.begin() + static_cast<long>(from), x.begin() + static_cast<long>(from + n));
  double mean = 0.0;
  for (const float v : y) mean += static_cast<double>(v) / static_cast<double>(n);
  for (float& v : y) v -= static_cast<float>(mean);
  return y;
}

double energy_of(std::span<const float> x, std::size_t from, std::size_t n) {
  double sum = 0.0;
  for (std::size_t i = from; i < from + n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// Each piece counts alike: its wet side has an energy of 1.
void add(PhaseSums& sums, std::span<const float> dry, std::span<const float> wet) {
  const double power = energy_of(wet, 0, wet.size());
  if (!(power > 0.0)) return;
  const std::size_t size = fft_size(2 * dry.size());
  const Bins a = spectrum(dry.data(), dry.size(), size), b = spectrum(wet.data(), wet.size(), size);
  Bins aa(a.size()), ab(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa[i] = conjugate_times(a[i], a[i]);
    ab[i] = conjugate_times(a[i], b[i]);
  }
  const auto own = inverse(aa), cross = inverse(ab);
  const double scale = 1.0 / (power * static_cast<double>(size));
  for (std::size_t k = 0; k < sums.own.size(); ++k) sums.own[k] += scale * static_cast<double>(own[k]);
  const long n = static_cast<long>(size);
  for (std::size_t k = 0; k < sums.cross.size(); ++k) {
    const long at = (sums.first + static_cast<long>(k) + n) % n;
    sums.cross[k] += scale * static_cast<double>(cross[static_cast<std::size_t>(at)]);
  }
}

// What the best filter explains of wet: h' p where R h = p, R of Toeplitz's form (Levinson's recursion).
double explained(std::vector<double> r, const double* p) {
  const std::size_t n = r.size();
  r[0] *= 1.0 + kRegularization;
  if (!(r[0] > 0.0)) return 0.0;
  std::vector<double> f(n, 0.0), h(n, 0.0), turned(n);
  f[0] = 1.0;
  double error = r[0];
  h[0] = p[0] / r[0];
  for (std::size_t m = 1; m < n; ++m) {
    double lacking = 0.0;
    for (std::size_t k = 0; k < m; ++k) lacking += f[k] * r[m - k];
    const double reflection = -lacking / error;
    for (std::size_t k = 0; k <= m; ++k) turned[k] = f[m - k];
    for (std::size_t k = 0; k <= m; ++k) f[k] += reflection * turned[k];
    error *= 1.0 - reflection * reflection;
    if (!(error > 0.0)) return 0.0;
    double off = p[m];
    for (std::size_t k = 0; k < m; ++k) off -= h[k] * r[m - k];
    const double step = off / error;
    for (std::size_t k = 0; k <= m; ++k) h[k] += step * f[m - k];
  }
  double sum = 0.0;
  for (std::size_t k = 0; k < n; ++k) sum += h[k] * p[k];
  return sum;
}

struct Place {
  const Pair* pair;
  std::size_t at, n;
  double energy;
};

}  // namespace

std::vector<double> left_by_filters(const std::vector<const Pair*>& pairs, const std::vector<long>& first, int rate) {
  std::vector<Place> places;
  double most = 0.0;
  for (const Pair* p : pairs) {
    const std::size_t size = std::min(p->dry.size(), p->wet.size());
    for (std::size_t at = 0; at < size; at += kPart) {
      const std::size_t n = std::min(kPart, size - at);
      if (n < 1024) continue;
      places.push_back({p, at, n, energy_of(p->dry, at, n)});
      most = std::max(most, places.back().energy);
    }
  }
  std::erase_if(places, [&](const Place& p) { return p.energy < kQuietPart * most; });
  const std::size_t n_places = std::min(places.size(), kMostPieces);
  const long earliest = *std::min_element(first.begin(), first.end());
  const long end = *std::max_element(first.begin(), first.end()) + std::lround(kTapSeconds * rate);
  const auto taps = static_cast<std::size_t>(end - earliest);
  PhaseSums sums{std::vector<double>(taps, 0.0), std::vector<double>(taps, 0.0), earliest};
  for (std::size_t k = 0; k < n_places; ++k) {
    const Place& p = places[k * places.size() / n_places];
    add(sums, piece(p.pair->dry, p.at, p.n), piece(p.pair->wet, p.at, p.n));
  }
  std::vector<double> left;
  for (const long at : first) {
    const std::vector<double> own(sums.own.begin(), sums.own.begin() + (end - at));
    const double some = n_places > 0 ? explained(own, sums.cross.data() + (at - earliest)) : 0.0;
    left.push_back(std::clamp(1.0 - some / static_cast<double>(std::max<std::size_t>(1, n_places)), 0.0, 1.0));
  }
  return left;
}

bool is_phase(const std::vector<const Pair*>& pairs, double lag, int rate) {
  if (pairs.size() > kMostPieces) {
    std::vector<const Pair*> some;
    for (std::size_t k = 0; k < kMostPieces; ++k) some.push_back(pairs[k * pairs.size() / kMostPieces]);
    return is_phase(some, lag, rate);
  }
  if (rate > kMostRate) {
    std::vector<Pair> halves(pairs.size());
    std::vector<const Pair*> at;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      halves[i].dry = decimate(pairs[i]->dry, 2);
      halves[i].wet = decimate(pairs[i]->wet, 2);
      at.push_back(&halves[i]);
    }
    return is_phase(at, lag / 2.0, rate / 2);
  }
  if (lag > 0.0 && lag <= kLeftSeconds * rate) return true;
  const long at = std::lround(lag), behind = at > 0 ? at + kBeside : 0;
  const auto left = left_by_filters(pairs, {std::min(0L, at) - kBeside, at - kNearOnset, behind}, rate);
  const double worth_before = left[1] - left[0], worth_behind = left[2] - left[1];
  const bool delay = worth_before < std::clamp(kBeforeShare * left[0], kLeastBefore, kMostBefore) &&
                     worth_behind > kBehindRatio * worth_before + kLeastBehind;
  return !delay;
}

}  // namespace cafx
