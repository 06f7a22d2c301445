#include "experiments/paper/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace cafx {

namespace {

constexpr Published kPublished[] = {
    {"Distortion", "0.0022 to 0.0074", "0.0014 to 0.0096", 0.003},
    {"Overdrive", "0.0003 to 0.0033", "0.0002 to 0.0021", 0.002},
    {"EQ", "0.0064 to 0.0080", "0.010 to 0.019", 0.006},
    {"FxChain", "0.0060 to 0.0259", "0.0009 to 0.0055", 0.005},
};

// An error of a model: four decimals would call a very small one 0.
std::string error_text(double x) { return x < 0.001 ? fmt::format("{:.2g}", x) : fmt::format("{:.4f}", x); }

// The models that a claim is judged by.
struct Tally {
  std::vector<Judged> models;
  void add(const Experiment& x, bool is_shown, bool is_against, double key, const std::string& text) {
    models.push_back({x.title(), x.preset + (x.variant.empty() ? "" : ", " + x.variant),
                      is_shown       ? Verdict::kShown
                      : !x.learned() ? Verdict::kNotJudged
                      : is_against   ? Verdict::kContradicted
                                     : Verdict::kNotShown,
                      key, text});
  }
  Claim claim(const std::string& text, const std::string& rule) {
    Claim c{text, rule, Verdict::kNotTested, "No model of this run tells.", {}};
    if (models.empty()) return c;
    const auto n = [&](Verdict v) {
      return static_cast<std::size_t>(
          std::count_if(models.begin(), models.end(), [&](const Judged& m) { return m.verdict == v; }));
    };
    const std::size_t shown = n(Verdict::kShown), against = n(Verdict::kContradicted), open = n(Verdict::kNotJudged);
    c.verdict = shown == models.size()          ? Verdict::kShown
                : shown + open == models.size() ? Verdict::kNotJudged
                : against > 0 && shown == 0     ? Verdict::kContradicted
                                                : Verdict::kNotShown;
    c.evidence = fmt::format("shown for {} of {}", shown, models.size());
    if (against > 0) c.evidence += fmt::format(", {} against", against);
    if (open > 0) c.evidence += fmt::format(", {} not judged", open);
    std::map<std::string, std::pair<int, int>> of;  // by preset: shown, all
    for (const Judged& m : models) {
      auto& [yes, all] = of[m.preset];
      yes += m.verdict == Verdict::kShown;
      ++all;
    }
    if (of.size() > 1) {
      std::string text;
      for (const auto& [preset, counted] : of)
        text += fmt::format("{}{} {} of {}", text.empty() ? "" : ", ", preset, counted.first, counted.second);
      c.evidence += " (preset " + text + ")";
    }
    // Best first, NaN last.
    std::stable_sort(models.begin(), models.end(), [](const Judged& a, const Judged& b) {
      return a.key < b.key || (std::isnan(b.key) && !std::isnan(a.key));
    });
    c.models = models;
    return c;
  }
};

// Where there are several seeds, the interval of 95 % for their mean.
std::string seeds_text(const Experiment& x, double own) {
  const double half = x.interval(&Metrics::esr);
  if (std::isnan(half)) return "";
  return fmt::format(" ({} seeds, 95 %: {} to {})", x.runs.size(), error_text(std::max(0.0, own - half)),
                     error_text(own + half));
}

}  // namespace

const char* to_string(Verdict v) {
  switch (v) {
    case Verdict::kShown:
      return "shown";
    case Verdict::kNotShown:
      return "not shown";
    case Verdict::kContradicted:
      return "contradicted";
    case Verdict::kNotJudged:
      return "not judged";
    default:
      return "not tested";
  }
}

const Published* published(const std::string& effect) {
  for (const Published& p : kPublished) {
    if (effect.rfind(p.effect, 0) == 0) return &p;
  }
  return nullptr;
}

std::vector<Claim> judge(const std::vector<Experiment>& all) {
  const std::vector<const Experiment*> experiments = main_experiments(all);
  std::vector<Claim> claims;
  const auto for_effect = [&](const char* effect, const char* text) {
    Tally tally;
    for (const Experiment* one : experiments) {
      const Experiment& x = *one;
      if (x.effect.rfind(effect, 0) != 0) continue;
      const double own = x.own_mean().esr, baseline = x.mean(&StudyRun::baseline).esr, dry = x.mean(&StudyRun::dry).esr;
      tally.add(x, own < baseline && own < 0.1, !(own < dry), own,
                fmt::format("ESR {}{}, baseline {}, dry {:.3f}", error_text(own), seeds_text(x, own),
                            error_text(baseline), dry));
    }
    claims.push_back(tally.claim(
        text,
        "ESR on notes never heard is under 0.1 and under the fitted baseline's; against: not under the dry signal's"));
  };
  for_effect("Distortion", "The network models distortion.");
  for_effect("Overdrive", "The network models overdrive.");
  for_effect("EQ", "The network models amplifier emulation and equalisation.");
  for_effect("FxChain", "The network models chains of linear and nonlinear effects.");
  const auto envelope = [&](const char* what, double Metrics::*value, const char* text) {
    Tally tally;
    for (const Experiment* one : experiments) {
      const Experiment& x = *one;
      const double own = x.own_mean().*value, baseline = x.mean(&StudyRun::baseline).*value,
                   dry = x.mean(&StudyRun::dry).*value;
      tally.add(x, own < 1.0 && own < dry, !(own < dry), own,
                fmt::format("{:.2f} dB, baseline {:.2f}, dry {:.2f}", own, baseline, dry));
    }
    claims.push_back(tally.claim(text, fmt::format("mean error of the level in the {} is under 1 dB and under the dry "
                                                   "signal's; against: not under the dry signal's",
                                                   what)));
  };
  envelope("attack", &Metrics::attack_db, "Attack is captured.");
  envelope("decay", &Metrics::decay_db, "Release is captured.");
  {
    Tally tally;
    for (const Experiment* one : experiments) {
      const Experiment& x = *one;
      if (x.effect.rfind("EQ", 0) != 0 && x.effect.rfind("FxChain", 0) != 0) continue;
      const double own = x.own_mean().mfcc_cosine, dry = x.mean(&StudyRun::dry).mfcc_cosine;
      tally.add(x, own < 0.25 * dry, !(own < dry), own / dry,
                fmt::format("MFCC cosine distance {:.4f}, dry {:.4f}", own, dry));
    }
    claims.push_back(tally.claim(
        "Filtering is captured.",
        "MFCC cosine distance of EQ and FxChain is under a quarter of the dry signal's; against: not under it"));
  }
  {
    Tally tally;
    for (const Experiment* one : experiments) {
      const Experiment& x = *one;
      const auto which = [](const StudyRun& r) { return r.cross ? &*r.cross : nullptr; };
      const double cross = mean_over(x, which, &Metrics::esr, &OnNotes::model),
                   dry = mean_over(x, which, &Metrics::esr, &OnNotes::dry);
      if (!x.runs[0].cross) continue;
      const double own = x.own_mean().esr;
      tally.add(x, cross < 0.1 && cross < 3.0 * own, !(cross < dry), cross,
                fmt::format("ESR {} on its instrument, {} on the other, dry {:.3f}", error_text(own), error_text(cross),
                            dry));
    }
    claims.push_back(tally.claim("Models generalise between guitar and bass.",
                                 "ESR on the other instrument is under 0.1 and under three times that on its own; "
                                 "against: not under the dry signal's"));
  }
  return claims;
}

}  // namespace cafx
