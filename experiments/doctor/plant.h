// experiments/doctor/plant.h -- notes through effects, and what is broken in them: for study.cpp.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "datasets/recording.h"

namespace cafx::study {

inline constexpr int kRate = 16000;
using Signal = Recording;

// Dry notes of one instrument and their wet versions by one effect.
struct Notes {
  std::string name;
  const std::vector<Signal>* dry = nullptr;
  std::vector<Signal> wet;
};

struct Sets {
  std::vector<std::vector<Signal>> instruments;  // dry notes
  std::vector<Notes> sets;
};

// The effects of NOTES (guitar and bass), and SoX chains on its dry notes. Silent notes are left out.
Sets load(const std::string& path);

// A lag of 3 to 32 samples, of either sign.
long brief(std::mt19937_64&);

// As long as x, late by n samples (early where negative).
Signal late(const Signal& x, long n);

// How late each moment of wet is against dry, in samples, at every kGrid samples of dry.
using Course = std::vector<double>;
inline constexpr std::size_t kGrid = 800;

struct Planted {
  double ppm = 0.0, jitter = 0.0;
  std::vector<double> steps, at;  // samples, seconds
  long lag = 0;
  Course course;
};

// Breaks wet as KIND of study.cpp says.
Planted plant(const std::string& kind, Signal& wet, std::mt19937_64&);

double uniform(std::mt19937_64&, double lo, double hi);

}  // namespace cafx::study
