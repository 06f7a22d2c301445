#include "datasets/find/rate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "datasets/find/take.h"

namespace cafx {

namespace {

constexpr double kMatches = 0.36;     // a pair of one take has .41 and more, of two takes .30 and less
constexpr double kClearly = 1.35;     // times as well as with the header as it is
constexpr double kMostSeconds = 8.0;  // that are looked at

// How well the first seconds correlate, wet played at `ratio` times its speed.
double match_at(const Pair& p, double ratio, int rate) {
  const auto n = std::min({static_cast<std::size_t>(kMostSeconds * rate), p.dry.size(), p.wet.size()});
  const Recording wet = resample(std::span(p.wet).first(n), ratio, 1.0);
  const std::size_t size = fft_size(2 * std::max(n, wet.size()));
  const long most = static_cast<long>(std::min(n, wet.size()) / 2);
  const auto r =
      correlate(spectrum(p.dry.data(), n, size), spectrum(wet.data(), wet.size(), size), kMatchWhitening, -most, most);
  return std::abs(r[strongest(r)]);
}

}  // namespace

std::optional<WrongRate> find_wrong_rate(const Pair& p, double as_is, double least, int usual, int rate) {
  static constexpr int rates[] = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000};
  struct Guess {
    double ratio;  // wet's speed as it is, of the right one
    int wet_rate = 0, dry_rate = 0;
  };
  std::vector<Guess> guesses;
  const auto add = [&](double ratio, int wet_rate, int dry_rate) {
    if (!(ratio > 0.15 && ratio < 7.0) || std::abs(ratio - 1.0) < 0.01) return;
    for (Guess& g : guesses) {
      if (std::abs(g.ratio - ratio) > 1e-6) continue;
      if (wet_rate) g.wet_rate = wet_rate;
      if (dry_rate) g.dry_rate = dry_rate;
      return;
    }
    guesses.push_back({ratio, wet_rate, dry_rate});
  };
  for (const int r : rates) {
    if (p.wet_file.rate > 0) add(static_cast<double>(r) / p.wet_file.rate, r, 0);
    if (p.dry_file.rate > 0) add(static_cast<double>(p.dry_file.rate) / r, 0, r);
  }
  std::optional<WrongRate> best;
  for (const Guess& g : guesses) {
    // wet as read lasts frames / stated; at its true rate it lasts frames / true.
    const double match = match_at(p, g.ratio, rate);
    if (match < std::max(kMatches, least) || match < kClearly * as_is || (best && match <= best->match)) continue;
    const bool dry_is_odd = g.dry_rate != 0 && p.dry_file.rate != usual && p.wet_file.rate == usual;
    const bool wet = g.wet_rate != 0 && !(dry_is_odd && g.dry_rate != 0);
    best = {wet, wet ? p.wet_file.rate : p.dry_file.rate, wet ? g.wet_rate : g.dry_rate, match};
  }
  return best;
}

int usual_rate(const std::vector<Pair>& pairs) {
  std::map<int, int> votes;
  for (const Pair& p : pairs) {
    votes[p.dry_file.rate] += 1;
    votes[p.wet_file.rate] += 1;
  }
  int usual = pairs.empty() ? 0 : pairs.front().dry_file.rate;
  for (const auto& [rate, n] : votes) {
    if (n > votes[usual]) usual = rate;
  }
  return usual;
}

}  // namespace cafx
