#include "experiments/doctor/plant.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "datasets/dataset.h"
#include "datasets/effects.h"

namespace cafx::study {

namespace {

constexpr std::size_t kMostNotes = 40;  // of an instrument

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

bool heard(std::span<const float> x) {
  return std::any_of(x.begin(), x.end(), [](float v) { return std::abs(v) > 1e-3f; });
}

Signal piece(const Signal& x, std::size_t from, std::size_t n) {
  return {x.begin() + static_cast<long>(from), x.begin() + static_cast<long>(from + n)};
}

// Samples lost (negative) or silence inserted.
void step(Signal& wet, Planted& p, double samples, double at) {
  const auto place = wet.begin() + static_cast<long>(at * kRate);
  if (samples < 0)
    wet.erase(place, std::min(wet.end(), place + static_cast<long>(-samples)));
  else
    wet.insert(place, static_cast<std::size_t>(samples), 0.0f);
  for (std::size_t k = 0; k < p.course.size(); ++k) {
    if (static_cast<double>(k * kGrid) > at * kRate) p.course[k] += samples;
  }
  p.steps.push_back(samples);
  p.at.push_back(at);
}

void drift(Signal& wet, Planted& p, double ppm) {
  wet = resample(wet, 1.0, 1.0 + 1e-6 * ppm);
  for (std::size_t k = 0; k < p.course.size(); ++k) p.course[k] += 1e-6 * ppm * static_cast<double>(k * kGrid);
  p.ppm = ppm;
}

// The lag goes in straight lines from one random value to the next, every half second.
void jitter(Signal& wet, Planted& p, std::mt19937_64& random) {
  constexpr std::size_t kSpan = 8000;
  Signal moved;
  double lag = 0.0;
  for (std::size_t from = 0; from + kSpan <= wet.size(); from += kSpan) {
    const double next = std::round(uniform(random, -p.jitter, p.jitter)), speed = (kSpan + next - lag) / kSpan;
    const Signal part = resample(piece(wet, from, kSpan), 1.0, speed);
    moved.insert(moved.end(), part.begin(), part.end());
    for (std::size_t k = from / kGrid; k < std::min(p.course.size(), (from + kSpan) / kGrid); ++k) {
      p.course[k] += lag + (next - lag) * (static_cast<double>(k * kGrid) - static_cast<double>(from)) / kSpan;
    }
    lag = next;
  }
  wet = std::move(moved);
}

}  // namespace

double uniform(std::mt19937_64& random, double lo, double hi) {
  return std::uniform_real_distribution<double>(lo, hi)(random);
}

long brief(std::mt19937_64& random) {
  const double sign = uniform(random, 0, 1) < 0.5 ? -1.0 : 1.0;
  return std::lround(sign * std::pow(10.0, uniform(random, std::log10(3.0), std::log10(32.0))));
}

Signal late(const Signal& x, long n) {
  Signal y(x.size(), 0.0f);
  const auto size = static_cast<long>(x.size());
  for (long i = std::max(0L, n); i < std::min(size, size + n); ++i)
    y[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i - n)];
  return y;
}

Sets load(const std::string& path) {
  Sets all;
  all.instruments.resize(2);
  for (std::size_t k = 0; k < 2; ++k) {
    const char* instrument = k == 0 ? "guitar" : "bass";
    std::vector<Signal>& dry = all.instruments[k];
    for (const char* effect : {"Distortion", "Overdrive", "EQ", "FxChain"}) {
      DataConfig config;
      config.path = path;
      config.instrument = instrument;
      config.effect = effect;
      config.align = false;
      config.repair.clear();
      for (config.setting = 1; config.setting <= 3; ++config.setting) {
        Notes notes;
        std::vector<Signal> its_dry;
        try {
          const Dataset data = inspect_dataset(config, kRate);
          for (const Pair& p : data.pairs) {
            if (!heard(p.dry) || !heard(p.wet) || its_dry.size() >= kMostNotes) continue;
            its_dry.push_back(p.dry.copy());
            notes.wet.push_back(p.wet.copy());
          }
        } catch (const Error&) {
          continue;  // NOTES has other settings of this effect
        }
        if (dry.empty()) dry = its_dry;
        if (its_dry.size() != dry.size()) continue;
        notes.name = fmt::format("{} {} {}", instrument, effect, config.setting);
        all.sets.push_back(std::move(notes));
        all.sets.back().dry = &dry;
      }
    }
    for (const char* chain : kChains) {
      Notes notes;
      notes.name = fmt::format("{} {}", instrument, chain);
      notes.dry = &dry;
      for (const Signal& x : dry) notes.wet.push_back(apply_chain(chain, x, kRate));
      all.sets.push_back(std::move(notes));
    }
  }
  return all;
}

Planted plant(const std::string& kind, Signal& wet, std::mt19937_64& random) {
  Planted p;
  const double seconds = static_cast<double>(wet.size()) / kRate;
  const auto sign = [&] { return uniform(random, 0, 1) < 0.5 ? -1.0 : 1.0; };
  const auto log_uniform = [&](double lo, double hi) {
    return std::pow(10.0, uniform(random, std::log10(lo), std::log10(hi)));
  };
  p.course.assign(wet.size() / kGrid, 0.0);
  if (kind == "drift") drift(wet, p, log_uniform(2.0, 500.0) * sign());
  if (kind == "steps")
    step(wet, p, std::round(log_uniform(10.0, 1000.0)) * sign(), uniform(random, 3.0, seconds - 3.0));
  if (kind == "ends") {
    const double from_end = uniform(random, 0.5, 3.0);
    step(wet, p, std::round(log_uniform(10.0, 1000.0)) * sign(), sign() < 0 ? from_end : seconds - from_end);
  }
  if (kind == "losses") {
    const int n = uniform(random, 0, 1) < 0.5 ? 2 : 3;
    for (int i = n; i > 0; --i) {
      const double at = seconds * (static_cast<double>(i) - 0.5 + uniform(random, -0.15, 0.15)) / n;
      step(wet, p, -std::round(log_uniform(10.0, 200.0)), at);
    }
  }
  if (kind == "jitter") {
    p.jitter = uniform(random, 4.0, 20.0);
    jitter(wet, p, random);
  }
  if (kind == "brief") p.lag = brief(random);
  if (kind != "whole" && kind != "brief") p.lag = std::lround(uniform(random, -0.5, 0.5) * kRate);
  for (double& c : p.course) c += static_cast<double>(p.lag);
  wet = late(wet, p.lag);
  return p;
}

}  // namespace cafx::study
