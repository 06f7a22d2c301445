// datasets/find/lag_windows.h -- the lag of each window of a long recording.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace cafx {

struct WindowLag {
  double t = 0.0;    // of the window's middle, in samples of dry
  double lag = 0.0;  // samples, between the samples
  double weight = 0.0;
  int segment = 0;  // between the breaks
};

// Where the lag jumps, in samples of dry: at `at`, up to `margin` earlier or later.
struct Break {
  double at = 0.0, margin = 0.0;
};

struct Windows {
  std::vector<WindowLag> lags;  // of windows that hold sound, in order
  std::vector<Break> breaks;
  std::vector<Break> edges;        // stretches that lie at another lag, most at an end
  std::vector<Break> maybe_edges;  // that may lie at another lag
  std::vector<Break> turned;       // from where on wet's sign is another
  std::vector<Break> unlike;       // stretches that have little in common with dry at any lag near by
  bool sure_of_breaks = true;      // each side of each holds enough windows, and each is worth its jump
  bool halves_agree = true;        // the common peak is the same in both halves
  double standing_out = 0.0;       // of the windows' common peak
  double sign = 1.0, match = 0.0;
  double strays = 0.0;          // share of the windows that lie far off, and hardly where they should
  std::vector<float> response;  // the device's, whitened, that they share
};

Windows measure_windows(std::span<const float> dry, std::span<const float> wet, int rate);

}  // namespace cafx
