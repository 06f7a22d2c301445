// datasets/find/level.h -- level, offset, silence and damage of one side of a pair.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

// The mean and the RMS about it of every half second.
struct Half {
  double mean, level;
};
std::vector<Half> halves_of(std::span<const float> x, int rate);

// DC: an offset that is there in silence too, constant or wandering. The offset that a device makes by bending the
// signal follows the signal's level, belongs to the effect and is left alone.
struct Offset {
  double mean = 0.0;                        // at level zero
  double wander = 0.0;                      // RMS of what changes slowly, whatever the level
  bool constant = false, drifting = false;  // large enough to be taken out
  double confidence = 0.0;                  // share of the quiet half seconds that show it
  std::vector<float> baseline;              // drifting: of every half second, what is to be taken out
};
inline constexpr double kBaselineSeconds = 0.5;
// Of one long recording, or of all notes of a side behind one another (`in_order` false: no drift is looked for).
Offset find_offset(const std::vector<Half>&, bool in_order);

// Takes an offset out of samples whose full scale is `scale`.
void take_out(const Offset&, double scale, SharedRecording&, int rate);
// Of a baseline of half seconds, at sample i: straight lines between their middles.
double baseline_at(const std::vector<float>& baseline, std::size_t i, int rate);

struct Level {
  float peak = 0.0f;
  double rms = 0.0;  // without DC
  bool finite = true;
  std::size_t first_bad = 0;  // not finite: where
  bool silent = false;        // from end to end
  double full_scale = 1.0;    // integers written as float: their full scale, 2^7, 2^15, 2^23 or 2^31
};
Level find_level(std::span<const float> x, const FileFacts&);

// Findings about one side, but for DC and scale, which are told for all pairs together.
void tell_level(const Level&, const Pair&, bool wet, int rate, std::vector<Finding>&);

}  // namespace cafx
