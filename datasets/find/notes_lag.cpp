#include "datasets/find/notes_lag.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace cafx {

namespace {

// Few of one device's notes agree on the phase of its filters too: 3 of 7 did, on a peak that stood out by .14. Five do
// not.
constexpr double kFilterPeak = 0.5;  // of a lag that a filter may have
constexpr int kHardlyAny = 8;        // one of so many
constexpr double kClearPeak = 0.3, kSomePeak = 0.2, kClearAgreement = 0.4, kMostAgree = 0.6;
constexpr int kFew = 5;
constexpr float kNearlyAsWell = 0.7f;
constexpr long kAgree = 3;              // samples
constexpr std::size_t kMostTakes = 64;  // of which the response is found
constexpr std::size_t kBatch = 64;

std::size_t length(const Pair& p) { return std::max(p.dry.size(), p.wet.size()); }

double margin_of(std::span<const float> r, std::size_t peak) {
  double second = 0.0;
  for (std::size_t i = 0; i < r.size(); ++i) {
    if (i + 4 < peak || i > peak + 4) second = std::max<double>(second, r[i]);
  }
  return r[peak] > 0.0f ? std::clamp(1.0 - second / r[peak], 0.0, 1.0) : 0.0;
}

std::size_t highest(std::span<const float> r) {
  return static_cast<std::size_t>(std::max_element(r.begin(), r.end()) - r.begin());
}

}  // namespace

double NoteCorrelation::near(long index, long reach) const {
  int most = 0;
  for (long k = std::max(0L, index - reach); k <= std::min(static_cast<long>(r.size()) - 1, index + reach); ++k) {
    most = std::max(most, std::abs(static_cast<int>(r[static_cast<std::size_t>(k)])));
  }
  return most / 127.0;
}

double NoteCorrelation::signed_near(long index) const {
  int own = 0;
  for (long k = std::max(0L, index - 1); k <= std::min(static_cast<long>(r.size()) - 1, index + 1); ++k) {
    const int v = r[static_cast<std::size_t>(k)];
    if (std::abs(v) > std::abs(own)) own = v;
  }
  return height * own / 127.0;
}

std::vector<float> NoteCorrelation::around(long index, long reach) const {
  std::vector<float> taps;
  for (long k = index - reach; k <= index + reach; ++k) {
    taps.push_back(k >= 0 && k < static_cast<long>(r.size()) ? static_cast<float>(r[static_cast<std::size_t>(k)])
                                                             : 0.0f);
  }
  return taps;
}

NotesLag::NotesLag(const std::vector<const Pair*>& notes, int rate, ThreadPool& pool)
    : notes_(notes), rate_(rate), pool_(pool) {
  std::size_t longest = 0;
  for (const Pair* p : notes) longest = std::max(longest, length(*p));
  transform_ = fft_size(2 * longest);
  most_ = std::min(static_cast<long>(transform_ / 2) - 1, std::max(static_cast<long>(3 * longest / 4), 64L));
  most_ = std::min(most_, static_cast<long>(2.0 * rate));
  correlations_.resize(notes.size());
  pool.run(static_cast<int>(notes.size()), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    NoteCorrelation& c = correlations_[i];
    const Pair& p = *notes_[i];
    const Bins dry = spectrum(p.dry.data(), p.dry.size(), transform_);
    const Bins wet = spectrum(p.wet.data(), p.wet.size(), transform_);
    const auto r = correlate(dry, wet, kLatencyWhitening, -most_, most_);
    const std::size_t peak = strongest(r);
    c.peak = static_cast<int>(peak);
    c.height = std::abs(r[peak]);
    c.standing_out = cafx::standing_out(r, peak);
    c.r.resize(r.size());
    for (std::size_t k = 0; k < r.size(); ++k) {
      c.r[k] =
          static_cast<std::int8_t>(std::lround(c.height > 0.0 ? 127.0 * static_cast<double>(r[k]) / c.height : 0.0));
    }
    const auto m = correlate(dry, wet, kMatchWhitening, -most_, most_);
    c.match = std::abs(m[strongest(m)]);
  });
}

Bins NotesLag::dry_spectrum(std::size_t i) const {
  return spectrum(notes_[i]->dry.data(), notes_[i]->dry.size(), transform_);
}

double NotesLag::match_with(const Bins& dry, std::size_t i) const {
  const Bins wet = spectrum(notes_[i]->wet.data(), notes_[i]->wet.size(), transform_);
  const auto r = correlate(dry, wet, kMatchWhitening, -most_, most_);
  return std::abs(r[strongest(r)]);
}

Take NotesLag::take(std::size_t i) const {
  const Pair& p = *notes_[i];
  return make_take(p.dry.data(), p.dry.size(), p.wet.data(), p.wet.size(), transform_);
}

void NotesLag::find_common(const std::vector<bool>& counts) {
  std::vector<float> together(static_cast<std::size_t>(2 * most_ + 1), 0.0f);
  n_asked = n_agree = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if (!counts[i]) continue;
    ++n_asked;
    const auto scale = static_cast<float>(correlations_[i].height / 127.0);
    for (std::size_t k = 0; k < together.size(); ++k) {
      together[k] += scale * static_cast<float>(std::abs(static_cast<int>(correlations_[i].r[k])));
    }
  }
  if (n_asked == 0) return;
  const std::size_t peak = strongest(together);
  lag = static_cast<long>(peak) - most_;
  for (std::size_t i = 0; i < size(); ++i) {
    if (counts[i] && std::abs(correlations_[i].peak - static_cast<long>(peak)) <= kAgree) ++n_agree;
  }
  // Few notes may agree by chance, and a single bass note with itself moved by a period.
  standing_out = cafx::standing_out(together, peak);
  // Where no latency at all fits nearly as well, none is taken out.
  float at_zero = 0.0f;
  for (long k = most_ - kSmallLag; k <= most_ + kSmallLag; ++k) {
    at_zero = std::max(at_zero, together[static_cast<std::size_t>(k)]);
  }
  moves = std::abs(lag) > kSmallLag && at_zero < kNearlyAsWell * together[peak];
  const bool by_filter = std::abs(lag) > kSmallLag && static_cast<double>(std::abs(lag)) <= kFilterSeconds * rate_;
  const bool some = n_agree >= kClearAgreement * n_asked && (standing_out >= kSomePeak || n_agree >= kFew);
  const bool most = n_agree >= kMostAgree * n_asked || (some && !by_filter);
  // A peak of all together on which hardly any lies by itself is chance.
  const bool alone = n_asked >= 4 && moves && kHardlyAny * n_agree < n_asked;
  clear = !alone && (standing_out >= (by_filter ? kFilterPeak : kClearPeak) ||
                     (n_agree >= 3 && most && (moves || std::abs(lag) <= kSmallLag)));
}

std::vector<NotesLag::Own> NotesLag::ask(const Template& response, const std::vector<bool>& whom, long center) {
  std::vector<Own> own(size());
  const Bins filter = response.filter(transform_);
  pool_.run(static_cast<int>(size()), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    if (!whom[i]) return;
    const auto r = match(take(i), filter, -most_, most_);
    const std::size_t peak = highest(r);
    own[i].lag = between_samples(r, peak) - static_cast<double>(most_);
    own[i].margin = margin_of(r, peak);
    float at_common = 0.0f;
    for (long k = std::max(0L, center + most_ - 2); k <= std::min(2 * most_, center + most_ + 2); ++k) {
      at_common = std::max(at_common, r[static_cast<std::size_t>(k)]);
    }
    own[i].at_common = r[peak] > 0.0f ? static_cast<double>(at_common / r[peak]) : 0.0;
  });
  return own;
}

std::vector<NotesLag::Own> NotesLag::own_lags_by_common(const std::vector<bool>& counts) {
  std::vector<std::size_t> on;
  std::vector<bool> off(size(), false);
  for (std::size_t i = 0; i < size(); ++i) {
    if (!counts[i]) continue;
    if (std::abs(correlations_[i].peak - most_ - lag) <= kSmallLag) {
      on.push_back(i);
    } else {
      off[i] = true;
    }
  }
  std::vector<Own> own(size(), {static_cast<double>(lag), 1.0, 1.0});
  if (std::none_of(off.begin(), off.end(), [](bool b) { return b; })) return own;
  if (on.size() > kMostTakes) {
    for (std::size_t k = 0; k < kMostTakes; ++k) on[k] = on[k * on.size() / kMostTakes];
    on.resize(kMostTakes);
  }
  Template response;
  for (const std::size_t i : on)
    response.add(correlation(take(i), -most_, most_), lag + most_, correlations_[i].height);
  if (response.empty()) return own;
  const auto asked = ask(response, off, lag);
  for (std::size_t i = 0; i < size(); ++i) {
    if (off[i]) own[i] = asked[i];
  }
  return own;
}

std::vector<NotesLag::Own> NotesLag::own_lags_freely(const std::vector<bool>& counts) {
  constexpr int kRounds = 6;
  std::vector<std::size_t> of;
  for (std::size_t i = 0; i < size(); ++i) {
    if (counts[i]) of.push_back(i);
  }
  std::vector<Own> own(size());
  if (of.size() < 4) return own;
  if (of.size() > kMostTakes) {
    for (std::size_t k = 0; k < kMostTakes; ++k) of[k] = of[k * of.size() / kMostTakes];
    of.resize(kMostTakes);
  }
  std::vector<std::vector<float>> r(of.size());
  std::vector<Take> takes(of.size());
  pool_.run(static_cast<int>(of.size()), [&](int k, int) {
    takes[static_cast<std::size_t>(k)] = take(of[static_cast<std::size_t>(k)]);
    r[static_cast<std::size_t>(k)] = correlation(takes[static_cast<std::size_t>(k)], -most_, most_);
  });
  std::vector<long> at(of.size());
  std::vector<double> weight(of.size());
  for (std::size_t k = 0; k < of.size(); ++k) {
    at[k] = static_cast<long>(strongest(r[k]));
    weight[k] = std::abs(r[k][static_cast<std::size_t>(at[k])]);
  }
  Template response;
  for (int round = 0; round < kRounds; ++round) {
    response = Template();
    for (std::size_t k = 0; k < of.size(); ++k) response.add(r[k], at[k], weight[k]);
    const Bins filter = response.filter(transform_);
    pool_.run(static_cast<int>(of.size()), [&](int k, int) {
      const auto i = static_cast<std::size_t>(k);
      const auto matched = match(takes[i], filter, -most_, most_);
      at[i] = static_cast<long>(highest(matched));
      weight[i] = matched[static_cast<std::size_t>(at[i])];
    });
  }
  // Lags are now right beside one another. Where their zero lies is told by the plain correlations at those lags.
  constexpr long kZero = Template::kReach;
  std::vector<float> together(2 * kZero + 1, 0.0f);
  for (std::size_t k = 0; k < of.size(); ++k) {
    for (long d = -kZero; d <= kZero; ++d) {
      const long i = at[k] + d;
      if (i >= 0 && i < static_cast<long>(r[k].size())) {
        together[static_cast<std::size_t>(d + kZero)] += std::abs(r[k][static_cast<std::size_t>(i)]);
      }
    }
  }
  const double zero = static_cast<double>(strongest(together)) - static_cast<double>(kZero);
  own = ask(response, counts, lag);
  for (Own& o : own) o.lag += zero;
  return own;
}

}  // namespace cafx
