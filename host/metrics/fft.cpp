#include "host/metrics/fft.h"

#include <cmath>
#include <kissfft.hh>

#include "kernels/base/error.h"

namespace cafx {

ComplexSignal fft(const ComplexSignal& x, bool inverse) {
  CAFX_CHECK(!x.empty(), x.size());
  const kissfft<double> plan(x.size(), inverse);
  ComplexSignal y(x.size());
  plan.transform(x.data(), y.data());
  if (inverse) {
    for (auto& v : y) v /= static_cast<double>(x.size());
  }
  return y;
}

PowerFrames power_frames(const std::vector<double>& x, int n_fft, int hop, int window, Padding padding) {
  CAFX_CHECK(n_fft > 0 && n_fft % 4 == 0 && hop > 0 && window > 0 && window <= n_fft && !x.empty(), n_fft, hop, window);
  const auto n = static_cast<long>(x.size());
  const long period = 2 * (n - 1);
  const auto sample = [&](long at) {
    if (at >= 0 && at < n) return x[static_cast<std::size_t>(at)];
    if (padding == Padding::kZero) return 0.0;
    if (period == 0) return x[0];
    at = ((at % period) + period) % period;
    return x[static_cast<std::size_t>(at < n ? at : period - at)];
  };
  std::vector<double> w(static_cast<std::size_t>(n_fft), 0.0);
  const int left = (n_fft - window) / 2;
  for (int i = 0; i < window; ++i)
    w[static_cast<std::size_t>(left + i)] = 0.5 - 0.5 * std::cos(2.0 * M_PI * i / window);
  // Two real frames in one complex transform.
  const kissfft<double> plan(static_cast<std::size_t>(n_fft), false);
  PowerFrames out;
  out.bins = n_fft / 2 + 1;
  const long frames = n / hop + 1;
  out.power.resize(static_cast<std::size_t>(frames) * static_cast<std::size_t>(out.bins));
  ComplexSignal in(static_cast<std::size_t>(n_fft)), spectrum(static_cast<std::size_t>(n_fft));
  for (long f = 0; f < frames; f += 2) {
    const long a = f * hop - n_fft / 2, b = a + hop;
    for (int i = 0; i < n_fft; ++i) {
      const double v = w[static_cast<std::size_t>(i)];
      in[static_cast<std::size_t>(i)] = {v * sample(a + i), f + 1 < frames ? v * sample(b + i) : 0.0};
    }
    plan.transform(in.data(), spectrum.data());
    for (int k = 0; k < out.bins; ++k) {
      const auto p = spectrum[static_cast<std::size_t>(k)],
                 q = std::conj(spectrum[static_cast<std::size_t>((n_fft - k) % n_fft)]);
      double* at =
          &out.power[static_cast<std::size_t>(f) * static_cast<std::size_t>(out.bins) + static_cast<std::size_t>(k)];
      *at = 0.25 * std::norm(p + q);
      if (f + 1 < frames) at[out.bins] = 0.25 * std::norm(p - q);
    }
  }
  return out;
}

}  // namespace cafx
