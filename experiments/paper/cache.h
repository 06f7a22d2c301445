// experiments/paper/cache.h -- a cache of measurements of models: a second report renders nothing again.
//
//   FOLDER/KEY.cbor, a file for each model on each set of notes. The key covers all that determines the numbers: the
//   model's config and weights, the content of the recordings with their split, the hop, and kMeasured; not the device,
//   which changes the rounding only. A missing or unreadable file is measured again. The folder may be deleted, and may
//   come from another machine.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "host/eval/device_traits.h"
#include "host/eval/eval.h"

namespace cafx {

// To be raised when metrics, rendering, baseline or traits change their numbers.
inline constexpr int kMeasured = 2;

// A model on a set of notes.
struct Measured {
  Evaluation evaluation;                                     // with signals for the first notes alone, the shown ones
  std::vector<Metrics> baseline;                             // of each note
  std::vector<std::vector<float>> baseline_output;           // of those shown
  std::vector<double> sample_in, sample_target, sample_out;  // some hundred samples of the loud parts of the notes
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
