// host/metrics/modulation.h -- ms_mse: the error of the slow changes of level, band by band.
//
//   1  pad with zeros to a whole number of quarter seconds
//   2  12 gammatone filters, 26 Hz to 6950 Hz, logarithmically spaced: four second-order sections each (Slaney 1993),
//      bandwidth 1.019 (24.7 + f / 9.265) Hz, gain 1 at the centre. Those at or over half the rate are left out.
//   3  magnitude of the analytic signal (Hilbert), over the whole length; resampled to 400 Hz by its spectrum
//   4  12 second-order band passes, 0.5 Hz to 100 Hz, logarithmically spaced, quality 1, gain 1 at the centre
//   5  |FFT|^2 of each of the 144 outputs, summed over all of them: E[k], k = 0 .. half
//   ms_mse = mean over k of (ln(E[k] + 1e-12) - ln(E^[k] + 1e-12))^2, no unit
//
// Source   arXiv:1905.06148, section 4.4; it leaves the forms of gammatone and modulation filters open; the ones above
//          are chosen here.
// Cases    two silent signals: 0. One silent: finite (the floor 1e-12) and large. A constant: no special case.
//          NaN or infinite samples: checked by the caller (metrics.h).
#pragma once

#include <vector>

namespace cafx {

// E[k] of step 5.
std::vector<double> modulation_spectrum(const std::vector<float>& x, int sample_rate);
double ms_mse(const std::vector<double>& target_spectrum, const std::vector<double>& output_spectrum);

}  // namespace cafx
