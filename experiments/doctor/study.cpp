// How often the doctor is right, wrong or not sure, on notes with faults planted in them.
//
//   cafx_doctor_study NOTES KIND COUNT LOG [SEED]   NOTES: datasets/notes, or a folder of
//                                                   datasets/generate/make_notes.py
//   KIND  sound     nothing is wrong: pairs that are changed all the same
//         latency   all notes of a set late or early by one lag, up to 500 ms
//         short     the same, late or early by 3 to 32 samples at 16 kHz
//         by-hand   each note late by its own, up to 30 ms
//         polarity  the wet side turned over
//         whole     recordings of 10 to 16 s with which nothing is wrong
//         turned    the same, turned over, with a lag up to 500 ms; so are all below
//         long      a lag alone
//         brief     a lag alone, of 3 to 32 samples
//         drift     and a drift of 2 to 500 ppm, either sign
//         steps     and 10 to 1000 samples (at 16 kHz) lost or inserted, 3 s and more from the ends
//         ends      the same, half a second to 3 s from an end
//         losses    and two or three losses of 10 to 200 samples
//         jitter    and a lag that wanders at random, by 4 to 20 samples, anew every half second
// Effects are those of NOTES, and SoX chains on its dry notes: strong distortion, compression, chorus, tremolo, phaser,
// echo, and such behind a distortion. Trials take turns through them. A trial's numbers come from SEED, KIND and its
// own number, and LOG has a line for each; those that LOG has are not done again. One thread where `taskset` says so.
//
// Right   what is left of the planted lag, beside that of the effect's own filters, is at most 2 samples at 16 kHz (3
//         of drifts and steps) at every moment of a recording that the plan keeps (a stretch around a step is left
//         out); behind steps, less than 1 % of wet's energy may lie further off.
//         Jitter: `wander` is said, or half of the recording lies within 3 samples.
// Not sure  refused; or what is left is warned of, as a latency (a short one told), a drift, steps or wandering,
//         whichever it is.
// Wrong   all else. Of a set of notes each pair counts.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

#include "datasets/dataset.h"
#include "datasets/plan.h"
#include "experiments/doctor/plant.h"

using namespace cafx;
using namespace cafx::study;

namespace {

constexpr std::size_t kNotes = 12;  // of a set; of a recording 5 to 8
constexpr double kOff = 2.0;        // samples that may be left
constexpr double kOffTheLine =
    3.0;  // of drifts and steps, at any moment: within these the doctor counts windows as on a line
constexpr double kHarmless = 0.01;  // share of wet's energy that a step may leave off: an ESR of .02 at most

struct Tally {
  int right = 0, wrong = 0, unsure = 0, warned = 0;  // warned: sound, and said to be late, to drift, to step or wander
  std::string why;                                   // of what is wrong or not sure
  void operator+=(const Tally& t) {
    right += t.right;
    wrong += t.wrong;
    unsure += t.unsure;
    warned += t.warned;
  }
};

bool of_notes(const std::string& kind) {
  return kind == "sound" || kind == "latency" || kind == "short" || kind == "by-hand" || kind == "polarity";
}

Pair pair(Signal dry, Signal wet, std::size_t i) {
  Pair p;
  p.name = std::to_string(i);
  p.dry = std::move(dry);
  p.wet = std::move(wet);
  p.dry_file.rate = p.wet_file.rate = kRate;
  return p;
}

struct Look {
  RepairPlan plan;
  Seen seen;

  explicit Look(const std::vector<Pair>& pairs) {
    const DataConfig config;
    seen = examine(pairs, config, kRate);
    plan = make_plan(pairs, seen, config, kRate);
  }
  bool says(Severity severity, std::initializer_list<const char*> codes = {}) const {
    for (const auto* list : {&plan.findings, &seen.findings}) {
      for (const Finding& f : *list) {
        if (f.severity != severity) continue;
        if (codes.size() == 0 || std::find(codes.begin(), codes.end(), f.code) != codes.end()) return true;
      }
    }
    return false;
  }
  bool refused() const { return says(Severity::kRefuse); }
  std::string words() const {
    std::string text;
    for (const auto* list : {&plan.findings, &seen.findings}) {
      for (const Finding& f : *list) {
        if (f.severity != Severity::kInfo) text += fmt::format("; {}: {}", f.code, f.text);
      }
    }
    return text;
  }
};

class Study {
 public:
  Study(const std::string& notes, std::string kind, std::uint64_t seed)
      : all_(load(notes)), kind_(std::move(kind)), seed_(seed) {}

  const std::string& set_of(int trial) const {
    return all_.sets[static_cast<std::size_t>(trial) % all_.sets.size()].name;
  }
  Tally run(int trial) {
    std::seed_seq seed{seed_, static_cast<std::uint64_t>(std::hash<std::string>{}(kind_)),
                       static_cast<std::uint64_t>(trial)};
    random_.seed(seed);
    const Notes& notes = all_.sets[static_cast<std::size_t>(trial) % all_.sets.size()];
    return of_notes(kind_) ? ask_notes(notes) : ask_recording(notes);
  }

 private:
  // Notes of a set, drawn anew.
  std::vector<std::size_t> draw(const Notes& notes, std::size_t n) {
    std::vector<std::size_t> order(notes.dry->size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    order.resize(std::min(order.size(), n));
    return order;
  }

  // The lag and the sign that the effect has by its filters: those of the unbroken set.
  struct Own {
    double lag = 0.0, polarity = 0.0;
  };
  const Own& own_of(const Notes& notes) {
    const auto found = own_.find(notes.name);
    if (found != own_.end()) return found->second;
    std::vector<Pair> pairs;
    for (std::size_t i = 0; i < notes.dry->size(); ++i) pairs.push_back(pair((*notes.dry)[i], notes.wet[i], i));
    const Look look(pairs);
    return own_[notes.name] = {look.seen.lags.common, look.seen.lags.polarity};
  }
  // Of an effect that was turned over: one that turns itself no longer does.
  void judge_sign(double found, const Notes& notes, Tally& t) {
    constexpr double kClaim = -0.7;
    const double own = own_of(notes).polarity;
    if (found < kClaim) {
      (own > 0.0 ? t.right : t.wrong) += 1;
    } else {
      (own < kClaim ? t.right : t.unsure) += 1;
    }
  }

  Tally ask_notes(const Notes& notes) {
    const double own = own_of(notes).lag, gain = std::pow(10.0, uniform(random_, -1.0, 0.0));
    const long common = kind_ == "latency" ? std::lround(uniform(random_, -0.5, 0.5) * kRate)
                        : kind_ == "short" ? brief(random_)
                                           : 0;
    std::vector<Pair> pairs;
    std::vector<long> lags;
    for (const std::size_t i : draw(notes, kNotes)) {
      if (kind_ == "sound" && uniform(random_, 0, 1) < 0.25) continue;  // another number each time
      lags.push_back(kind_ == "by-hand" ? std::lround(uniform(random_, 0.0, 0.03) * kRate) : common);
      Signal wet = late(notes.wet[i], lags.back());
      for (float& v : wet) v *= static_cast<float>(kind_ == "polarity" ? -gain : gain);
      pairs.push_back(pair((*notes.dry)[i], std::move(wet), i));
    }
    const Look look(pairs);
    Tally t;
    const Lags& found = look.seen.lags;
    if (kind_ == "polarity") {
      judge_sign(found.polarity, notes, t);
      return t;
    }
    const bool said = look.refused() || look.says(Severity::kWarning, {"latency"}) ||
                      (kind_ == "short" && look.says(Severity::kInfo, {"latency"}));
    t.warned = kind_ == "sound" && said ? static_cast<int>(pairs.size()) : 0;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const PairPlan& p = look.plan.pairs[i];
      if (kind_ == "sound") {
        (p.latency != 0.0 || p.wet.dc != 0.0 || p.dry.dc != 0.0 || p.ppm != 0.0 ? t.wrong : t.right) += 1;
        continue;
      }
      // Where the filters' own lag ends and a delay begins is a matter of words: anything between is right.
      const double moved = p.latency - static_cast<double>(lags[i]);
      const double off = std::abs(moved - std::clamp(moved, std::min(0.0, own), std::max(0.0, own)));
      const bool near = p.latency == 0.0 && std::abs(static_cast<double>(lags[i])) <= kSmallLag + 1;
      (off <= kOff || near ? t.right : p.latency == 0.0 && said ? t.unsure : t.wrong) += 1;
    }
    t.why =
        fmt::format("planted {}{:+.1f}; common lag {:.1f} stands out by {:.2f}, {} of {} agree{}", common, own,
                    found.common, found.standing_out, found.n_agree, found.n_notes, found.by_hand ? ", by hand" : "");
    for (std::size_t i = 0; i < pairs.size() && t.wrong > 0; ++i)
      t.why += fmt::format("; {} moved {:.1f} of {}", pairs[i].name, look.plan.pairs[i].latency, lags[i]);
    return t;
  }

  // What the plan leaves of the planted lag at every moment that it keeps.
  struct Rest {
    std::vector<double> samples;  // in order of size
    double off = 0.0;             // share of wet's energy that lies more than kOffTheLine off
  };
  static Rest left(const Planted& planted, const PairPlan& plan, double own, const Signal& wet) {
    Rest rest;
    double all = 0.0;
    for (std::size_t k = 0; k < planted.course.size(); ++k) {
      const auto t = static_cast<double>(k * kGrid);
      double lag = plan.latency;
      bool kept = true;
      for (const Step& s : plan.steps) {
        if (std::abs(t / kRate - s.seconds) <= s.margin) kept = false;
        if (t / kRate > s.seconds) lag += s.samples;
      }
      const double at = t + planted.course[k];
      if (at < 0.0 || at + kGrid > static_cast<double>(wet.size())) continue;  // not recorded
      const auto first = wet.begin() + static_cast<long>(at);
      const double energy = std::inner_product(first, first + kGrid, first, 0.0);
      all += energy;
      if (!kept) continue;
      rest.samples.push_back(std::abs((t + lag) * (1.0 + 1e-6 * plan.ppm) - t - planted.course[k] - own));
      if (rest.samples.back() > kOffTheLine) rest.off += energy;
    }
    rest.off = all > 0.0 ? rest.off / all : 0.0;
    std::sort(rest.samples.begin(), rest.samples.end());
    if (rest.samples.empty()) rest.samples.push_back(0.0);
    return rest;
  }

  Tally ask_recording(const Notes& notes) {
    const double own = own_of(notes).lag;
    Signal dry, wet;
    const auto n_notes = static_cast<std::size_t>(uniform(random_, 5.0, 9.0));
    for (const std::size_t i : draw(notes, n_notes)) {
      dry.insert(dry.end(), (*notes.dry)[i].begin(), (*notes.dry)[i].end());
      wet.insert(wet.end(), notes.wet[i].begin(), notes.wet[i].end());
    }
    const Planted planted = plant(kind_, wet, random_);
    wet.resize(dry.size(), 0.0f);
    const bool turned = kind_ == "turned";
    for (float& v : wet) v = turned ? -v : v;
    const std::size_t n = dry.size();
    std::vector<Pair> pairs;
    const Signal planted_wet = wet;
    pairs.push_back(pair(std::move(dry), std::move(wet), 0));
    const Look look(pairs);
    const PairPlan& p = look.plan.pairs[0];
    const bool refused = look.refused(), wanders = look.says(Severity::kWarning, {"wander"});
    const Rest now = left(planted, p, own, planted_wet), unplanned = left(planted, {}, own, planted_wet);
    const std::vector<double>&rest = now.samples, &before = unplanned.samples;
    const bool acted = p.latency != 0.0 || p.ppm != 0.0 || !p.steps.empty() || p.wet.dc != 0.0 || p.dry.dc != 0.0;
    const bool moved_behind =
        std::any_of(p.steps.begin(), p.steps.end(), [](const Step& s) { return s.samples != 0.0; });
    const bool steps_planted = !planted.steps.empty();
    Tally t;
    if (kind_ == "whole") {
      (acted ? t.wrong : t.right) += 1;
      t.warned = refused || look.says(Severity::kWarning, {"latency", "drift", "steps", "wander"});
    } else if (turned) {
      judge_sign(look.seen.lags.polarity, notes, t);
    } else {
      bool right = rest.back() <= (kind_ == "long" || kind_ == "brief" ? kOff : kOffTheLine) ||
                   (steps_planted && now.off < kHarmless);
      if (kind_ == "jitter") {
        right = (rest[rest.size() / 2] <= 3.0 || wanders || look.says(Severity::kRefuse, {"wander"})) &&
                (refused || (p.ppm == 0.0 && !moved_behind));
      }
      const char* code = kind_ == "drift" ? "drift" : kind_ == "long" || kind_ == "brief" ? "latency" : "steps";
      const bool no_worse = rest[rest.size() / 2] <= before[before.size() / 2] + kOff;
      const bool unsure = refused || (!acted && look.says(Severity::kWarning, {"latency", code})) ||
                          (!acted && kind_ == "brief" && look.says(Severity::kInfo, {"latency"})) ||
                          (no_worse &&
                           (wanders || look.says(Severity::kWarning, {code}) ||
                            (code == std::string("steps") && look.says(Severity::kWarning, {"mismatch"}))) &&
                           !moved_behind && p.ppm == 0.0);
      (right && (kind_ == "jitter" || !refused) ? t.right : unsure ? t.unsure : t.wrong) += 1;
    }
    std::string steps, found;
    for (std::size_t i = 0; i < planted.steps.size(); ++i)
      steps += fmt::format(" {:.0f}@{:.2f}", planted.steps[i], planted.at[i]);
    for (const Step& s : p.steps) found += fmt::format(" {:.1f}@{:.2f}+-{:.2f}", s.samples, s.seconds, s.margin);
    t.why = fmt::format(
        "{:.0f} s, planted {}{:+.1f} {:.1f} ppm jitter {:.1f} steps{}; planned {:.1f} {:.1f} ppm steps{}; left {:.1f} "
        "{:.1f}, {:.2f} % of the energy off; {}{}",
        static_cast<double>(n) / kRate, planted.lag, own, planted.ppm, planted.jitter, steps, p.latency, p.ppm, found,
        rest[rest.size() / 2], rest.back(), 100.0 * now.off, look.seen.lags.pairs[0].lag.rule, look.words());
    return t;
  }

  Sets all_;
  std::string kind_;
  std::uint64_t seed_;
  std::map<std::string, Own> own_;
  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: cafx_doctor_study NOTES KIND COUNT LOG [SEED]\n");
    return 2;
  }
  const std::string kind = argv[2], log = argv[4];
  const int count = std::atoi(argv[3]);
  std::map<std::string, Tally> tally;
  std::set<int> done;
  std::ifstream before(log);
  for (std::string line; std::getline(before, line);) {  // trial, right, wrong, not sure, warned, set, why: by tabs
    std::istringstream in(line);
    int trial = 0;
    Tally t;
    std::string set;
    if (!(in >> trial >> t.right >> t.wrong >> t.unsure >> t.warned) || !in.ignore() || !std::getline(in, set, '\t'))
      continue;
    if (trial < count && done.insert(trial).second) tally[set] += t;
  }
  Study study(argv[1], kind, argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 1);
  std::ofstream out(log, std::ios::app);
  for (int trial = 0; trial < count; ++trial) {
    if (done.count(trial) > 0) continue;
    const Tally t = study.run(trial);
    tally[study.set_of(trial)] += t;
    out << fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", trial, t.right, t.wrong, t.unsure, t.warned, study.set_of(trial),
                       t.why)
        << std::flush;
  }
  tally["ALL"] = [&] {
    Tally sum;
    for (const auto& [set, t] : tally) sum += t;
    return sum;
  }();
  for (const auto& [set, t] : tally) {
    fmt::print("{:<8} {:<58} right {:5} wrong {:4} not sure {:4} warned {:4}\n", kind, set, t.right, t.wrong, t.unsure,
               t.warned);
  }
  return 0;
}
