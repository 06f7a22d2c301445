// How often the doctor is right, wrong or not sure, on notes with faults planted in them.
//
//   cafx_doctor_study NOTES KIND COUNT [SEED]   NOTES: datasets/notes, or a folder of datasets/generate/make_notes.py
//   KIND  sound     nothing is wrong: pairs that are changed all the same
//         latency   all notes of a set late or early by one lag, up to 500 ms
//         by-hand   each note late by its own, up to 30 ms
//         polarity  the wet side turned over
//         long      24 s recordings with a lag up to 500 ms
//         drift     the same and a drift of 2 to 500 ppm, either sign
//         steps     the same and 10 to 1000 samples (at 16 kHz) lost or inserted at a place
//         jitter    24 s recordings whose lag wanders at random, by 4 to 20 samples, anew every half second
// Effects are those of NOTES, and SoX chains on its dry notes: strong distortion, compression, chorus, tremolo, phaser,
// echo, and such behind a distortion. Sets are of 12 notes drawn anew.
//
// Right   what is left of the planted lag, beside that of the effect's own filters, is at most 2 samples at 16 kHz (3 of
//         a drift) at every moment of a recording that the plan keeps (a stretch around a step is left out). Jitter:
//         `wander` is said, or half of the recording lies within 3 samples.
// Not sure  refused, or left as it is with a warning.
// Wrong   all else.   One line for each effect, and a sum.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <string>

#include "datasets/dataset.h"
#include "datasets/effects.h"
#include "datasets/plan.h"

using namespace cafx;

namespace {

constexpr int kRate = 16000;
constexpr std::size_t kNotes = 12;   // of a set, of a recording
constexpr double kOff = 2.0;         // samples that may be left
constexpr double kOffTheLine = 3.0;  // of a drift, at any moment: within these the doctor counts windows as on a line
using Signal = std::vector<float>;

struct Notes {
  std::vector<Signal> dry;
  std::vector<Signal> wet;
};

const char* const kChains[] = {"overdrive 30 0",
                               "overdrive 50 20",
                               "compand 0.005,0.1 6:-60,-40,-20 6",
                               "chorus 0.7 0.9 25 0.4 0.25 2 -t",
                               "tremolo 5 60",
                               "phaser 0.8 0.74 3 0.4 0.5 -t",
                               "echo 0.8 0.8 300 0.4",
                               "overdrive 40 0 lowpass 2500 highpass 150",
                               "overdrive 40 0 chorus 0.7 0.9 25 0.4 0.25 2 -t",
                               "overdrive 40 0 tremolo 6 70",
                               "overdrive 40 0 compand 0.005,0.1 6:-60,-40,-20 6"};

std::map<std::string, Notes> load(const std::string& path) {
  std::map<std::string, Notes> all;
  for (const char* instrument : {"guitar", "bass"}) {
    Notes dry;
    for (const char* effect : {"Distortion", "Overdrive", "EQ", "FxChain"}) {
      DataConfig config;
      config.path = path;
      config.instrument = instrument;
      config.effect = effect;
      config.align = false;
      config.repair.clear();
      for (config.setting = 1; config.setting <= 3; ++config.setting) {
        Notes notes;
        try {
          for (const Pair& p : inspect_dataset(config, kRate).pairs) {
            notes.dry.push_back(p.dry);
            notes.wet.push_back(p.wet);
          }
        } catch (const Error&) {
          continue;  // NOTES has other settings of this effect
        }
        if (dry.dry.empty()) dry.dry = notes.dry;
        all[fmt::format("{} {} {}", instrument, effect, config.setting)] = std::move(notes);
      }
    }
    for (const char* chain : kChains) {
      dry.wet.clear();
      for (const Signal& x : dry.dry) dry.wet.push_back(apply_chain(chain, x, kRate));
      all[fmt::format("{} {}", instrument, chain)] = dry;
    }
  }
  return all;
}

// How late a moment of wet is against dry, at every kGrid samples of dry.
using Course = std::vector<double>;
constexpr std::size_t kGrid = 800;

Signal late(const Signal& x, long n) {
  Signal y(x.size(), 0.0f);
  for (long i = std::max(0L, n); i < std::min<long>(static_cast<long>(x.size()), static_cast<long>(x.size()) + n);
       ++i) {
    y[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i - n)];
  }
  return y;
}

struct Tally {
  int right = 0, wrong = 0, unsure = 0;
};

class Study {
 public:
  Study(std::map<std::string, Notes> notes, std::uint64_t seed) : notes_(std::move(notes)), random_(seed) {}

  void run(const std::string& kind, int count) {
    std::map<std::string, Tally> tally;
    Tally sum;
    int n = 0;
    while (n < count) {
      for (const auto& [name, notes] : notes_) {
        if (n >= count) break;
        const Tally t = kind == "sound" || kind == "latency" || kind == "by-hand" || kind == "polarity"
                            ? of_notes(kind, name, notes)
                            : of_recording(kind, name, notes);
        n += t.right + t.wrong + t.unsure;
        for (Tally* into : {&tally[name], &sum}) {
          into->right += t.right;
          into->wrong += t.wrong;
          into->unsure += t.unsure;
        }
      }
    }
    for (const auto& [name, t] : tally)
      std::printf("%-8s %-58s right %5d wrong %4d not sure %4d\n", kind.c_str(), name.c_str(), t.right, t.wrong,
                  t.unsure);
    std::printf("%-8s %-58s right %5d wrong %4d not sure %4d\n", kind.c_str(), "ALL", sum.right, sum.wrong, sum.unsure);
  }

 private:
  double uniform(double lo, double hi) { return std::uniform_real_distribution<double>(lo, hi)(random_); }

  static std::pair<RepairPlan, Seen> look(const std::vector<Pair>& pairs) {
    const DataConfig config;
    Seen seen = examine(pairs, config, kRate);
    RepairPlan plan = make_plan(pairs, seen, config, kRate);
    return {std::move(plan), std::move(seen)};
  }

  // Notes of a set, drawn anew.
  std::vector<std::size_t> draw(const Notes& notes) {
    std::vector<std::size_t> order(notes.dry.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    order.resize(std::min(order.size(), kNotes));
    return order;
  }

  // The lag that the effect has by its filters: that of the unbroken set.
  double own_lag(const std::string& name, const Notes& notes) {
    const auto found = own_.find(name);
    if (found != own_.end()) return found->second;
    std::vector<Pair> pairs;
    for (std::size_t i = 0; i < notes.dry.size(); ++i) pairs.push_back(pair(notes.dry[i], notes.wet[i], i));
    return own_[name] = look(pairs).second.lags.common;
  }
  static Pair pair(Signal dry, Signal wet, std::size_t i) {
    Pair p;
    p.name = std::to_string(i);
    p.dry = std::move(dry);
    p.wet = std::move(wet);
    p.dry_file.rate = p.wet_file.rate = kRate;
    return p;
  }

  Tally of_notes(const std::string& kind, const std::string& name, const Notes& notes) {
    const double own = own_lag(name, notes);
    const long common = kind == "latency" ? std::lround(uniform(-0.5, 0.5) * kRate) : 0;
    std::vector<Pair> pairs;
    std::vector<long> lags;
    const double gain = std::pow(10.0, uniform(-1.0, 0.0));
    for (const std::size_t i : draw(notes)) {
      if (kind == "sound" && uniform(0, 1) < 0.25) continue;  // another number each time
      lags.push_back(kind == "by-hand" ? std::lround(uniform(0.0, 0.03) * kRate) : common);
      Signal wet = late(notes.wet[i], lags.back());
      for (float& v : wet) v *= static_cast<float>(kind == "polarity" ? -1.0 : gain);
      pairs.push_back(pair(notes.dry[i], std::move(wet), i));
    }
    const auto [plan, seen] = look(pairs);
    Tally t;
    if (kind == "polarity") {
      const bool found = seen.lags.polarity < -0.7;
      (found ? t.right : t.unsure) += 1;
      return t;
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const double moved = plan.pairs[i].latency;
      if (kind == "sound") {
        const bool changed =
            moved != 0.0 || plan.pairs[i].wet.dc != 0.0 || plan.pairs[i].dry.dc != 0.0 || plan.pairs[i].ppm != 0.0;
        (changed ? t.wrong : t.right) += 1;
        if (changed) tell_changed(name, plan.pairs[i], seen.lags);
        continue;
      }
      const double off = std::abs(moved - static_cast<double>(lags[i]) - own);
      (off <= kOff || (moved == 0.0 && std::abs(static_cast<double>(lags[i])) <= kSmallLag + 1) ? t.right
       : moved == 0.0 && is_said(plan, seen)                                                    ? t.unsure
                                                                                                : t.wrong) += 1;
    }
    return t;
  }

  static void tell_changed(const std::string& name, const PairPlan& p, const Lags& lags) {
    std::fprintf(stderr,
                 "changed: %s: latency %.1f, dc %.4f and %.4f; common lag %.1f stands out by %.2f, %d of %d agree%s\n",
                 name.c_str(), p.latency, p.dry.dc, p.wet.dc, lags.common, lags.standing_out, lags.n_agree,
                 lags.n_notes, lags.by_hand ? ", by hand" : "");
  }

  static bool is_said(const RepairPlan& plan, const Seen& seen) {
    for (const auto* list : {&plan.findings, &seen.findings}) {
      for (const Finding& f : *list) {
        if (f.severity == Severity::kRefuse) return true;
        if (f.severity == Severity::kWarning &&
            (f.code == "latency" || f.code == "wander" || f.code == "drift" || f.code == "steps"))
          return true;
      }
    }
    return false;
  }
  static bool is_refused(const RepairPlan& plan, const Seen& seen) {
    const auto refuses = [](const Finding& f) { return f.severity == Severity::kRefuse; };
    return std::any_of(plan.findings.begin(), plan.findings.end(), refuses) ||
           std::any_of(seen.findings.begin(), seen.findings.end(), refuses);
  }

  struct Planted {
    double ppm = 0.0, step = 0.0, at = 0.0, jitter = 0.0;  // at: seconds
    long lag = 0;
    Course course;
  };

  // Breaks wet, and says how late each moment of it then is.
  Planted plant(const std::string& kind, Signal& wet) {
    Planted p;
    const std::size_t n = wet.size();
    p.course.assign(n / kGrid, 0.0);
    if (kind == "drift") {
      p.ppm = std::pow(10.0, uniform(std::log10(2.0), std::log10(500.0))) * (uniform(0, 1) < 0.5 ? -1 : 1);
      wet = resample(wet, 1.0, 1.0 + 1e-6 * p.ppm);
      for (std::size_t k = 0; k < p.course.size(); ++k) p.course[k] += 1e-6 * p.ppm * static_cast<double>(k * kGrid);
    }
    if (kind == "steps") {
      p.step = std::round(std::pow(10.0, uniform(1.0, 3.0))) * (uniform(0, 1) < 0.5 ? -1 : 1);
      p.at = uniform(3.0, static_cast<double>(n) / kRate - 3.0);
      const auto place = wet.begin() + static_cast<long>(p.at * kRate);
      if (p.step < 0)
        wet.erase(place, place + static_cast<long>(-p.step));
      else
        wet.insert(place, static_cast<std::size_t>(p.step), 0.0f);
      for (std::size_t k = 0; k < p.course.size(); ++k) {
        if (static_cast<double>(k * kGrid) > p.at * kRate) p.course[k] += p.step;
      }
    }
    if (kind == "jitter") {
      p.jitter = uniform(4.0, 20.0);
      Signal moved;
      double lag = 0.0;
      for (std::size_t from = 0; from + 8000 <= n; from += 8000) {
        const double next = std::round(uniform(-p.jitter, p.jitter)), speed = (8000.0 + next - lag) / 8000.0;
        const Signal part = resample(
            Signal(wet.begin() + static_cast<long>(from), wet.begin() + static_cast<long>(from) + 8000), 1.0, speed);
        moved.insert(moved.end(), part.begin(), part.end());
        for (std::size_t k = from / kGrid; k < std::min(p.course.size(), (from + 8000) / kGrid); ++k) {
          p.course[k] += lag + (next - lag) * (static_cast<double>(k * kGrid) - static_cast<double>(from)) / 8000.0;
        }
        lag = next;
      }
      wet = moved;
    }
    p.lag = std::lround(uniform(-0.5, 0.5) * kRate);
    for (double& c : p.course) c += static_cast<double>(p.lag);
    wet = late(wet, p.lag);
    return p;
  }

  // What the plan leaves of it, in samples, of every moment that it keeps.
  static std::vector<double> left(const Planted& planted, const PairPlan& plan, double own) {
    std::vector<double> rest;
    for (std::size_t k = 0; k < planted.course.size(); ++k) {
      const auto t = static_cast<double>(k * kGrid);
      double lag = plan.latency;
      bool kept = true;
      for (const Step& s : plan.steps) {
        if (std::abs(t / kRate - s.seconds) <= s.margin) kept = false;
        if (t / kRate > s.seconds) lag += s.samples;
      }
      if (kept) rest.push_back(std::abs((t + lag) * (1.0 + 1e-6 * plan.ppm) - t - planted.course[k] - own));
    }
    std::sort(rest.begin(), rest.end());
    return rest;
  }

  Tally of_recording(const std::string& kind, const std::string& name, const Notes& notes) {
    const double own = own_lag(name, notes);
    Signal dry, wet;
    for (const std::size_t i : draw(notes)) {
      dry.insert(dry.end(), notes.dry[i].begin(), notes.dry[i].end());
      wet.insert(wet.end(), notes.wet[i].begin(), notes.wet[i].end());
    }
    const Planted planted = plant(kind, wet);
    wet.resize(dry.size(), 0.0f);
    const auto [plan, seen] = look({pair(std::move(dry), std::move(wet), 0)});
    const PairPlan& p = plan.pairs[0];
    const bool refused = is_refused(plan, seen), said = is_said(plan, seen);
    const bool acted = p.latency != 0.0 || p.ppm != 0.0 || !p.steps.empty();
    const std::vector<double> rest = left(planted, p, own);
    bool right = rest.back() <= (kind == "drift" ? kOffTheLine : kOff);
    if (kind == "jitter") {
      right = rest[rest.size() / 2] <= 3.0 || std::any_of(plan.findings.begin(), plan.findings.end(),
                                                          [](const Finding& f) { return f.code == "wander"; });
      right = right && (refused || (p.ppm == 0.0 && p.steps.empty()));
    }
    const bool unsure = refused || (!acted && said);
    Tally t;
    (right && (kind == "jitter" || !refused) ? t.right : unsure ? t.unsure : t.wrong) += 1;
    if (t.wrong > 0) {
      std::fprintf(stderr,
                   "wrong: %s %s: lag %ld%+.1f, %.1f ppm, step of %.0f at %.2f s, jitter %.1f; planned latency %.1f, "
                   "%.1f ppm, %zu steps, first of %.1f at %.2f +- %.2f s; left %.1f, at most %.1f (%s)\n",
                   kind.c_str(), name.c_str(), planted.lag, own, planted.ppm, planted.step, planted.at, planted.jitter,
                   p.latency, p.ppm, p.steps.size(), p.steps.empty() ? 0.0 : p.steps[0].samples,
                   p.steps.empty() ? 0.0 : p.steps[0].seconds, p.steps.empty() ? 0.0 : p.steps[0].margin,
                   rest[rest.size() / 2], rest.back(), seen.lags.pairs[0].lag.rule.c_str());
    }
    return t;
  }

  std::map<std::string, Notes> notes_;
  std::map<std::string, double> own_;
  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: cafx_doctor_study NOTES KIND COUNT [SEED]\n");
    return 2;
  }
  Study(load(argv[1]), argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 1).run(argv[2], std::atoi(argv[3]));
  return 0;
}
