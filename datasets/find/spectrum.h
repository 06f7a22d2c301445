// datasets/find/spectrum.h -- transforms and correlations that the doctor measures with.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <span>
#include <vector>

namespace cafx {

using Bins = std::vector<std::complex<float>>;

// The smallest power of two of at least n, and at least 1024.
std::size_t fft_size(std::size_t n);

// Of x[0, n), padded with zeros to `size`, a power of two >= n: size / 2 + 1 bins.
Bins spectrum(const float* x, std::size_t n, std::size_t size);
// The inverse of `spectrum`, times its size.
std::vector<float> inverse(const Bins&);

inline float magnitude(std::complex<float> z) {  // std::abs without its care for squares that leave the range
  return std::sqrt(z.real() * z.real() + z.imag() * z.imag());
}

// conj(a) b, without the care of std::complex for infinities.
inline std::complex<float> conjugate_times(std::complex<float> a, std::complex<float> b) {
  return {a.real() * b.real() + a.imag() * b.imag(), a.real() * b.imag() - a.imag() * b.real()};
}
// x to the power -p, of x > 0: what whitens a magnitude.
inline float to_minus(float x, double p) {
  return p == 0.5 ? 1.0f / std::sqrt(x) : std::pow(x, static_cast<float>(-p));
}

// Cross-correlation at lags from .. to (positive: b is late), circular over the size of the transform, in [-1, 1]. Both
// spectra's magnitudes are taken out to the power `whitening`. Bins 80 dB under a spectrum's loudest do not count, nor
// those from `cutoff` on, a share of the band in (0, 1].
std::vector<float> correlate(const Bins& a, const Bins& b, double whitening, long from, long to, double cutoff = 1.0);

// Where the magnitude is greatest; an index.
std::size_t strongest(std::span<const float>);
// How far the magnitude at `peak` stands out from all that is over 8 indices away, 0 .. 1.
double standing_out(std::span<const float>, std::size_t peak);
// Place of the peak near index `peak`, between the samples, by a parabola through three magnitudes.
double between_samples(std::span<const float>, std::size_t peak);

}  // namespace cafx
