#include "tests/reference/reference_loss.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

namespace cafx::reference {

namespace {

using Complex = std::complex<double>;
using Spectrum = std::vector<Complex>;

// sum_n x[n] exp(sign 2 pi i k n / N), by halves.
Spectrum transform(const Spectrum& x, double sign) {
  const std::size_t N = x.size();
  if (N == 1) return x;
  Spectrum even(N / 2), odd(N / 2), all(N);
  for (std::size_t n = 0; n < N / 2; ++n) even[n] = x[2 * n], odd[n] = x[2 * n + 1];
  even = transform(even, sign);
  odd = transform(odd, sign);
  for (std::size_t k = 0; k < N / 2; ++k) {
    const Complex turned =
        std::polar(1.0, sign * 2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(N)) * odd[k];
    all[k] = even[k] + turned;
    all[k + N / 2] = even[k] - turned;
  }
  return all;
}

struct Stft {
  StftResolution r;
  long T;
  long frames() const { return 1 + T / r.hop; }
  long bins() const { return r.n_fft / 2 + 1; }
  long source(long frame, long n) const {  // reflected at both ends
    const long i = frame * r.hop + n - r.n_fft / 2;
    return i < 0 ? -i : i >= T ? 2 * (T - 1) - i : i;
  }
  double window(long n) const {
    const long i = n - (r.n_fft - r.window) / 2;
    return i < 0 || i >= r.window ? 0.0
                                  : 0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / r.window);
  }
  Spectrum of(const Vec& x, long frame) const {
    Spectrum s(static_cast<std::size_t>(r.n_fft));
    for (long n = 0; n < r.n_fft; ++n) s[n] = window(n) * x[source(frame, n)];
    return transform(s, -1);
  }
};

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
double magnitude(Complex z) { return std::sqrt(std::max(std::norm(z), 1e-8)); }

// The term of one signal against another, without its weight; adds factor times its gradient to ds.
double stft_term(Vec& ds, const Vec& s, const Vec& r, const LossWeights& w, double factor) {
  double total = 0;
  int n = 0;
  const auto T = static_cast<long>(s.size());
  for (const StftResolution& resolution : kStftResolutions) n += T > resolution.n_fft / 2 ? 1 : 0;
  for (const StftResolution& resolution : kStftResolutions) {
    if (T <= resolution.n_fft / 2) continue;
    const Stft stft{resolution, T};
    std::vector<Spectrum> of_s, of_r;
    double difference = 0, energy = 0, log = 0, linear = 0;
    for (long f = 0; f < stft.frames(); ++f) {
      of_s.push_back(stft.of(s, f));
      of_r.push_back(stft.of(r, f));
      for (long k = 0; k < stft.bins(); ++k) {
        const double a = magnitude(of_s[f][k]), b = magnitude(of_r[f][k]);
        difference += (a - b) * (a - b);
        energy += b * b;
        log += std::abs(std::log(a) - std::log(b));
        linear += std::abs(a - b);
      }
    }
    const double count = static_cast<double>(stft.frames() * stft.bins());
    const double convergence = std::sqrt(difference) / std::sqrt(energy);
    total += (w.stft_convergence * convergence + (w.stft_log * log + w.stft_linear * linear) / count) / n;
    for (long f = 0; f < stft.frames() && factor != 0; ++f) {
      Spectrum g(static_cast<std::size_t>(resolution.n_fft));
      for (long k = 0; k < stft.bins(); ++k) {
        const double a = magnitude(of_s[f][k]), b = magnitude(of_r[f][k]);
        if (std::norm(of_s[f][k]) < 1e-8) continue;
        const double of_convergence = difference > 0 ? (a - b) / (std::sqrt(difference) * std::sqrt(energy)) : 0.0;
        const double of_sign = sign(a - b) * (w.stft_log / a + w.stft_linear) / count;
        g[k] = factor / n * (w.stft_convergence * of_convergence + of_sign) * of_s[f][k] / a;
      }
      const Spectrum back = transform(g, 1);
      for (long i = 0; i < resolution.n_fft; ++i) ds[stft.source(f, i)] += stft.window(i) * back[i].real();
    }
  }
  return total;
}

Vec filtered(const Vec& x, double a) {
  Vec p(x.size());
  for (std::size_t t = 0; t < x.size(); ++t) p[t] = x[t] - (t > 0 ? a * x[t - 1] : 0.0);
  return p;
}
Vec place(const Vec& x, long b, long stride, long T) { return Vec(x.begin() + b * stride, x.begin() + b * stride + T); }
double mean_square(const Vec& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return sum / static_cast<double>(x.size());
}

// losses[b]; adds scale times the gradient to dy.
double loss_of(Vec& dy, const Vec& y, const Vec& target, const double* reference, double scale, const LossWeights& w) {
  const double a = w.pre_emphasis;
  const auto T = static_cast<double>(y.size());
  const Vec s = filtered(y, a), r = filtered(target, a);
  const double energy = reference ? reference[0] : mean_square(r) + 1e-8,
               plain = reference ? reference[1] : mean_square(target) + 1e-8,
               size = w.relative_mae ? reference[2] : 1.0;
  double loss = 0, sum = 0;
  Vec ds(y.size());
  for (std::size_t t = 0; t < y.size(); ++t) {
    const double e = y[t] - target[t], p = s[t] - r[t];
    sum += e;
    loss += w.mae * std::abs(e) / size + w.mse * e * e + w.esr * p * p / energy + w.log_cosh * std::log(std::cosh(e));
    dy[t] += scale * (w.mae * sign(e) / size + 2 * w.mse * e + w.log_cosh * std::tanh(e));
    ds[t] += scale * w.esr * 2 * p / energy;
  }
  loss += T * w.dc * (sum / T) * (sum / T) / plain;
  for (double& g : dy) g += scale * w.dc * 2 * (sum / T) / plain;
  if (w.mr_stft != 0) loss += T * w.mr_stft * stft_term(ds, s, r, w, scale * T * w.mr_stft);
  for (std::size_t t = 0; t < y.size(); ++t) dy[t] += ds[t] - (t + 1 < y.size() ? a * ds[t + 1] : 0.0);
  return loss;
}

}  // namespace

Vec loss_forward(const Vec& y, const Vec& target, const Vec& reference, const LossWeights& w, LossDims d) {
  Vec losses;
  for (long b = 0; b < d.B; ++b) {
    Vec ignored(static_cast<std::size_t>(d.T));
    losses.push_back(loss_of(ignored, place(y, b, d.T, d.T), place(target, b, d.target_stride, d.T),
                             reference.empty() ? nullptr : &reference[3 * b], 0, w));
  }
  return losses;
}

Vec loss_backward(const Vec& y, const Vec& target, const Vec& reference, double scale, const LossWeights& w,
                  LossDims d) {
  Vec all;
  for (long b = 0; b < d.B; ++b) {
    Vec dy(static_cast<std::size_t>(d.T));
    loss_of(dy, place(y, b, d.T, d.T), place(target, b, d.target_stride, d.T),
            reference.empty() ? nullptr : &reference[3 * b], scale, w);
    all.insert(all.end(), dy.begin(), dy.end());
  }
  return all;
}

Vec loss_reference(const Vec& target, const Vec& floors, double pre_emphasis, LossDims d) {
  Vec all;
  for (long b = 0; b < d.B; ++b) {
    const Vec t = place(target, b, d.target_stride, d.T);
    double sum = 0;
    for (const double x : t) sum += std::abs(x);
    all.insert(all.end(),
               {mean_square(filtered(t, pre_emphasis)) + floors[0], mean_square(t) + floors[1], sum / d.T + floors[2]});
  }
  return all;
}

}  // namespace cafx::reference
