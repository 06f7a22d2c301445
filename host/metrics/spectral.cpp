#include "host/metrics/spectral.h"

#include <algorithm>
#include <cmath>

#include "host/metrics/fft.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr int kSpectrumFft = 4096, kSpectrumHop = 2048, kMels = 40;

// Slaney's mel scale: linear below 1 kHz, logarithmic above.
constexpr double kLinear = 200.0 / 3.0, kBreakHz = 1000.0, kBreakMel = kBreakHz / kLinear;
const double kLogStep = std::log(6.4) / 27.0;
double mel_of(double hz) { return hz < kBreakHz ? hz / kLinear : kBreakMel + std::log(hz / kBreakHz) / kLogStep; }
double hz_of(double mel) { return mel < kBreakMel ? mel * kLinear : kBreakHz * std::exp(kLogStep * (mel - kBreakMel)); }

// (kMels, kSpectrumFft / 2 + 1): triangles of unit area.
std::vector<double> mel_filters(int sample_rate) {
  double edge[kMels + 2];
  const double top = mel_of(sample_rate / 2.0);
  for (int i = 0; i < kMels + 2; ++i) edge[i] = hz_of(top * i / (kMels + 1));
  const int bins = kSpectrumFft / 2 + 1;
  std::vector<double> w(static_cast<std::size_t>(kMels) * bins);
  for (int m = 0; m < kMels; ++m) {
    for (int k = 0; k < bins; ++k) {
      const double hz = static_cast<double>(k) * sample_rate / kSpectrumFft;
      const double up = (hz - edge[m]) / (edge[m + 1] - edge[m]);
      const double down = (edge[m + 2] - hz) / (edge[m + 2] - edge[m + 1]);
      w[static_cast<std::size_t>(m) * bins + static_cast<std::size_t>(k)] =
          std::max(0.0, std::min(up, down)) * 2.0 / (edge[m + 2] - edge[m]);
    }
  }
  return w;
}

std::vector<double> in_double(const std::vector<float>& x) { return {x.begin(), x.end()}; }

}  // namespace

std::vector<double> mfcc(const std::vector<float>& samples, int sample_rate) {
  CAFX_CHECK(!samples.empty() && sample_rate > 0, samples.size(), sample_rate);
  std::vector<double> x = in_double(samples);
  double energy = 0.0;
  for (const double v : x) energy += v * v;
  if (energy > 0.0) {
    const double scale = 1.0 / std::sqrt(energy / static_cast<double>(x.size()));
    for (double& v : x) v *= scale;
  }
  const PowerFrames frames = power_frames(x, kSpectrumFft, kSpectrumHop, kSpectrumFft, Padding::kZero);
  const std::vector<double> filters = mel_filters(sample_rate);
  const std::size_t n = frames.frames(), bins = static_cast<std::size_t>(frames.bins);
  std::vector<double> db(n * kMels);
  double most = 1e-10;
  for (std::size_t f = 0; f < n; ++f) {
    for (std::size_t m = 0; m < kMels; ++m) {
      double sum = 0.0;
      for (std::size_t k = 0; k < bins; ++k) sum += filters[m * bins + k] * frames.power[f * bins + k];
      db[f * kMels + m] = sum;
      most = std::max(most, sum);
    }
  }
  for (double& v : db) v = std::max(-80.0, 10.0 * std::log10(std::max(1e-10, v) / most));
  std::vector<double> out(n * kMfcc);
  for (std::size_t f = 0; f < n; ++f) {
    for (int c = 0; c < kMfcc; ++c) {
      double sum = 0.0;
      for (int m = 0; m < kMels; ++m)
        sum += db[f * kMels + static_cast<std::size_t>(m)] * std::cos(M_PI * c * (m + 0.5) / kMels);
      out[f * kMfcc + static_cast<std::size_t>(c)] = sum * std::sqrt((c == 0 ? 1.0 : 2.0) / kMels);
    }
  }
  return out;
}

double cosine_distance(const std::vector<double>& a, const std::vector<double>& b, int n_coefficients) {
  CAFX_CHECK(a.size() == b.size() && !a.empty() && n_coefficients > 0, a.size(), b.size());
  const std::size_t n = static_cast<std::size_t>(n_coefficients), frames = a.size() / n;
  double sum = 0.0;
  for (std::size_t f = 0; f < frames; ++f) {
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (std::size_t i = f * n; i < (f + 1) * n; ++i) {
      ab += a[i] * b[i];
      aa += a[i] * a[i];
      bb += b[i] * b[i];
    }
    sum += aa == 0.0 && bb == 0.0 ? 0.0 : aa == 0.0 || bb == 0.0 ? 1.0 : 1.0 - ab / std::sqrt(aa * bb);
  }
  return sum / static_cast<double>(frames);
}

double mr_stft(const std::vector<float>& target, const std::vector<float>& output) {
  CAFX_CHECK(target.size() == output.size() && !target.empty(), target.size(), output.size());
  constexpr int kFrames[] = {1024, 2048, 512}, kHops[] = {120, 240, 50}, kWindows[] = {600, 1200, 240};
  constexpr double kLeast = 1e-8;
  const auto y = in_double(target), o = in_double(output);
  double sum = 0.0;
  for (int r = 0; r < 3; ++r) {
    const PowerFrames a = power_frames(y, kFrames[r], kHops[r], kWindows[r], Padding::kReflect);
    const PowerFrames b = power_frames(o, kFrames[r], kHops[r], kWindows[r], Padding::kReflect);
    double difference = 0.0, norm = 0.0, logs = 0.0;
    for (std::size_t i = 0; i < a.power.size(); ++i) {
      const double p = std::max(kLeast, a.power[i]), q = std::max(kLeast, b.power[i]);
      const double d = std::sqrt(p) - std::sqrt(q);
      difference += d * d;
      norm += p;
      logs += 0.5 * std::abs(std::log(p) - std::log(q));
    }
    sum += std::sqrt(difference / norm) + logs / static_cast<double>(a.power.size());
  }
  return sum / 3.0;
}

}  // namespace cafx
