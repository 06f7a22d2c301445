#include "host/metrics/modulation.h"

#include <cmath>
#include <complex>

#include "host/metrics/fft.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr int kBands = 12, kRate = 400;

struct Section {
  double b0, b1, b2, a1, a2;
};

void filter(std::vector<double>& x, const Section& s) {
  double z1 = 0.0, z2 = 0.0;
  for (double& v : x) {
    const double y = s.b0 * v + z1;
    z1 = s.b1 * v - s.a1 * y + z2;
    z2 = s.b2 * v - s.a2 * y;
    v = y;
  }
}

double spaced(double lo, double hi, int i) { return lo * std::pow(hi / lo, i / (kBands - 1.0)); }

std::vector<double> gammatone(std::vector<double> x, double hz, double rate) {
  const double t = 1.0 / rate, width = 2.0 * M_PI * 1.019 * (24.7 + hz / 9.265);
  const double angle = 2.0 * M_PI * hz * t, decay = std::exp(-width * t);
  const double root_plus = std::sqrt(3.0 + std::pow(2.0, 1.5)), root_minus = std::sqrt(3.0 - std::pow(2.0, 1.5));
  const std::complex<double> z = std::polar(1.0, -angle);
  for (const double root : {root_plus, -root_plus, root_minus, -root_minus}) {
    Section s{t, -t * decay * (std::cos(angle) + root * std::sin(angle)), 0.0, -2.0 * decay * std::cos(angle),
              decay * decay};
    const double gain = std::abs((s.b0 + s.b1 * z) / (1.0 + s.a1 * z + s.a2 * z * z));
    s.b0 /= gain;
    s.b1 /= gain;
    filter(x, s);
  }
  return x;
}

// Magnitude of the analytic signal, at kRate; x is a whole number of quarter seconds long.
std::vector<double> level_of_band(const std::vector<double>& x, std::size_t n_out) {
  const std::size_t n = x.size();
  ComplexSignal a = fft(ComplexSignal(x.begin(), x.end()));
  for (std::size_t k = 1; k < n; ++k) a[k] *= 2 * k < n ? 2.0 : 2 * k == n ? 1.0 : 0.0;
  a = fft(a, true);
  for (auto& v : a) v = std::abs(v);
  a = fft(a);
  CAFX_CHECK(n_out < n, n_out, n);
  ComplexSignal low(n_out);
  for (std::size_t k = 0; k < n_out; ++k) low[k] = 2 * k < n_out ? a[k] : a[n - (n_out - k)];
  if (n_out % 2 == 0) low[n_out / 2] = a[n_out / 2] + a[n - n_out / 2];
  low = fft(low, true);
  std::vector<double> out(n_out);
  for (std::size_t i = 0; i < n_out; ++i) out[i] = low[i].real() * static_cast<double>(n_out) / static_cast<double>(n);
  return out;
}

Section band_pass(double hz) {
  const double angle = 2.0 * M_PI * hz / kRate, alpha = std::sin(angle) / 2.0;
  return {alpha / (1.0 + alpha), 0.0, -alpha / (1.0 + alpha), -2.0 * std::cos(angle) / (1.0 + alpha),
          (1.0 - alpha) / (1.0 + alpha)};
}

}  // namespace

std::vector<double> modulation_spectrum(const std::vector<float>& samples, int sample_rate) {
  CAFX_CHECK(!samples.empty() && sample_rate > kRate, samples.size(), sample_rate);
  const std::size_t quarter = static_cast<std::size_t>(sample_rate / 4);
  const std::size_t quarters = (samples.size() + quarter - 1) / quarter, n_out = quarters * (kRate / 4);
  std::vector<double> x(samples.begin(), samples.end());
  x.resize(quarters * quarter, 0.0);
  std::vector<double> energy(n_out / 2 + 1, 0.0);
  for (int g = 0; g < kBands; ++g) {
    const double hz = spaced(26.0, 6950.0, g);
    if (2.0 * hz >= sample_rate) continue;
    const std::vector<double> level = level_of_band(gammatone(x, hz, sample_rate), n_out);
    for (int m = 0; m < kBands; m += 2) {  // two real signals in one transform
      std::vector<double> a = level, b = level;
      filter(a, band_pass(spaced(0.5, 100.0, m)));
      filter(b, band_pass(spaced(0.5, 100.0, m + 1)));
      ComplexSignal both(n_out);
      for (std::size_t i = 0; i < n_out; ++i) both[i] = {a[i], b[i]};
      both = fft(both);
      for (std::size_t k = 0; k < energy.size(); ++k)
        energy[k] += 0.5 * (std::norm(both[k]) + std::norm(both[(n_out - k) % n_out]));
    }
  }
  return energy;
}

double ms_mse(const std::vector<double>& a, const std::vector<double>& b) {
  CAFX_CHECK(a.size() == b.size() && !a.empty(), a.size(), b.size());
  constexpr double kLeast = 1e-12;
  double sum = 0.0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const double d = std::log(a[k] + kLeast) - std::log(b[k] + kLeast);
    sum += d * d;
  }
  return sum / static_cast<double>(a.size());
}

}  // namespace cafx
