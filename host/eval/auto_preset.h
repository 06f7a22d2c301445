// host/eval/auto_preset.h -- `--preset auto`: which preset fits a device, by what its recordings tell of it.
//
//   heard (heard.h)                                  latency any                 latency none
//   a filter                                         the usual preset            lstm
//   a filter with a long memory (echo)               the usual preset            lstm
//   a gain that follows the level (compressor)       crafx-small                 lstm
//   a gain that moves by itself (tremolo)            crafx-small                 lstm
//   a sound that changes by itself (chorus, phaser)  the usual preset            lstm
//   a bent waveform (distortion, amplifier)          the usual preset            lstm
//   too little, or between two of these              the usual preset            lstm
//
//   The usual preset is `default`; `full` or `full-48k` where the recordings have 44.1 kHz or more, are not of IDMT's
//   layout and hold energy above 8 kHz. crafx-small hears 16 kHz: it is chosen where less than kMostLost of the energy
//   lies above. experiments/memory/README.md has the measurements behind the table.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "datasets/dataset.h"
#include "host/eval/heard.h"

namespace cafx {

inline constexpr int kHearingRate = 16000;  // Hz, of what is heard

enum class DeviceKind { kUnsure, kFilter, kEchoes, kFollowsLevel, kMovesByItself, kChangesByItself, kBends };

// What the numbers say; `why` becomes a clause with them, for people.
DeviceKind kind_of(const Heard&, std::string& why);

struct AutoPreset {
  std::string preset;   // empty: nothing was chosen
  std::string because;  // a clause
  bool sure = false;    // of the kind of device; else the preset is the usual one
  DeviceKind kind = DeviceKind::kUnsure;
  Heard heard;

  std::string text() const;  // a sentence or two
  nlohmann::ordered_json json() const;
};

struct Bandwidth {
  int rate = kHearingRate;  // Hz, the lowest of the files
  double lost_db = -200.0;  // of the wet energy: what lies above half of kHearingRate
  bool idmt = false;
};

// `latency`: "any", or "none" for models that play sample by sample.
AutoPreset choose_preset(const Heard&, const Bandwidth&, const std::string& latency);
// By the training notes of a data set at kHearingRate.
AutoPreset choose_preset(const Dataset&, const Split&, const DataConfig&, const std::string& latency);

}  // namespace cafx
