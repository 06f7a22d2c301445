#include "datasets/find/sides.h"
#include "datasets/find/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace cafx {

namespace {

constexpr double kBlockSeconds = 0.05;
constexpr double kLoudDb = 35.0;  // under the loudest block: quieter ones hold noise
// Measured on the shipped effects and the study's chains, the right way round: dynamic at most 1.34, and then no higher
// tops. Swapped, distortion and amplifier have 1.22 to 1.80, .56 to 2.4 dB and -1.0 to -2.5 dB; the overdrive is not
// told.
constexpr double kMoreDynamic = 1.2, kHigherTops = 0.5, kDuller = -0.5;
constexpr float kSilentShare = 1e-3f, kQuietShare = 5e-3f, kLoudShare = 0.02f;  // of the peak
constexpr double kPlays = 2.0;  // over what sounds in dry always, as hum does
constexpr std::size_t kLeastBlocks = 40, kLeastFiles = 6;

// Of a block: level and crest in dB, energy, energy of the differences from sample to sample.
struct Block {
  double level = 0.0, crest = 0.0, energy = 0.0, steps = 0.0;
};

Block block_of(std::span<const float> x, std::size_t from, std::size_t n) {
  Block b;
  double peak = 0.0;
  for (std::size_t i = from; i < from + n; ++i) {
    const auto v = static_cast<double>(x[i]);
    const double step = i > from ? v - static_cast<double>(x[i - 1]) : 0.0;
    b.energy += v * v;
    b.steps += step * step;
    peak = std::max(peak, std::abs(v));
  }
  const double rms = std::sqrt(b.energy / static_cast<double>(n));
  b.level = db(rms);
  b.crest = db(peak) - b.level;
  return b;
}

double deviation(const std::vector<std::pair<Block, Block>>& blocks, Block std::pair<Block, Block>::*side) {
  double sum = 0.0, square = 0.0;
  for (const auto& b : blocks) {
    sum += (b.*side).level;
    square += (b.*side).level * (b.*side).level;
  }
  const auto n = static_cast<double>(blocks.size());
  return std::sqrt(std::max(0.0, square / n - sum / n * (sum / n)));
}

}  // namespace

void tell_swapped_by_sound(const std::vector<Pair>& pairs, const Lags& lags, int rate, std::vector<Finding>& found) {
  using Both = std::pair<Block, Block>;
  const auto n = static_cast<std::size_t>(kBlockSeconds * rate);
  std::vector<Both> blocks;
  double loudest_dry = -300.0, loudest_wet = -300.0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const PairLag& p = lags.pairs[i];
    if (!p.heard || p.mismatched) continue;
    const Pair& pair = pairs[i];
    const long lag = std::lround(p.lag.lag);
    for (std::size_t at = lag < 0 ? static_cast<std::size_t>(-lag) : 0;; at += n) {
      const std::size_t wet_at = static_cast<std::size_t>(static_cast<long>(at) + lag);
      if (at + n > pair.dry.size() || wet_at + n > pair.wet.size()) break;
      blocks.push_back({block_of(pair.dry, at, n), block_of(pair.wet, wet_at, n)});
      loudest_dry = std::max(loudest_dry, blocks.back().first.level);
      loudest_wet = std::max(loudest_wet, blocks.back().second.level);
    }
  }
  std::erase_if(blocks, [&](const Both& b) {
    return b.first.level < loudest_dry - kLoudDb || b.second.level < loudest_wet - kLoudDb;
  });
  if (blocks.size() < kLeastBlocks) return;
  std::vector<double> crest;
  double dry = 0.0, dry_steps = 0.0, wet = 0.0, wet_steps = 0.0;
  for (const Both& b : blocks) {
    crest.push_back(b.second.crest - b.first.crest);
    dry += b.first.energy;
    dry_steps += b.first.steps;
    wet += b.second.energy;
    wet_steps += b.second.steps;
  }
  std::nth_element(crest.begin(), crest.begin() + static_cast<long>(crest.size() / 2), crest.end());
  const double tops = crest[crest.size() / 2];
  const double dynamic = deviation(blocks, &Both::second) / std::max(1e-6, deviation(blocks, &Both::first));
  const double duller = 10.0 * std::log10((wet_steps / wet) / std::max(1e-30, dry_steps / dry));
  if (dynamic < kMoreDynamic || tops < kHigherTops || !(duller <= kDuller)) return;
  found.push_back(
      {Severity::kWarning, "swapped", pairs.size() == 1 ? file_of(pairs[0], false) : "all pairs", -1.0,
       fmt::format(
           "dry sounds like the device's output: its level moves less than wet's (1 to {:.2f}), its tops are flatter "
           "(by {:.1f} dB), it is brighter (by {:.1f} dB)",
           dynamic, tops, -duller),
       "dry and wet were swapped, or the effect expands and dulls",
       "where they are swapped, give them the other way round"});
}

void tell_normalised(const std::vector<Pair>& pairs, std::vector<Finding>& found) {
  std::set<std::filesystem::path> files;
  float least = 1e30f, most = 0.0f, dry_least = 1e30f, dry_most = 0.0f;
  for (const Pair& p : pairs) {
    if (p.wet_path.empty() || p.wet_file.clipping.n_runs > 0) return;
    files.insert(p.wet_path);
    least = std::min(least, p.wet_file.clipping.level);
    most = std::max(most, p.wet_file.clipping.level);
    dry_least = std::min(dry_least, p.dry_file.clipping.level);
    dry_most = std::max(dry_most, p.dry_file.clipping.level);
  }
  if (files.size() < kLeastFiles || !(least > 0.0f) || !(dry_least > 0.0f)) return;
  const double wet_db = db(static_cast<double>(most) / static_cast<double>(least));
  const double dry_db = db(static_cast<double>(dry_most) / static_cast<double>(dry_least));
  if (wet_db > 0.02 || dry_db < 1.0) return;
  found.push_back(
      {Severity::kWarning, "normalised", fmt::format("all {} wet files", files.size()), -1.0,
       fmt::format("peak at {:.2f} dB, to {:.3f} dB, while the peaks of their dry files differ by {:.1f} dB",
                   db(static_cast<double>(most)), wet_db, dry_db),
       "each file was normalised by itself when it was exported, so the device's gain differs from file to file",
       "export them again without normalising; where the device is a limiter, nothing need be done"});
}

namespace {

// Of x[from, from + n), about its own mean: an offset is no sound.
double loudness(std::span<const float> x, long from, long n) {
  double sum = 0.0, square = 0.0;
  const long a = std::max(0L, from), b = std::min(static_cast<long>(x.size()), from + n);
  for (long i = a; i < b; ++i) {
    sum += static_cast<double>(x[static_cast<std::size_t>(i)]);
    square += static_cast<double>(x[static_cast<std::size_t>(i)]) * static_cast<double>(x[static_cast<std::size_t>(i)]);
  }
  if (b <= a) return 0.0;
  const auto count = static_cast<double>(b - a);
  return std::sqrt(std::max(0.0, square / count - sum / count * (sum / count)));
}

// The level of its quietest hundredth, in blocks of 50 ms: what sounds there sounds always, as hum does.
double floor_of(std::span<const float> x, int rate) {
  const auto block = static_cast<long>(kBlockSeconds * rate);
  std::vector<double> levels;
  for (long at = 0; at + block <= static_cast<long>(x.size()); at += block) levels.push_back(loudness(x, at, block));
  if (levels.empty()) return 0.0;
  const auto k = levels.begin() + static_cast<long>(levels.size() / 100);
  std::nth_element(levels.begin(), k, levels.end());
  return *k;
}

// Under this a side is about silent, however quiet its pauses are.
double plays_from(std::span<const float> x) {
  float peak = 0.0f;
  for (const float v : x) peak = std::max(peak, std::abs(v));
  return static_cast<double>(kQuietShare * peak);
}

struct Dropouts {
  std::size_t n = 0;
  double first = 0.0, seconds = 0.0;
};

// Where x is silent for a moment, from one sample to the next, while the other side plays on; x[i] beside
// other[i - late(i)].
template <class Late>
Dropouts dropouts_of(std::span<const float> x, std::span<const float> other, const Late& late, double longest_seconds,
                     int rate) {
  const auto shortest = static_cast<std::size_t>(0.005 * rate);
  const auto longest = static_cast<std::size_t>(longest_seconds * rate);
  float peak = 0.0f;
  for (const float v : x) peak = std::max(peak, std::abs(v));
  const auto least = static_cast<double>(kLoudShare * peak);
  const double always = std::max(kPlays * floor_of(other, rate), plays_from(other));
  const long beside = static_cast<long>(0.012 * rate);
  Dropouts found;
  std::size_t run = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::abs(x[i]) < kSilentShare * peak) {
      ++run;
      continue;
    }
    const std::size_t length = run;
    run = 0;
    if (length < shortest || length > longest) continue;
    const long begin = static_cast<long>(i - length), end = static_cast<long>(i), size = end - begin;
    // Filters of a converter ring for a few samples at the edges.
    if (loudness(x, begin - beside, beside) < least || loudness(x, end, beside) < least) continue;
    const long there = begin - late(begin);
    if (there < 0 || there + size > static_cast<long>(other.size())) continue;  // the other side has ended
    const double inside = loudness(other, there, size);
    if (inside < always || inside < 0.25 * loudness(other, there - beside, beside) ||
        inside < 0.25 * loudness(other, there + size, beside))
      continue;
    if (found.n++ == 0) found.first = static_cast<double>(begin) / rate;
    found.seconds += static_cast<double>(size) / rate;
  }
  return found;
}

// Silence of x that ends from one sample to the next, later than the other side began to sound: of a drop-out at the
// onset of a note. Those of many notes are a gate that opens late.
template <class Late>
Dropouts onsets_lost(std::span<const float> x, std::span<const float> other, const Late& late, int rate) {
  constexpr double kAbrupt = 0.5, kOnsets = 0.2;  // of 12 ms: the level of the first; of the onsets, if more than one
  float peak = 0.0f;
  for (const float v : x) peak = std::max(peak, std::abs(v));
  const auto least = static_cast<double>(kLoudShare * peak);
  const double always = std::max(kPlays * floor_of(other, rate), plays_from(other));
  const long beside = static_cast<long>(0.012 * rate), first = static_cast<long>(0.001 * rate);
  const long heard = static_cast<long>(0.01 * rate);  // that the other side must have sounded by then
  Dropouts found;
  long run = 0;
  std::size_t onsets = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::abs(x[i]) < kSilentShare * peak) {
      ++run;
      continue;
    }
    const long length = run, end = static_cast<long>(i);
    run = 0;
    if (length < 2 * heard || loudness(x, end, beside) < least) continue;
    ++onsets;
    if (loudness(x, end - length - beside, beside) >= least) continue;  // a drop-out within a note is told above
    const double after = loudness(x, end, beside);
    double start = 0.0;  // of a millisecond; filters of a converter ring before an edge
    for (long k = 0; k <= 4; ++k) start = std::max(start, loudness(x, end + k * first / 2, first));
    if (start < kAbrupt * after) continue;
    const long there = end - late(end);
    if (there > static_cast<long>(other.size())) continue;  // the other side has ended
    const double playing = std::max(always, 0.25 * loudness(other, there, beside));
    long size = 0;
    while (size + heard <= std::min(length, there) && loudness(other, there - size - heard, heard) >= playing)
      size += heard;
    if (size < 2 * heard) continue;  // a gate may open that late
    if (found.n++ == 0) found.first = static_cast<double>(end - size) / rate;
    found.seconds += static_cast<double>(size) / rate;
  }
  if (found.n > 1 && static_cast<double>(found.n) > kOnsets * static_cast<double>(onsets)) return {};
  return found;
}

}  // namespace

void tell_dropouts(const Pair& p, const PairLag& lag, int rate, std::vector<Finding>& found) {
  if (!p.dry.empty() && (!lag.heard || lag.mismatched)) return;
  // Wet at i lies beside dry at about as many samples before as wet is late there.
  const auto late = [&](long i) { return lag_at(lag.lag, i, rate); };
  const auto early = [&](long i) { return -lag_at(lag.lag, i, rate); };
  for (const bool wet : {false, true}) {
    // Of dry no more than a tenth of a second: notes that are cut out leave longer gaps, in which an echo sounds.
    Dropouts d = wet ? dropouts_of(p.wet, p.dry, late, 0.5, rate) : dropouts_of(p.dry, p.wet, early, 0.1, rate);
    if (wet && lag.lag.sure && !p.dry.empty()) {
      const Dropouts more = onsets_lost(p.wet, p.dry, late, rate);
      d.first = d.n == 0 || (more.n > 0 && more.first < d.first) ? more.first : d.first;
      d.n += more.n;
      d.seconds += more.seconds;
    }
    if (d.n == 0) continue;
    found.push_back({Severity::kWarning, "dropouts", file_of(p, wet), p.offset_seconds + d.first,
                     fmt::format("is silent from one sample to the next in {} place{} ({:.3f} s together), while {} "
                                 "plays on",
                                 d.n, d.n == 1 ? "" : "s", d.seconds, wet ? "dry" : "wet"),
                     wet ? "blocks were lost: an overloaded computer, a wireless link; or the effect chops"
                         : "blocks were lost, or dry was cut and the effect sounds on",
                     wet ? "where it is not the effect, record it again, or cut these places out of both files"
                         : "record it again, or cut these places out of both files"});
  }
}

}  // namespace cafx
