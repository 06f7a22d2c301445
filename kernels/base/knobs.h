// kernels/base/knobs.h -- knobs of a device, and the numbers by which a model reads where they stand.
//
//   "gain: 0..10 dB"       continuous, with a unit or without
//   "channel: clean|lead"  a switch, by the names of its positions
//
//   A model reads controls: of a continuous knob and of a switch of two positions one number from -1 to 1, of a longer
//   switch one for each position, 1 where it stands and 0 elsewhere.
// Errors   a text that is none, a value out of range: Error that begins with `where`, with the range.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace cafx {

struct Knob {
  std::string name, unit;
  double lo = 0.0, hi = 1.0;                // of a continuous one
  std::vector<std::string> positions = {};  // of a switch; empty: continuous

  bool is_switch() const { return !positions.empty(); }
  int controls() const { return positions.size() > 2 ? static_cast<int>(positions.size()) : 1; }
  // A value is a number in [lo, hi], or the position's index.
  double start() const { return is_switch() ? 0.0 : 0.5 * (lo + hi); }
  double largest() const { return is_switch() ? static_cast<double>(positions.size() - 1) : hi; }
  double least() const { return is_switch() ? 0.0 : lo; }
  // In the range, whose ends may come as floats: a host's port and NumPy's float32 have 1.10000002 for 1.1.
  bool holds(double value) const;
  std::string range() const;             // "0 to 10 dB", "clean or lead"
  std::string show(double value) const;  // "5 dB", "lead"
};

std::vector<Knob> parse_knobs(const std::vector<std::string>& texts, const std::string& where);
int count_controls(const std::vector<Knob>&);
// The value that a text means: a number, with the knob's unit or one that is turned into it (Hz and kHz, ms and s), the
// name of a position, or a number that is its name.
double value_of(const Knob&, const std::string& text, const std::string& where);
// Its controls (knob.controls()); a value out of range, or between the positions of a switch, counts as the nearest.
void write_controls(float* controls, const Knob&, double value) noexcept;
std::vector<float> controls_at(const std::vector<Knob>&, const std::vector<double>& values);
std::vector<double> knobs_at_start(const std::vector<Knob>&);
// What a setting as "gain=5" turns: the index of the knob, and its value.
std::pair<std::size_t, double> knob_setting(const std::vector<Knob>&, const std::string& setting,
                                            const std::string& where);
// From knobs_at_start, turned by such settings.
std::vector<double> knob_values(const std::vector<Knob>&, const std::vector<std::string>& settings,
                                const std::string& where);

}  // namespace cafx
