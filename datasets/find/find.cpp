#include "datasets/find/find.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "datasets/find/hum.h"
#include "datasets/find/rate.h"
#include "datasets/find/sides.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

namespace {

// Energy that a gain leaves over: 50 dB down nothing else was done; 25 dB down it may be the noise of a converter. The
// mildest of the shipped effects leaves more than 12 dB down.
constexpr double kBypass = 1e-5, kMaybeBypass = 3e-3;

// What the best gain leaves of wet at a lag, of its energy; and that gain.
std::pair<double, double> left_by_gain(const Pair& p, long lag) {
  const long from = std::max(0L, -lag);
  const long to = std::min(static_cast<long>(p.dry.size()), static_cast<long>(p.wet.size()) - lag);
  double xx = 0.0, xy = 0.0, yy = 0.0;
  for (long i = from; i < to; ++i) {
    const double x = static_cast<double>(p.dry[static_cast<std::size_t>(i)]);
    const double y = static_cast<double>(p.wet[static_cast<std::size_t>(i + lag)]);
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  if (!(xx > 0.0) || !(yy > 0.0)) return {1.0, 0.0};
  return {1.0 - xy * xy / (xx * yy), xy / xx};
}

void tell_identical(const Pair& p, const PairLag& lag, bool by_chain, std::vector<Finding>& found) {
  if (p.dry == p.wet) {
    if (p.dry_path == p.wet_path && !p.wet_path.empty() && p.wet_file.channels > 1) {
      found.push_back({Severity::kRefuse, "identical", file_of(p, true), -1.0, "is both sides, by the same channel",
                       "one file holds dry and wet as its channels, and which is which was not said",
                       "say so, as --set data.dry_channel=left --set data.wet_channel=right"});
      return;
    }
    found.push_back({Severity::kRefuse, "identical", file_of(p, true), -1.0, "is sample by sample its dry file",
                     "the dry file was copied, or the device was bypassed", "record or export the wet audio again"});
    return;
  }
  if (by_chain) return;
  const auto [left, gain] = left_by_gain(p, std::lround(lag.lag.lag));
  if (left > kMaybeBypass || lag.lag.ppm != 0.0) return;
  if (left > kBypass) {
    found.push_back({Severity::kWarning, "identical", file_of(p, true), -1.0,
                     fmt::format("is nearly its dry file at {:+.1f} dB: a gain leaves {:.0f} dB of it",
                                 20.0 * std::log10(std::max(1e-12, std::abs(gain))), 10.0 * std::log10(left)),
                     "the device was bypassed or switched off, or does very little",
                     "listen to both; where the device does so little, nothing need be done"});
    return;
  }
  found.push_back({Severity::kRefuse, "identical", file_of(p, true), -1.0,
                   fmt::format("is its dry file at {:+.1f} dB{}: a gain leaves {:.0f} dB of it",
                               20.0 * std::log10(std::max(1e-12, std::abs(gain))), gain < 0.0 ? ", turned over" : "",
                               10.0 * std::log10(std::max(left, 1e-12))),
                   "the device was bypassed or switched off, or the dry track was recorded twice",
                   "record the wet audio again"});
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

// Of all files together: what the model will not hear.
void tell_bandwidth(const std::vector<Pair>& pairs, int rate, std::vector<Finding>& found) {
  double lost = -200.0;
  int highest = 0;
  const Pair* worst = nullptr;
  for (const Pair& p : pairs) {
    highest = std::max({highest, p.dry_file.rate, p.wet_file.rate});
    if (p.wet_file.lost_db > lost) {
      lost = p.wet_file.lost_db;
      worst = &p;
    }
  }
  if (highest <= rate || pairs.empty()) return;
  const std::string text = fmt::format(
      "recordings have {} Hz, the model {} Hz: it will have a bandwidth of {:.1f} kHz; above that lies {} of the wet "
      "audio's energy",
      highest, rate, 0.0005 * rate,
      lost <= -60.0 ? "less than -60 dB" : fmt::format("up to {:.1f} dB ({})", lost, worst ? worst->name : ""));
  found.push_back(
      {lost > -40.0 ? Severity::kWarning : Severity::kInfo, "bandwidth", "all recordings", -1.0, text,
       "they are resampled to model.sample_rate",
       fmt::format("where that must be kept, train at their rate, as --rate {}", highest)});
}

void find_offsets(const std::vector<Pair>& pairs, const std::vector<bool>& good, int rate, bool wet,
                  std::vector<Offset>& out) {
  out.resize(pairs.size());
  std::vector<Half> together;
  std::vector<std::size_t> notes;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!good[i]) continue;
    const std::vector<float>& x = wet ? pairs[i].wet : pairs[i].dry;
    const auto halves = halves_of(x, rate);
    if (static_cast<double>(x.size()) >= kLongSeconds * rate) {
      out[i] = find_offset(halves, true);
    } else {
      together.insert(together.end(), halves.begin(), halves.end());
      notes.push_back(i);
    }
  }
  const Offset common = find_offset(together, false);
  for (const std::size_t i : notes) out[i] = common;
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
  find_offsets(pairs, good, rate, false, seen.dry_offset);
  find_offsets(pairs, good, rate, true, seen.wet_offset);
  seen.lags = find_lags(pairs, good, config, rate);
  for (std::size_t i = 0; i < n; ++i) {
    if (good[i] && !seen.lags.pairs[i].mismatched) {
      tell_identical(pairs[i], seen.lags.pairs[i], !config.chain.empty(), seen.findings);
      if (config.chain.empty()) {
        tell_dropouts(pairs[i], seen.lags.pairs[i], rate, seen.findings);
        tell_hum(pairs[i], rate, seen.findings);
        tell_muted(pairs[i], std::lround(seen.lags.pairs[i].lag.lag), rate, seen.findings);
      }
    }
    tell_length(pairs[i], seen.lags.pairs[i], rate, seen.findings);
    tell_rates(pairs[i], rate, seen.findings);
  }
  tell_bandwidth(pairs, rate, seen.findings);
  if (config.chain.empty()) {
    tell_swapped_by_sound(pairs, seen.lags, rate, seen.findings);
    tell_normalised(pairs, seen.findings);
  }
  seen.findings.insert(seen.findings.end(), seen.lags.findings.begin(), seen.lags.findings.end());
  return seen;
}

}  // namespace cafx
