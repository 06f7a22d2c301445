#include "datasets/find/silence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "datasets/find/statistics.h"

namespace cafx {

namespace {

constexpr std::size_t kTenthsOfSecond = 10;
constexpr double kSilentPeak = 1e-4;               // of a side's peak
constexpr double kFloor = 2.0, kMostFloor = 3e-3;  // of what sounds always; of the peak: no device gives so little
constexpr double kAsLoud = 0.5;                    // of the other side's usual level
// Tenths of a second of dry that are as loud as usual: a gate is silent where dry is quieter than where it sounds.
constexpr std::size_t kUsual = 3;
constexpr double kHeard = 0.02;  // of the other side's peak: it plays

struct Tenth {
  double peak = 0.0, level = 0.0;
  bool there = true;  // all of it was recorded
};

Tenth tenth_of(std::span<const float> x, long from, long n) {
  Tenth t;
  if (from < 0 || from + n > static_cast<long>(x.size())) t.there = false;
  double square = 0.0;
  const long a = std::max(0L, from), b = std::min(static_cast<long>(x.size()), from + n);
  for (long i = a; i < b; ++i) {
    const auto v = static_cast<double>(x[static_cast<std::size_t>(i)]);
    t.peak = std::max(t.peak, std::abs(v));
    square += v * v;
  }
  t.level = std::sqrt(square / static_cast<double>(n));
  return t;
}

// Both sides in tenths of a second of dry, wet at its lag.
struct Tenths {
  std::vector<Tenth> dry, wet;
};

Tenths tenths_of(const Pair& p, const Lag& lag, int rate) {
  Tenths all;
  const long n = rate / 10;
  for (long at = 0; at + n <= static_cast<long>(p.dry.size()); at += n) {
    all.dry.push_back(tenth_of(p.dry, at, n));
    all.wet.push_back(tenth_of(p.wet, at + lag_at(lag, at, rate), n));
  }
  return all;
}

double loudest(const std::vector<Tenth>& x) {
  double most = 0.0;
  for (const Tenth& t : x) most = std::max(most, t.peak);
  return most;
}

// Which tenths are silent: dry to the last digits, wet down to its own noise.
std::vector<bool> silent_of(const std::vector<Tenth>& x, bool wet) {
  const double most = loudest(x);
  double floor = 0.0;
  if (wet) {
    std::vector<double> levels;
    for (const Tenth& t : x) {
      if (t.there) levels.push_back(t.level);
    }
    if (!levels.empty()) {
      const auto quiet = levels.begin() + static_cast<long>(levels.size() / 100);
      std::nth_element(levels.begin(), quiet, levels.end());
      floor = std::min(kFloor * *quiet, kMostFloor * most);
    }
  }
  std::vector<bool> silent;
  for (const Tenth& t : x) silent.push_back(t.there && (t.peak <= kSilentPeak * most || t.level <= floor));
  return silent;
}

struct Muted {
  double seconds = 0.0;
  std::vector<std::pair<double, double>> places;
};

// Where one side is silent for a second and more, and the other as loud as elsewhere.
Muted muted_of(const std::vector<Tenth>& own, const std::vector<Tenth>& other, bool wet) {
  Muted muted;
  const std::vector<bool> silent = silent_of(own, wet);
  std::vector<double> sounding;
  for (std::size_t k = 0; k < own.size(); ++k) {
    if (!silent[k] && own[k].there && other[k].there) sounding.push_back(other[k].peak);
  }
  if (sounding.size() < kTenthsOfSecond) return muted;
  const double usual = median(sounding);
  for (std::size_t from = 0; from < own.size();) {
    std::size_t to = from;
    while (to < own.size() && silent[to]) ++to;
    std::size_t loud = 0, as_usual = 0;
    for (std::size_t k = from + 1; k + 1 < to; ++k) {  // the last one may hold what comes next
      loud += other[k].there && other[k].peak >= kAsLoud * usual;
      as_usual += other[k].there && other[k].peak >= usual;
    }
    if (loud >= kTenthsOfSecond && (!wet || as_usual >= kUsual)) {
      muted.places.push_back({static_cast<double>(from) / 10.0, static_cast<double>(to) / 10.0});
      muted.seconds += muted.places.back().second - muted.places.back().first;
    }
    from = std::max(to, from + 1);
  }
  return muted;
}

// "from 4.0 to 7.0 s and from 9.0 to 11.0 s".
std::string text_of(const std::vector<std::pair<double, double>>& places) {
  constexpr std::size_t kMost = 4;
  std::vector<std::string> some;
  for (std::size_t k = 0; k < std::min(kMost, places.size()); ++k)
    some.push_back(fmt::format("from {:.1f} to {:.1f} s", places[k].first, places[k].second));
  const std::size_t more = places.size() - some.size();
  return fmt::format("{}{}", fmt::join(some, " and "), more > 0 ? fmt::format(" and in {} more places", more) : "");
}

}  // namespace

void tell_muted(const Pair& p, const Lag& lag, int rate, std::vector<Finding>& found) {
  const Tenths tenths = tenths_of(p, lag, rate);
  if (static_cast<double>(tenths.dry.size()) < 10.0 * kLongSeconds) return;
  const Muted dry = muted_of(tenths.dry, tenths.wet, false), wet = muted_of(tenths.wet, tenths.dry, true);
  if (!dry.places.empty()) {
    found.push_back({Severity::kWarning, "silence", file_of(p, false), p.offset_seconds + dry.places[0].first,
                     fmt::format("is silent for {:.1f} s in which wet plays on: {}", dry.seconds, text_of(dry.places)),
                     "dry was muted, or something else was recorded with wet",
                     "cut that out of both, or record it again"});
  }
  if (wet.places.empty()) return;
  // At a lag that is not known, what dry plays may lie elsewhere.
  found.push_back({lag.sure ? Severity::kRefuse : Severity::kWarning, "silence", file_of(p, true),
                   p.offset_seconds + wet.places[0].first,
                   fmt::format("is silent for {:.1f} s in which dry plays on: {}", wet.seconds, text_of(wet.places)),
                   "a cable came off, the device stood by or was muted: a model learns to be silent there, and all "
                   "that it gives is worse",
                   "cut that out of both, or record it again; where the effect is silent there, --set "
                   "data.allow=silence"});
}

void tell_pauses(const Pair& p, const Lag& lag, bool wet, int rate, std::vector<Finding>& found) {
  const SharedRecording &x = wet ? p.wet : p.dry, &other = wet ? p.dry : p.wet;
  float peak = 0.0f;
  for (const float v : x) peak = std::max(peak, std::abs(v));
  std::size_t longest = 0, begin = 0, run = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    run = std::abs(x[i]) < static_cast<float>(kSilentPeak) * peak ? run + 1 : 0;
    if (run > longest) {
      longest = run;
      begin = i + 1 - run;
    }
  }
  const double seconds = static_cast<double>(longest) / rate;
  if (2 * longest <= x.size() && seconds < 5.0) return;
  double most = 0.0;
  for (const float v : other) most = std::max(most, std::abs(static_cast<double>(v)));
  const long late = lag_at(lag, static_cast<long>(begin), rate),
             there = static_cast<long>(begin) + (wet ? -late : late);
  const long n = rate / 10;
  std::size_t heard = 0;
  for (long at = 0; at + n <= static_cast<long>(longest); at += n)
    heard += tenth_of(other, there + at, n).peak > kHeard * most;
  if (heard >= kTenthsOfSecond) return;  // no pause: one side is missing
  found.push_back({Severity::kInfo, "silence", file_of(p, wet), p.offset_seconds + static_cast<double>(begin) / rate,
                   fmt::format("is silent for {:.2f} s of {:.2f} s", seconds, static_cast<double>(x.size()) / rate),
                   "a long pause", "nothing need be done; train.silence_db leaves silent frames out"});
}

void tell_noise(const Pair& p, const Lag& lag, int rate, std::vector<Finding>& found) {
  constexpr double kExact = 1e-6;   // of full scale: nothing was recorded there that a device could amplify
  constexpr std::size_t kAway = 5;  // tenths of a second from a pause's beginning: what was played has died away
  constexpr std::size_t kBlocks = 6;
  constexpr double kSteady = 1.5;   // dB, its quarters apart: a tail falls
  constexpr double kLeast = -45.0;  // dB of wet's level: an ESR of 3e-5 is what no model reaches
  const Tenths tenths = tenths_of(p, lag, rate);
  std::vector<double> levels;
  double square = 0.0, count = 0.0;
  for (std::size_t k = 0, pause = 0; k < tenths.dry.size(); ++k) {
    if (!tenths.wet[k].there) continue;
    pause = tenths.dry[k].peak <= kExact ? pause + 1 : 0;
    const bool ends = k + 1 == tenths.dry.size() || tenths.dry[k + 1].peak > kExact;
    // The last tenth may hold what comes next.
    if (pause > kAway && !ends) levels.push_back(db(tenths.wet[k].level));
    if (pause > 0) continue;
    square += tenths.wet[k].level * tenths.wet[k].level;
    count += 1.0;
  }
  if (levels.size() < kBlocks || count < static_cast<double>(kTenthsOfSecond)) return;
  std::sort(levels.begin(), levels.end());
  const double floor = median(levels), usual = db(std::sqrt(square / count));
  if (levels[3 * levels.size() / 4] - levels[levels.size() / 4] > kSteady || floor - usual < kLeast) return;
  found.push_back(
      {Severity::kWarning, "noise", file_of(p, true), -1.0,
       fmt::format("holds noise at {:.0f} dB of full scale where dry pauses, {:.0f} dB under its level: an ESR under "
                   "{:.2g} cannot be reached",
                   floor, usual - floor, std::pow(10.0, 0.1 * (floor - usual))),
       "a device or a converter that hisses, or something else that was recorded with it: no model can learn what is "
       "not made from dry",
       "play louder into the device, or record it again with less noise; where it belongs to the device, nothing need "
       "be done"});
}

}  // namespace cafx
