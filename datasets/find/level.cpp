#include "datasets/find/level.h"
#include "datasets/find/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace cafx {

namespace {

constexpr double kLeastOffset = 1e-3;    // of full scale; notes of sample libraries have half of that
constexpr double kLeastOfSignal = 0.02;  // of the signal's RMS
constexpr double kSilent = 1e-5;         // of full scale
constexpr double kIntegerPeak = 16.0;    // no converter and no float mix goes so far over full scale

}  // namespace

std::vector<Half> halves_of(std::span<const float> x, int rate) {
  const auto n = static_cast<std::size_t>(kBaselineSeconds * rate);
  std::vector<Half> halves;
  for (std::size_t at = 0; at < x.size(); at += n) {
    const std::size_t end = std::min(x.size(), at + n);
    if (end - at < n / 2 && at > 0) break;
    double sum = 0.0, square = 0.0;
    for (std::size_t i = at; i < end; ++i) {
      sum += static_cast<double>(x[i]);
      square += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    const auto count = static_cast<double>(end - at);
    const double mean = sum / count;
    halves.push_back({mean, std::sqrt(std::max(0.0, square / count - mean * mean))});
  }
  return halves;
}

Offset find_offset(const std::vector<Half>& halves, bool in_order) {
  Offset found;
  if (halves.size() < 3) return found;
  std::vector<double> means, levels, quiet;
  double square = 0.0;
  for (const Half& h : halves) {
    means.push_back(h.mean);
    levels.push_back(h.level);
    square += h.level * h.level;
  }
  const double rms = std::sqrt(square / static_cast<double>(halves.size()));
  std::vector<double> sorted = levels;
  std::sort(sorted.begin(), sorted.end());
  const double low = sorted[sorted.size() / 4], typical = median(means);
  for (const Half& h : halves) {
    if (h.level <= low) quiet.push_back(h.mean);
  }
  const double least = std::max(kLeastOffset, kLeastOfSignal * rms);
  // What is an offset of the converter is the same in the quietest quarter.
  found.mean = median(quiet);
  std::size_t alike = 0;
  for (const double m : quiet) alike += std::abs(m - found.mean) <= 0.35 * std::abs(found.mean);
  found.confidence = static_cast<double>(alike) / static_cast<double>(quiet.size());
  found.constant = std::abs(found.mean) >= least && found.confidence >= 0.6 &&
                   std::abs(typical - found.mean) <= 0.5 * std::abs(found.mean);
  if (!in_order || halves.size() < 12) return found;

  // Slow wandering, smoothed over 2.5 s, beside a straight dependence on the level.
  double ll = 0.0, lm = 0.0;
  const double mean_level = rms > 0.0 ? median(levels) : 0.0;
  for (const Half& h : halves) {
    ll += (h.level - mean_level) * (h.level - mean_level);
    lm += (h.level - mean_level) * (h.mean - typical);
  }
  const double follows = ll > 0.0 ? lm / ll : 0.0;
  std::vector<double> rest;
  for (const Half& h : halves) rest.push_back(h.mean - typical - follows * (h.level - mean_level));
  double slow = 0.0, fast = 0.0;
  found.baseline.resize(halves.size());
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const std::size_t from = i >= 2 ? i - 2 : 0, to = std::min(rest.size(), i + 3);
    const double smooth =
        median(std::vector<double>(rest.begin() + static_cast<long>(from), rest.begin() + static_cast<long>(to)));
    slow += smooth * smooth;
    fast += (rest[i] - smooth) * (rest[i] - smooth);
    found.baseline[i] = static_cast<float>(smooth + typical - follows * mean_level);
  }
  found.wander = std::sqrt(slow / static_cast<double>(rest.size()));
  found.drifting = found.wander >= least && fast < 0.2 * slow;
  // In the quiet quarter the wandering is all that is left.
  if (found.drifting) {
    double off = 0.0, all = 0.0;
    for (std::size_t i = 0; i < halves.size(); ++i) {
      if (halves[i].level > low) continue;
      const double d = halves[i].mean - static_cast<double>(found.baseline[i]);
      off += d * d;
      all += (halves[i].mean - typical) * (halves[i].mean - typical);
    }
    found.drifting = off <= 0.3 * all;
    if (found.drifting) found.confidence = 1.0 - std::min(1.0, all > 0.0 ? off / all : 1.0);
  }
  if (!found.drifting) found.baseline.clear();
  return found;
}

double baseline_at(const std::vector<float>& baseline, std::size_t i, int rate) {
  const double at = (static_cast<double>(i) + 0.5) / (kBaselineSeconds * rate) - 0.5;
  const auto last = static_cast<double>(baseline.size() - 1);
  const double k = std::clamp(std::floor(at), 0.0, last), next = std::min(k + 1.0, last);
  const double part = std::clamp(at - k, 0.0, 1.0);
  return (1.0 - part) * static_cast<double>(baseline[static_cast<std::size_t>(k)]) +
         part * static_cast<double>(baseline[static_cast<std::size_t>(next)]);
}

void take_out(const Offset& offset, double scale, SharedRecording& side, int rate) {
  if (!offset.constant && !offset.drifting) return;
  Recording& x = side.edit();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dc = offset.baseline.empty() ? offset.mean : baseline_at(offset.baseline, i, rate);
    x[i] = static_cast<float>(static_cast<double>(x[i]) - scale * dc);
  }
}

Level find_level(std::span<const float> x, const FileFacts& file) {
  Level level;
  double sum = 0.0, square = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i])) {
      level.finite = false;
      level.first_bad = i;
      return level;
    }
    level.peak = std::max(level.peak, std::abs(x[i]));
    sum += static_cast<double>(x[i]);
    square += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  const auto n = static_cast<double>(std::max<std::size_t>(1, x.size()));
  level.rms = std::sqrt(std::max(0.0, square / n - sum / n * (sum / n)));
  // A constant is silence too, wherever it lies.
  level.silent = static_cast<double>(level.peak) < kSilent || level.rms < 0.1 * kSilent;
  if (file.is_float && static_cast<double>(level.peak) > kIntegerPeak) {
    for (const int bits : {7, 15, 23, 31}) {
      level.full_scale = std::ldexp(1.0, bits);
      if (static_cast<double>(level.peak) <= level.full_scale) break;
    }
  }
  return level;
}

namespace {

void tell_precision(const Level& level, const FileFacts& facts, const std::string& file, bool wet,
                    std::vector<Finding>& found) {
  const double peak_db = 20.0 * std::log10(std::max(1e-12, static_cast<double>(level.peak)));
  const std::string key = wet ? "data.wet_gain_db" : "data.dry_gain_db";
  if (facts.bits == 8) {
    found.push_back({Severity::kWarning, "bits", file, -1.0, "has 8 bits, so its noise lies 50 dB under full scale",
                     "it was exported with the wrong setting",
                     "export it again with 24 bits; a model learns the noise too"});
  }
  if (!facts.codec.empty()) {
    found.push_back(
        {Severity::kWarning, "lossy", file, -1.0,
         fmt::format("is {}: what the codec left out is missing, and what it added is learned", facts.codec),
         "it was compressed to save space", "use the recording itself, as WAV or FLAC"});
  }
  if (facts.bits == 32 && level.peak < 1.0f / 256.0f) {
    found.push_back(
        {Severity::kWarning, "gain", file, -1.0,
         fmt::format("peaks at {:.1f} dB of full scale: 24 bits in the lower part of 32 would look so", peak_db),
         "a program wrote 24 bits into 32 without moving them up",
         fmt::format("where that is so, --set {}=48.165; else record it louder", key)});
  } else if (facts.bits > 0 && facts.bits <= 16 && level.peak < 1.0f / 256.0f) {
    found.push_back({Severity::kWarning, "gain", file, -1.0,
                     fmt::format("peaks at {:.1f} dB of full scale, so half of 16 bits is empty", peak_db),
                     "it was recorded at too low a level", "record it louder; a gain afterwards raises the noise too"});
  } else if (level.peak < 1.0f / 256.0f) {
    found.push_back({Severity::kWarning, "gain", file, -1.0, fmt::format("peaks at {:.1f} dB of full scale", peak_db),
                     "it was recorded at a low level",
                     fmt::format("record it louder, or raise it, as --set {}={:.0f}", key, -6.0 - peak_db)});
  }
}

}  // namespace

void tell_level(const Level& level, const Pair& p, bool wet, int rate, std::vector<Finding>& found) {
  const std::string file = file_of(p, wet);
  const FileFacts& facts = wet ? p.wet_file : p.dry_file;
  const SharedRecording& x = wet ? p.wet : p.dry;
  for (const std::string& note : facts.notes) {
    found.push_back({Severity::kWarning, "header", file, -1.0, note,
                     note.starts_with("behind") ? "a program put a tag or zeros behind the sound"
                                                : "the program that wrote it did not finish its header",
                     "nothing need be done where the length is as expected"});
  }
  if (!level.finite) {
    found.push_back({Severity::kRefuse, "not_finite", file,
                     p.offset_seconds + static_cast<double>(level.first_bad) / rate,
                     fmt::format("holds a sample that is {}", x[level.first_bad]),
                     "the program that wrote it computed beyond its range", "export it again"});
    return;
  }
  if (level.silent) {
    const double peak_db = db(static_cast<double>(level.peak));
    const bool faint = level.rms > 0.0 && (facts.is_float || facts.bits > 16);
    found.push_back(
        {Severity::kRefuse, "silence", file, -1.0,
         faint ? fmt::format("is all but silent: it peaks at {:.1f} dB of full scale", peak_db)
               : "is silent from end to end",
         "an input was not connected, or the wrong channel was recorded",
         faint ? fmt::format("record it again, or remove the pair; where it holds the sound so quietly, --set "
                             "data.{}_gain_db={:.0f}",
                             wet ? "wet" : "dry", -6.0 - peak_db)
               : "record it again, or remove the pair"});
    return;
  }
  tell_precision(level, facts, file, wet, found);
  const Clipping& clipping = facts.clipping;
  if (clipping.n_runs >= 3 && (!wet || clipping.level >= 0.999f)) {
    found.push_back({wet ? Severity::kInfo : Severity::kWarning, "clipping", file,
                     p.offset_seconds + clipping.first_seconds,
                     fmt::format("is clipped in {} places at {:.2f} of full scale", clipping.n_runs, clipping.level),
                     wet ? "the effect clips, or the recording of it does" : "it was recorded too loud",
                     wet ? "if it is not the effect, record it at a lower level" : "record it at a lower level"});
  }
}

}  // namespace cafx
