#include "datasets/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace cafx {

namespace {

constexpr double kMuchWander = 6.0;   // of small_lag
constexpr double kNoneAgree = 0.15;   // of the windows: no lag is known
constexpr double kNearlyAll = 0.88;   // of the windows beside steps: others may hide another one
constexpr double kHoldsStill = 0.75;  // of the windows: fewer within 3 samples, and the lag is said to wander
constexpr double kWanderLeft = 1.0;   // of the same: the lag moves this far (median) about what was found

// "3 pairs", or the file where there is one.
std::string which(const std::vector<Pair>& pairs, const std::vector<std::size_t>& of, bool wet) {
  if (of.size() == 1) return file_of(pairs[of.front()], wet);
  if (of.size() == pairs.size()) return fmt::format("all {} pairs", pairs.size());
  return fmt::format("{} of {} pairs", of.size(), pairs.size());
}

class Planner {
 public:
  Planner(const std::vector<Pair>& pairs, const Seen& seen, const DataConfig& config, int rate)
      : pairs_(pairs), seen_(seen), config_(config), rate_(rate) {
    plan_.pairs.resize(pairs.size());
  }

  RepairPlan run() {
    for (const bool wet : {false, true}) {
      tell_channels(wet);
      plan_scale(wet);
      plan_dc(wet);
    }
    plan_common_latency();
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const PairLag& lag = seen_.lags.pairs[i];
      if (lag.heard && !lag.mismatched && lag.asked_long) plan_long(i);
    }
    plan_own_latencies();
    tell_polarity();
    return std::move(plan_);
  }

 private:
  void say(Severity severity, const char* code, std::string file, std::string text, std::string cause, std::string cure,
           double seconds = -1.0) {
    plan_.findings.push_back(
        {severity, code, std::move(file), seconds, std::move(text), std::move(cause), std::move(cure)});
  }
  void will(const char* what, std::string file, double amount, const char* unit, double confidence, std::string rule,
            std::string text, double seconds = -1.0) {
    plan_.repairs.push_back(
        {what, std::move(file), amount, unit, seconds, confidence, std::move(rule), std::move(text)});
  }
  std::string milliseconds(double samples) const {
    return fmt::format("{:.0f} samples ({:.2f} ms)", std::abs(samples), 1e3 * std::abs(samples) / rate_);
  }

  // Chosen while the files were read (find/channels.h): here they are put on record.
  void tell_channels(bool wet) {
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (!(wet ? pairs_[i].wet_file : pairs_[i].dry_file).channel_why.empty()) chosen.push_back(i);
    }
    if (chosen.empty()) return;
    const FileFacts& f = wet ? pairs_[chosen[0]].wet_file : pairs_[chosen[0]].dry_file;
    will("channel", which(pairs_, chosen, wet), f.channel + 1, "channel", 1.0, "levels and correlation of the channels",
         fmt::format("channel {} of {} is used ({})", f.channel + 1, f.channels, f.channel_why));
  }

  double full_scale(std::size_t i, bool wet) const {
    const FileFacts& f = wet ? pairs_[i].wet_file : pairs_[i].dry_file;
    return f.is_float || pairs_[i].wet_path.empty() ? (wet ? seen_.wet_full_scale : seen_.dry_full_scale) : 1.0;
  }

  void plan_scale(bool wet) {
    const double scale = wet ? seen_.wet_full_scale : seen_.dry_full_scale;
    if (scale <= 1.0) return;
    std::vector<std::size_t> of;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (full_scale(i, wet) > 1.0) of.push_back(i);
    }
    const int bits = static_cast<int>(std::lround(std::log2(scale))) + 1;
    const double db = -20.0 * std::log10(scale);
    const std::string text = fmt::format("holds integers of {} bits, written as float", bits);
    const char* cause = "a program converted to float without scaling to -1 .. 1";
    if (!repairs(config_, "scale")) {
      say(Severity::kRefuse, "scale", which(pairs_, of, wet), text, cause,
          fmt::format("export it again, or --set data.{}_gain_db={:.2f}", wet ? "wet" : "dry", db));
      return;
    }
    for (const std::size_t i : of) (wet ? plan_.pairs[i].wet : plan_.pairs[i].dry).gain = 1.0 / scale;
    say(Severity::kWarning, "scale", which(pairs_, of, wet), fmt::format("{}; it is scaled by {:.2f} dB", text, db),
        cause, "nothing need be done; export it again to be rid of this");
    will("scale", which(pairs_, of, wet), db, "dB", 1.0, "no recording peaks 24 dB over full scale",
         fmt::format("scaled by {:.2f} dB: it holds integers of {} bits", db, bits));
  }

  void plan_dc(bool wet) {
    std::vector<std::size_t> constant, drifting, kept;
    const auto& offsets = wet ? seen_.wet_offset : seen_.dry_offset;
    double most = 0.0, least_sure = 1.0;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const Offset& o = offsets[i];
      if (!o.constant && !o.drifting) continue;
      (o.drifting ? drifting : constant).push_back(i);
      const double amount = o.drifting ? o.wander : o.mean;
      if (std::abs(amount) > std::abs(most)) most = amount;
      least_sure = std::min(least_sure, o.confidence);
      if (!repairs(config_, "dc")) continue;
      SidePlan& side = wet ? plan_.pairs[i].wet : plan_.pairs[i].dry;
      const double scale = full_scale(i, wet);
      side.dc = scale * o.mean;
      side.baseline = o.baseline;
      for (float& v : side.baseline) v *= static_cast<float>(scale);
    }
    for (const auto* of : {&constant, &drifting}) {
      if (of->empty()) continue;
      const bool drifts = of == &drifting;
      const std::string text = drifts ? fmt::format("has an offset that wanders by {:.4f} of full scale", most)
                                      : fmt::format("has an offset (DC) of {:.4f} of full scale", most);
      const bool mend = repairs(config_, "dc");
      say(Severity::kWarning, "dc", which(pairs_, *of, wet), text + (mend ? "; it is taken out" : "; it is left in"),
          "the converter or the device adds a constant; errors measured against it look better than they are",
          mend ? "nothing need be done; data.repair without dc keeps it" : "name dc in data.repair");
      if (!mend) continue;
      will("dc", which(pairs_, *of, wet), most, "of full scale", least_sure, "the quietest quarter shows it too",
           fmt::format("{} of {:.4f} of full scale is taken out of {}", drifts ? "a wandering offset" : "an offset",
                       most, wet ? "wet" : "dry"));
    }
  }

  void plan_common_latency() {
    const Lags& lags = seen_.lags;
    std::vector<std::size_t> of;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const PairLag& p = lags.pairs[i];
      if (p.heard && !p.asked_long && !p.mismatched && !p.alone) of.push_back(i);
    }
    if (of.empty() || lags.by_hand || std::abs(lags.common) <= small_lag(rate_)) return;
    if (lags.apart) {
      say(Severity::kRefuse, "latency", which(pairs_, of, true),
          fmt::format("each lies at a lag of its own, and none is sure ({} of {} agree on {})", lags.n_agree,
                      lags.n_notes, milliseconds(lags.common)),
          "the files were cut by hand, or recorded one by one", "align them by hand, by a click at the start of both");
      return;
    }
    const Lag& any = lags.pairs[of.front()].lag;
    if (lags.phase) {
      tell_phase(of, lags.common, any.rule);
      return;
    }
    latency(of, lags.common, lags.common_sure, any.confidence, any.rule);
    // What cannot be heard moves along: its lag is the device's.
    if (lags.common_sure && repairs(config_, "latency")) {
      for (std::size_t i = 0; i < pairs_.size(); ++i) {
        if (!lags.pairs[i].heard || lags.pairs[i].mismatched) plan_.pairs[i].latency = lags.common;
      }
    }
  }

  void tell_phase(const std::vector<std::size_t>& of, double lag, const std::string& rule) {
    say(Severity::kInfo, "latency", which(pairs_, of, true),
        fmt::format("wet seems {} {} ({}); it is left to the model", milliseconds(lag), lag > 0 ? "late" : "early",
                    rule),
        lag > 0 ? "the device delays a little itself, or its filters turn the phase"
                : "the device's filters turn the phase: one that answers to what was played explains it",
        "nothing need be done: a model learns it with the sound");
  }

  void latency(const std::vector<std::size_t>& of, double lag, bool sure, double confidence, const std::string& rule) {
    const std::string file = which(pairs_, of, true);
    const std::string what = fmt::format("wet is {} {} ({})", milliseconds(lag), lag > 0 ? "late" : "early", rule);
    const char* cause = lag > 0 ? "the converter, the cable or the plug-in delays"
                                : "dry was recorded late, latency was compensated twice, or dry and wet are swapped";
    if (sure && repairs(config_, "latency")) {
      for (const std::size_t i : of) plan_.pairs[i].latency = lag;
      say(Severity::kInfo, "latency", file, what + "; it is taken out", cause,
          "nothing need be done; data.align = false keeps it");
      will("latency", file, lag, "samples", confidence, rule,
           fmt::format("a latency of {} is taken out, wet was {}", milliseconds(lag), lag > 0 ? "late" : "early"));
      return;
    }
    say(Severity::kWarning, "latency", file, what + (sure ? "; it is left in" : "; too unsure to take it out"), cause,
        sure ? "set data.align = true and name latency in data.repair"
             : "align the files by hand, by a click at the start of both");
  }

  // Notes with lags of their own: each is moved by its own where that is sure, and refused where not.
  void plan_own_latencies() {
    std::vector<std::size_t> sure, unsure;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const PairLag& p = seen_.lags.pairs[i];
      if (!p.heard || p.mismatched || p.asked_long || !p.alone) continue;
      (p.lag.sure ? sure : unsure).push_back(i);
    }
    if (sure.empty() && unsure.empty()) return;
    const char* cause = "the files were cut by hand, or recorded one by one";
    const bool mend = repairs(config_, "latency");
    if (!sure.empty()) {
      double least = 1e9, most = -1e9, confidence = 1.0;
      for (const std::size_t i : sure) {
        const Lag& lag = seen_.lags.pairs[i].lag;
        least = std::min(least, lag.lag);
        most = std::max(most, lag.lag);
        confidence = std::min(confidence, lag.confidence);
        if (!mend) continue;
        // Beside others whose phase is left in, this one's is too.
        const double by = lag.lag - (seen_.lags.phase ? seen_.lags.common : 0.0);
        plan_.pairs[i].latency = std::abs(by) > 0.5 ? by : 0.0;
        will("latency", file_of(pairs_[i], true), by, "samples", lag.confidence, lag.rule,
             fmt::format("a latency of its own of {} is taken out, wet was {}", milliseconds(by),
                         by > 0 ? "late" : "early"));
      }
      say(mend ? Severity::kWarning : Severity::kRefuse, "latency", which(pairs_, sure, true),
          fmt::format("wet lies {:.0f} to {:.0f} samples late, each by its own; {}", least, most,
                      mend ? "each is taken out" : "data.repair leaves that in"),
          cause, mend ? "nothing need be done; --json of 'cafx data check' lists them" : "name latency in data.repair");
    }
    for (const std::size_t i : unsure) {
      const Lag& lag = seen_.lags.pairs[i].lag;
      say(Severity::kRefuse, "latency", file_of(pairs_[i], true),
          fmt::format("lies at another lag than other pairs, perhaps {} {}, but that is not sure ({})",
                      milliseconds(lag.lag), lag.lag > 0 ? "late" : "early", lag.rule),
          cause, "align it by hand, or remove the pair");
    }
  }

  // Of a recording with steps: nothing is left in its lags that another step, near an end, would explain.
  static bool explained(const Lag& lag) {
    return lag.maybe_ppm == 0.0 && lag.open_ppm == 0.0 && lag.agreement >= kNearlyAll;
  }

  void plan_long(std::size_t i) {
    const Lag& lag = seen_.lags.pairs[i].lag;
    const std::string file = file_of(pairs_[i], true);
    const bool has_drift = lag.ppm != 0.0, has_steps = !lag.steps.empty();
    // Several small steps look like one and a drift.
    const bool sure = lag.sure && (!has_drift || lag.sure_of_drift) &&
                      (!has_steps || (lag.sure_of_steps && !has_drift && explained(lag)));
    if (has_drift && !plan_drift(i, lag, sure)) return;
    if (has_steps && !plan_steps(i, lag, sure)) return;
    plan_edges(i, lag);
    for (const Step& s : lag.unlike) {
      if (!lag.sure) break;
      const double from = s.seconds - s.margin, to = s.seconds + s.margin;
      say(Severity::kWarning, "mismatch", file,
          fmt::format("has little in common with its dry file from {:.1f} to {:.1f} s, at the lag of the rest", from,
                      to),
          "another take was pasted in, the device was changed there, or samples were lost",
          "listen to both there, and cut it out of both where they differ", from);
    }
    tell_maybe_drift(i, lag);
    if (std::abs(lag.lag) > small_lag(rate_) || has_drift || has_steps) {
      if (has_drift || has_steps) {
        plan_.pairs[i].latency = lag.lag / (1.0 + 1e-6 * lag.ppm);
        if (std::abs(lag.lag) > small_lag(rate_)) {
          latency({i}, plan_.pairs[i].latency, true, lag.confidence, lag.rule);
        }
      } else if (lag.phase) {
        tell_phase({i}, lag.lag, lag.rule);
      } else {
        latency({i}, lag.lag, lag.sure, lag.confidence, lag.rule);
      }
    }
    if (lag.n_windows >= 8 && (lag.wander > kWanderLeft * small_lag(rate_) || lag.agreement < kHoldsStill)) {
      // A modulating effect moves by little over a whole second; much more is a clock.
      const bool much = lag.wander > kMuchWander * small_lag(rate_) || lag.agreement < kNoneAgree;
      say(much ? Severity::kRefuse : Severity::kWarning, "wander", file,
          fmt::format("its lag moves to and fro by {:.1f} samples (median of {} windows; {:.0f} % by more than 3)",
                      lag.wander, lag.n_windows, 100.0 * (1.0 - lag.agreement)),
          "a clock that is not steady (wireless, USB, tape), or an effect that modulates time (vibrato, chorus)",
          much ? "record it again through a cable; where it is the effect, --set data.allow=wander"
               : "where it is not the effect, record it again through a cable");
    }
  }

  bool plan_drift(std::size_t i, const Lag& lag, bool sure) {
    const std::string file = file_of(pairs_[i], true);
    const double shift = 1e-6 * lag.ppm * static_cast<double>(std::min(pairs_[i].dry.size(), pairs_[i].wet.size()));
    const std::string what =
        fmt::format("the clock of wet runs {} by {:.1f} ppm ({:.1f} samples over the recording; {})",
                    lag.ppm > 0 ? "slow" : "fast", std::abs(lag.ppm), std::abs(shift), lag.rule);
    const char* cause = "dry was played and wet recorded by devices with clocks of their own";
    if (!repairs(config_, "drift") || config_.drift == "off") {
      say(Severity::kRefuse, "drift", file, what + "; it would be left in", cause,
          "name drift in data.repair, with data.drift = \"auto\" and data.align = true");
      return false;
    }
    if (!sure) {
      say(Severity::kRefuse, "drift", file, what + "; that is not sure enough to take it out", cause,
          "record with one clock, or state the drift, as --set data.drift=" + fmt::format("{:.1f}", lag.ppm));
      return false;
    }
    plan_.pairs[i].ppm = lag.ppm;
    say(Severity::kWarning, "drift", file, what + "; it is resampled", cause,
        "nothing need be done; data.drift = \"off\" refuses instead");
    will("drift", file, lag.ppm, "ppm", lag.confidence, lag.rule,
         fmt::format("wet is resampled: its clock ran {} by {:.1f} ppm", lag.ppm > 0 ? "slow" : "fast",
                     std::abs(lag.ppm)));
    return true;
  }

  bool plan_steps(std::size_t i, const Lag& lag, bool sure) {
    const std::string file = file_of(pairs_[i], true);
    const bool one_way = lag.steps.size() >= 3 && std::all_of(lag.steps.begin(), lag.steps.end(), [&](const Step& s) {
                           return s.samples * lag.steps.front().samples > 0.0;
                         });
    const char* cause = one_way
                            ? "wet runs at another speed (tape, stretched or resampled audio), or blocks were dropped"
                            : "the recording dropped or repeated a block: an overloaded computer, a wireless link";
    const bool mend = sure && repairs(config_, "steps");
    for (const Step& s : lag.steps) {
      const std::string what =
          fmt::format("wet {} {:.0f} samples", s.samples < 0 ? "lost" : "has too many by", std::abs(s.samples));
      const double margin = s.margin + kStepMargin;
      say(mend ? Severity::kWarning : Severity::kRefuse, "steps", file,
          what + (mend ? fmt::format("; the part behind is moved, {:.2f} s around the place are left out", 2.0 * margin)
                  : sure ? "; data.repair leaves that in"
                         : "; that is not sure enough to mend it"),
          cause, mend ? "nothing need be done; record it again to be rid of it" : "record it again, or cut it there",
          s.seconds);
      if (!mend) continue;
      plan_.pairs[i].steps.push_back({s.seconds, s.samples, margin});
      will("steps", file, s.samples, "samples", lag.confidence, lag.rule,
           fmt::format("the recording is parted, since wet {} {:.0f} samples", s.samples < 0 ? "lost" : "gained",
                       std::abs(s.samples)),
           s.seconds);
    }
    return mend;
  }

  // Stretches that lie at another lag and are too short to be moved, most at an end: they are left out.
  void plan_edges(std::size_t i, const Lag& lag) {
    const std::string file = file_of(pairs_[i], true);
    for (const Step& s : lag.edges) {
      const bool mend = lag.sure && repairs(config_, "steps");
      const double from = s.seconds - s.margin, to = s.seconds + s.margin;
      say(Severity::kWarning, "steps", file,
          fmt::format("lies at another lag from {:.2f} to {:.2f} s; {}", from, to,
                      mend ? "that is left out" : "that is left in"),
          "samples were lost or inserted there",
          mend ? "nothing need be done" : "cut it off, or name steps in data.repair", from);
      if (!mend) continue;
      plan_.pairs[i].steps.push_back({s.seconds, 0.0, s.margin});
      will("steps", file, 2.0 * s.margin, "seconds", lag.confidence, "their windows agree on a lag of their own",
           fmt::format("{:.2f} to {:.2f} s are left out", from, to), from);
    }
    for (const Step& s : lag.maybe_edges) {
      if (!lag.sure) break;
      say(Severity::kWarning, "steps", file,
          fmt::format("may lie at another lag from {:.2f} to {:.2f} s; that is not sure, and left in",
                      s.seconds - s.margin, s.seconds + s.margin),
          "samples were lost or inserted there, or the device answers a quiet end otherwise",
          "it may be nothing: listen to both there, and only where they run apart cut it off both",
          s.seconds - s.margin);
    }
    auto& steps = plan_.pairs[i].steps;
    std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.seconds < b.seconds; });
  }

  void tell_maybe_drift(std::size_t i, const Lag& lag) {
    if (lag.maybe_ppm == 0.0 && lag.open_ppm > 0.0 && lag.sure && lag.wander <= kWanderLeft * small_lag(rate_) &&
        lag.agreement >= kHoldsStill) {
      say(Severity::kWarning, "drift", file_of(pairs_[i], true),
          fmt::format(
              "a clock that runs apart by up to {:.1f} ppm cannot be told from how its lag scatters, and is left in",
              lag.open_ppm),
          "few seconds, low notes or an effect that modulates time",
          "where dry was played and wet recorded by one device, nothing need be done; else record longer");
    }
    if (lag.maybe_ppm == 0.0) return;
    const double shift =
        1e-6 * lag.maybe_ppm * static_cast<double>(std::min(pairs_[i].dry.size(), pairs_[i].wet.size()));
    say(Severity::kWarning, "drift", file_of(pairs_[i], true),
        fmt::format(
            "the clock of wet may run {} by {:.1f} ppm ({:.1f} samples over the recording); that is not sure, and left "
            "in",
            lag.maybe_ppm > 0 ? "slow" : "fast", std::abs(lag.maybe_ppm), std::abs(shift)),
        "dry was played and wet recorded by devices with clocks of their own, or notes that happen to lie so",
        fmt::format("where they have, record longer, or state it, as --set data.drift={:.1f}", lag.maybe_ppm));
  }

  void tell_polarity() {
    if (seen_.lags.polarity >= -0.7) return;
    std::vector<std::size_t> of;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (seen_.lags.pairs[i].heard && !seen_.lags.pairs[i].mismatched) of.push_back(i);
    }
    say(Severity::kWarning, "polarity", which(pairs_, of, true),
        fmt::format("wet is inverted against dry ({:.0f} % of the correlation)", -100.0 * seen_.lags.polarity),
        "the device or a cable turns the signal over", "where it is not the device, set data.invert = true");
  }

  const std::vector<Pair>& pairs_;
  const Seen& seen_;
  const DataConfig& config_;
  const int rate_;
  RepairPlan plan_;
};

}  // namespace

RepairPlan make_plan(const std::vector<Pair>& pairs, const Seen& seen, const DataConfig& config, int rate) {
  return Planner(pairs, seen, config, rate).run();
}

std::string format_plan(const std::vector<Repair>& repairs) {
  constexpr std::size_t kMost = 12;
  std::string text;
  for (std::size_t i = 0; i < std::min(kMost, repairs.size()); ++i) {
    const Repair& r = repairs[i];
    text += fmt::format("will be done [{}] {}{}: {} (sure by {:.0f} %: {})\n", r.what, printable(r.file),
                        r.seconds >= 0.0 ? fmt::format(" at {:.3f} s", r.seconds) : "", r.text, 100.0 * r.confidence,
                        r.rule);
  }
  if (repairs.size() > kMost) text += fmt::format("... and {} more; --json lists all\n", repairs.size() - kMost);
  return text;
}

nlohmann::ordered_json plan_json(const std::vector<Repair>& repairs) {
  auto list = nlohmann::ordered_json::array();
  for (const Repair& r : repairs) {
    nlohmann::ordered_json one = {{"what", r.what}, {"file", printable(r.file)},  {"amount", r.amount},
                                  {"unit", r.unit}, {"confidence", r.confidence}, {"rule", r.rule},
                                  {"text", r.text}};
    if (r.seconds >= 0.0) one["seconds"] = r.seconds;
    list.push_back(one);
  }
  return list;
}

}  // namespace cafx
