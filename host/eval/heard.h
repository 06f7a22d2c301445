// host/eval/heard.h -- what recordings alone tell of a device, before any model has learned it.
//
//   A trained model can be asked for its answer to sines (device_traits.h); recordings hold what was played. So a fixed
//   linear filter is fitted to all of them, and what it leaves is looked at:
//
//   linear_esr      energy of its error over that of wet, mean over the notes. Near 0: the device is a filter.
//   long_esr        the same of a filter of half a second. Far under linear_esr: the device is an echo or a short
//                   reverb
//   gain_share      what is left of that error where the filter may have another gain every 10 ms (fitted over 40 ms).
//                   Near 0: the device turns a gain up and down and does not bend the waveform (compressor, tremolo); a
//                   waveshaper, whose harmonics no gain makes, leaves .25 and more
//   gain_db         how far that gain moves within two seconds, standard deviation
//   untold_db       what is left of gain_db where the sound of the moment (levels of 5 bands over 40 ms, up to 40 ms
//                   around) tells what it can: quadratic ridge regression, each stretch of two seconds predicted from
//                   the others. Near gain_db: the gain moves by itself
//   unheard_db      the same where the levels of the second before tell too: less than untold_db where the device
//                   remembers more than a frame
//   untold_hz       the rate at which the untold part swings, where most of it (60 %) is at one rate over 1.5 Hz; else
//                   0
//
// Limits   16 kHz or so; 32 notes, or 20 s of longer ones, at most, evenly spread. untold and unheard are gain_db where
//          fewer than kFewestStretches are heard.
// Errors   notes of unequal lengths: CheckError.
#pragma once

#include <span>
#include <vector>

namespace cafx {

struct Heard {
  int stretches = 0;     // of two seconds or what a note has, louder than 40 dB under the loudest
  double seconds = 0.0;  // of them that are that loud
  double linear_esr = 0.0, long_esr = 0.0, gain_share = 1.0;
  double gain_db = 0.0, untold_db = 0.0, unheard_db = 0.0, untold_hz = 0.0;

  // The share of the gain's movement that the sound of the moment does not tell.
  double untold_share() const { return gain_db > 0.0 ? untold_db * untold_db / (gain_db * gain_db) : 0.0; }
};
inline constexpr int kFewestStretches = 8;

struct HeardNote {
  std::span<const float> dry, wet;
};
Heard hear(const std::vector<HeardNote>&, int sample_rate);

}  // namespace cafx
