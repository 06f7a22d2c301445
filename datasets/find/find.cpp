#include "datasets/find/find.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <string>

#include "datasets/find/gains.h"
#include "datasets/find/hum.h"
#include "datasets/find/rate.h"
#include "datasets/find/sides.h"
#include "datasets/find/silence.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

namespace {

// Energy that a gain leaves over: 50 dB down nothing else was done; 25 dB down it may be the noise of a converter. The
// mildest of the shipped effects leaves more than 12 dB down.
constexpr double kBypass = 1e-5, kMaybeBypass = 3e-3;

struct Products {
  double xx = 0.0, xy = 0.0, yy = 0.0;
};

// In eight sums side by side, by vectors whatever the compiler is told of speed.
double product(const float* x, const float* y, long n) {
  constexpr long kLanes = 8;
  using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
  using Doubles = double __attribute__((vector_size(kLanes * sizeof(double))));
  Doubles lanes = {};
  double sum = 0.0;
  const long whole = n / kLanes * kLanes;
  for (long i = 0; i < whole; i += kLanes) {
    Floats a, b;
    std::memcpy(&a, x + i, sizeof a);
    std::memcpy(&b, y + i, sizeof b);
    lanes += __builtin_convertvector(a, Doubles) * __builtin_convertvector(b, Doubles);
  }
  for (long i = whole; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  for (long k = 0; k < kLanes; ++k) sum += lanes[k];
  return sum;
}

// Of dry[from, to) and wet at the lag, as far as both go; of `xy` alone, or of all three.
Products products(const Pair& p, long lag, long from, long to, bool all = true) {
  from = std::max(from, -lag);
  to = std::min({to, static_cast<long>(p.dry.size()), static_cast<long>(p.wet.size()) - lag});
  Products s;
  if (from >= to) return s;
  const float *x = p.dry.data() + from, *y = p.wet.data() + from + lag;
  s.xy = product(x, y, to - from);
  if (!all) return s;
  s.xx = product(x, x, to - from);
  s.yy = product(y, y, to - from);
  return s;
}

// What a gain leaves of wet at a lag, of its energy; and that gain.
std::pair<double, double> left_by_gain(const Products& s) {
  if (!(s.xx > 0.0) || !(s.yy > 0.0)) return {1.0, 0.0};
  return {1.0 - s.xy * s.xy / (s.xx * s.yy), s.xy / s.xx};
}

// The same for the best lag near by, between the samples too: a converter delays by parts of a sample, and lags of high
// rates are known to two samples. Products at whole lags, of the loudest part, tell those between.
std::pair<double, double> left_by_gain_and_delay(const Pair& p, double lag) {
  constexpr long kNear = 4, kTaps = 32, kPart = 1 << 17, kFractions = 64;
  constexpr double kHopeless = 0.5;
  const long size = static_cast<long>(p.dry.size()), middle = std::lround(lag);
  const Products whole = products(p, middle, 0, size);
  std::pair<double, double> best = left_by_gain(whole);
  if (best.first <= kBypass) return best;
  long from = 0;
  double most = -1.0;
  for (long at = 0; at + kPart <= size; at += kPart) {
    const double energy = product(p.dry.data() + at, p.dry.data() + at, kPart);
    if (energy <= most) continue;
    most = energy;
    from = at;
  }
  std::vector<double> at_lags(2 * (kNear + kTaps) + 1, 0.0);
  const auto at = [&](long k) -> double& { return at_lags[static_cast<std::size_t>(k + kNear + kTaps)]; };
  const Products own = size <= kPart ? whole : products(p, middle, from, from + kPart);
  const double scale = own.xx * own.yy;
  double hope = 0.0;
  for (long k = -kNear; k <= kNear; ++k) {
    at(k) = k == 0 ? own.xy : products(p, middle + k, from, from + kPart, false).xy;
    hope = std::max(hope, at(k) * at(k));
  }
  if (!(hope > (1.0 - kHopeless) * scale)) return best;
  for (long k = kNear + 1; k <= kNear + kTaps; ++k) {
    at(k) = products(p, middle + k, from, from + kPart, false).xy;
    at(-k) = products(p, middle - k, from, from + kPart, false).xy;
  }
  for (long f = -kNear * kFractions; f <= kNear * kFractions; ++f) {
    const double t = static_cast<double>(f) / kFractions;
    double sum = 0.0;
    for (long k = std::lround(t) - kTaps; k <= std::lround(t) + kTaps; ++k) {
      const double u = t - static_cast<double>(k), window = std::cos(0.5 * M_PI * u / (kTaps + 1.0));
      sum += at(k) * window * window * (std::abs(u) < 1e-9 ? 1.0 : std::sin(M_PI * u) / (M_PI * u));
    }
    const double left = std::max(0.0, 1.0 - sum * sum / scale);
    if (left < best.first) best = {left, sum / own.xx};
  }
  return best;
}

void tell_identical(const Pair& p, const PairLag& lag, bool by_chain, std::vector<Finding>& found) {
  // A device may do nothing at one position of its knobs.
  const Severity severity = p.knobs.empty() ? Severity::kRefuse : Severity::kWarning;
  const char* clean = p.knobs.empty() ? "" : "; where the device is clean at this position, nothing need be done";
  if (p.dry == p.wet) {
    if (p.dry_path == p.wet_path && !p.wet_path.empty() && p.wet_file.channels > 1) {
      found.push_back({Severity::kRefuse, "identical", file_of(p, true), -1.0, "is both sides, by the same channel",
                       "one file holds dry and wet as its channels, and which is which was not said",
                       "say so, as --set data.dry_channel=left --set data.wet_channel=right"});
      return;
    }
    found.push_back({severity, "identical", file_of(p, true), -1.0, "is sample by sample its dry file",
                     "the dry file was copied, or the device was bypassed",
                     std::string("record or export the wet audio again") + clean});
    return;
  }
  if (by_chain) return;
  const auto [left, gain] = left_by_gain_and_delay(p, lag.lag.lag);
  if (left > kMaybeBypass || lag.lag.ppm != 0.0) return;
  if (left > kBypass) {
    found.push_back({Severity::kWarning, "identical", file_of(p, true), -1.0,
                     fmt::format("is nearly its dry file at {:+.1f} dB: a gain leaves {:.0f} dB of it",
                                 20.0 * std::log10(std::max(1e-12, std::abs(gain))), 10.0 * std::log10(left)),
                     "the device was bypassed or switched off, or does very little",
                     "listen to both; where the device does so little, nothing need be done"});
    return;
  }
  found.push_back({severity, "identical", file_of(p, true), -1.0,
                   fmt::format("is its dry file at {:+.1f} dB{}: a gain leaves {:.0f} dB of it",
                               20.0 * std::log10(std::max(1e-12, std::abs(gain))), gain < 0.0 ? ", turned over" : "",
                               10.0 * std::log10(std::max(left, 1e-12))),
                   "the device was bypassed or switched off, or the dry track was recorded twice",
                   std::string("record the wet audio again") + clean});
}

void tell_length(const Pair& p, const PairLag& lag, int rate, std::vector<Finding>& found) {
  const auto dry = static_cast<double>(p.dry.size()), wet = static_cast<double>(p.wet.size());
  const double apart = std::abs(dry - wet), longer = std::max(dry, wet);
  const std::string lasts = fmt::format("lasts {:.3f} s, its dry file {:.3f} s", wet / rate, dry / rate);
  if (apart > 0.1 * longer && !(lag.lag.sure && !lag.mismatched)) {
    found.push_back({Severity::kRefuse, "length", file_of(p, true), -1.0, lasts,
                     "one of them is cut off, or they are not of one take", "cut both to the same take"});
  } else if (apart > 1e-3 * rate) {
    found.push_back({Severity::kWarning, "length", file_of(p, true), std::min(dry, wet) / rate,
                     lasts + "; both are cut to the shorter", "recordings were stopped at different times",
                     "nothing need be done where both are of one take"});
  }
}

void tell_rates(const Pair& p, int rate, std::vector<Finding>& found) {
  if (p.wet_file.rate == 0 || p.dry_file.rate == p.wet_file.rate) return;
  found.push_back({Severity::kWarning, "rate", file_of(p, true), -1.0,
                   fmt::format("has {} Hz, its dry file {} Hz; both are resampled to {} Hz", p.wet_file.rate,
                               p.dry_file.rate, rate),
                   "they were exported with different settings", "export both at one rate"});
}

// The rates of all files, each counted once, with those whose rate is chosen by `which`.
struct Rates {
  std::set<std::string> files, chosen;
  int lowest = 0, highest = 0;  // of the chosen
};

template <class Which>
Rates rates_of(const std::vector<Pair>& pairs, Which which) {
  Rates rates;
  for (const Pair& p : pairs) {
    for (const bool wet : {false, true}) {
      const int rate = (wet ? p.wet_file : p.dry_file).rate;
      if (rate == 0 || (wet && p.wet_path.empty())) continue;  // of no file
      rates.files.insert(file_of(p, wet));
      if (!which(rate)) continue;
      rates.chosen.insert(file_of(p, wet));
      rates.lowest = rates.lowest == 0 ? rate : std::min(rates.lowest, rate);
      rates.highest = std::max(rates.highest, rate);
    }
  }
  return rates;
}

std::string files_of(const Rates& rates) {
  const std::size_t n = rates.chosen.size(), all = rates.files.size();
  return n == all ? "all recordings" : n == 1 ? *rates.chosen.begin() : fmt::format("{} of {} files", n, all);
}

std::string text_of(const Rates& rates) {
  const std::size_t n = rates.chosen.size(), all = rates.files.size();
  const std::string hz = rates.lowest == rates.highest ? fmt::format("{} Hz", rates.highest)
                                                       : fmt::format("{} to {} Hz", rates.lowest, rates.highest);
  return n == all ? "recordings have " + hz : fmt::format("{} of {} files {} {}", n, all, n == 1 ? "has" : "have", hz);
}

// Of all files together: what the model will not hear, and what it could hear and the files do not hold.
void tell_bandwidth(const std::vector<Pair>& pairs, int rate, std::vector<Finding>& found) {
  double lost = -200.0;
  const Pair* worst = nullptr;
  for (const Pair& p : pairs) {
    if (p.wet_file.lost_db > lost) {
      lost = p.wet_file.lost_db;
      worst = &p;
    }
  }
  const Rates above = rates_of(pairs, [&](int r) { return r > rate; });
  if (!above.chosen.empty()) {
    found.push_back(
        {lost > -40.0 ? Severity::kWarning : Severity::kInfo, "bandwidth", files_of(above), -1.0,
         fmt::format(
             "{}, the model {} Hz: it will have a bandwidth of {:.1f} kHz; above that lies {} of the wet "
             "audio's energy",
             text_of(above), rate, 0.0005 * rate,
             lost <= -60.0 ? "less than -60 dB" : fmt::format("up to {:.1f} dB ({})", lost, worst ? worst->name : "")),
         "they are resampled to model.sample_rate",
         fmt::format("where that must be kept, train at their rate, as --rate {}", above.highest)});
  }
  constexpr double kNearly = 0.9;  // of the model's rate, as 44.1 kHz of 48: what lies between is hardly heard
  const Rates below = rates_of(pairs, [&](int r) { return r < rate; });
  if (below.chosen.empty()) return;
  found.push_back({below.lowest < kNearly * rate ? Severity::kWarning : Severity::kInfo, "bandwidth", files_of(below),
                   -1.0,
                   fmt::format("{}, the model {} Hz: above {:.1f} kHz they teach it nothing but silence",
                               text_of(below), rate, 0.0005 * below.lowest),
                   "they are resampled to model.sample_rate, which adds no sound",
                   fmt::format("train at their rate, as --rate {}, or record at the model's", below.lowest)});
}

// Whether a note has another offset than all notes together: as large in its quietest half second as in its loudest.
bool is_its_own(const Offset& own, const Offset& common, const std::vector<Half>& halves) {
  constexpr double kLeast = 5e-3, kOfSignal = 0.1, kDies = 4.0;  // of full scale; of its RMS; loudest half to quietest
  if (!own.constant) return false;
  double loudest = 0.0, quietest = 1e30;
  for (const Half& h : halves) {
    loudest = std::max(loudest, h.level);
    quietest = std::min(quietest, h.level);
  }
  const double apart = std::abs(own.mean - (common.constant ? common.mean : 0.0));
  return loudest >= kDies * quietest && apart >= std::max(kLeast, kOfSignal * loudest);
}

// Of integers as float, which a file of either side may hold.
double scale_of(const Pair& p, bool wet, const Seen& seen) {
  const bool may = (wet ? p.wet_file : p.dry_file).is_float || p.wet_path.empty();
  return may ? (wet ? seen.wet_full_scale : seen.dry_full_scale) : 1.0;
}

// Of full scale.
std::vector<Half> halves_of(const Pair& p, bool wet, int rate, const Seen& seen) {
  std::vector<Half> halves = halves_of(wet ? p.wet : p.dry, rate);
  const double scale = scale_of(p, wet, seen);
  for (Half& h : halves) {
    h.mean /= scale;
    h.level /= scale;
  }
  return halves;
}

void find_offsets(const std::vector<Pair>& pairs, const std::vector<bool>& good, int rate, bool wet, Seen& seen) {
  std::vector<Offset>& out = wet ? seen.wet_offset : seen.dry_offset;
  out.resize(pairs.size());
  std::vector<Half> together;
  std::vector<std::size_t> notes;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!good[i]) continue;
    const SharedRecording& x = wet ? pairs[i].wet : pairs[i].dry;
    const auto halves = halves_of(pairs[i], wet, rate, seen);
    if (static_cast<double>(x.size()) >= kLongSeconds * rate) {
      out[i] = find_offset(halves, true);
    } else {
      together.insert(together.end(), halves.begin(), halves.end());
      notes.push_back(i);
    }
  }
  const Offset common = find_offset(together, false);
  for (const std::size_t i : notes) {
    const auto halves = halves_of(pairs[i], wet, rate, seen);
    const Offset own = find_offset(halves, false);
    out[i] = is_its_own(own, common, halves) ? own : common;
  }
}

// An offset is a jump at a file's ends, which correlates, and hides silence.
Pair without_offsets(const Pair& p, std::size_t i, int rate, const Seen& seen) {
  Pair centred = p;
  take_out(seen.dry_offset[i], scale_of(p, false, seen), centred.dry, rate);
  take_out(seen.wet_offset[i], scale_of(p, true, seen), centred.wet, rate);
  return centred;
}

}  // namespace

Seen examine(const std::vector<Pair>& pairs, const DataConfig& config, int rate) {
  Seen seen;
  const std::size_t n = pairs.size();
  seen.dry.resize(n);
  seen.wet.resize(n);
  std::vector<bool> good(n);
  {
    ThreadPool pool(available_threads());
    pool.run(static_cast<int>(n), [&](int task, int) {
      const auto i = static_cast<std::size_t>(task);
      seen.dry[i] = find_level(pairs[i].dry, pairs[i].dry_file);
      seen.wet[i] = find_level(pairs[i].wet, pairs[i].wet_file);
    });
  }
  for (std::size_t i = 0; i < n; ++i) {
    const Level &d = seen.dry[i], &w = seen.wet[i];
    good[i] = d.finite && w.finite && !d.silent && !w.silent;
    seen.dry_full_scale = std::max(seen.dry_full_scale, d.full_scale);
    seen.wet_full_scale = std::max(seen.wet_full_scale, w.full_scale);
    tell_level(d, pairs[i], false, rate, seen.findings);
    tell_level(w, pairs[i], true, rate, seen.findings);
  }
  find_offsets(pairs, good, rate, false, seen);
  find_offsets(pairs, good, rate, true, seen);
  std::vector<Pair> centred;
  for (std::size_t i = 0; i < n; ++i) centred.push_back(without_offsets(pairs[i], i, rate, seen));
  seen.lags = find_lags(centred, good, config, rate);
  for (std::size_t i = 0; i < n; ++i) {
    const PairLag& lag = seen.lags.pairs[i];
    for (const bool wet : {false, true}) {
      const Level& level = wet ? seen.wet[i] : seen.dry[i];
      if (level.finite && !level.silent) tell_pauses(centred[i], lag.lag, wet, rate, seen.findings);
    }
    if (good[i] && !lag.mismatched) {
      tell_identical(pairs[i], lag, !config.chain.empty(), seen.findings);
      if (config.chain.empty()) {
        tell_dropouts(centred[i], lag, rate, seen.findings);
        if (!tell_hum(pairs[i], rate, seen.findings)) tell_noise(centred[i], lag.lag, rate, seen.findings);
        tell_muted(centred[i], lag.lag, rate, seen.findings);
      }
    }
    tell_length(pairs[i], seen.lags.pairs[i], rate, seen.findings);
    tell_rates(pairs[i], rate, seen.findings);
  }
  tell_bandwidth(pairs, rate, seen.findings);
  if (config.chain.empty()) {
    tell_swapped_by_sound(pairs, seen.lags, rate, seen.findings);
    tell_normalised(pairs, seen.findings);
    tell_gains(centred, seen.lags, rate, seen.findings);
  }
  seen.findings.insert(seen.findings.end(), seen.lags.findings.begin(), seen.lags.findings.end());
  return seen;
}

}  // namespace cafx
