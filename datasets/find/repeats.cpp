#include "datasets/find/repeats.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "datasets/find/take.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

namespace {

constexpr double kSame = 0.9975;
constexpr std::size_t kBands = 32, kNearest = 3, kFewPieces = 32;  // of few, eight are asked, whatever their spectra
constexpr double kFarSpectrum = 0.25;  // distance of two spectra, in bels a band: of other audio

using Fingerprint = std::array<float, kBands>;

// The shape of the long-term spectrum: energies of bands of equal ratio, in bels beside their mean.
Fingerprint fingerprint(std::span<const float> x, int rate) {
  constexpr std::size_t kFrame = 4096;
  std::vector<double> power(kFrame / 2 + 1, 0.0);
  const std::size_t frames = std::max<std::size_t>(1, x.size() / kFrame);
  const std::size_t stride = std::max<std::size_t>(1, frames / 16);
  for (std::size_t f = 0; f < frames; f += stride) {
    const std::size_t at = f * kFrame, n = std::min(kFrame, x.size() - at);
    const Bins s = spectrum(x.data() + at, n, kFrame);
    for (std::size_t k = 0; k < power.size(); ++k) power[k] += static_cast<double>(std::norm(s[k]));
  }
  Fingerprint bands{};
  double mean = 0.0, total = 1e-30;
  for (const double p : power) total += p;
  const double low = 60.0 * kFrame / rate, high = static_cast<double>(power.size() - 1);
  for (std::size_t b = 0; b < kBands; ++b) {
    const auto from = static_cast<std::size_t>(low * std::pow(high / low, static_cast<double>(b) / kBands));
    const auto to = std::max(
        from + 1, static_cast<std::size_t>(low * std::pow(high / low, (static_cast<double>(b) + 1.0) / kBands)));
    double sum = 0.0;
    for (std::size_t k = from; k < std::min(to, power.size()); ++k) sum += power[k];
    bands[b] = static_cast<float>(std::log10(sum + 1e-7 * total));
    mean += static_cast<double>(bands[b]) / kBands;
  }
  for (float& b : bands) b -= static_cast<float>(mean);
  return bands;
}

double distance(const Fingerprint& a, const Fingerprint& b) {
  double sum = 0.0;
  for (std::size_t k = 0; k < kBands; ++k) sum += std::abs(static_cast<double>(a[k] - b[k]));
  return sum / kBands;
}

// First difference, between 100 Hz and 3 kHz.
std::vector<float> evened(std::span<const float> x, int rate, std::size_t size) {
  std::vector<float> d(x.size(), 0.0f);
  for (std::size_t i = 1; i < x.size(); ++i) d[i] = x[i] - x[i - 1];
  Bins s = spectrum(d.data(), d.size(), size);
  const auto low = static_cast<std::size_t>(100.0 * static_cast<double>(size) / rate);
  const auto high = static_cast<std::size_t>(3000.0 * static_cast<double>(size) / rate);
  for (std::size_t k = 0; k < s.size(); ++k) {
    if (k < low || k > high) s[k] = 0.0f;
  }
  std::vector<float> y = inverse(s);
  y.resize(x.size());
  for (float& v : y) v /= static_cast<float>(size);
  return y;
}

std::vector<double> energies(std::span<const float> x) {
  std::vector<double> sum(x.size() + 1, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i)
    sum[i + 1] = sum[i] + static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

// What a filter makes of an end that is cut within a sound is not that sound.
constexpr double kEndSeconds = 0.05;

// A sound made ready to be held against others.
struct Evened {
  std::vector<float> x;
  Bins bins;
};
Evened even(std::span<const float> sound, long end, int rate, std::size_t size) {
  Evened e{evened(sound, rate, size), {}};
  std::fill(e.x.begin(), e.x.begin() + end, 0.0f);
  std::fill(e.x.end() - end, e.x.end(), 0.0f);
  e.bins = spectrum(e.x.data(), e.x.size(), size);
  return e;
}

// Holds one sound against others; its own side is made ready once for those of one length.
class Likeness {
 public:
  Likeness(std::span<const float> a, int rate) : a_(a), rate_(rate) {}
  double operator()(std::span<const float> b);

 private:
  std::span<const float> a_;
  const int rate_;
  std::size_t size_ = 0;
  long end_ = -1;
  Evened own_;
};

double Likeness::operator()(std::span<const float> b) {
  const std::size_t size = fft_size(a_.size() + b.size());
  const long end =
      std::min(static_cast<long>(kEndSeconds * rate_), static_cast<long>(std::min(a_.size(), b.size()) / 8));
  if (size != size_ || end != end_) own_ = even(a_, end, rate_, size);
  size_ = size;
  end_ = end;
  const Evened other = even(b, end, rate_, size);
  const std::vector<float>&x = own_.x, &y = other.x;
  const Bins &sx = own_.bins, &sy = other.bins;
  Bins g(sx.size());
  for (std::size_t k = 0; k < g.size(); ++k) g[k] = conjugate_times(sx[k], sy[k]) / static_cast<float>(size);
  const std::vector<float> r = inverse(g);
  const std::vector<double> ex = energies(x), ey = energies(y);
  const long n = static_cast<long>(x.size()), m = static_cast<long>(y.size()), all = static_cast<long>(size);
  // A stub holds no quarter of a note: a few of its periods fit into any sound of that pitch.
  const long least = std::max(std::min(n, m) / 2, n / 4) - 2 * end;
  double best = 0.0;
  for (long lag = -(n - least); lag <= m - least; ++lag) {  // x[t] beside y[t + lag]
    const long from = end + std::max(0L, -lag), to = std::min(n, m - lag) - end;
    if (to - from < least) continue;
    const double e = (ex[static_cast<std::size_t>(to)] - ex[static_cast<std::size_t>(from)]) *
                     (ey[static_cast<std::size_t>(to + lag)] - ey[static_cast<std::size_t>(from + lag)]);
    if (!(e > 1e-6 * ex.back() * ey.back())) continue;
    const auto at = [&](long l) {
      return std::abs(static_cast<double>(r[static_cast<std::size_t>(((l % all) + all) % all)]));
    };
    const double here = at(lag), before = at(lag - 1), after = at(lag + 1), bend = before - 2.0 * here + after;
    if (here < before || here < after) continue;
    const double top = bend < 0.0 ? here - 0.125 * (after - before) * (after - before) / bend : here;
    best = std::max(best, top / std::sqrt(e));
  }
  return std::min(best, 1.0);
}

}  // namespace

std::vector<Repeat> find_repeats(const std::vector<std::span<const float>>& what,
                                 const std::vector<std::span<const float>>& where, int rate) {
  std::vector<Fingerprint> prints(where.size());
  std::vector<Repeat> found(what.size());
  ThreadPool pool(available_threads());
  pool.run(static_cast<int>(where.size()), [&](int i, int) {
    prints[static_cast<std::size_t>(i)] = fingerprint(where[static_cast<std::size_t>(i)], rate);
  });
  pool.run(static_cast<int>(what.size()), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    const Fingerprint own = fingerprint(what[i], rate);
    std::vector<std::pair<double, int>> near;
    for (std::size_t k = 0; k < where.size(); ++k) {
      const double d = distance(own, prints[k]);
      if (d < kFarSpectrum || where.size() <= kFewPieces) near.push_back({d, static_cast<int>(k)});
    }
    std::sort(near.begin(), near.end());
    const std::size_t asked = where.size() <= kFewPieces ? 8 : kNearest;
    Likeness likeness(what[i], rate);
    for (std::size_t k = 0; k < std::min(asked, near.size()); ++k) {
      const double l = likeness(where[static_cast<std::size_t>(near[k].second)]);
      if (l > found[i].likeness) found[i] = {l >= kSame ? near[k].second : -1, l};
      if (l >= kSame) break;
    }
  });
  return found;
}

}  // namespace cafx
