#include "experiments/eq/response.h"

#include <algorithm>
#include <cmath>

#include "host/metrics/fft.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

struct Spectra {
  std::vector<std::complex<double>> cross;  // sum conj(X) Y
  std::vector<double> input, output;        // sum |X|^2, sum |Y|^2
};

Spectra cross_spectra(std::span<const float> x, std::span<const float> y) {
  constexpr std::size_t kN = kResponseFrame;
  Spectra s{std::vector<std::complex<double>>(kN), std::vector<double>(kN), std::vector<double>(kN)};
  for (std::size_t at = 0; at + kN <= x.size(); at += kN / 2) {
    // Both real signals in one complex transform: X is its even part, Y its odd part.
    ComplexSignal both(kN);
    for (std::size_t i = 0; i < kN; ++i) {
      const double w = 0.5 - 0.5 * std::cos(2.0 * M_PI * static_cast<double>(i) / kN);
      both[i] = {w * x[at + i], w * y[at + i]};
    }
    both = fft(both);
    for (std::size_t k = 0; k < kN; ++k) {
      const auto a = both[k], b = std::conj(both[(kN - k) % kN]);
      const auto spectrum_x = 0.5 * (a + b), spectrum_y = std::complex<double>(0.0, -0.5) * (a - b);
      s.cross[k] += std::conj(spectrum_x) * spectrum_y;
      s.input[k] += std::norm(spectrum_x);
      s.output[k] += std::norm(spectrum_y);
    }
  }
  return s;
}

// Group delay in samples at every bin, from the part of the impulse response within kResponseReach: noise further out
// would be weighted most.
std::vector<double> group_delay(const ComplexSignal& transfer) {
  constexpr std::size_t kN = kResponseFrame;
  ComplexSignal h = fft(transfer, true), weighted(kN);
  for (std::size_t i = 0; i < kN; ++i) {
    const double n = static_cast<double>(i) - (i < kN / 2 ? 0.0 : static_cast<double>(kN));
    if (std::abs(n) >= kResponseReach) h[i] = 0.0;
    weighted[i] = n * h[i];
  }
  const ComplexSignal up = fft(weighted), down = fft(h);
  std::vector<double> delay(kN);
  for (std::size_t k = 0; k < kN; ++k) delay[k] = (up[k] * std::conj(down[k])).real() / std::norm(down[k]);
  return delay;
}

}  // namespace

Response measure_response(std::span<const float> input, std::span<const float> output, int sample_rate,
                          double lowest_hz, double highest_hz, int points) {
  CAFX_CHECK(input.size() == output.size() && input.size() >= kResponseFrame * 3 / 2, input.size(), output.size());
  CAFX_CHECK(points >= 2 && sample_rate >= 2 && lowest_hz > 0.0 && highest_hz > lowest_hz, points, sample_rate);
  const Spectra s = cross_spectra(input, output);
  ComplexSignal transfer(kResponseFrame);
  for (std::size_t k = 0; k < transfer.size(); ++k) transfer[k] = s.cross[k] / std::max(1e-30, s.input[k]);
  const std::vector<double> delay = group_delay(transfer);
  Response r;
  const double step = std::log(highest_hz / lowest_hz) / (points - 1), bin_hz = double(sample_rate) / kResponseFrame;
  for (int i = 0; i < points; ++i) {
    const double hz = lowest_hz * std::exp(step * i);
    const auto bin = [&](double f) {
      return static_cast<std::size_t>(std::clamp(std::lround(f / bin_hz), 1l, static_cast<long>(kResponseFrame / 2)));
    };
    double power = 0.0, coherence = 0.0, weighted_delay = 0.0;
    const std::size_t from = bin(hz * std::exp(-0.5 * step)), to = bin(hz * std::exp(0.5 * step));
    for (std::size_t k = from; k <= to; ++k) {
      const double p = std::norm(transfer[k]);
      power += p;
      weighted_delay += p * delay[k];
      coherence += std::norm(s.cross[k]) / std::max(1e-300, s.input[k] * s.output[k]);
    }
    const auto n = static_cast<double>(to - from + 1);
    r.hz.push_back(hz);
    r.magnitude_db.push_back(10.0 * std::log10(std::max(1e-20, power / n)));
    r.delay_ms.push_back(1e3 * weighted_delay / std::max(1e-300, power) / sample_rate);
    r.coherence.push_back(coherence / n);
  }
  return r;
}

double zero_phase_esr(std::span<const float> input, const std::vector<float>& target) {
  CAFX_CHECK(input.size() == target.size() && !input.empty(), input.size(), target.size());
  // Zeros behind the signals, so that what a filter says after their end is not taken for their beginning; a power of
  // two is fast.
  std::size_t n = 1;
  while (n < 2 * input.size()) n *= 2;
  ComplexSignal x(n), y(n);
  std::copy(input.begin(), input.end(), x.begin());
  std::copy(target.begin(), target.end(), y.begin());
  x = fft(x);
  y = fft(y);
  double left = 0.0, energy = 0.0;
  for (std::size_t k = 0; k < n; ++k) {
    const double along = std::max(0.0, (y[k] * std::conj(x[k])).real());
    left += std::norm(y[k]) - along * along / std::max(1e-300, std::norm(x[k]));
    energy += std::norm(y[k]);
  }
  return left / std::max(1e-300, energy);
}

std::vector<float> white_noise(std::size_t n, double peak, unsigned seed) {
  Rng rng{seed, 0};
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(peak * (2.0 * rng.uniform(i) - 1.0));
  return x;
}

std::vector<float> sine_sweep(std::size_t n, double peak, double from_hz, double to_hz, int sample_rate) {
  std::vector<float> x(n);
  const double seconds = static_cast<double>(n) / sample_rate, rate = std::log(to_hz / from_hz) / seconds;
  for (std::size_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / sample_rate;
    x[i] = static_cast<float>(peak * std::sin(2.0 * M_PI * from_hz * (std::exp(rate * t) - 1.0) / rate));
  }
  return x;
}

}  // namespace cafx
