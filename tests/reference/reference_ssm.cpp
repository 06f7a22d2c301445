#include "tests/reference/reference_ssm.h"

#include <algorithm>
#include <cmath>
#include <complex>

namespace cafx::reference {

namespace {

using Complex = std::complex<double>;

struct Oscillator {
  Complex A, a, c, E, r;
  double dt;
  Oscillator(const Ssm& p, SsmDims d, long channel, long n) {
    const std::size_t i = static_cast<std::size_t>(channel * d.N + n);
    dt = std::exp(p.log_dt[static_cast<std::size_t>(channel)]);
    A = {-std::exp(p.log_a_real[i]), p.a_imag[i]};
    a = std::exp(dt * A);
    c = {p.c[2 * i], p.c[2 * i + 1]};
    E = (a - 1.0) / A;
    r = c * E;
  }
};

}  // namespace

Vec ssm_forward(Vec& state, Vec& saved, const Vec& u, const Ssm& p, SsmDims d) {
  Vec y(u.size());
  const long N = d.N, marks = ssm_marks(d.T);
  saved.assign(static_cast<std::size_t>(d.B * d.C * marks * 2 * N), 0.0);
  for (long row = 0; row < d.B * d.C; ++row) {
    const long channel = row % d.C;
    for (long t = 0; t < d.T; ++t) y[row * d.T + t] = p.d[channel] * u[row * d.T + t];
    for (long n = 0; n < N; ++n) {
      const Oscillator o(p, d, channel, n);
      Complex s{state[2 * (row * N + n)], state[2 * (row * N + n) + 1]};
      for (long t = 0; t < d.T; ++t) {
        if (t % kSsmTile == 0) {
          double* mark = saved.data() + (row * marks + t / kSsmTile) * 2 * N;
          mark[2 * n] = s.real();
          mark[2 * n + 1] = s.imag();
        }
        s = o.a * s + u[row * d.T + t];
        y[row * d.T + t] += 2.0 * (o.r * s).real();
      }
      state[2 * (row * N + n)] = s.real();
      state[2 * (row * N + n) + 1] = s.imag();
    }
  }
  return y;
}

Vec ssm_backward(Ssm& g, const Vec& dy, const Vec& u, const Vec& state, const Ssm& p, SsmDims d) {
  Vec du(u.size());
  const long N = d.N;
  for (long row = 0; row < d.B * d.C; ++row) {
    const long channel = row % d.C, at = row * d.T;
    for (long t = 0; t < d.T; ++t) {
      du[at + t] = p.d[channel] * dy[at + t];
      g.d[channel] += dy[at + t] * u[at + t];
    }
    for (long n = 0; n < N; ++n) {
      const Oscillator o(p, d, channel, n);
      std::vector<Complex> s(static_cast<std::size_t>(d.T + 1));  // one more: before the first sample
      s[0] = {state[2 * (row * N + n)], state[2 * (row * N + n) + 1]};
      for (long t = 0; t < d.T; ++t) s[t + 1] = o.a * s[t] + u[at + t];
      Complex later = 0.0, of_r = 0.0, of_a = 0.0;  // the output changes by Re(of_r dr), Re(of_a da)
      for (long t = d.T - 1; t >= 0; --t) {
        later = std::conj(o.a) * later + 2.0 * dy[at + t] * std::conj(o.r);
        du[at + t] += later.real();
        of_r += 2.0 * dy[at + t] * s[t + 1];
        of_a += std::conj(later) * s[t];
      }
      const long i = channel * N + n;
      g.c[2 * i] += (of_r * o.E).real();
      g.c[2 * i + 1] -= (of_r * o.E).imag();
      const Complex of_z = of_a * o.a + of_r * o.c * o.a / o.A;  // z = dt A
      const Complex of_A = of_z * o.dt - of_r * o.r / o.A;
      g.log_a_real[i] += (of_A * o.A.real()).real();
      g.a_imag[i] -= of_A.imag();
      g.log_dt[channel] += (of_z * o.A).real() * o.dt;
    }
  }
  return du;
}

namespace {

template <class Body>
void over_samples(FilmDims d, Body body) {  // body(b, c, k, i): channel c of place b, block k, sample i of all
  for (long b = 0, i = 0; b < d.B; ++b) {
    for (long c = 0; c < d.C; ++c) {
      for (long t = 0; t < d.T; ++t, ++i) body(b, c, t / d.block, i);
    }
  }
}
long pooled_at(FilmDims d, long k, long b, long c) { return (k * d.B + b) * (d.C + d.beside) + c; }

}  // namespace

Vec film_pool_forward(const Vec& x, const Vec& constants, FilmDims d) {
  const long K = film_blocks(d), width = d.C + d.beside;
  Vec pooled(static_cast<std::size_t>(K * d.B * width), -INFINITY);
  over_samples(d, [&](long b, long c, long k, long i) {
    double& p = pooled[pooled_at(d, k, b, c)];
    p = std::max(p, x[i]);
  });
  if (d.T % d.block != 0) {
    for (long i = (K - 1) * d.B * width; i < K * d.B * width; ++i) pooled[i] = std::max(pooled[i], 0.0);
  }
  for (long k = 0; k < K; ++k) {
    for (long b = 0; b < d.B; ++b) {
      for (long i = 0; i < d.beside; ++i)
        pooled[pooled_at(d, k, b, d.C + i)] = constants.empty() ? 0.0 : constants[b * d.beside + i];
    }
  }
  return pooled;
}

Vec film_pool_backward(const Vec& dpooled, const Vec& x, FilmDims d) {
  const Vec pooled = film_pool_forward(x, {}, d);
  Vec dx(x.size());
  std::vector<bool> taken(pooled.size());
  over_samples(d, [&](long b, long c, long k, long i) {
    const long at = pooled_at(d, k, b, c);
    if (taken[at] || x[i] != pooled[at]) return;
    taken[at] = true;
    dx[i] = dpooled[at];
  });
  return dx;
}

namespace {

struct Modulation {
  const Vec& m;
  FilmDims d;
  double scale(long k, long b, long c) const {
    return m.empty() ? 1.0 : m[(k * d.B + b) * 2 * d.C + c] + (d.around_one ? 1.0 : 0.0);
  }
  double shift(long k, long b, long c) const { return m.empty() ? 0.0 : m[(k * d.B + b) * 2 * d.C + d.C + c]; }
};

}  // namespace

Vec film_forward(const Vec& z, const Vec& x, const Vec& residual, const Vec& modulation, FilmDims d) {
  Vec y(z.size());
  const Modulation m{modulation, d};
  over_samples(d, [&](long b, long c, long k, long i) {
    y[i] = std::tanh(m.scale(k, b, c) * z[i] + m.shift(k, b, c)) + residual[c] * x[i];
  });
  return y;
}

Film film_backward(const Vec& dy, const Vec& z, const Vec& x, const Vec& residual, const Vec& modulation, FilmDims d) {
  Film g{Vec(z.size()), Vec(modulation.size()), Vec(z.size()), Vec(residual.size())};
  const Modulation m{modulation, d};
  over_samples(d, [&](long b, long c, long k, long i) {
    const double bent = std::tanh(m.scale(k, b, c) * z[i] + m.shift(k, b, c)), slope = dy[i] * (1 - bent * bent);
    g.dz[i] = slope * m.scale(k, b, c);
    g.dx[i] = residual[c] * dy[i];
    g.dresidual[c] += dy[i] * x[i];
    if (modulation.empty()) return;
    g.dmodulation[(k * d.B + b) * 2 * d.C + c] += slope * z[i];
    g.dmodulation[(k * d.B + b) * 2 * d.C + d.C + c] += slope;
  });
  return g;
}

FilmFold film_fold(const Vec& w, const Vec& bias, const Vec& modulation, FilmFoldDims d) {
  FilmFold f{w, bias, {}};
  for (long i = 0; i < static_cast<long>(w.size()); ++i) f.w[i] *= 1 + modulation[i / d.I];
  for (long o = 0; o < static_cast<long>(bias.size()); ++o) {
    f.bias[o] = (1 + modulation[o]) * bias[o] + modulation[d.O + o];
  }
  return f;
}

FilmFold film_fold_backward(const FilmFold& dfolded, const Vec& w, const Vec& bias, const Vec& modulation,
                            FilmFoldDims d) {
  FilmFold g{dfolded.w, dfolded.bias, Vec(modulation.size())};
  for (long i = 0; i < static_cast<long>(w.size()); ++i) {
    g.w[i] *= 1 + modulation[i / d.I];
    g.dmodulation[i / d.I] += dfolded.w[i] * w[i];
  }
  for (long o = 0; o < static_cast<long>(bias.size()); ++o) {
    g.bias[o] *= 1 + modulation[o];
    g.dmodulation[o] += dfolded.bias[o] * bias[o];
    g.dmodulation[d.O + o] = dfolded.bias[o];
  }
  return g;
}

}  // namespace cafx::reference
