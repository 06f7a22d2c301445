// datasets/find/lag.h -- how wet lies in time against its dry recording: latency, drift, lost or inserted samples.
//
//   lag(t) = lag + 1e-6 ppm t + sum of the steps before t      samples; t in samples of dry; positive: wet is late
//
// A short recording (a note) is correlated as a whole, a long one in windows. Correlations are whitened (magnitudes to
// the power 0.8), which peaks within a sample of the true lag, up to the phase of the device's filters and, for single
// low notes, up to a period. So what several windows or notes have in common, the device's whitened response, is found
// from all of them and matched against each: that leaves one peak.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace cafx {

inline constexpr double kLongSeconds = 6.0;  // from here on a recording is looked at in windows
inline constexpr int kMostRate = 24000;      // higher rates are halved until they are not: a sample is 40 to 80 us
inline constexpr int kSmallLag = 2;          // samples at up to kMostRate: the phase of a filter, not a delay
// A filter moves low notes by up to this: so small a lag needs a clearer peak.
inline constexpr double kFilterSeconds = 0.002;
// kSmallLag at any rate.
inline double small_lag(int rate) { return rate > kMostRate ? kSmallLag * rate / 16000.0 : kSmallLag; }

struct Step {
  double seconds = 0.0;  // of dry
  double samples = 0.0;  // by which the lag grows there: positive, wet has extra samples; negative, it lost some
  double margin = 0.0;   // seconds: the place may lie that much earlier or later
};

struct Lag {
  double lag = 0.0, ppm = 0.0;
  std::vector<Step> steps;
  double sign = 1.0;            // negative where wet is inverted
  std::vector<float> response;  // of a long recording: the device's, whitened
  double confidence = 0.0;      // 0 .. 1, by the rule
  bool sure = false;
  bool phase = false;      // so short, and a filter may be the cause: it is left to the model (find/onset.h)
  std::string rule;        // what the confidence was measured by
  double wander = 0.0;     // samples: median distance of the windows from all this
  double agreement = 0.0;  // share of the windows that lie within 3 samples of all this
  int n_windows = 0;       // that could be judged
  double strays = 0.0;     // share of the windows that lie far off: of another take
  double match = 0.0;      // correlation, whitened to the power 0.5: of the same take .4 and more
  bool sure_of_steps = true, sure_of_drift = true;
  double maybe_ppm = 0.0;         // a drift that may be, and is too small for this recording to show
  double open_ppm = 0.0;          // a drift of that much, either way, may hide in how the windows scatter
  std::vector<Step> edges;        // stretches that lie at another lag, most at an end: around `seconds`, by `margin`
  std::vector<Step> maybe_edges;  // the same, not surely
  std::vector<Step> turned;       // where wet's sign is another from then on; the rest is measured without that
  std::vector<Step> unlike;       // stretches that have little in common with dry
};

// The lag at a sample of dry, to whole samples.
long lag_at(const Lag&, long sample, int rate);

// A long recording on its own. Never moves anything by itself.
Lag find_lag(std::span<const float> dry, std::span<const float> wet, int rate);

}  // namespace cafx
