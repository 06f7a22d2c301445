#include "datasets/find/lags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "datasets/find/gains.h"
#include "datasets/find/lag_coarse.h"
#include "datasets/find/notes_lag.h"
#include "datasets/find/onset.h"
#include "datasets/find/rate.h"
#include "datasets/find/statistics.h"
#include "datasets/find/turned.h"

namespace cafx {

namespace {

constexpr double kMatchLow = 0.33, kMatchRatio = 1.25, kNothing = 0.1;
// Shares of the median of its kind. Of 60 sound sets through distortion, filters and modulation the least was .52,
// where the median was over kHighMatch .74; what is not of its dry file has .2 to .45.
constexpr double kFarBelow = 0.5, kBelowHigh = 0.65, kAsOthers = 0.7;
constexpr double kSomeMatch = 0.6, kHighMatch = 0.8;
constexpr float kFaint = 0.03f;          // of its kind's median peak: noise may hide what it has in common
constexpr std::size_t kMostOthers = 64;  // notes that a suspicious pair is compared with
constexpr std::size_t kMostAsWhole = 1 << 21;
constexpr std::size_t kMostRates = 16;           // pairs whose rates are doubted
constexpr double kStrays = 0.4, kFewStay = 0.8;  // of a recording's windows: far off; on the lag
constexpr double kElsewhere = 0.5;  // a note whose correlation at the common lag is under this, of its peak
constexpr double kByHand = 0.2;     // of the notes lie elsewhere
constexpr double kFewAgree = 0.25;  // of the notes: there is no common lag

class Search {
 public:
  Search(const std::vector<Pair>& pairs, const std::vector<bool>& good, const DataConfig& config, int rate, Lags& out)
      : pairs_(pairs), good_(good), config_(config), rate_(rate), out_(out), pool_(available_threads()) {}

  void run() {
    out_.pairs.resize(pairs_.size());
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const Pair& p = pairs_[i];
      out_.pairs[i].heard = good_[i] && !p.dry.empty() && !p.wet.empty();
      if (!out_.pairs[i].heard) continue;
      const bool is_long = static_cast<double>(std::min(p.dry.size(), p.wet.size())) >= kLongSeconds * rate_;
      (is_long ? long_ : short_).push_back(i);
    }
    ask_long();
    ask_short();
    find_polarity();
  }

 private:
  // Longer than the phase that is never asked about, and no longer than a filter's may be.
  bool is_short(double lag) const {
    return std::abs(lag) > small_lag(rate_) && std::abs(lag) <= kFilterSeconds * rate_;
  }
  bool by_chain() const { return !config_.chain.empty(); }
  PairLag& lag_of(std::size_t i) { return out_.pairs[i]; }

  void ask_long() {
    pool_.run(static_cast<int>(long_.size()), [&](int k, int) {
      const std::size_t i = long_[static_cast<std::size_t>(k)];
      Lag& lag = lag_of(i).lag = find_lag(pairs_[i].dry, pairs_[i].wet, rate_);
      if (lag.sure && lag.ppm == 0.0 && lag.steps.empty() && is_short(lag.lag))
        lag.phase = is_phase({&pairs_[i]}, lag.lag, rate_);
      lag_of(i).asked_long = true;
      lag_of(i).alone = true;
    });
    // A long silence with a note or two in it holds too few windows: it is correlated as a whole.
    if (short_.empty()) {
      std::erase_if(long_, [&](std::size_t i) {
        const bool few =
            lag_of(i).lag.n_windows < 4 && pairs_[i].dry.size() <= kMostAsWhole && pairs_[i].wet.size() <= kMostAsWhole;
        if (!few) return false;
        short_.push_back(i);
        lag_of(i).asked_long = lag_of(i).alone = false;
        return true;
      });
    }
    if (by_chain()) return;
    std::vector<std::size_t> suspects;
    for (const std::size_t i : long_) {
      const Lag& lag = lag_of(i).lag;
      if (!lag.sure && lag.match < kMatchLow) suspects.push_back(i);
      if (!lag.sure || lag.strays < kStrays || lag.agreement > kFewStay) continue;
      mismatch(i,
               fmt::format("lies at one lag by {:.0f} %, and of {:.0f} % of it the like is not found there",
                           100.0 * lag.agreement, 100.0 * lag.strays),
               "parts of another take, or in another order, are in one of them", "record both in one go");
    }
    const std::vector<double> usual = usual_matches(long_);
    const auto usual_of = [&](std::size_t i) {
      return usual[static_cast<std::size_t>(std::find(long_.begin(), long_.end(), i) - long_.begin())];
    };
    for (const std::size_t i : suspects) {
      if (doubt_rate(i, lag_of(i).lag.match, kAsOthers * usual_of(i))) continue;
      const auto own = find_coarse_lag(pairs_[i].dry, pairs_[i].wet, rate_).support;
      double best = 0.0;
      std::size_t other = i;
      for (std::size_t k = 0; k < std::min<std::size_t>(long_.size(), 8); ++k) {
        const std::size_t j = suspects.size() > 1 && k < suspects.size() ? suspects[k] : long_[k];
        if (j == i) continue;
        const auto support = find_coarse_lag(pairs_[j].dry, pairs_[i].wet, rate_).support;
        if (support > best) {
          best = support;
          other = j;
        }
      }
      if (best > 0.6 && best > kMatchRatio * own) {
        mismatch(i,
                 fmt::format("is not of its dry file ({:.0f} % of it is found there) but looks like {} ({:.0f} %)",
                             100.0 * own, pairs_[other].name, 100.0 * best),
                 "files were renamed or mixed up", "pair it with the right dry file");
      } else if (lag_of(i).lag.match < kNothing || (own < 0.35 && lag_of(i).lag.match < 0.2)) {
        nothing_in_common(i, lag_of(i).lag.match);
      }
    }
  }

  // The median match of each pair's kind; 0 where that are few.
  std::vector<double> usual_matches(const std::vector<std::size_t>& whose) {
    std::map<std::string, std::vector<double>> kinds;
    for (const std::size_t i : whose) kinds[kind_of(pairs_[i])].push_back(lag_of(i).lag.match);
    std::vector<double> usual;
    for (const std::size_t i : whose) {
      const std::vector<double>& kind = kinds[kind_of(pairs_[i])];
      usual.push_back(kind.size() >= kFewAlike ? median(kind) : 0.0);
    }
    return usual;
  }

  float peak_of_wet(std::size_t i) const {
    float peak = 0.0f;
    for (const float v : pairs_[i].wet) peak = std::max(peak, std::abs(v));
    return peak;
  }

  // A pair that has much less in common with its dry file than the others of its kind have with theirs.
  void unlike_others(std::size_t i, double match, double usual) {
    std::vector<double> peaks;
    for (const std::size_t k : short_) {
      if (kind_of(pairs_[k]) == kind_of(pairs_[i])) peaks.push_back(static_cast<double>(peak_of_wet(k)));
    }
    const bool faint = static_cast<double>(peak_of_wet(i)) < static_cast<double>(kFaint) * median(peaks);
    const bool surely = usual >= kSomeMatch && match < kFarBelow * usual && !faint;
    std::string text =
        fmt::format("has little in common with its dry file (correlation {:.2f}, of the others {:.2f})", match, usual);
    const char* cause = "another take, a file that was renamed or turned round, or noise";
    const char* cure = "listen to both, and pair it anew or remove it";
    if (surely) {
      mismatch(i, std::move(text), cause, cure);
    } else {
      out_.findings.push_back(
          {Severity::kWarning, "mismatch", file_of(pairs_[i], true), -1.0, std::move(text), cause, cure});
    }
  }

  void mismatch(std::size_t i, std::string text, std::string cause, std::string cure) {
    lag_of(i).mismatched = true;
    out_.findings.push_back({Severity::kRefuse, "mismatch", file_of(pairs_[i], true), -1.0, std::move(text),
                             std::move(cause), std::move(cure)});
  }
  void nothing_in_common(std::size_t i, double match) {
    mismatch(i, fmt::format("has almost nothing in common with its dry file (correlation {:.2f})", match),
             "they are not of one take, or the recording went wrong", "check by ear and pair it anew");
  }

  bool doubt_rate(std::size_t i, double as_is, double least) {
    if (n_doubted_++ >= kMostRates) return false;
    const auto wrong = find_wrong_rate(pairs_[i], as_is, least, usual_rate(pairs_), rate_);
    if (!wrong) return false;
    lag_of(i).mismatched = true;
    out_.findings.push_back(
        {Severity::kRefuse, "rate", file_of(pairs_[i], wrong->wet), -1.0,
         fmt::format(
             "its header says {} Hz, but beside the {} file it sounds right at {} Hz (correlation {:.2f}, as it is "
             "{:.2f})",
             wrong->stated, wrong->wet ? "dry" : "wet", wrong->true_rate, wrong->match, as_is),
         "a program wrote the wrong rate into the header",
         fmt::format("correct the header, as with 'sox -r {} in.wav out.wav'; or, where this one is right, that of the "
                     "other file",
                     wrong->true_rate)});
    return true;
  }

  void ask_short() {
    if (short_.empty()) return;
    std::vector<const Pair*> notes;
    for (const std::size_t i : short_) notes.push_back(&pairs_[i]);
    NotesLag together(notes, rate_, pool_);
    for (std::size_t k = 0; k < short_.size(); ++k) lag_of(short_[k]).lag.match = together[k].match;
    if (!by_chain()) find_mixed(together);
    std::vector<bool> counts(short_.size());
    for (std::size_t k = 0; k < short_.size(); ++k) counts[k] = !lag_of(short_[k]).mismatched;
    together.find_common(counts);
    out_.n_notes = together.n_asked;
    out_.n_agree = together.n_agree;
    out_.common = static_cast<double>(together.lag);
    out_.standing_out = together.standing_out;
    out_.common_sure = together.clear;
    for (std::size_t k = 0; k < short_.size(); ++k) {
      Lag& lag = lag_of(short_[k]).lag;
      lag.lag = out_.common;
      lag.sure = out_.common_sure;
      lag.confidence = out_.n_notes > 0 ? static_cast<double>(out_.n_agree) / out_.n_notes : 0.0;
      if (out_.n_notes == 1) lag.confidence = together.standing_out;
      lag.rule = out_.n_notes == 1 ? fmt::format("its peak stands out by {:.0f} %", 100.0 * together.standing_out)
                                   : fmt::format("{} of {} pairs agree", out_.n_agree, out_.n_notes);
      lag.sign = together[k].signed_near(together.lag + static_cast<long>(together[k].r.size() / 2)) < 0.0 ? -1.0 : 1.0;
    }
    if (!by_chain() && tell_unrelated(together, counts)) return;
    if (!by_chain() && out_.n_notes >= 4) ask_each(together, counts);
    const bool few_agree = out_.n_notes >= 4 && out_.n_agree <= kFewAgree * out_.n_notes;
    if (out_.common_sure && !out_.by_hand && is_short(out_.common)) {
      std::vector<const Pair*> on;
      for (std::size_t k = 0; k < short_.size(); ++k) {
        if (counts[k] && !lag_of(short_[k]).alone) on.push_back(&pairs_[short_[k]]);
      }
      out_.phase = is_phase(on, out_.common, rate_);
    }
    out_.apart = !by_chain() && few_agree && together.moves && !together.clear && !out_.by_hand;
    for (std::size_t k = 0; k < short_.size(); ++k) {
      if (!counts[k]) continue;
      const long at = std::lround(lag_of(short_[k]).lag.lag) + static_cast<long>(together[k].r.size() / 2);
      const double own = together[k].signed_near(at);
      signed_ += own;
      absolute_ += std::abs(own);
    }
    sure_of_sign_ = out_.common_sure || out_.by_hand;
    if (!sure_of_sign_ || by_chain()) return;
    std::vector<std::size_t> whose;
    std::vector<std::vector<float>> responses;
    for (std::size_t k = 0; k < short_.size(); ++k) {
      const Lag& lag = lag_of(short_[k]).lag;
      if (!counts[k] || (lag_of(short_[k]).alone && !lag.sure)) continue;
      whose.push_back(short_[k]);
      responses.push_back(together[k].around(std::lround(lag.lag) + static_cast<long>(together[k].r.size() / 2), 48));
    }
    tell_turned_over(whose, responses);
  }

  // Notes of which most resemble their dry file no more than any other, and that agree on no lag: another recording.
  bool tell_unrelated(const NotesLag& together, const std::vector<bool>& counts) {
    std::size_t low = 0;
    for (std::size_t k = 0; k < short_.size(); ++k) low += counts[k] && lag_of(short_[k]).lag.match < kMatchLow;
    const bool agree = together.clear || out_.n_agree > kFewAgree * out_.n_notes;
    if (out_.n_notes < 3 || agree || 2 * low <= static_cast<std::size_t>(out_.n_notes)) return false;
    for (std::size_t k = 0; k < short_.size(); ++k) {
      const Lag& lag = lag_of(short_[k]).lag;
      if (!counts[k]) continue;
      mismatch(short_[k],
               fmt::format("has little in common with its dry file (correlation {:.2f}), and pairs agree on no lag",
                           lag.match),
               "they are not of one take: another folder or another instrument", "check by ear and pair them anew");
    }
    return true;
  }

  // Notes with lags of their own. Few of them: found with the response of the rest. Many: cut by hand.
  void ask_each(NotesLag& together, const std::vector<bool>& counts) {
    auto own = together.own_lags_by_common(counts);
    std::vector<std::size_t> elsewhere;
    const auto apart = [&](std::size_t k) {
      return counts[k] && own[k].at_common < kElsewhere && std::abs(own[k].lag - out_.common) > kSmallLag;
    };
    std::size_t n_apart = 0;
    for (std::size_t k = 0; k < own.size(); ++k) {
      if (!apart(k)) continue;
      ++n_apart;
      if (own[k].margin >= kSureMargin) elsewhere.push_back(k);
    }
    if (static_cast<double>(n_apart) > kByHand * out_.n_notes) {
      own = together.own_lags_freely(counts);
      std::size_t n_sure = 0, n_same = 0;
      std::vector<double> lags;
      for (std::size_t k = 0; k < own.size(); ++k) {
        if (counts[k] && own[k].margin >= kSureMargin) {
          ++n_sure;
          lags.push_back(own[k].lag);
        }
      }
      if (lags.empty()) return;
      std::nth_element(lags.begin(), lags.begin() + static_cast<long>(lags.size() / 2), lags.end());
      const double middle = lags[lags.size() / 2];
      for (std::size_t k = 0; k < own.size(); ++k) {
        n_same += counts[k] && own[k].margin >= kSureMargin && std::abs(own[k].lag - middle) <= kSmallLag;
      }
      if (2 * n_sure < static_cast<std::size_t>(out_.n_notes)) {
        // Most lie apart, and where is not clear: that a few agree may be chance.
        if (2 * out_.n_agree < out_.n_notes) doubt_common();
        return;
      }
      if (5 * n_same >= 4 * n_sure) return;  // they agree after all
      out_.by_hand = true;
      for (std::size_t k = 0; k < own.size(); ++k) {
        if (counts[k]) take_own(k, own[k]);
      }
      return;
    }
    if (!out_.common_sure) return;
    for (const std::size_t k : elsewhere) take_own(k, own[k]);
  }

  void doubt_common() {
    out_.common_sure = false;
    for (const std::size_t i : short_) lag_of(i).lag.sure = false;
  }

  void take_own(std::size_t k, const NotesLag::Own& own) {
    PairLag& p = lag_of(short_[k]);
    p.alone = true;
    p.lag.lag = own.lag;
    p.lag.confidence = own.margin;
    p.lag.sure = own.margin >= kSureMargin;
    p.lag.rule =
        fmt::format("its peak stands out by {:.0f} %, with what all pairs share taken out", 100.0 * own.margin);
  }

  // A pair that correlates badly, and whose wet audio correlates clearly better with another dry note. Where notes are
  // mixed up, both are among the worst, so these are asked first: n * n correlations of a large set would take hours.
  void find_mixed(const NotesLag& notes) {
    const std::size_t n = notes.size();
    std::vector<std::size_t> worst(n);
    std::iota(worst.begin(), worst.end(), 0);
    const std::vector<double> usual = usual_matches(short_);
    const auto below = [&](std::size_t i) { return (usual[i] >= kHighMatch ? kBelowHigh : kFarBelow) * usual[i]; };
    const auto share = [&](std::size_t i) { return notes[i].match / std::max(kMatchLow, below(i)); };
    std::stable_sort(worst.begin(), worst.end(), [&](auto i, auto j) { return share(i) < share(j); });
    const std::size_t n_others = std::min(n, kMostOthers);
    std::size_t n_suspects = 0;
    while (n_suspects < n_others && share(worst[n_suspects]) < 1.0) ++n_suspects;
    std::vector<Bins> others(n_suspects > 0 ? n_others : 0);
    pool_.run(static_cast<int>(others.size()), [&](int k, int) {
      others[static_cast<std::size_t>(k)] = notes.dry_spectrum(worst[static_cast<std::size_t>(k)]);
    });
    struct Best {
      double score = 0.0;
      std::size_t other = 0;
    };
    std::vector<Best> better(n_suspects);
    const auto name = [&](std::size_t i) -> const std::string& { return pairs_[short_[i]].name; };
    pool_.run(static_cast<int>(n_suspects), [&](int task, int) {
      const auto s = static_cast<std::size_t>(task);
      const std::size_t i = worst[s];
      better[s] = {0.0, i};
      for (std::size_t k = 0; k < others.size(); ++k) {
        if (name(worst[k]) == name(i)) continue;
        const double score = notes.match_with(others[k], i);
        if (score > better[s].score) better[s] = {score, worst[k]};
      }
    });
    std::map<std::size_t, std::size_t> in_order;  // of the pairs, so that findings are
    for (std::size_t s = 0; s < n_suspects; ++s) in_order[worst[s]] = s;
    for (const auto& [i, s] : in_order) {
      const Best& best = better[s];
      if (best.other != i && best.score > kMatchRatio * notes[i].match &&
          best.score > std::max(kMatchLow, kAsOthers * usual[i])) {
        mismatch(short_[i],
                 fmt::format("is not of its dry note {} (correlation {:.2f}) but looks like {} ({:.2f})", name(i),
                             notes[i].match, name(best.other), best.score),
                 "files were renamed or mixed up", "pair it with the right dry file");
      } else if (doubt_rate(short_[i], notes[i].match, kAsOthers * usual[i])) {
        continue;
      } else if (notes[i].match < kNothing) {
        nothing_in_common(short_[i], notes[i].match);
      } else if (notes[i].match < below(i)) {
        unlike_others(short_[i], notes[i].match, usual[i]);
      }
    }
    for (std::size_t i = n_suspects; i < n; ++i) {  // more suspects than others are asked
      if (notes[worst[i]].match < kNothing) nothing_in_common(short_[worst[i]], notes[worst[i]].match);
    }
  }

  // Pairs whose response is that of the others, turned over. Of 523 sound pairs of the study the least was alike by
  // .38.
  void tell_turned_over(const std::vector<std::size_t>& whose, const std::vector<std::vector<float>>& responses) {
    constexpr double kTurned = -0.3, kAlike = 0.5;
    if (whose.size() < 2) return;
    const std::vector<double> alike = likeness_to_all(responses);
    std::vector<double> sizes;
    for (const double a : alike) sizes.push_back(std::abs(a));
    std::nth_element(sizes.begin(), sizes.begin() + static_cast<long>(sizes.size() / 2), sizes.end());
    if (sizes[sizes.size() / 2] < kAlike) return;
    for (std::size_t k = 0; k < whose.size(); ++k) {
      if (alike[k] > kTurned) continue;
      const Pair& p = pairs_[whose[k]];
      // A knob may turn the signal over: that is the device's.
      out_.findings.push_back(
          {p.knobs.empty() ? Severity::kRefuse : Severity::kWarning, "polarity", file_of(p, true), -1.0,
           fmt::format("is turned over against the other pairs (its response is theirs by {:.2f})", alike[k]),
           "a cable, a plug-in or an edit turned some files over and left others",
           "turn it over, as with 'sox -v -1 in.wav out.wav'; where the device does so, --set "
           "data.allow=polarity"});
    }
  }

  void tell_turned_part_way(std::size_t i) {
    const Lag& lag = lag_of(i).lag;
    std::vector<std::string> places;
    for (const Step& s : lag.turned) places.push_back(fmt::format("{:.1f}", s.seconds));
    out_.findings.push_back(
        {Severity::kRefuse, "polarity", file_of(pairs_[i], true), pairs_[i].offset_seconds + lag.turned.front().seconds,
         fmt::format("changes its sign against dry at {} s, to {:.1f} s: what lies before is turned over against what "
                     "lies behind",
                     fmt::join(places, " and "), lag.turned.front().margin),
         "takes were joined of which some were turned over by a cable, a plug-in or an edit",
         "turn over the part that is the wrong way round, or cut it out of both files; where the device does so, --set "
         "data.allow=polarity"});
  }

  void find_polarity() {
    std::vector<std::size_t> whose;
    std::vector<std::vector<float>> responses;
    for (const std::size_t i : long_) {
      if (lag_of(i).mismatched || !lag_of(i).lag.sure || lag_of(i).lag.response.empty()) continue;
      if (!lag_of(i).lag.turned.empty()) {
        if (!by_chain()) tell_turned_part_way(i);
        continue;
      }
      whose.push_back(i);
      responses.push_back(lag_of(i).lag.response);
    }
    if (!by_chain()) tell_turned_over(whose, responses);
    for (const std::size_t i : long_) {
      const Lag& lag = lag_of(i).lag;
      if (lag_of(i).mismatched || !lag.sure || !lag.turned.empty()) continue;
      sure_of_sign_ = true;
      const double weight = lag.match * static_cast<double>(std::max(1, lag.n_windows));
      signed_ += lag.sign * weight;
      absolute_ += weight;
    }
    if (sure_of_sign_ && absolute_ > 0.0) out_.polarity = signed_ / absolute_;
  }

  const std::vector<Pair>& pairs_;
  const std::vector<bool>& good_;
  const DataConfig& config_;
  const int rate_;
  Lags& out_;
  ThreadPool pool_;
  std::vector<std::size_t> long_, short_;
  std::size_t n_doubted_ = 0;
  double signed_ = 0.0, absolute_ = 0.0;
  bool sure_of_sign_ = false;
};

}  // namespace

Lags find_lags(const std::vector<Pair>& pairs, const std::vector<bool>& good, const DataConfig& config, int rate) {
  Lags out;
  Search(pairs, good, config, rate, out).run();
  return out;
}

}  // namespace cafx
