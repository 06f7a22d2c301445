#include "host/eval/auto_preset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace cafx {

namespace {

// What devices lie on either side of: those of make_notes.py and SoX, from 8 notes of guitar or bass on (README.md of
// experiments/memory has their numbers).
constexpr double kFilterEsr = 1e-3;                  // filters: under 1e-5; an overdrive so mild that it is one: 1e-4
constexpr double kNoisyEsr = 1e-2, kNoise = 0.97;    // noise on a filter's output: .99; bent waveforms: to .84
constexpr double kLongShare = 0.05;                  // echoes: under .001; a bent echo: .15; others: from .6
constexpr double kGainShare = 0.20, kNoGain = 0.24;  // gains: .01 to .16; bent waveforms: from .25
constexpr double kNoBend = 0.95;                     // bent waveforms: to .89; chorus, flanger, reverberation: from .97
constexpr double kUntoldDb = 0.9;                    // changing by themselves: from 1.0
constexpr double kUntoldShare = 0.55,
                 kToldShare = 0.45;  // changing by themselves: from .62; bent waveforms: to .43 of over 0.9 dB
constexpr double kFewestSeconds = 8.0;
constexpr int kFullBandRate = 44100;   // Hz
constexpr double kNothingDb = -60.0;   // under this, what lies above 8 kHz is nothing
constexpr double kMostLostDb = -30.0;  // a thousandth of the energy: less than a model's error

const char* kind_name(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kFilter:
      return "filter";
    case DeviceKind::kEchoes:
      return "filter with a long memory";
    case DeviceKind::kFollowsLevel:
      return "gain that follows the level";
    case DeviceKind::kMovesByItself:
      return "gain that moves by itself";
    case DeviceKind::kChangesByItself:
      return "sound that changes by itself";
    case DeviceKind::kBends:
      return "bent waveform";
    default:
      return "not sure";
  }
}

std::string usual_preset(const Bandwidth& band) {
  if (band.idmt || band.rate < kFullBandRate || band.lost_db < kNothingDb) return "default";
  return band.rate % kFullBandRate == 0 ? "full" : "full-48k";
}

}  // namespace

DeviceKind kind_of(const Heard& h, std::string& why) {
  const double share = 100.0 * h.gain_share, untold = 100.0 * h.untold_share();
  if (h.stretches < kFewestStretches || h.seconds < kFewestSeconds) {
    why = fmt::format(
        "{} stretches of two seconds ({:.0f} s) can be heard in the recordings, and it takes {} ({:.0f} s) to tell "
        "devices apart",
        h.stretches, h.seconds, kFewestStretches, kFewestSeconds);
    return DeviceKind::kUnsure;
  }
  if (h.linear_esr < kFilterEsr || (h.linear_esr < kNoisyEsr && h.gain_share > kNoise)) {
    why = fmt::format("the device is a filter: a fixed one leaves an error of {:.1e} of the energy", h.linear_esr);
    return DeviceKind::kFilter;
  }
  if (h.long_esr < kLongShare * h.linear_esr) {
    why = fmt::format(
        "the device is a filter with a long memory, as an echo: a fixed one of half a second leaves an error of {:.1e} "
        "of the energy, one of 32 ms {:.2g}; which model follows that best has not been measured",
        h.long_esr, h.linear_esr);
    return DeviceKind::kEchoes;
  }
  if (h.gain_share <= kGainShare) {
    const std::string gain =
        fmt::format("a gain that moves ({:.1f} dB) leaves {:.0f} % of the error of a fixed filter", h.gain_db, share);
    if (h.untold_share() <= kToldShare) {
      why = fmt::format(
          "its gain follows the level, as a compressor's: {}, and the sound of the moment tells {:.0f} % of that "
          "movement",
          gain, 100.0 - untold);
      return DeviceKind::kFollowsLevel;
    }
    if (h.untold_share() >= kUntoldShare) {
      why = fmt::format(
          "its gain moves by itself, as a tremolo's{}: {}, and the sound of the moment tells only {:.0f} % of that "
          "movement",
          h.untold_hz > 0.0 ? fmt::format(", {:.1f} times a second", h.untold_hz) : "", gain, 100.0 - untold);
      return DeviceKind::kMovesByItself;
    }
    why = fmt::format(
        "its gain moves, but it is not clear whether with the level: {}, and the sound of the moment tells {:.0f} %",
        gain, 100.0 - untold);
    return DeviceKind::kUnsure;
  }
  if (h.untold_db >= kUntoldDb && h.untold_share() >= kUntoldShare) {
    why = fmt::format(
        "its sound changes by itself, as a chorus or phaser does: the level moves by {:.1f} dB against a fixed "
        "filter's, and the sound of the "
        "moment tells only {:.0f} % of that",
        h.gain_db, 100.0 - untold);
    return DeviceKind::kChangesByItself;
  }
  if (h.gain_share < kNoGain) {
    why = fmt::format(
        "it is between a gain that moves and a bent waveform: a gain leaves {:.0f} % of the error of a fixed filter",
        share);
    return DeviceKind::kUnsure;
  }
  if (h.untold_db >= kUntoldDb && h.untold_share() > kToldShare) {
    why = fmt::format(
        "it is not clear whether its sound changes by itself: the sound of the moment tells {:.0f} % of how its level "
        "moves",
        100.0 - untold);
    return DeviceKind::kUnsure;
  }
  if (h.gain_share > kNoBend) {
    why = fmt::format(
        "it is no bent waveform alone: a fixed filter's error is {:.2g} % of the energy, and a gain that moves leaves "
        "{:.0f} % of that, as of an echo of more than half a second, a reverberation, a chorus or noise",
        100.0 * h.linear_esr, share);
    return DeviceKind::kUnsure;
  }
  why = fmt::format(
      "it bends the waveform, as distortion does, and needs no long memory: a fixed filter's error is {:.2g} % of the "
      "energy, "
      "and a gain that moves leaves {:.0f} % of that",
      100.0 * h.linear_esr, share);
  return DeviceKind::kBends;
}

AutoPreset choose_preset(const Heard& heard, const Bandwidth& band, const std::string& latency) {
  AutoPreset choice;
  choice.heard = heard;
  choice.kind = kind_of(heard, choice.because);
  choice.sure = choice.kind != DeviceKind::kUnsure;
  const std::string usual = usual_preset(band);
  choice.preset = usual;
  if (latency == "none") {
    choice.preset = "lstm";
    choice.because += "; and without latency";
    return choice;
  }
  const bool gain = choice.kind == DeviceKind::kFollowsLevel || choice.kind == DeviceKind::kMovesByItself;
  if (gain && (usual == "default" || band.lost_db <= kMostLostDb)) {
    choice.preset = "crafx-small";
    if (usual != "default") {
      choice.because += fmt::format(
          "; it hears 16 kHz and loses what lies above 8 kHz, {:.0f} dB of the energy, which --preset {} keeps",
          band.lost_db, usual);
    }
  } else if (gain) {
    choice.because += fmt::format(
        "; crafx-small, which follows gains, would lose what lies above 8 kHz, {:.0f} dB of the energy", band.lost_db);
  }
  if (choice.kind == DeviceKind::kMovesByItself || choice.kind == DeviceKind::kChangesByItself) {
    choice.because += "; a model can follow that only where every note begins at the same place of it";
  }
  return choice;
}

AutoPreset choose_preset(const Dataset& data, const Split& split, const DataConfig& config,
                         const std::string& latency) {
  CAFX_CHECK(data.sample_rate == kHearingRate, data.sample_rate);
  std::vector<HeardNote> notes;
  Bandwidth band{data.file_rate, data.wet_lost_db, config.reader == "idmt"};
  for (const int i : split.train) {
    const Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    if (pair.copy) continue;
    notes.push_back({pair.dry, pair.wet});
    for (const int rate : {pair.dry_file.rate, pair.wet_file.rate}) {
      if (rate > 0) band.rate = std::min(band.rate, rate);
    }
  }
  return choose_preset(hear(notes, data.sample_rate), band, latency);
}

std::string AutoPreset::text() const {
  const char* how = sure               ? "Another one: --preset NAME."
                    : preset == "lstm" ? "Not sure of the device; another one: --preset NAME."
                                       : "Not sure, so that it is the usual one; another one: --preset NAME.";
  return fmt::format("auto: preset {}, because {}. {}", preset, because, how);
}

nlohmann::ordered_json AutoPreset::json() const {
  return {{"preset", preset},
          {"because", because},
          {"sure", sure},
          {"kind", kind_name(kind)},
          {"heard",
           {{"stretches", heard.stretches},
            {"seconds", heard.seconds},
            {"linear_esr", heard.linear_esr},
            {"long_esr", heard.long_esr},
            {"gain_share", heard.gain_share},
            {"gain_db", heard.gain_db},
            {"untold_db", heard.untold_db},
            {"unheard_db", heard.unheard_db},
            {"untold_hz", heard.untold_hz}}}};
}

}  // namespace cafx
