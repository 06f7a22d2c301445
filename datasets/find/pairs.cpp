#include "datasets/check.h"

#include <fmt/format.h>
#include <kiss_fftr.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

namespace {

// Measured on the shipped notes through distortion, overdrive and amplifier, guitar and bass: with the magnitudes to
// the power 0.8 taken out, the correlations of all notes together peak within a sample of the true latency (single bass
// notes do not: theirs peak up to a period away); with 0.5, a note against its own wet version scores .41 and more,
// against another's .30 and less.
constexpr double kLatencyWhitening = 0.8, kMatchWhitening = 0.5;
constexpr double kMatchLow = 0.33, kMatchRatio = 1.25;
constexpr double kClearPeak = 0.3, kClearAgreement = 0.4;
constexpr double kLongest = 0.25;              // seconds of latency that are looked for
constexpr std::size_t kMostSamples = 1 << 20;  // of a pair that are looked at
constexpr std::size_t kMostOthers = 64;        // notes that a suspicious pair is compared with
constexpr int kSmallLatency = 2;               // samples: the phase of a filter, not a delay

using Spectrum = std::vector<std::complex<float>>;

struct FreeFft {
  void operator()(kiss_fftr_state* p) const { kiss_fftr_free(p); }
};
using Fft = std::unique_ptr<kiss_fftr_state, FreeFft>;

// This thread's last plan for each direction: notes are of few lengths, and a plan costs as much as its transform.
kiss_fftr_state* plan(std::size_t n, int inverse) {
  thread_local Fft plans[2];
  thread_local std::size_t sizes[2] = {0, 0};
  if (sizes[inverse] != n) {
    plans[inverse].reset(kiss_fftr_alloc(static_cast<int>(n), inverse, nullptr, nullptr));
    sizes[inverse] = n;
  }
  return plans[inverse].get();
}

// std::abs without its care for numbers whose squares leave the range: no spectrum of audio holds any.
float magnitude(std::complex<float> z) { return std::sqrt(std::norm(z)); }

Spectrum spectrum(const std::vector<float>& x, std::size_t n) {
  std::vector<float> padded(n, 0.0f);
  std::copy_n(x.begin(), std::min({x.size(), kMostSamples, n / 2}), padded.begin());
  Spectrum s(n / 2 + 1);
  kiss_fftr(plan(n, 0), padded.data(), reinterpret_cast<kiss_fft_cpx*>(s.data()));
  return s;
}

std::size_t fft_size(std::size_t n) {
  std::size_t size = 1024;
  while (size < 2 * std::min(n, kMostSamples)) size *= 2;
  return size;
}

// Cross-correlation at lags -most .. most (positive: b is late), in [-1, 1].
std::vector<float> correlate(const Spectrum& a, const Spectrum& b, double whitening, int most) {
  const std::size_t n = 2 * (a.size() - 1);
  float loudest_a = 0.0f, loudest_b = 0.0f;
  for (std::size_t i = 0; i < a.size(); ++i) {
    loudest_a = std::max(loudest_a, magnitude(a[i]));
    loudest_b = std::max(loudest_b, magnitude(b[i]));
  }
  Spectrum g(a.size());
  double total = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float ma = magnitude(a[i]), mb = magnitude(b[i]);
    if (!(ma > 1e-4f * loudest_a) || !(mb > 1e-4f * loudest_b)) continue;
    const double weight = std::pow(static_cast<double>(ma) * mb, -whitening);
    g[i] = std::conj(a[i]) * b[i] * static_cast<float>(weight);
    total += magnitude(g[i]);
  }
  std::vector<float> r(n), lags(static_cast<std::size_t>(2 * most + 1));
  kiss_fftri(plan(n, 1), reinterpret_cast<const kiss_fft_cpx*>(g.data()), r.data());
  const double scale = total > 0.0 ? 0.5 / total : 0.0;
  for (int lag = -most; lag <= most; ++lag) {
    const std::size_t at = static_cast<std::size_t>((lag + static_cast<long>(n)) % static_cast<long>(n));
    lags[static_cast<std::size_t>(lag + most)] = static_cast<float>(r[at] * scale);
  }
  return lags;
}

int strongest(const std::vector<float>& r) {
  return static_cast<int>(
      std::max_element(r.begin(), r.end(), [](float x, float y) { return std::abs(x) < std::abs(y); }) - r.begin());
}

int most_lag(std::size_t n, int sample_rate) {
  return static_cast<int>(std::min<double>(kLongest * sample_rate, static_cast<double>(fft_size(n)) / 4));
}

// How far the strongest peak stands out from the rest, 0 .. 1.
double standing_out(const std::vector<float>& r, int peak) {
  double second = 0.0;
  for (int i = 0; i < static_cast<int>(r.size()); ++i) {
    if (std::abs(i - peak) > 8) second = std::max<double>(second, std::abs(r[static_cast<std::size_t>(i)]));
  }
  const double first = std::abs(r[static_cast<std::size_t>(peak)]);
  return first > 0.0 ? std::clamp(1.0 - second / first, 0.0, 1.0) : 0.0;
}

float peak_of(const std::vector<float>& x) {
  float peak = 0.0f;
  for (const float v : x) peak = std::max(peak, std::abs(v));
  return peak;
}

std::string file_of(const Pair& p, bool wet) {
  const auto& path = wet ? p.wet_path : p.dry_path;
  return path.empty() ? p.name + (wet ? " (wet)" : " (dry)") : path.string();
}

void check_signal(std::vector<Finding>& found, const Pair& p, bool wet, int sample_rate) {
  const std::vector<float>& x = wet ? p.wet : p.dry;
  const std::string file = file_of(p, wet);
  const auto at = [&](std::size_t i) { return p.offset_seconds + static_cast<double>(i) / sample_rate; };
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x[i])) continue;
    found.push_back({Severity::kRefuse, "not_finite", file, at(i), fmt::format("holds a sample that is {}", x[i]),
                     "the program that wrote it computed beyond its range", "export it again"});
    return;
  }
  const float peak = peak_of(x);
  if (peak < 1e-5f) {
    found.push_back({Severity::kRefuse, "silence", file, -1.0, "is silent from end to end",
                     "an input was not connected, or the wrong channel was recorded",
                     "record it again, or remove the pair"});
    return;
  }
  const int bits = wet ? p.wet_bits : p.dry_bits;
  if (bits > 0 && bits <= 16 && peak < 1.0f / 256.0f) {
    found.push_back(
        {Severity::kWarning, "gain", file, -1.0,
         fmt::format("peaks at {:.1f} dB of full scale, so half of 16 bits is empty", 20.0 * std::log10(peak)),
         "it was recorded at too low a level", "record it louder; a gain afterwards raises the noise too"});
  }
  const Clipping& clipping = wet ? p.wet_clipping : p.dry_clipping;
  if (clipping.n_runs >= 3 && (!wet || clipping.level >= 0.999f)) {
    found.push_back({wet ? Severity::kInfo : Severity::kWarning, "clipping", file,
                     p.offset_seconds + clipping.first_seconds,
                     fmt::format("is clipped in {} places at {:.2f} of full scale", clipping.n_runs, clipping.level),
                     wet ? "the effect clips, or the recording of it does" : "it was recorded too loud",
                     wet ? "if it is not the effect, record it at a lower level" : "record it at a lower level"});
  }
  std::size_t longest = 0, begin = 0, run = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    run = std::abs(x[i]) < 1e-4f * peak ? run + 1 : 0;
    if (run > longest) {
      longest = run;
      begin = i + 1 - run;
    }
  }
  if (2 * longest > x.size()) {
    found.push_back({Severity::kInfo, "silence", file, at(begin),
                     fmt::format("is silent for {:.2f} s of {:.2f} s", static_cast<double>(longest) / sample_rate,
                                 static_cast<double>(x.size()) / sample_rate),
                     "a long pause", "nothing need be done; train.silence_db leaves silent frames out"});
  }
}

// A header that states a rate which the file does not have, by the lengths of dry and wet.
struct WrongRate {
  bool wet = true;  // whose header
  int stated = 0, true_rate = 0;
};

// One length in another's place can be the fault of either header; `usual`, the rate of most files, decides.
std::optional<WrongRate> find_wrong_rate(const Pair& p, int usual) {
  static constexpr int rates[] = {8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000};
  const double ratio = static_cast<double>(p.dry.size()) / static_cast<double>(p.wet.size());
  std::optional<WrongRate> by_wet, by_dry;
  for (const int rate : rates) {
    // Stated too high, a file is too short.
    if (rate != p.wet_rate && std::abs(ratio * rate - p.wet_rate) <= 0.002 * p.wet_rate)
      by_wet = {true, p.wet_rate, rate};
    if (rate != p.dry_rate && std::abs(ratio * p.dry_rate - rate) <= 0.002 * rate) by_dry = {false, p.dry_rate, rate};
  }
  const bool dry_is_odd = p.dry_rate != usual && p.wet_rate == usual;
  return by_dry && (dry_is_odd || !by_wet) ? by_dry : by_wet;
}

// Moves wet by `lag` samples (positive: it is late) and cuts both to what they share.
void align(Pair& p, int lag) {
  std::vector<float>&late = lag > 0 ? p.wet : p.dry, &early = lag > 0 ? p.dry : p.wet;
  const auto by = static_cast<std::size_t>(std::abs(lag));
  if (late.size() <= by) return;
  late.erase(late.begin(), late.begin() + static_cast<long>(by));
  const std::size_t n = std::min(late.size(), early.size());
  late.resize(n);
  early.resize(n);
}

bool usable(const Pair& p) {  // no finding that makes correlations meaningless
  const auto good = [](const std::vector<float>& x) {
    return std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); }) && peak_of(x) >= 1e-5f;
  };
  return good(p.dry) && good(p.wet);
}

std::vector<Finding> check_one(const Pair& p, int sample_rate, int usual_rate) {
  std::vector<Finding> found;
  check_signal(found, p, false, sample_rate);
  check_signal(found, p, true, sample_rate);
  if (p.dry == p.wet && peak_of(p.dry) >= 1e-5f) {
    found.push_back({Severity::kRefuse, "identical", file_of(p, true), -1.0, "is sample by sample its dry file",
                     "the dry file was copied, or the device was bypassed", "record or export the wet audio again"});
  }
  const auto dry = static_cast<double>(p.dry.size()), wet = static_cast<double>(p.wet.size());
  const bool uneven = std::abs(dry - wet) > 0.02 * std::max(dry, wet);
  const auto wrong = uneven ? find_wrong_rate(p, usual_rate) : std::nullopt;
  if (wrong) {
    found.push_back({Severity::kRefuse, "rate", file_of(p, wrong->wet), -1.0,
                     fmt::format("its header says {} Hz, by its length beside the {} file it is {} Hz", wrong->stated,
                                 wrong->wet ? "dry" : "wet", wrong->true_rate),
                     "a program wrote the wrong rate into the header",
                     fmt::format("correct the header, as with 'sox -r {} in.wav out.wav'", wrong->true_rate)});
  } else if (std::abs(dry - wet) > 0.1 * std::max(dry, wet)) {
    found.push_back({Severity::kRefuse, "length", file_of(p, true), -1.0,
                     fmt::format("lasts {:.3f} s, its dry file {:.3f} s", wet / sample_rate, dry / sample_rate),
                     "one of them is cut off, or they are not of one take", "cut both to the same take"});
  } else if (std::abs(dry - wet) > 1e-3 * sample_rate) {
    found.push_back({Severity::kWarning, "length", file_of(p, true), std::min(dry, wet) / sample_rate,
                     fmt::format("lasts {:.3f} s, its dry file {:.3f} s; both are cut to the shorter",
                                 wet / sample_rate, dry / sample_rate),
                     "recordings were stopped at different times", "nothing need be done where both start together"});
  }
  if (!wrong && p.wet_rate != 0 && p.dry_rate != p.wet_rate) {
    found.push_back(
        {Severity::kWarning, "rate", file_of(p, true), -1.0,
         fmt::format("has {} Hz, its dry file {} Hz; both are resampled to {} Hz", p.wet_rate, p.dry_rate, sample_rate),
         "they were exported with different settings", "export both at one rate"});
  }
  return found;
}

// The rate that most files state; dry files decide between equals.
int usual_rate(const std::vector<Pair>& pairs) {
  std::map<int, int> votes;
  for (const Pair& p : pairs) {
    votes[p.dry_rate] += 1;
    votes[p.wet_rate] += 1;
  }
  int usual = pairs.empty() ? 0 : pairs.front().dry_rate;
  for (const auto& [rate, n] : votes) {
    if (n > votes[usual]) usual = rate;
  }
  return usual;
}

}  // namespace

std::string to_string(Severity s) {
  return s == Severity::kInfo ? "note" : s == Severity::kWarning ? "warning" : "refused";
}

Latency find_latency(const std::vector<float>& dry, const std::vector<float>& wet, int sample_rate) {
  const std::size_t n = std::max(dry.size(), wet.size()), size = fft_size(n);
  const int most = most_lag(n, sample_rate);
  const auto r = correlate(spectrum(dry, size), spectrum(wet, size), kLatencyWhitening, most);
  const int peak = strongest(r);
  return {peak - most, standing_out(r, peak), r[static_cast<std::size_t>(peak)] < 0.0f ? -1.0 : 1.0};
}

std::vector<Finding> check_pair(const Pair& p, int sample_rate) { return check_one(p, sample_rate, p.dry_rate); }

std::vector<Finding> check_pairs(std::vector<Pair>& pairs, const DataConfig& config, int sample_rate) {
  std::vector<Finding> found;
  const int usual = usual_rate(pairs);
  for (const Pair& p : pairs) {
    const auto own = check_one(p, sample_rate, usual);
    found.insert(found.end(), own.begin(), own.end());
  }
  std::vector<int> good;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!usable(pairs[i])) continue;
    good.push_back(static_cast<int>(i));
    longest = std::max({longest, pairs[i].dry.size(), pairs[i].wet.size()});
  }
  if (good.empty()) return found;
  const std::size_t size = fft_size(longest);
  const int most = most_lag(longest, sample_rate);
  const auto n = good.size();
  std::vector<std::vector<float>> latency(n);
  std::vector<double> match(n);
  ThreadPool pool(available_threads());
  const auto at = [&](std::size_t i) -> const Pair& { return pairs[static_cast<std::size_t>(good[i])]; };
  pool.run(static_cast<int>(n), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    const Spectrum dry = spectrum(at(i).dry, size), wet = spectrum(at(i).wet, size);
    latency[i] = correlate(dry, wet, kLatencyWhitening, most);
    const auto r = correlate(dry, wet, kMatchWhitening, most);
    match[i] = std::abs(r[static_cast<std::size_t>(strongest(r))]);
  });

  // A pair that correlates badly, and whose wet audio correlates clearly better with another dry note. Where notes are
  // mixed up, both are among the worst, so these are asked first: n * n correlations of a large set would take hours.
  std::vector<std::size_t> worst_first(n);
  std::iota(worst_first.begin(), worst_first.end(), 0);
  std::stable_sort(worst_first.begin(), worst_first.end(), [&](auto i, auto j) { return match[i] < match[j]; });
  const std::size_t n_others = std::min(n, kMostOthers);
  std::size_t n_suspects = 0;
  while (config.chain.empty() && n_suspects < n_others && match[worst_first[n_suspects]] < kMatchLow) ++n_suspects;
  std::vector<Spectrum> others(n_suspects > 0 ? n_others : 0);
  pool.run(static_cast<int>(others.size()), [&](int task, int) {
    const auto k = static_cast<std::size_t>(task);
    others[k] = spectrum(at(worst_first[k]).dry, size);
  });
  struct Best {
    double score = 0.0;
    std::size_t other = 0;
  };
  std::map<std::size_t, Best> better;  // of the suspects
  for (std::size_t k = 0; k < n_suspects; ++k) better[worst_first[k]] = {0.0, worst_first[k]};
  pool.run(static_cast<int>(n_suspects), [&](int task, int) {
    const std::size_t i = worst_first[static_cast<std::size_t>(task)];
    const Spectrum wet = spectrum(at(i).wet, size);
    Best& found_best = better.at(i);
    for (std::size_t k = 0; k < others.size(); ++k) {
      const std::size_t j = worst_first[k];
      if (at(j).name == at(i).name) continue;
      const auto r = correlate(others[k], wet, kMatchWhitening, most);
      const double score = std::abs(r[static_cast<std::size_t>(strongest(r))]);
      if (score > found_best.score) found_best = {score, j};
    }
  });
  std::vector<bool> mismatched(n, false);
  for (std::size_t i = 0; i < n; ++i) {
    // What a chain made in process is of its dry note, however little it resembles it.
    if (match[i] >= kMatchLow || !config.chain.empty()) continue;
    const auto asked = better.find(i);
    const auto [best, other] = asked == better.end() ? Best{0.0, i} : asked->second;
    if (other != i && best > kMatchRatio * match[i] && best > kMatchLow) {
      mismatched[i] = true;
      found.push_back({Severity::kRefuse, "mismatch", file_of(at(i), true), -1.0,
                       fmt::format("is not of its dry note {} (correlation {:.2f}) but looks like {} ({:.2f})",
                                   at(i).name, match[i], at(other).name, best),
                       "files were renamed or mixed up", "pair it with the right dry file"});
    } else if (match[i] < 0.1) {
      mismatched[i] = true;
      found.push_back({Severity::kRefuse, "mismatch", file_of(at(i), true), -1.0,
                       fmt::format("has almost nothing in common with its dry file (correlation {:.2f})", match[i]),
                       "they are not of one take, or the recording went wrong", "check by ear and pair it anew"});
    }
  }

  // Latency and polarity belong to the device, so all pairs are asked together.
  std::vector<float> together(static_cast<std::size_t>(2 * most + 1), 0.0f);
  std::size_t n_asked = 0, last_asked = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (mismatched[i]) continue;
    ++n_asked;
    last_asked = i;
    for (std::size_t k = 0; k < together.size(); ++k) together[k] += std::abs(latency[i][k]);
  }
  if (n_asked == 0) return found;
  const int peak = strongest(together), lag = peak - most;
  std::size_t agree = 0;
  double signed_sum = 0.0, absolute_sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    if (mismatched[i]) continue;
    if (std::abs(strongest(latency[i]) - peak) <= 3) ++agree;
    float own = 0.0f;  // the strongest within a sample of the common peak
    for (int k = std::max(0, peak - 1); k <= std::min(2 * most, peak + 1); ++k) {
      const float v = latency[i][static_cast<std::size_t>(k)];
      if (std::abs(v) > std::abs(own)) own = v;
    }
    signed_sum += own;
    absolute_sum += std::abs(own);
  }
  const double agreement = static_cast<double>(agree) / static_cast<double>(n_asked);
  const bool one = n_asked == 1;
  // Few pairs may agree by chance, and a single bass note with itself moved by a period.
  const double sure = standing_out(together, peak);
  const bool clear = sure >= kClearPeak || (agree >= 3 && agreement >= kClearAgreement);
  const std::string all = one ? file_of(at(last_asked), true) : fmt::format("all {} pairs", n_asked);
  if (std::abs(lag) > kSmallLatency) {
    const std::string what = fmt::format("wet is {} samples ({:.2f} ms) {} ({})", std::abs(lag),
                                         1e3 * std::abs(lag) / sample_rate, lag > 0 ? "late" : "early",
                                         one ? fmt::format("its peak stands out by {:.0f} %", 100.0 * sure)
                                             : fmt::format("{} of {} pairs agree", agree, n_asked));
    if (config.align && clear) {
      found.push_back({Severity::kInfo, "latency", all, -1.0, what + "; it is taken out",
                       "the converter, the cable or the plug-in delays",
                       "nothing need be done; data.align = false keeps it"});
      for (Pair& p : pairs) align(p, lag);
    } else {
      found.push_back({Severity::kWarning, "latency", all, -1.0,
                       what + (clear ? "; it is left in" : "; too unsure to take it out"),
                       "the converter, the cable or the plug-in delays",
                       clear ? "set data.align = true" : "align the files by hand, by a click at the start of both"});
    }
  }
  if (clear && absolute_sum > 0.0 && signed_sum < -0.7 * absolute_sum) {
    found.push_back(
        {Severity::kWarning, "polarity", all, -1.0,
         fmt::format("wet is inverted against dry ({:.0f} % of the correlation)", -100.0 * signed_sum / absolute_sum),
         "the device or a cable turns the signal over", "where it is not the device, set data.invert = true"});
  }
  return found;
}

std::vector<Finding> check_split(const Dataset& data, const Split& split) {
  std::map<std::string, const Pair*> seen;
  const auto hash_of = [](const Pair& p) {
    Hasher hasher;
    hasher.add(p.dry.data(), p.dry.size() * sizeof(float));
    return hasher.hex();
  };
  for (const int i : split.train) {
    const Pair& p = data.pairs[static_cast<std::size_t>(i)];
    seen.emplace(hash_of(p), &p);
    seen.emplace(p.name, &p);
  }
  std::vector<Finding> found;
  for (const auto& [part, name] : {std::pair(&split.validation, "validation"), std::pair(&split.test, "test")}) {
    for (const int i : *part) {
      const Pair& p = data.pairs[static_cast<std::size_t>(i)];
      auto twin = seen.find(hash_of(p));
      if (twin == seen.end()) twin = seen.find(p.name);
      if (twin == seen.end() || peak_of(p.dry) < 1e-5f) continue;
      found.push_back(
          {Severity::kRefuse, "leak", file_of(p, false), -1.0,
           fmt::format("is in the {} part, and the same as {} in training", name, file_of(*twin->second, false)),
           "a note is there twice under two names", "remove one of them"});
    }
  }
  return found;
}

std::vector<Finding> shorten(const std::vector<Finding>& findings) {
  constexpr std::size_t kMost = 3;
  std::map<std::pair<Severity, std::string>, std::vector<const Finding*>> kinds;
  for (const Finding& f : findings) kinds[{f.severity, f.code}].push_back(&f);
  std::vector<Finding> some;
  for (const Severity severity : {Severity::kRefuse, Severity::kWarning, Severity::kInfo}) {
    for (const Finding& f : findings) {
      const auto& alike = kinds[{f.severity, f.code}];
      const auto nth = static_cast<std::size_t>(std::find(alike.begin(), alike.end(), &f) - alike.begin());
      if (f.severity != severity || nth >= kMost) continue;
      some.push_back(f);
      if (nth + 1 == kMost && alike.size() > kMost) {
        some.back().text +=
            fmt::format(" (and {} more files alike; --json of 'cafx data check' lists all)", alike.size() - kMost);
      }
    }
  }
  return some;
}

std::string format_findings(const std::vector<Finding>& findings) {
  if (findings.empty()) return "nothing was found\n";
  std::string text;
  for (const Finding& f : shorten(findings)) {
    text += fmt::format("{} [{}] {}{}: {}\n    cause: {}\n    cure:  {}\n", to_string(f.severity), f.code, f.file,
                        f.seconds >= 0.0 ? fmt::format(" at {:.3f} s", f.seconds) : "", f.text, f.cause, f.cure);
  }
  return text;
}

std::string findings_json(const Dataset& data) {
  nlohmann::ordered_json json;
  json["pairs"] = data.pairs.size();
  json["unpaired"] = data.unpaired;
  json["unreadable"] = data.unreadable;
  json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& f : data.findings) {
    nlohmann::ordered_json one = {{"severity", to_string(f.severity)},
                                  {"code", f.code},
                                  {"file", f.file},
                                  {"text", f.text},
                                  {"cause", f.cause},
                                  {"cure", f.cure}};
    if (f.seconds >= 0.0) one["seconds"] = f.seconds;
    json["findings"].push_back(one);
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace cafx
