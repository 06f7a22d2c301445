// datasets/find/lag.h -- how wet lies in time against its dry recording: latency, drift, lost or inserted samples.
//
//   lag(t) = lag + 1e-6 ppm t + sum of the steps before t      samples; t in samples of dry; positive: wet is late
//
// A short recording (a note) is correlated as a whole, a long one in windows. Correlations are whitened (magnitudes to
// the power 0.8), which peaks within a sample of the true lag, up to the phase of the device's filters and, for single
// low notes, up to a period. So what several windows or notes have in common, the device's whitened response, is found
// from all of them and matched against each: that leaves one peak.
#pragma once

#include <string>
#include <vector>

#include "datasets/find/spectrum.h"

namespace cafx {

inline constexpr double kLatencyWhitening = 0.8, kMatchWhitening = 0.5;
inline constexpr double kLongSeconds = 6.0;  // from here on a recording is looked at in windows
inline constexpr int kSmallLag = 2;          // samples: the phase of a filter, not a delay

struct Step {
  double seconds = 0.0;  // of dry
  double samples = 0.0;  // by which the lag grows there: positive, wet has extra samples; negative, it lost some
  double margin = 0.0;   // seconds: the place may lie that much earlier or later
};

struct Lag {
  double lag = 0.0, ppm = 0.0;
  std::vector<Step> steps;
  double sign = 1.0;        // negative where wet is inverted
  double confidence = 0.0;  // 0 .. 1, by the rule
  bool sure = false;
  std::string rule;     // what the confidence was measured by
  double wander = 0.0;  // samples: median distance of the windows from all this
  int n_windows = 0;    // that could be judged
  double match = 0.0;   // correlation, whitened to the power 0.5: of the same take .4 and more
  bool sure_of_steps = true, sure_of_drift = true;
  double maybe_ppm = 0.0;  // a drift that may be, and is too small for this recording to show
  std::vector<Step>
      edges;  // stretches at the beginning and the end that lie at another lag: around `seconds`, by `margin`
};

// A long recording on its own. Never moves anything by itself.
Lag find_lag(const std::vector<float>& dry, const std::vector<float>& wet, int rate);

// The whitened cross-spectrum of a note or window: correlations at any lag come from it.
struct Take {
  Bins cross;  // magnitudes sum to 1 over both halves
};
Take make_take(const float* dry, std::size_t n_dry, const float* wet, std::size_t n_wet, std::size_t size);
// |r| <= 1 at lags from .. to.
std::vector<float> correlation(const Take&, long from, long to);

// The device's whitened response, common to takes at the given lags; at most kReach taps to either side.
class Template {
 public:
  static constexpr long kReach = 96;
  Template() : taps_(2 * kReach + 1, 0.0f) {}
  void add(const std::vector<float>& correlation, long at, double weight);  // an index of the correlation
  bool empty() const;
  // The correlation of a take with the response taken out: one peak, positive, at the take's lag.
  std::vector<float> match(const Take&, long from, long to) const;

 private:
  std::vector<float> taps_;
};

}  // namespace cafx
