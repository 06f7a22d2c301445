// How often the doctor is right, wrong or not sure, on the notes that ship, with faults planted in them.
//
//   cafx_doctor_study NOTES KIND COUNT [SEED]      NOTES: datasets/notes
//   KIND  sound     nothing is wrong: pairs that are changed all the same
//         latency   all notes of a set late or early by one lag, up to 500 ms
//         by-hand   each note late by its own, up to 30 ms
//         long      24 s recordings with a lag up to 500 ms
//         drift     the same and a drift of 2 to 500 ppm, either sign
//         steps     the same and 10 to 1000 samples (at 16 kHz) lost or inserted at a place
//         jitter    24 s recordings whose lag wanders at random, by 4 to 20 samples
//         polarity  the wet side turned over
// Effects are the shipped Distortion, Overdrive and EQ, and SoX chains: strong distortion, compression, chorus,
// tremolo, phaser, echo, and such behind a distortion. Right: within 2 samples at 16 kHz (after the phase that the
// effect's own filters have), 4 ppm or 5 %, half a second. One line for each effect, and a sum.
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
    for (const char* effect : {"Distortion", "Overdrive", "EQ"}) {
      DataConfig config;
      config.path = path;
      config.instrument = instrument;
      config.effect = effect;
      config.align = false;
      Notes notes;
      for (const Pair& p : load_dataset(config, kRate).pairs) {
        notes.dry.push_back(p.dry);
        notes.wet.push_back(p.wet);
      }
      all[std::string(instrument) + " " + effect] = notes;
      if (std::string(effect) != "EQ") continue;
      for (const char* chain : kChains) {
        for (std::size_t i = 0; i < notes.dry.size(); ++i) notes.wet[i] = apply_chain(chain, notes.dry[i], kRate);
        all[std::string(instrument) + " " + chain] = notes;
      }
    }
  }
  return all;
}

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
    for (std::size_t i = 0; i < notes.dry.size(); ++i) {
      if (kind == "sound" && uniform(0, 1) < 0.25) continue;  // another subset each time
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
        continue;
      }
      const double off = std::abs(moved - static_cast<double>(lags[i]) - own);
      const bool small = std::abs(static_cast<double>(lags[i])) <= kSmallLag + 1;
      (off <= 2.0 || (moved == 0.0 && small) ? t.right : moved == 0.0 ? t.unsure : t.wrong) += 1;
    }
    return t;
  }

  Tally of_recording(const std::string& kind, const std::string& name, const Notes& notes) {
    const double own = own_lag(name, notes);
    std::vector<std::size_t> order(notes.dry.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    Signal dry, wet;
    for (const std::size_t i : order) {
      dry.insert(dry.end(), notes.dry[i].begin(), notes.dry[i].end());
      wet.insert(wet.end(), notes.wet[i].begin(), notes.wet[i].end());
    }
    double ppm = 0.0, step = 0.0, at = 0.0;
    if (kind == "drift") {
      ppm = std::pow(10.0, uniform(std::log10(2.0), std::log10(500.0))) * (uniform(0, 1) < 0.5 ? -1 : 1);
      wet = resample(wet, 1.0, 1.0 + 1e-6 * ppm);
    }
    if (kind == "steps") {
      step = std::round(std::pow(10.0, uniform(1.0, 3.0))) * (uniform(0, 1) < 0.5 ? -1 : 1);
      at = uniform(3.0, static_cast<double>(wet.size()) / kRate - 3.0);
      const auto place = wet.begin() + static_cast<long>(at * kRate);
      if (step < 0)
        wet.erase(place, place + static_cast<long>(-step));
      else
        wet.insert(place, static_cast<std::size_t>(step), 0.0f);
    }
    if (kind == "jitter") {
      const double by = uniform(4.0, 20.0);
      Signal moved;
      double lag = 0.0;
      for (std::size_t from = 0; from + 8000 <= wet.size(); from += 8000) {  // another speed every half second
        const double next = uniform(-by, by), speed = (8000.0 + next - lag) / 8000.0;
        const Signal part = resample(
            Signal(wet.begin() + static_cast<long>(from), wet.begin() + static_cast<long>(from) + 8000), 1.0, speed);
        moved.insert(moved.end(), part.begin(), part.end());
        lag = next;
      }
      wet = moved;
    }
    const long lag = std::lround(uniform(-0.5, 0.5) * kRate);
    wet = late(wet, lag);
    wet.resize(dry.size(), 0.0f);
    const auto [plan, seen] = look({pair(std::move(dry), std::move(wet), 0)});
    const PairPlan& p = plan.pairs[0];
    const bool refused = std::any_of(plan.findings.begin(), plan.findings.end(),
                                     [](const Finding& f) { return f.severity == Severity::kRefuse; });
    const bool acted = p.latency != 0.0 || p.ppm != 0.0 || !p.steps.empty();
    Tally t;
    if (!acted) {
      (refused || std::abs(lag) > kSmallLag ? t.unsure : t.right) += 1;
      return t;
    }
    bool right = std::abs(p.latency - static_cast<double>(lag) / (1.0 + 1e-6 * ppm) - own) <= 2.0 ||
                 (std::abs(lag) <= 3 && p.latency == 0.0);
    if (kind == "jitter") right = false;
    if (kind == "drift") {
      const double off = std::abs(p.ppm - ppm);
      // Under 1.5 samples over the recording nothing is taken out; what is left is no more than that.
      right = right && off <= std::max(4.0, 0.05 * std::abs(ppm));
    } else {
      right = right && p.ppm == 0.0;
    }
    if (kind == "steps") {
      right = right && p.steps.size() == 1 && std::abs(p.steps[0].samples - step) <= 2.0 &&
              std::abs(p.steps[0].seconds - at) <= 0.5;
    } else {
      right = right && p.steps.empty();
    }
    if (!right && !refused) {
      std::fprintf(stderr,
                   "wrong: %s %s lag %ld+%.1f ppm %.1f step %.0f at %.2f -> latency %.1f ppm %.1f steps %zu of %.1f at "
                   "%.2f (%s)\n",
                   kind.c_str(), name.c_str(), lag, own, ppm, step, at, p.latency, p.ppm, p.steps.size(),
                   p.steps.empty() ? 0.0 : p.steps[0].samples, p.steps.empty() ? 0.0 : p.steps[0].seconds,
                   seen.lags.pairs[0].lag.rule.c_str());
    }
    (right ? t.right : refused ? t.unsure : t.wrong) += 1;
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
