// host/metrics/fft.h -- discrete Fourier transforms in double precision, for the metrics.
#pragma once

#include <complex>
#include <cstddef>
#include <vector>

namespace cafx {

using ComplexSignal = std::vector<std::complex<double>>;

// Of any length; fast where it has small prime factors only. The inverse divides by the length.
ComplexSignal fft(const ComplexSignal&, bool inverse = false);

enum class Padding { kZero, kReflect };

// Squared magnitudes of frames of `n_fft` samples: frame i is centred at sample i * hop of x, which is padded by n_fft
// / 2 on both sides. The window is a periodic Hann window of `window` samples in the middle of the frame. Frame-major,
// n_fft / 2 + 1 bins each, x.size() / hop + 1 frames.
struct PowerFrames {
  int bins = 0;
  std::vector<double> power;
  std::size_t frames() const { return bins ? power.size() / static_cast<std::size_t>(bins) : 0; }
};
PowerFrames power_frames(const std::vector<double>& x, int n_fft, int hop, int window, Padding);

}  // namespace cafx
