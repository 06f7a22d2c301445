// datasets/find/lag_steps.h -- steps in the lags of windows that are too small for the path to jump.
#pragma once

#include <vector>

#include "datasets/find/lag_windows.h"

namespace cafx {

// By least squares within the segments, windows far from their segment's mean lag left out.
double slope_of(const std::vector<WindowLag>&);

// How far the windows lie from one line of that slope, and from one lag with one step in it, wherever it fits best:
// sums over all, by their weights.
struct LineOrStep {
  double line = 0.0, step = 0.0;
};
LineOrStep compare_line_and_step(std::vector<WindowLag>, double slope);

// Parts the windows where one to four steps of 3 samples and more may explain their lags better than one lag and than a
// line: a guess, to be looked at closely. Returns whether they were parted.
bool guess_small_steps(std::vector<WindowLag>&);

// What a close look left of a guess: segments of nearly one lag become one, and where the rest does not explain the
// lags far better than one lag and than a line, none is left. Returns whether any is.
bool steps_hold(std::vector<WindowLag>&);

// Each to the median of its segment: a window that was a period off is not followed again.
void to_medians(std::vector<double>& offset, const std::vector<int>& segment);

}  // namespace cafx
