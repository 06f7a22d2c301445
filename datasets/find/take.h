// datasets/find/take.h -- correlations of a note or a window of a recording, and the device's response taken out of
// them.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "datasets/find/spectrum.h"

namespace cafx {

inline constexpr double kLatencyWhitening = 0.8, kMatchWhitening = 0.5;

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
  void add(std::span<const float> correlation, long at, double weight);  // an index of the correlation
  bool empty() const;
  const std::vector<float>& taps() const { return taps_; }
  // What takes the response out of a take whose transform has `size` samples.
  Bins filter(std::size_t size) const;

 private:
  std::vector<float> taps_;
};

// The correlation of a take with the response taken out: one peak, positive, at the take's lag.
std::vector<float> match(const Take&, const Bins& filter, long from, long to);

// The same for takes of several sizes. Not for two threads at once.
class Matcher {
 public:
  explicit Matcher(const Template& response) : response_(response) {}
  std::vector<float> operator()(const Take&, long from, long to);

 private:
  const Template& response_;
  std::map<std::size_t, Bins> filters_;
};

}  // namespace cafx
