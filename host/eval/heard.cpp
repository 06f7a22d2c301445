#include "host/eval/heard.h"

#include <algorithm>
#include <cmath>

#include "host/eval/cholesky.h"
#include "host/metrics/fft.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr std::size_t kMostNotes = 32;
constexpr std::size_t kLongestSeconds = 20;   // longer notes are heard as several
constexpr int kHeardTaps = 512, kAhead = 64;  // of the fixed filter: 32 ms at 16 kHz, 4 of them before the sample
constexpr int kLongTaps = 8192;               // of the long one: half a second
constexpr double kFilterRidge = 1e-5;         // of the dry energy: bands that the notes lack stay near 0
constexpr double kHopSeconds = 0.01;          // of windows four times as long
constexpr double kAudibleDb = -40.0;          // under the loudest window
constexpr int kStretchFrames = 200;           // two seconds
constexpr int kFewestFrames = 20;             // of a stretch that counts
constexpr double kBandEdgesHz[] = {0.0, 175.0, 350.0, 700.0, 1400.0, 1e9};
constexpr int kHeardBands = 5, kNow = 9 + 3 * kHeardBands, kPast = 12, kAll = kNow + kPast;
// Frames back in time whose mean level is heard: 60 ms to a second.
constexpr int kPastFrames[][2] = {{6, 12}, {12, 25}, {25, 50}, {50, 100}};
constexpr double kRidges[] = {1e-3, 1e-2, 1e-1, 1.0};

std::size_t power_of_two(std::size_t n) {
  std::size_t p = 1;
  while (p < n) p *= 2;
  return p;
}

ComplexSignal padded_fft(std::span<const float> x, std::size_t n) {
  ComplexSignal s(n);
  std::copy(x.begin(), x.end(), s.begin());
  return fft(s);
}

// Solves the Toeplitz system of the autocorrelation r for p: Levinson's recursion.
std::vector<double> solve_toeplitz(const std::vector<double>& r, const std::vector<double>& p) {
  const std::size_t n = p.size();
  std::vector<double> a{1.0}, h{p[0] / r[0]};
  double error = r[0];
  for (std::size_t m = 1; m < n; ++m) {
    double k = 0.0, q = 0.0;
    for (std::size_t i = 0; i < m; ++i) {
      k += a[i] * r[m - i];
      q += h[i] * r[m - i];
    }
    k = -k / error;
    a.push_back(0.0);
    for (std::size_t i = 0, j = m; i <= j; ++i, --j) {
      const double left = a[i], right = a[j];
      a[i] = left + k * right;
      a[j] = right + k * left;
    }
    error *= 1.0 - k * k;
    const double step = (p[m] - q) / error;
    h.push_back(0.0);
    for (std::size_t i = 0; i <= m; ++i) h[i] += step * a[m - i];
  }
  return h;
}

double energy_of(std::span<const float> x) {
  double sum = 0.0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return sum;
}

// The filter that is best for all notes, each weighed by its wet energy: tap i hears the sample i - kAhead back.
std::vector<double> fixed_filter(const std::vector<HeardNote>& notes, std::size_t taps) {
  std::vector<double> r(taps, 0.0), p(taps, 0.0);
  for (const HeardNote& note : notes) {
    const std::size_t n = power_of_two(note.dry.size() + 2 * taps);
    ComplexSignal x = padded_fft(note.dry, n), y = padded_fft(note.wet, n);
    for (std::size_t k = 0; k < n; ++k) {
      y[k] *= std::conj(x[k]);
      x[k] = std::norm(x[k]);
    }
    const ComplexSignal own = fft(x, true), cross = fft(y, true);
    const double weight = 1.0 / energy_of(note.wet);
    for (std::size_t i = 0; i < taps; ++i) {
      r[i] += weight * own[i].real();
      p[i] += weight * cross[(i + n - kAhead) % n].real();
    }
  }
  r[0] *= 1.0 + kFilterRidge;
  return solve_toeplitz(r, p);
}

std::vector<double> through(const std::vector<double>& filter, std::span<const float> x) {
  const std::size_t n = power_of_two(x.size() + filter.size());
  ComplexSignal h(n), s = padded_fft(x, n);
  for (std::size_t i = 0; i < filter.size(); ++i) h[(i + n - kAhead) % n] = filter[i];
  h = fft(h);
  for (std::size_t k = 0; k < n; ++k) s[k] *= h[k];
  s = fft(s, true);
  std::vector<double> y(x.size());
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = s[i].real();
  return y;
}

// Energy of what it leaves over that of wet.
double error_of(std::span<const float> wet, const std::vector<double>& filtered) {
  double error = 0.0;
  for (std::size_t t = 0; t < filtered.size(); ++t) error += (wet[t] - filtered[t]) * (wet[t] - filtered[t]);
  return error / energy_of(wet);
}

// A window of wet and of the filtered dry: their energies, and what is left of wet where the filtered dry may have a
// gain that moves along a parabola.
struct Window {
  double wet = 0.0, filtered = 0.0, left = 0.0;
};

Window window_at(std::span<const float> wet, const std::vector<double>& filtered, long centre, long half) {
  constexpr int kGains = 3;
  const auto n = static_cast<long>(wet.size());
  double moments[2 * kGains - 1] = {}, cross[kGains] = {};
  Window window;
  for (long t = std::max(0L, centre - half); t < std::min(n, centre + half); ++t) {
    const auto at = static_cast<std::size_t>(t);
    const double u = static_cast<double>(t - centre) / static_cast<double>(half), hann = 0.5 + 0.5 * std::cos(M_PI * u),
                 y = wet[at], x = filtered[at];
    window.wet += hann * hann * y * y;
    double w = hann * hann * x;
    for (int k = 0; k < 2 * kGains - 1; ++k, w *= u) {
      moments[k] += w * x;
      if (k < kGains) cross[k] += w * y;
    }
  }
  window.filtered = moments[0];
  std::vector<double> a(kGains * kGains), gains(cross, cross + kGains);
  for (std::size_t i = 0; i < kGains; ++i) {
    for (std::size_t j = 0; j <= i; ++j) a[i * kGains + j] = moments[i + j];
    a[i * kGains + i] += 1e-9 * moments[0];
  }
  window.left = window.wet;
  if (!solve_positive(a, gains, kGains)) return window;
  for (std::size_t k = 0; k < kGains; ++k) window.left -= gains[k] * cross[k];
  window.left = std::max(0.0, window.left);
  return window;
}

double decibel(double ratio) { return 10.0 * std::log10(ratio); }

// A note as the regression hears it.
struct Envelope {
  std::vector<double> gain_db;  // of wet over the filtered dry, of each frame
  std::vector<bool> audible;
  std::vector<std::vector<double>> features;  // of each frame, kAll
};

// Levels in units of 15 dB around 25 dB under the loudest: quadratic features stay of the size of one.
double scaled(double power, double loudest) { return (decibel(power / loudest + 1e-6) + 25.0) / 15.0; }

std::vector<std::vector<double>> band_powers(std::span<const float> dry, int rate, int hop) {
  const PowerFrames frames =
      power_frames(std::vector<double>(dry.begin(), dry.end()), 4 * hop, hop, 4 * hop, Padding::kZero);
  std::vector<std::vector<double>> bands(frames.frames(), std::vector<double>(kHeardBands, 0.0));
  for (std::size_t f = 0; f < bands.size(); ++f) {
    int band = 0;
    for (int k = 0; k < frames.bins; ++k) {
      while (static_cast<double>(k) * rate / (4 * hop) >= kBandEdgesHz[band + 1]) ++band;
      bands[f][static_cast<std::size_t>(band)] +=
          frames.power[f * static_cast<std::size_t>(frames.bins) + static_cast<std::size_t>(k)];
    }
  }
  return bands;
}

void add_features(Envelope& e, const std::vector<std::vector<double>>& bands, double loudest) {
  std::vector<double> level, sum{0.0};
  for (const auto& b : bands) {
    double all = 0.0;
    for (const double v : b) all += v;
    e.audible.push_back(decibel(all / loudest + 1e-12) > kAudibleDb);
    level.push_back(scaled(all, loudest));
    sum.push_back(sum.back() + level.back());
  }
  const double silence = scaled(0.0, 1.0);
  const auto n = static_cast<long>(level.size());
  const auto at = [&](long t) { return level[static_cast<std::size_t>(std::clamp(t, 0L, n - 1))]; };
  const auto mean_back = [&](long t, int from, int to) {  // before the note is silence
    const long a = t - to + 1, b = t - from + 1;
    const double heard =
        sum[static_cast<std::size_t>(std::max(0L, b))] - sum[static_cast<std::size_t>(std::max(0L, a))];
    const double before = silence * static_cast<double>(std::max(0L, -a) - std::max(0L, -b));
    return (heard + before) / (to - from);
  };
  for (long t = 0; t < n; ++t) {
    const double l = at(t), before = at(t - 2), after = at(t + 2), rise = before - after;
    std::vector<double> f{l,     l * l,    std::max(l, 0.0), std::max(l - 0.6, 0.0), std::max(l + 0.6, 0.0), before,
                          after, l * rise, rise * rise};
    for (const double power : bands[static_cast<std::size_t>(t)]) {
      const double b = scaled(power, loudest);
      f.insert(f.end(), {b, b * b, b * l});
    }
    for (const auto& [from, to] : kPastFrames) {
      const double past = mean_back(t, from, to);
      f.insert(f.end(), {past, past * past, past * l});
    }
    e.features.push_back(std::move(f));
  }
}

// Frames of one stretch, mean taken out: what differs between notes (their pitch) tells nothing of time.
struct Stretch {
  std::vector<std::vector<double>> x;  // frames, kAll
  std::vector<double> y;
};

void take_mean_out(Stretch& s) {
  const auto n = static_cast<double>(s.y.size());
  double mean = 0.0;
  for (const double v : s.y) mean += v / n;
  for (double& v : s.y) v -= mean;
  for (std::size_t k = 0; k < kAll; ++k) {
    double m = 0.0;
    for (const auto& row : s.x) m += row[k] / n;
    for (auto& row : s.x) row[k] -= m;
  }
}

std::vector<Stretch> stretches_of(const std::vector<Envelope>& envelopes) {
  std::vector<Stretch> all;
  for (const Envelope& e : envelopes) {
    const std::size_t n = std::min(e.gain_db.size(), e.features.size());
    for (std::size_t from = 0; from < n; from += kStretchFrames) {
      Stretch s;
      for (std::size_t t = from; t < std::min(n, from + kStretchFrames); ++t) {
        if (!e.audible[t]) continue;
        s.x.push_back(e.features[t]);
        s.y.push_back(e.gain_db[t]);
      }
      if (s.y.size() < kFewestFrames) continue;
      take_mean_out(s);
      all.push_back(std::move(s));
    }
  }
  return all;
}

// Normal equations of one stretch or of all: the lower half of X'X, and X'y.
struct Normal {
  std::vector<double> a = std::vector<double>(kAll * kAll, 0.0), b = std::vector<double>(kAll, 0.0);
  double frames = 0.0;

  void add(const Stretch& s) {
    for (std::size_t t = 0; t < s.y.size(); ++t) {
      for (std::size_t i = 0; i < kAll; ++i) {
        for (std::size_t j = 0; j <= i; ++j) a[i * kAll + j] += s.x[t][i] * s.x[t][j];
        b[i] += s.x[t][i] * s.y[t];
      }
    }
    frames += static_cast<double>(s.y.size());
  }
};

// Each stretch less what the others' regression on the first n features tells of it.
std::vector<std::vector<double>> left_over(const std::vector<Stretch>& stretches, const std::vector<Normal>& own,
                                           const Normal& all, std::size_t n, double ridge) {
  std::vector<std::vector<double>> left;
  for (std::size_t s = 0; s < stretches.size(); ++s) {
    std::vector<double> a(n * n, 0.0), b(n), scale(n);
    for (std::size_t i = 0; i < n; ++i) scale[i] = std::sqrt(all.a[i * kAll + i] / all.frames) + 1e-6;
    const double frames = all.frames - own[s].frames;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j)
        a[i * n + j] = (all.a[i * kAll + j] - own[s].a[i * kAll + j]) / (scale[i] * scale[j]);
      a[i * n + i] += ridge * frames;
      b[i] = (all.b[i] - own[s].b[i]) / scale[i];
    }
    if (!solve_positive(a, b, static_cast<int>(n))) std::fill(b.begin(), b.end(), 0.0);
    std::vector<double> rest = stretches[s].y;
    for (std::size_t t = 0; t < rest.size(); ++t) {
      for (std::size_t i = 0; i < n; ++i) rest[t] -= b[i] / scale[i] * stretches[s].x[t][i];
    }
    left.push_back(std::move(rest));
  }
  return left;
}

double deviation(const std::vector<std::vector<double>>& rows) {
  double sum = 0.0, n = 0.0;
  for (const auto& row : rows) {
    for (const double v : row) sum += v * v;
    n += static_cast<double>(row.size());
  }
  return n > 0.0 ? std::sqrt(sum / n) : 0.0;
}

// The rate at which rows swing, where 60 % of their power lie within a tenth of it; else 0.
double swing_hz(const std::vector<std::vector<double>>& rows) {
  constexpr std::size_t kLength = 2048;
  std::vector<double> power(kLength / 2, 0.0);
  for (const auto& row : rows) {
    ComplexSignal s(kLength);
    const auto n = static_cast<double>(row.size());
    for (std::size_t t = 0; t < row.size(); ++t)
      s[t] = row[t] * (0.5 - 0.5 * std::cos(2.0 * M_PI * static_cast<double>(t) / n));
    s = fft(s);
    for (std::size_t k = 1; k < power.size(); ++k) power[k] += std::norm(s[k]);
  }
  const double step = 1.0 / (kLength * kHopSeconds);
  const auto from = static_cast<std::size_t>(1.5 / step), to = static_cast<std::size_t>(14.0 / step);
  const auto top = std::max_element(power.begin() + static_cast<std::ptrdiff_t>(from),
                                    power.begin() + static_cast<std::ptrdiff_t>(to));
  const double hz = step * static_cast<double>(top - power.begin());
  double near = 0.0, all = 0.0;
  for (std::size_t k = 1; k < power.size(); ++k) {
    all += power[k];
    if (std::abs(step * static_cast<double>(k) - hz) < std::max(0.6, 0.1 * hz)) near += power[k];
  }
  return all > 0.0 && near > 0.6 * all ? hz : 0.0;
}

void regress(Heard& heard, const std::vector<Stretch>& stretches) {
  std::vector<std::vector<double>> raw;
  for (const Stretch& s : stretches) raw.push_back(s.y);
  heard.gain_db = heard.untold_db = heard.unheard_db = deviation(raw);
  if (heard.stretches < kFewestStretches) return;
  Normal all;
  std::vector<Normal> own(stretches.size());
  for (std::size_t s = 0; s < stretches.size(); ++s) {
    own[s].add(stretches[s]);
    all.add(stretches[s]);
  }
  std::vector<std::vector<double>> untold = raw;
  for (const double ridge : kRidges) {
    const auto now = left_over(stretches, own, all, kNow, ridge);
    if (const double d = deviation(now); d < heard.untold_db) {
      heard.untold_db = d;
      untold = now;
    }
    heard.unheard_db = std::min(heard.unheard_db, deviation(left_over(stretches, own, all, kAll, ridge)));
  }
  heard.unheard_db = std::min(heard.unheard_db, heard.untold_db);
  heard.untold_hz = swing_hz(untold);
}

// Of the notes that can be heard, 32 evenly spread: the others say the same.
std::vector<HeardNote> audible_notes(const std::vector<HeardNote>& notes, int rate) {
  const auto peak = [](std::span<const float> x) {
    float most = 0.0f;
    for (const float v : x) most = std::max(most, std::abs(v));
    return most;
  };
  const std::size_t longest = kLongestSeconds * static_cast<std::size_t>(rate);
  float dry = 0.0f, wet = 0.0f;
  std::vector<HeardNote> pieces, loud, chosen;
  for (const HeardNote& n : notes) {
    CAFX_CHECK(n.dry.size() == n.wet.size(), n.dry.size(), n.wet.size());
    dry = std::max(dry, peak(n.dry));
    wet = std::max(wet, peak(n.wet));
    for (std::size_t from = 0; from < n.dry.size(); from += longest) {
      const std::size_t size = std::min(longest, n.dry.size() - from);
      pieces.push_back({n.dry.subspan(from, size), n.wet.subspan(from, size)});
    }
  }
  for (const HeardNote& n : pieces) {
    if (peak(n.dry) > 1e-3f * dry && peak(n.wet) > 1e-3f * wet) loud.push_back(n);
  }
  const std::size_t most = std::min(kMostNotes, loud.size());
  for (std::size_t k = 0; k < most; ++k) chosen.push_back(loud[(k * loud.size() + loud.size() / 2) / most]);
  return chosen;
}

}  // namespace

Heard hear(const std::vector<HeardNote>& all, int rate) {
  Heard heard;
  const std::vector<HeardNote> notes = audible_notes(all, rate);
  if (notes.empty()) return heard;
  const int hop = static_cast<int>(std::lround(kHopSeconds * rate));
  const std::vector<double> filter = fixed_filter(notes, kHeardTaps), longer = fixed_filter(notes, kLongTaps);
  std::vector<std::vector<std::vector<double>>> bands;
  double loudest = 0.0, left = 0.0;
  std::vector<Envelope> envelopes;
  for (const HeardNote& note : notes) {
    const std::vector<double> filtered = through(filter, note.dry);
    heard.linear_esr += error_of(note.wet, filtered) / static_cast<double>(notes.size());
    heard.long_esr += error_of(note.wet, through(longer, note.dry)) / static_cast<double>(notes.size());
    std::vector<Window> windows;
    double floor = 0.0;
    for (long centre = 0; centre <= static_cast<long>(note.wet.size()); centre += hop) {
      windows.push_back(window_at(note.wet, filtered, centre, 2L * hop));
      floor = std::max(floor, 1e-12 * windows.back().wet);
    }
    Envelope e;
    double rest = 0.0, whole = 0.0;
    for (const Window& w : windows) {
      whole += w.wet;
      rest += w.left;
      e.gain_db.push_back(decibel((w.wet + floor) / (w.filtered + floor)));
    }
    left += rest / whole / static_cast<double>(notes.size());
    envelopes.push_back(std::move(e));
    bands.push_back(band_powers(note.dry, rate, hop));
    for (const auto& b : bands.back()) {
      double sum = 0.0;
      for (const double v : b) sum += v;
      loudest = std::max(loudest, sum);
    }
  }
  heard.gain_share = heard.linear_esr > 0.0 ? left / heard.linear_esr : 1.0;
  for (std::size_t i = 0; i < notes.size(); ++i) add_features(envelopes[i], bands[i], loudest);
  const std::vector<Stretch> stretches = stretches_of(envelopes);
  heard.stretches = static_cast<int>(stretches.size());
  for (const Stretch& s : stretches) heard.seconds += kHopSeconds * static_cast<double>(s.y.size());
  regress(heard, stretches);
  return heard;
}

}  // namespace cafx
