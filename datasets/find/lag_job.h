// datasets/find/lag_job.h -- a long recording while it is measured: its windows, and the correlations of one.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "datasets/find/lag_windows.h"
#include "datasets/find/take.h"

namespace cafx {

// lag(t) = lag + slope t, by which wet is looked up.
struct Course {
  double lag = 0.0, slope = 0.0;
  double at(double t) const { return lag + slope * t; }
};

struct Job {
  Job(std::span<const float> dry, std::span<const float> wet, std::size_t length);

  std::span<const float> dry, wet;
  std::size_t length;              // of a window
  std::vector<float> taper;        // of its samples
  std::vector<std::size_t> begin;  // of windows that hold sound

  double middle(std::size_t i) const { return static_cast<double>(begin[i]) + 0.5 * static_cast<double>(length); }
};

// sin^2 over n samples.
std::vector<float> taper_of(std::size_t n);
// x[from, from + n), zeros where x has none.
std::vector<float> stretch_of(std::span<const float> x, long from, long n);
double energy(std::span<const float> x, long from, long n);

// A window of dry, and wet around it from `reach` before to `reach` behind, at the course and at dry's speed: index k
// of its correlation stands for the lag course + offset + k - reach.
Take take_of(const Job&, std::size_t window, const Course&, double offset, long reach);
// By how many samples `take_of` reads wet late, whatever the window: where it warps, it begins at a whole sample.
double read_late(const Job&, const Course&, long reach);

// Where the lag jumps from `before` to `after`, both at time 0 and grown by `slope` since; looked for in [from, to) by
// short frames. `sure`: frames on both sides say so.
struct Jump {
  double before = 0.0, after = 0.0, slope = 0.0;
};
Break find_break(const Job&, Matcher&, double from, double to, const Jump&, bool& sure);

// The lag beside a break, at time t: the median of the nearest windows of the segment, in the direction of `step`,
// carried on by the slope.
double lag_beside(const std::vector<WindowLag>&, std::size_t nearest, int step, double slope, double t);

// Where the window's peak lies, with the response that all share taken out: by how many samples off the lag that it
// should have, how far it stands out, and how high the correlation is `there`, at that lag, of the peak.
struct Doubt {
  double by = 0.0, margin = 0.0, there = 1.0;
};
Doubt doubt(const Job&, std::size_t window, double lag, Matcher&);

// A stretch that lies at another lag than the segment it belongs to, at an end of the recording or within it.
struct End {
  double at = 0.0, margin = 0.0;  // samples of dry: from at - margin to at + margin
  bool sure = false;
};
// Stretches of two windows and more, or of one that stands out more, that are heard at another lag and are too short
// for a segment: up to the middles of windows that lie where they should. Sure of those at an end: within a recording
// as many samples would have to be gained as were lost before, while an echo or a voice of a chorus fits for a moment.
std::vector<End> find_elsewhere(const Job&, const std::vector<Doubt>&);
// Short frames, matched and summed from either end inwards.
std::vector<End> find_ends(const Job&, Matcher&, const std::vector<WindowLag>&);

}  // namespace cafx
