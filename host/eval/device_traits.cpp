#include "host/eval/device_traits.h"

#include <algorithm>
#include <cmath>

#include "host/metrics/fft.h"
#include "host/render/render.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr double kToneHz = 220.0, kLeadSeconds = 0.25;

std::vector<float> tone(double hz, double amplitude, int rate, std::size_t lead, std::size_t n) {
  std::vector<float> x(lead + n);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(amplitude * std::sin(2.0 * M_PI * hz * static_cast<double>(i) / rate));
  return x;
}

double amplitude_of(double db) { return std::pow(10.0, db / 20.0); }

// Amplitude of every bin but the mean's.
std::vector<double> amplitudes(const float* y, std::size_t n) {
  const ComplexSignal s = fft(ComplexSignal(y, y + n));
  std::vector<double> a(n / 2 + 1);
  for (std::size_t k = 1; k < a.size(); ++k) a[k] = (2 * k == n ? 1.0 : 2.0) * std::abs(s[k]) / static_cast<double>(n);
  return a;
}

double db_of(double v) { return 20.0 * std::log10(std::max(1e-9, v)); }

}  // namespace

DeviceTraits measure_device(SignalFunction device, void* what, int rate, const std::vector<double>& levels_db) {
  CAFX_CHECK(!levels_db.empty() && rate >= 2000, levels_db.size(), rate);
  DeviceTraits t;
  t.levels_db = levels_db;
  const auto lead = static_cast<std::size_t>(kLeadSeconds * rate), second = static_cast<std::size_t>(rate);
  const double loudest = *std::max_element(levels_db.begin(), levels_db.end());
  for (double level = loudest - 54.0; level <= loudest + 1e-9; level += 6.0) {
    const auto x = tone(kToneHz, amplitude_of(level), rate, lead, second);
    const auto y = device(x, what);
    const auto a = amplitudes(y.data() + lead, second);
    Harmonics h;
    h.level_db = level;
    double sum = 0.0;
    for (std::size_t k = 1; k <= 10; ++k) {
      const std::size_t bin = static_cast<std::size_t>(kToneHz) * k;
      h.amplitude.push_back(bin < a.size() ? a[bin] : 0.0);
      if (k > 1) sum += h.amplitude.back() * h.amplitude.back();
    }
    h.thd = h.amplitude[0] > 0.0 ? std::sqrt(sum) / h.amplitude[0] : 0.0;
    t.harmonics.push_back(h);
    if (level > loudest - 3.0) {
      const auto period = static_cast<std::size_t>(rate / kToneHz) + 2;
      for (std::size_t i = lead + second / 2; i < lead + second / 2 + period; ++i) {
        t.curve_in.push_back(x[i]);
        t.curve_out.push_back(y[i]);
      }
    }
  }
  // Half a second: frequencies are even numbers of Hz; odd halves of them put most aliases between the harmonics.
  const std::size_t half = second / 2;
  const int n_tones = 26;
  const double top = 0.45 * rate;
  for (int i = 0; i < n_tones; ++i) {
    const double hz = 2.0 * (2.0 * std::floor(40.0 * std::pow(top / 40.0, i / (n_tones - 1.0)) / 4.0) + 1.0);
    if (t.hz.empty() || hz > t.hz.back()) t.hz.push_back(hz);
  }
  for (const double level : levels_db) {
    t.response_db.emplace_back();
    for (const double hz : t.hz) {
      const auto y = device(tone(hz, amplitude_of(level), rate, lead, half), what);
      const auto a = amplitudes(y.data() + lead, half);
      const auto bin = static_cast<std::size_t>(std::lround(hz / 2.0));
      t.response_db.back().push_back(db_of(a[bin]) - level);
      if (level < loudest - 1e-9) continue;
      double all = 0.0, between = 0.0;
      for (std::size_t k = 1; k < a.size(); ++k) {
        all += a[k] * a[k];
        if (k % bin != 0) between += a[k] * a[k];
      }
      t.aliasing_db.push_back(all > 0.0 ? 10.0 * std::log10(std::max(1e-18, between / all)) : -180.0);
    }
  }
  return t;
}

DeviceTraits measure_device(Model& model, const Context& context, int hop, const std::vector<double>& levels_db) {
  struct Of {
    Model& model;
    const Context& context;
    int hop;
  } of{model, context, hop};
  return measure_device(
      [](const std::vector<float>& x, void* p) {
        const Of& o = *static_cast<Of*>(p);
        return render_signal(o.model, o.context, x.data(), x.size(), o.hop);
      },
      &of, model.geometry().sample_rate, levels_db);
}

}  // namespace cafx
