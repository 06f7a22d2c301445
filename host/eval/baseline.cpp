#include "host/eval/baseline.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "host/eval/cholesky.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr int kTaps = 64, kLeft = 31, kKnots = 33, kUnknowns = 2 * kTaps + kKnots, kRounds = 4;
constexpr std::pair<int, int> kBlocks[] = {{0, kTaps}, {kTaps, kTaps + kKnots}, {kTaps + kKnots, kUnknowns}};
constexpr std::size_t kRows = 8000;
// Weights relative to the mean curvature, from round to round. Parameters that the notes do not determine (taps outside
// their band, the curve above their levels) stay near the start and straight. The held-out notes choose where to stop.
constexpr double kHolds[] = {1e-1, 1e-2, 1e-3, 1e-4, 1e-5};

double knot(int i, double reach) {
  const double t = -1.0 + 2.0 * i / (kKnots - 1);
  return reach * t * std::abs(t);
}

// The segment of u and the weight of its right end; may be under 0 or over 1 outside.
std::pair<int, double> place(double u, double reach) {
  const double root = std::sqrt(std::abs(u) / reach) * (u < 0.0 ? -1.0 : 1.0);
  int i = static_cast<int>(std::floor((root + 1.0) / 2.0 * (kKnots - 1)));
  i = std::clamp(i, 0, kKnots - 2);
  const double a = knot(i, reach), b = knot(i + 1, reach);
  return {i, (u - a) / (b - a)};
}

double value(const double* points, double u, double reach) {
  const auto [i, t] = place(u, reach);
  return points[i] + t * (points[i + 1] - points[i]);
}

// sum over k of h[k] x[t - k + kLeft].
template <class Signal>
std::vector<double> filtered(const double* h, const Signal& x) {
  const auto n = static_cast<long>(x.size());
  std::vector<double> padded(x.size() + kTaps, 0.0), y(x.size(), 0.0);
  std::copy(x.begin(), x.end(), padded.begin() + (kTaps - 1 - kLeft));
  for (int k = 0; k < kTaps; ++k) {
    const double* from = padded.data() + (kTaps - 1 - k);
    const double w = h[k];
    if (w == 0.0) continue;
    for (long t = 0; t < n; ++t) y[static_cast<std::size_t>(t)] += w * from[t];
  }
  return y;
}

class Fit {
 public:
  explicit Fit(const std::vector<Baseline::Note>& notes) {
    std::size_t samples = 0;
    for (std::size_t i = 0; i < notes.size(); ++i) {
      const bool aside = notes.size() >= 3 && i % 3 == 2;
      (aside ? aside_ : notes_).push_back({notes[i].dry, notes[i].wet});
      if (!aside) samples += notes[i].dry.size();
    }
    stride_ = std::max<std::size_t>(1, samples / kRows);
    if (aside_.empty()) aside_ = notes_;
    weigh(notes_);
    weigh(aside_);
  }

  std::vector<double> theta = std::vector<double>(kUnknowns, 0.0);  // h1, points, h2
  double reach = 1.0;

  // The filter that is best where the rest is the identity; of several weights on its taps the one that is best on the
  // notes that were put aside.
  std::vector<double> linear() {
    std::vector<double> a(kTaps * kTaps, 0.0), b(kTaps, 0.0);
    for (const auto& note : notes_) {
      const auto padded = pad(note.dry);
      for (std::size_t t = 0; t < note.dry.size(); t += stride_) {
        const double* x = &padded[t + kTaps - 1];  // x[-k] is the input of tap k
        for (int i = 0; i < kTaps; ++i) {
          for (int j = 0; j <= i; ++j) a[static_cast<std::size_t>(i * kTaps + j)] += note.weight * x[-i] * x[-j];
          b[static_cast<std::size_t>(i)] += note.weight * x[-i] * note.wet[t];
        }
      }
    }
    double trace = 0.0;
    for (int i = 0; i < kTaps; ++i) trace += a[static_cast<std::size_t>(i * kTaps + i)];
    std::vector<double> best = delta();
    if (trace == 0.0) return best;
    double least = HUGE_VAL;
    for (double ridge = 1e-7; ridge < 0.2; ridge *= 10.0) {
      auto m = a, h = b;
      for (int i = 0; i < kTaps; ++i) m[static_cast<std::size_t>(i * kTaps + i)] += ridge * trace / kTaps;
      if (!solve_positive(m, h, kTaps)) continue;
      begin(delta(), h);
      const double e = error(theta, true);
      if (e < least) {
        least = e;
        best = h;
      }
    }
    return best;
  }
  static std::vector<double> delta() {
    std::vector<double> h(kTaps, 0.0);
    h[kLeft] = 1.0;
    return h;
  }

  void begin(const std::vector<double>& h1, const std::vector<double>& h2) {
    std::copy(h1.begin(), h1.end(), theta.begin());
    std::copy(h2.begin(), h2.end(), theta.begin() + kTaps + kKnots);
    double most = 0.0;
    for (const auto& note : notes_) {
      for (const double v : filtered(h1.data(), note.dry)) most = std::max(most, std::abs(v));
    }
    reach = most > 0.0 ? 1.05 * most : 1.0;
    for (int i = 0; i < kKnots; ++i) theta[static_cast<std::size_t>(kTaps + i)] = knot(i, reach);
  }

  // Sum over notes of ESR, estimated from the chosen samples.
  double error(const std::vector<double>& p, bool aside = false) const {
    double sum = 0.0;
    for (const auto& note : aside ? aside_ : notes_) {
      auto v = filtered(p.data(), note.dry);
      for (double& u : v) u = value(&p[kTaps], u, reach);
      const auto padded = pad(v);
      const double* h2 = &p[kTaps + kKnots];
      for (std::size_t t = 0; t < v.size(); t += stride_) {
        const double* from = &padded[t + kTaps - 1];
        double y = 0.0;
        for (int k = 0; k < kTaps; ++k) y += h2[k] * from[-k];
        sum += note.weight * (y - note.wet[t]) * (y - note.wet[t]);
      }
    }
    return sum;
  }

  // From strong weights to weak ones. Returns the error on the held-out notes, of the round that is best there.
  double run() {
    const std::vector<double> start = theta;
    std::vector<double> best = theta;
    double damping = 1e-3, best_aside = error(theta, true);
    std::vector<double> curvature;
    for (const double hold : kHolds) {
      for (int round = 0; round < kRounds; ++round) {
        std::vector<double> a(static_cast<std::size_t>(kUnknowns) * kUnknowns, 0.0), b(kUnknowns, 0.0);
        for (const auto& note : notes_) add(note, a, b);
        if (curvature.empty()) curvature = curvature_of(a);
        const auto cost = [&](const std::vector<double>& p) { return error(p) + held(p, start, curvature, hold); };
        hold_back(a, b, start, curvature, hold);
        const double now = cost(theta);
        bool better = false, over = false;
        for (int attempt = 0; attempt < 6 && !better; ++attempt) {
          auto m = a;
          auto step = b;
          for (std::size_t i = 0; i < kUnknowns; ++i) m[i * kUnknowns + i] += damping * a[i * kUnknowns + i] + 1e-12;
          if (solve_positive(m, step, kUnknowns)) {
            auto next = theta;
            for (std::size_t i = 0; i < kUnknowns; ++i) next[i] += step[i];
            const double e = cost(next);
            if (e < now) {
              better = true;
              over = e > 0.999 * now;
              theta = next;
            }
          }
          damping *= better ? 0.3 : 6.0;
        }
        if (!better) break;
        const double aside = error(theta, true);
        if (aside < best_aside) {
          best_aside = aside;
          best = theta;
        }
        if (over) break;
      }
      damping = std::min(damping, 1.0);
    }
    theta = best;
    return best_aside;
  }

 private:
  struct Weighed {
    std::span<const float> dry, wet;
    double weight = 1.0;  // one over the energy of wet: quiet and loud notes weigh the same
  };

  void weigh(std::vector<Weighed>& notes) const {
    double mean = 0.0;
    std::vector<double> energy;
    for (const auto& n : notes) {
      double sum = 0.0;
      for (std::size_t t = 0; t < n.wet.size(); t += stride_) sum += static_cast<double>(n.wet[t]) * n.wet[t];
      energy.push_back(sum);
      mean += sum / static_cast<double>(notes.size());
    }
    // Nearly silent notes are skipped.
    for (std::size_t i = 0; i < notes.size(); ++i) notes[i].weight = 1.0 / std::max(energy[i], 1e-4 * mean + 1e-30);
  }

  // Mean second derivative of taps, points and taps.
  static std::vector<double> curvature_of(const std::vector<double>& a) {
    std::vector<double> mean;
    for (const auto& [from, to] : kBlocks) {
      double sum = 0.0;
      for (int i = from; i < to; ++i) sum += a[static_cast<std::size_t>(i) * kUnknowns + static_cast<std::size_t>(i)];
      mean.push_back(sum / (to - from));
    }
    return mean;
  }

  // Bend of the curve at knot i: points i-1, i and i+1 with these weights sum to zero on a straight line.
  void bend(int i, double w[3]) const {
    const double left = knot(i, reach) - knot(i - 1, reach), right = knot(i + 1, reach) - knot(i, reach);
    w[0] = right / (left + right);
    w[1] = -1.0;
    w[2] = left / (left + right);
  }

  double held(const std::vector<double>& p, const std::vector<double>& start, const std::vector<double>& curvature,
              double hold) const {
    double sum = 0.0;
    for (std::size_t block = 0; block < 3; ++block) {
      for (int i = kBlocks[block].first; i < kBlocks[block].second; ++i) {
        const auto at = static_cast<std::size_t>(i);
        sum += pull(block, hold, curvature) * (p[at] - start[at]) * (p[at] - start[at]);
      }
    }
    for (int i = 1; i + 1 < kKnots; ++i) {
      double w[3], e = 0.0;
      bend(i, w);
      for (int k = 0; k < 3; ++k) e += w[k] * p[static_cast<std::size_t>(kTaps + i - 1 + k)];
      sum += hold * curvature[1] * e * e;
    }
    return sum;
  }

  void hold_back(std::vector<double>& a, std::vector<double>& b, const std::vector<double>& start,
                 const std::vector<double>& curvature, double hold) const {
    for (std::size_t block = 0; block < 3; ++block) {
      for (int i = kBlocks[block].first; i < kBlocks[block].second; ++i) {
        const auto at = static_cast<std::size_t>(i);
        a[at * kUnknowns + at] += pull(block, hold, curvature);
        b[at] -= pull(block, hold, curvature) * (theta[at] - start[at]);
      }
    }
    for (int i = 1; i + 1 < kKnots; ++i) {
      double w[3], e = 0.0;
      bend(i, w);
      const auto first = static_cast<std::size_t>(kTaps + i - 1);
      for (std::size_t k = 0; k < 3; ++k) e += w[k] * theta[first + k];
      for (std::size_t k = 0; k < 3; ++k) {
        for (std::size_t j = 0; j <= k; ++j)
          a[(first + k) * kUnknowns + first + j] += hold * curvature[1] * w[k] * w[j];
        b[first + k] -= hold * curvature[1] * w[k] * e;
      }
    }
  }

  // Towards the start. The curve is held by its bends, and only lightly to its start.
  static double pull(std::size_t block, double hold, const std::vector<double>& curvature) {
    return (block == 1 ? 1e-3 : 1.0) * hold * curvature[block];
  }

  template <class Signal>
  static std::vector<double> pad(const Signal& x) {
    const std::size_t n = x.size();
    std::vector<double> padded(n + 2 * kTaps, 0.0);
    for (std::size_t t = 0; t < n; ++t) padded[t + kTaps - 1 - kLeft] = static_cast<double>(x[t]);
    return padded;
  }

  // Adds J'J and J'r of one note.
  void add(const Weighed& note, std::vector<double>& a, std::vector<double>& b) const {
    const std::span<const float> x = note.dry;
    const std::size_t n = x.size();
    const auto padded = pad(x);
    const auto u = filtered(theta.data(), x);
    std::vector<double> slope(n), v(n), right(n);
    std::vector<int> segment(n);
    const double* points = &theta[kTaps];
    for (std::size_t t = 0; t < n; ++t) {
      const auto [i, w] = place(u[t], reach);
      segment[t] = i;
      right[t] = w;
      v[t] = points[i] + w * (points[i + 1] - points[i]);
      slope[t] = (points[i + 1] - points[i]) / (knot(i + 1, reach) - knot(i, reach));
    }
    const double* h2 = &theta[kTaps + kKnots];
    const auto y = filtered(h2, v);
    std::vector<double> row(kUnknowns);
    for (std::size_t t = 0; t < n; t += stride_) {
      std::fill(row.begin(), row.end(), 0.0);
      for (int k = 0; k < kTaps; ++k) {
        const long s = static_cast<long>(t) - k + kLeft;
        if (s < 0 || s >= static_cast<long>(n)) continue;
        const auto at = static_cast<std::size_t>(s);
        row[static_cast<std::size_t>(kTaps + kKnots + k)] = v[at];
        if (h2[k] == 0.0) continue;
        const double w = h2[k] * slope[at];
        const double* from = &padded[at + kTaps - 1];
        for (int i = 0; i < kTaps; ++i) row[static_cast<std::size_t>(i)] += w * from[-i];
        row[static_cast<std::size_t>(kTaps + segment[at])] += h2[k] * (1.0 - right[at]);
        row[static_cast<std::size_t>(kTaps + segment[at] + 1)] += h2[k] * right[at];
      }
      const double r = note.wet[t] - y[t];
      for (std::size_t i = 0; i < kUnknowns; ++i) {
        const double p = note.weight * row[i];
        if (p == 0.0) continue;
        double* to = &a[i * kUnknowns];
        for (std::size_t j = 0; j <= i; ++j) to[j] += p * row[j];
        b[i] += p * r;
      }
    }
  }

  std::vector<Weighed> notes_, aside_;  // fitted to; held out, which choose
  std::size_t stride_ = 1;
};

}  // namespace

Baseline::Baseline(const std::vector<Note>& notes) {
  CAFX_CHECK(!notes.empty(), notes.size());
  for (const Note& n : notes) CAFX_CHECK(n.dry.size() == n.wet.size(), n.dry.size(), n.wet.size());
  Fit first(notes), second(notes);
  const auto filter = first.linear();
  first.begin(filter, Fit::delta());
  second.begin(Fit::delta(), filter);
  const double a = first.run(), b = second.run();
  const Fit& best = a <= b ? first : second;
  h1_.assign(best.theta.begin(), best.theta.begin() + kTaps);
  points_.assign(best.theta.begin() + kTaps, best.theta.begin() + kTaps + kKnots);
  h2_.assign(best.theta.begin() + kTaps + kKnots, best.theta.end());
  reach_ = best.reach;
}

double Baseline::curve(double u) const { return value(points_.data(), u, reach_); }

std::vector<float> Baseline::operator()(std::span<const float> x) const {
  auto v = filtered(h1_.data(), x);
  for (double& u : v) u = curve(u);
  const auto y = filtered(h2_.data(), v);
  return {y.begin(), y.end()};
}

}  // namespace cafx
