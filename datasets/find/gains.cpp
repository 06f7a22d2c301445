#include "datasets/find/gains.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "datasets/find/spectrum.h"
#include "datasets/find/statistics.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

namespace {

constexpr double kWindowSeconds = 0.4;  // of a note, where it is loudest; and more, up to a power of two
constexpr double kLowest = 60.0, kHighest = 8000.0, kBandsOfOctave = 2.0;
constexpr double kStrongDb = 25.0;  // under a note's strongest band: weaker ones hold what the device adds
constexpr std::size_t kFewBands = 3, kFewOthers = 4, kMostCompared = 64;
constexpr double kAlikeDb = 6.0;  // of dry levels, that are compared
constexpr std::size_t kRank = 8;  // one of so many others may be odd itself
// dB, against nearly all others and against their median; and of the deviations of the notes of its kind. Of 35 sound
// sets of 7 to 20 notes, through distortion, compression, filters and modulation, none is over .6 against nearly all.
constexpr double kAgainstAll = 3.0, kAgainstMedian = 5.0, kDeviations = 3.0;

// Of a note's loudest part, in dB: its level, and the gain that the device has in each band; NaN where dry has little.
struct Note {
  std::size_t pair;
  double level;
  std::vector<double> gains;
};

std::size_t loudest_part(std::span<const float> x, std::size_t n) {
  const std::size_t hop = std::max<std::size_t>(1, n / 4);
  std::size_t best = 0;
  double most = -1.0;
  for (std::size_t at = 0; at + n <= x.size(); at += hop) {
    double sum = 0.0;
    for (std::size_t i = at; i < at + n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    if (sum <= most) continue;
    most = sum;
    best = at;
  }
  return best;
}

// Energies of the bands.
std::vector<double> bands_of(std::span<const float> x, long from, std::size_t n, int rate) {
  std::vector<float> part(n, 0.0f);
  for (std::size_t k = 0; k < n; ++k) {
    const long i = from + static_cast<long>(k);
    const double turn = 2.0 * M_PI * (static_cast<double>(k) + 0.5) / static_cast<double>(n);
    if (i >= 0 && i < static_cast<long>(x.size()))
      part[k] = static_cast<float>(0.5 - 0.5 * std::cos(turn)) * x[static_cast<std::size_t>(i)];
  }
  const Bins bins = spectrum(part.data(), n, n);
  const double hertz = static_cast<double>(rate) / static_cast<double>(n), ratio = std::exp2(1.0 / kBandsOfOctave);
  std::vector<double> bands;
  for (double low = kLowest; low * ratio <= std::min(kHighest, 0.5 * rate); low *= ratio) {
    double sum = 0.0;
    const auto to = static_cast<std::size_t>(std::ceil(low * ratio / hertz));
    for (auto k = static_cast<std::size_t>(std::ceil(low / hertz)); k < to; ++k)
      sum += static_cast<double>(std::norm(bins[k]));
    bands.push_back(sum);
  }
  return bands;
}

Note note_of(const Pair& p, std::size_t pair, const Lag& lag, int rate) {
  std::size_t n = fft_size(static_cast<std::size_t>(kWindowSeconds * rate));
  while (n > p.dry.size() && n > 1024) n /= 2;
  const auto at = static_cast<long>(loudest_part(p.dry, n));
  const std::vector<double> dry = bands_of(p.dry, at, n, rate),
                            wet = bands_of(p.wet, at + lag_at(lag, at, rate), n, rate);
  Note note{pair, 0.0, {}};
  const double most = *std::max_element(dry.begin(), dry.end());
  double all = 0.0;
  for (std::size_t b = 0; b < dry.size(); ++b) {
    all += dry[b];
    note.gains.push_back(10.0 * std::log10(dry[b]) >= 10.0 * std::log10(most) - kStrongDb && wet[b] > 0.0
                             ? 10.0 * std::log10(wet[b] / dry[b])
                             : std::nan(""));
  }
  note.level = 10.0 * std::log10(std::max(1e-30, all));
  return note;
}

// By how many dB the device gives `other` more than `note`, in the bands that both have.
std::optional<double> more_of(const Note& other, const Note& note) {
  std::vector<double> more;
  for (std::size_t b = 0; b < note.gains.size(); ++b) {
    const double d = other.gains[b] - note.gains[b];
    if (d == d) more.push_back(d);
  }
  if (more.size() < kFewBands) return std::nullopt;
  return median(more);
}

// By how many dB a note is too quiet (sign 1) or too loud (-1): against nearly all others, and their median.
struct Off {
  double all = 0.0, middle = 0.0, gain = 0.0;  // gain: whatever their levels
  bool asked = false;
};

Off off_by(const std::vector<Note>& notes, std::size_t i, double sign) {
  std::vector<double> by, gains;
  const std::size_t stride = std::max<std::size_t>(1, notes.size() / kMostCompared);
  for (std::size_t j = i % stride; j < notes.size(); j += stride) {
    const double apart = std::abs(notes[j].level - notes[i].level);
    if (j == i || apart > kAlikeDb) continue;
    // What compresses or expands gives notes of another level another gain, by as many dB at most.
    const auto more = more_of(notes[j], notes[i]);
    if (!more) continue;
    by.push_back(sign * *more - apart);
    gains.push_back(sign * *more);
  }
  if (by.size() < kFewOthers) return {};
  std::sort(by.begin(), by.end());
  return {by[by.size() / kRank], median(by), median(gains), true};
}

void tell_kind(const std::vector<Pair>& pairs, const std::vector<Note>& notes, std::vector<Finding>& found) {
  for (const double sign : {1.0, -1.0}) {
    std::vector<Off> off;
    std::vector<double> middles, apart;
    for (std::size_t i = 0; i < notes.size(); ++i) {
      off.push_back(off_by(notes, i, sign));
      if (off.back().asked) middles.push_back(off.back().middle);
    }
    const double middle = median(middles);
    for (const double m : middles) apart.push_back(std::abs(m - middle));
    const double least = std::max(kAgainstMedian, kDeviations * 1.4826 * median(apart));
    for (std::size_t i = 0; i < notes.size(); ++i) {
      if (!off[i].asked || off[i].all < kAgainstAll || off[i].middle - std::max(0.0, middle) < least) continue;
      found.push_back({Severity::kWarning, "gain", file_of(pairs[notes[i].pair], true), -1.0,
                       fmt::format("is about {:.0f} dB {} against its dry file than other notes that are as loud",
                                   off[i].gain, sign > 0.0 ? "quieter" : "louder"),
                       "its gain was changed, or the file was normalised by itself",
                       "export it again with the gain of the others; where the device does so, nothing need be done"});
    }
  }
}

}  // namespace

std::string kind_of(const Pair& p) {
  std::string kind = p.setting;
  for (const KnobValue& k : p.knobs) kind += fmt::format("\n{}={}", k.name, k.show());
  return kind;
}

void tell_gains(const std::vector<Pair>& pairs, const Lags& lags, int rate, std::vector<Finding>& found) {
  std::map<std::string, std::vector<std::size_t>> kinds;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (lags.pairs[i].heard && !lags.pairs[i].mismatched) kinds[kind_of(pairs[i])].push_back(i);
  }
  ThreadPool pool(available_threads());
  for (const auto& kind : kinds) {
    const std::vector<std::size_t>& whose = kind.second;
    if (whose.size() < kFewAlike) continue;
    std::vector<Note> notes(whose.size());
    pool.run(static_cast<int>(whose.size()), [&](int task, int) {
      const auto k = static_cast<std::size_t>(task);
      notes[k] = note_of(pairs[whose[k]], whose[k], lags.pairs[whose[k]].lag, rate);
    });
    tell_kind(pairs, notes, found);
  }
}

}  // namespace cafx
