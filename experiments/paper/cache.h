// experiments/paper/cache.h -- measurements of a model that were made before, so that a report made twice renders nothing twice.
//
//   FOLDER/KEY.cbor, a file for each model on each set of notes. The key covers what decides the numbers: the model's config
//   and weights, the content of the recordings with their split, the hop, and kMeasured. The device is not in it: another
//   one rounds differently. A file that is missing or cannot be read means measuring again; the folder may be deleted, and
//   one that was filled on another machine serves here.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "host/eval/device_traits.h"
#include "host/eval/eval.h"

namespace cafx {

// Raised whenever metrics, rendering, baseline or traits give other numbers.
inline constexpr int kMeasured = 2;

// A model on a set of notes.
struct Measured {
  Evaluation evaluation;                            // the signals of the first notes alone: those that are shown
  std::vector<Metrics> baseline;                    // of each note
  std::vector<std::vector<float>> baseline_output;  // of those shown
  std::vector<double> sample_in, sample_target, sample_out;  // some hundred samples of the sounding notes
};

class MeasureCache {
 public:
  explicit MeasureCache(std::filesystem::path folder) : folder_(std::move(folder)) {}  // empty: keeps nothing
  std::optional<Measured> notes(const std::string& key) const;
  std::optional<DeviceTraits> traits(const std::string& key) const;
  void keep(const std::string& key, const Measured&) const;
  void keep(const std::string& key, const DeviceTraits&) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace cafx
