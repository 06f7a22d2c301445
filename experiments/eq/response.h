// experiments/eq/response.h -- magnitude and group delay of a linear device, from its answer to noise.
//
//   H(f) = sum conj(X) Y / sum |X|^2      over Hann frames of kResponseFrame samples, half overlapping
//   group delay = Re(FFT(n h) / FFT(h))   h: the inverse transform of H within +-kResponseReach samples, in which a
//                                         filter's answer must have died away
//   coherence = |sum conj(X) Y|^2 / (sum |X|^2 sum |Y|^2)   1 for a linear device without noise of its own
//
// Shapes   one value for each frequency in `hz`, `points` of them, evenly spaced on a logarithmic axis. Magnitude and
//          coherence there are means of the power over an interval that reaches half way to the neighbours.
// Errors   fewer than two frames, unequal lengths, rate or points under 2: CheckError.
#pragma once

#include <span>
#include <vector>

namespace cafx {

inline constexpr int kResponseFrame = 8192, kResponseReach = 1024;  // samples

struct Response {
  std::vector<double> hz, magnitude_db, delay_ms, coherence;
};
Response measure_response(std::span<const float> input, std::span<const float> output, int sample_rate,
                          double lowest_hz, double highest_hz, int points);

// The least ESR that a fixed filter of zero phase can have: sum |Y - G X|^2 / sum |Y|^2 with G(f) = max(0, Re(Y / X)),
// the best gain of each frequency that is real and not negative. X, Y: transforms of the whole signals.
double zero_phase_esr(std::span<const float> input, const std::vector<float>& target);

// White noise, uniform in [-peak, peak), the same for the same seed.
std::vector<float> white_noise(std::size_t n, double peak, unsigned seed);
// A sine that rises from `from` to `to` Hz, exponentially, over n samples.
std::vector<float> sine_sweep(std::size_t n, double peak, double from_hz, double to_hz, int sample_rate);

}  // namespace cafx
