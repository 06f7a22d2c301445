// host/metrics/envelope.h -- the error of the level at the start of a note (attack) and while it fades (decay,
// release).
//
//   level     root mean square over 10 ms, every 2.5 ms (window centred, cut at the signal's ends), in dB relative to
//             the target's highest; values below -60 dB count as -60 dB
//   onset     the target's first level at or over -20 dB
//   attack_db mean |level of output - level of target| from 10 ms before the onset to 100 ms after it, in dB
//   decay_db  the same from there to the target's last level over -50 dB, in dB
//
// Cases     a silent target: 0 where the output is silent too, else infinite. A silent output: finite (the floor).
//           A constant: its onset is its first sample. A note shorter than 100 ms: decay_db is 0.
//           NaN or infinite samples: checked by the caller (metrics.h).
#pragma once

#include <vector>

namespace cafx {

struct EnvelopeError {
  double attack_db = 0.0, decay_db = 0.0;
};
EnvelopeError envelope_error(const std::vector<float>& target, const std::vector<float>& output, int sample_rate);

// Root mean square over 10 ms every 2.5 ms, full scale = 1.
std::vector<double> level_of(const std::vector<float>& x, int sample_rate);
inline constexpr double kLevelStepSeconds = 0.0025;

}  // namespace cafx
