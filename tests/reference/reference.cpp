#include "tests/reference/reference.h"

#include <algorithm>
#include <cmath>

namespace cafx::reference {

namespace {
std::size_t count(long a, long b, long c = 1) { return static_cast<std::size_t>(a * b * c); }
int left_of(int K) { return (K - 1) / 2; }
}  // namespace

double activate(double x, Activation a) {
  switch (a) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSoftplus:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  }
  return NAN;
}

double slope(double y, Activation a) {
  switch (a) {
    case Activation::kIdentity:
      return 1;
    case Activation::kRelu:
      return y > 0 ? 1 : 0;
    case Activation::kTanh:
      return 1 - y * y;
    case Activation::kSoftplus:
      return -std::expm1(-y);
  }
  return NAN;
}

Vec activation_forward(const Vec& x, Activation a) {
  Vec y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = activate(x[i], a);
  return y;
}

Vec activation_backward(const Vec& dy, const Vec& y, Activation a) {
  Vec dx(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) dx[i] = dy[i] * slope(y[i], a);
  return dx;
}

Vec abs_forward(const Vec& x) {
  Vec y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = std::abs(x[i]);
  return y;
}

Vec abs_backward(const Vec& dy, const Vec& x) {
  Vec dx(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) dx[i] = x[i] > 0 ? dy[i] : (x[i] < 0 ? -dy[i] : 0);
  return dx;
}

Vec multiply(const Vec& a, const Vec& b) {
  Vec y(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) y[i] = a[i] * b[i];
  return y;
}

Vec pad(const Vec& x, int B, int T, int K, int left) {
  Vec y(count(B, T + K - 1));
  for (int b = 0; b < B; ++b) {
    for (int t = 0; t < T; ++t) y[count(b, T + K - 1) + left + t] = x[count(b, T) + t];
  }
  return y;
}

Vec conv1d_forward(const Vec& x_padded, const Vec& w, const Vec& bias, Conv1dDims d) {
  Vec y(count(d.B, d.T, d.C));
  for (int b = 0; b < d.B; ++b) {
    const double* x = &x_padded[count(b, d.T + d.K - 1)];
    for (int t = 0; t < d.T; ++t) {
      for (int c = 0; c < d.C; ++c) {
        double s = bias[c];
        for (int k = 0; k < d.K; ++k) s += w[count(c, d.K) + k] * x[t + k];
        y[(count(b, d.T) + t) * d.C + c] = s;
      }
    }
  }
  return y;
}

void conv1d_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& x_padded, Conv1dDims d) {
  for (int b = 0; b < d.B; ++b) {
    const double* x = &x_padded[count(b, d.T + d.K - 1)];
    for (int t = 0; t < d.T; ++t) {
      for (int c = 0; c < d.C; ++c) {
        const double g = dy[(count(b, d.T) + t) * d.C + c];
        dbias[c] += g;
        for (int k = 0; k < d.K; ++k) dw[count(c, d.K) + k] += g * x[t + k];
      }
    }
  }
}

Vec local_conv_forward(const Vec& x, const Vec& w, const Vec& bias, LocalConvDims d) {
  Vec y(count(d.B, d.T, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      double* row = &y[(count(b, d.T) + t) * d.C];
      for (int c = 0; c < d.C; ++c) row[c] = bias[c];
      for (int k = 0; k < d.K; ++k) {
        const int at = t + k - left_of(d.K);
        if (at < 0 || at >= d.T) continue;
        for (int c = 0; c < d.C; ++c) row[c] += w[count(c, d.K) + k] * x[(count(b, d.T) + at) * d.C + c];
      }
    }
  }
  return y;
}

Vec local_conv_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& x, const Vec& w, LocalConvDims d) {
  Vec dx(count(d.B, d.T, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      const double* g = &dy[(count(b, d.T) + t) * d.C];
      for (int c = 0; c < d.C; ++c) dbias[c] += g[c];
      for (int k = 0; k < d.K; ++k) {
        const int at = t + k - left_of(d.K);
        if (at < 0 || at >= d.T) continue;
        for (int c = 0; c < d.C; ++c) {
          const std::size_t i = (count(b, d.T) + at) * d.C + c;
          dw[count(c, d.K) + k] += g[c] * x[i];
          dx[i] += g[c] * w[count(c, d.K) + k];
        }
      }
    }
  }
  return dx;
}

namespace {
// Where tap k of the deconvolution reads u for the output at t.
int deconv_source(int t, int k, Deconv1dDims d) {
  return d.form == Deconv::kAdjoint ? t - k + left_of(d.K) : t + k - left_of(d.K);
}
}  // namespace

Vec deconv1d_forward(const Vec& u, const Vec& w, const Vec& bias, Deconv1dDims d) {
  Vec y(count(d.B, d.T));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      double s = bias[0];
      for (int k = 0; k < d.K; ++k) {
        const int at = deconv_source(t, k, d);
        if (at < 0 || at >= d.T) continue;
        for (int c = 0; c < d.C; ++c) s += w[count(c, d.K) + k] * u[(count(b, d.T) + at) * d.C + c];
      }
      y[count(b, d.T) + t] = s;
    }
  }
  return y;
}

Vec deconv1d_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& u, const Vec& w, Deconv1dDims d) {
  Vec du(count(d.B, d.T, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      const double g = dy[count(b, d.T) + t];
      dbias[0] += g;
      for (int k = 0; k < d.K; ++k) {
        const int at = deconv_source(t, k, d);
        if (at < 0 || at >= d.T) continue;
        for (int c = 0; c < d.C; ++c) {
          const std::size_t i = (count(b, d.T) + at) * d.C + c;
          dw[count(c, d.K) + k] += g * u[i];
          du[i] += g * w[count(c, d.K) + k];
        }
      }
    }
  }
  return du;
}

Vec dense_forward(const Vec& x, const Vec& w, const Vec& bias, DenseDims d) {
  Vec y(count(d.N, d.O));
  for (int n = 0; n < d.N; ++n) {
    for (int o = 0; o < d.O; ++o) {
      double s = bias[o];
      for (int i = 0; i < d.I; ++i) s += w[count(o, d.I) + i] * x[count(n, d.I) + i];
      y[count(n, d.O) + o] = activate(s, d.activation);
    }
  }
  return y;
}

Vec dense_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& y, const Vec& x, const Vec& w, DenseDims d) {
  Vec dx(count(d.N, d.I));
  for (int n = 0; n < d.N; ++n) {
    for (int o = 0; o < d.O; ++o) {
      const std::size_t at = count(n, d.O) + o;
      const double g = dy[at] * slope(y[at], d.activation);
      dbias[o] += g;
      for (int i = 0; i < d.I; ++i) {
        dw[count(o, d.I) + i] += g * x[count(n, d.I) + i];
        dx[count(n, d.I) + i] += g * w[count(o, d.I) + i];
      }
    }
  }
  return dx;
}

Vec dense_time_forward(const Vec& x, const Vec& w, const Vec& bias, DenseTimeDims d) {
  Vec y(count(d.B, d.O, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int o = 0; o < d.O; ++o) {
      for (int c = 0; c < d.C; ++c) {
        double s = bias[(d.bias_of_each ? count(b, d.O) : 0) + o];
        for (int i = 0; i < d.I; ++i) s += w[count(o, d.I) + i] * x[(count(b, d.I) + i) * d.C + c];
        y[(count(b, d.O) + o) * d.C + c] = activate(s, d.activation);
      }
    }
  }
  return y;
}

Vec dense_time_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& y, const Vec& x, const Vec& w, DenseTimeDims d) {
  Vec dx(count(d.B, d.I, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int o = 0; o < d.O; ++o) {
      for (int c = 0; c < d.C; ++c) {
        const std::size_t at = (count(b, d.O) + o) * d.C + c;
        const double g = dy[at] * slope(y[at], d.activation);
        dbias[(d.bias_of_each ? count(b, d.O) : 0) + o] += g;
        for (int i = 0; i < d.I; ++i) {
          dw[count(o, d.I) + i] += g * x[(count(b, d.I) + i) * d.C + c];
          dx[(count(b, d.I) + i) * d.C + c] += g * w[count(o, d.I) + i];
        }
      }
    }
  }
  return dx;
}

Vec local_dense_forward(const Vec& x, const Vec& w, const Vec& bias, LocalDenseDims d) {
  Vec y(count(d.B, d.O, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int o = 0; o < d.O; ++o) {
      for (int c = 0; c < d.C; ++c) {
        double s = bias[count(c, d.O) + o];
        for (int i = 0; i < d.I; ++i) s += w[(count(c, d.O) + o) * d.I + i] * x[(count(b, d.I) + i) * d.C + c];
        y[(count(b, d.O) + o) * d.C + c] = activate(s, d.activation);
      }
    }
  }
  return y;
}

Vec local_dense_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& y, const Vec& x, const Vec& w,
                         LocalDenseDims d) {
  Vec dx(count(d.B, d.I, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int o = 0; o < d.O; ++o) {
      for (int c = 0; c < d.C; ++c) {
        const std::size_t at = (count(b, d.O) + o) * d.C + c;
        const double g = dy[at] * slope(y[at], d.activation);
        dbias[count(c, d.O) + o] += g;
        for (int i = 0; i < d.I; ++i) {
          dw[(count(c, d.O) + o) * d.I + i] += g * x[(count(b, d.I) + i) * d.C + c];
          dx[(count(b, d.I) + i) * d.C + c] += g * w[(count(c, d.O) + o) * d.I + i];
        }
      }
    }
  }
  return dx;
}

Vec max_pool_forward(Positions& positions, const Vec& x, PoolDims d) {
  const int n = d.T / d.P;
  Vec z(count(d.B, n, d.C));
  positions.assign(z.size(), 0);
  for (int b = 0; b < d.B; ++b) {
    for (int p = 0; p < n; ++p) {
      for (int c = 0; c < d.C; ++c) {
        const std::size_t at = (count(b, n) + p) * d.C + c;
        z[at] = x[(count(b, d.T) + p * d.P) * d.C + c];
        for (int r = 1; r < d.P; ++r) {
          const double candidate = x[(count(b, d.T) + p * d.P + r) * d.C + c];
          if (candidate > z[at]) {
            z[at] = candidate;
            positions[at] = r;
          }
        }
      }
    }
  }
  return z;
}

Vec max_pool_backward(const Vec& dz, const Positions& positions, PoolDims d) {
  return unpool_forward(dz, positions, d, Unpool::kPositions);
}

Vec unpool_forward(const Vec& z, const Positions& positions, PoolDims d, Unpool form) {
  const int n = d.T / d.P;
  Vec y(count(d.B, d.T, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      for (int c = 0; c < d.C; ++c) {
        const std::size_t at = (count(b, n) + t / d.P) * d.C + c;
        const bool taken = form == Unpool::kHold || positions[at] == t % d.P;
        y[(count(b, d.T) + t) * d.C + c] = taken ? z[at] : 0;
      }
    }
  }
  return y;
}

Vec unpool_backward(const Vec& dy, const Positions& positions, PoolDims d, Unpool form) {
  const int n = d.T / d.P;
  Vec dz(count(d.B, n, d.C));
  for (int b = 0; b < d.B; ++b) {
    for (int t = 0; t < d.T; ++t) {
      for (int c = 0; c < d.C; ++c) {
        const std::size_t at = (count(b, n) + t / d.P) * d.C + c;
        const bool taken = form == Unpool::kHold || positions[at] == t % d.P;
        if (taken) dz[at] += dy[(count(b, d.T) + t) * d.C + c];
      }
    }
  }
  return dz;
}

namespace {
// The basis function of segment s and its slope.
struct Basis {
  double value, slope;
};
Basis basis(double x, int s, SaafDims d) {
  const double D = (static_cast<double>(d.hi) - d.lo) / d.S, a = d.lo + s * D;
  if (x < a) return {0, 0};
  if (x < a + D) return d.order == 2 ? Basis{(x - a) * (x - a) / 2, x - a} : Basis{x - a, 1};
  return d.order == 2 ? Basis{D * D / 2 + D * (x - a - D), D} : Basis{D, 0};
}
int curved_segment(int row, SaafDims d) { return d.every_second ? 2 * row : row; }
}  // namespace

Vec saaf_forward(const Vec& x, const Vec& v, const Vec& w, SaafDims d) {
  Vec y(x.size());
  const double* v1 = v.data() + (d.has_v0 ? d.C : 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % d.C;
    y[i] = (d.has_v0 ? v[c] : 0.0) + v1[c] * x[i];
    for (int row = 0; row < n_curved(d); ++row) {
      y[i] += d.scale * w[count(row, d.C) + c] * basis(x[i], curved_segment(row, d), d).value;
    }
  }
  return y;
}

Vec saaf_backward(Vec& dv, Vec& dw, const Vec& dy, const Vec& x, const Vec& v, const Vec& w, SaafDims d) {
  Vec dx(x.size());
  const double* v1 = v.data() + (d.has_v0 ? d.C : 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % d.C;
    if (d.has_v0) dv[c] += dy[i];
    dv[(d.has_v0 ? d.C : 0) + c] += dy[i] * x[i];
    dx[i] = dy[i] * v1[c];
    for (int row = 0; row < n_curved(d); ++row) {
      const Basis b = basis(x[i], curved_segment(row, d), d);
      dw[count(row, d.C) + c] += dy[i] * d.scale * b.value;
      dx[i] += dy[i] * d.scale * w[count(row, d.C) + c] * b.slope;
    }
  }
  return dx;
}

Vec saaf_lipschitz(const Vec& v, const Vec& w, SaafDims d) {
  const double D = (static_cast<double>(d.hi) - d.lo) / d.S;
  Vec largest(d.C);
  for (int k = 0; k <= d.S; ++k) {
    for (const double side : {-1e-9, 1e-9}) {
      SaafDims one = d;
      one.B = one.T = 1;
      const Vec x(d.C, d.lo + D * (k + side));
      Vec dv(v.size()), dw(w.size());
      const Vec at = saaf_backward(dv, dw, Vec(d.C, 1.0), x, v, w, one);
      for (int c = 0; c < d.C; ++c) largest[c] = std::max(largest[c], std::abs(at[c]));
    }
  }
  return largest;
}

FrontEnd front_end_forward(const Vec& x_padded, const Vec& w1, const Vec& bias1, const Vec& w2, const Vec& bias2,
                           FrontEndDims d) {
  FrontEnd f;
  f.x1 = conv1d_forward(x_padded, w1, bias1, {d.B, d.T, d.C, d.K1});
  f.before_softplus = local_conv_forward(abs_forward(f.x1), w2, bias2, {d.B, d.T, d.C, d.K2});
  f.x2 = activation_forward(f.before_softplus, Activation::kSoftplus);
  f.z = max_pool_forward(f.positions, f.x2, {d.B, d.T, d.C, d.P});
  return f;
}

void front_end_backward(Vec& dx1, Vec& dw1, Vec& dbias1, Vec& dw2, Vec& dbias2, const Vec& dz, const FrontEnd& forward,
                        const Vec& x_padded, const Vec& w2, FrontEndDims d) {
  const Vec dx2 = max_pool_backward(dz, forward.positions, {d.B, d.T, d.C, d.P});
  const Vec dsum = activation_backward(dx2, forward.x2, Activation::kSoftplus);
  const Vec dabs = local_conv_backward(dw2, dbias2, dsum, abs_forward(forward.x1), w2, {d.B, d.T, d.C, d.K2});
  const Vec through = abs_backward(dabs, forward.x1);
  for (std::size_t i = 0; i < dx1.size(); ++i) dx1[i] += through[i];
  conv1d_backward(dw1, dbias1, dx1, x_padded, {d.B, d.T, d.C, d.K1});
}

namespace {
DenseDims layer_dims(const DnnSaafDims& d, int l) {
  return {d.B * d.T, l == 0 ? d.C : d.width[l - 1], d.width[l], l == d.L - 1 ? Activation::kIdentity : d.activation};
}
}  // namespace

DnnSaaf dnn_saaf_forward(const Vec& r, const Vec& z, const Positions& positions, const DnnSaafParams& p,
                         const DnnSaafDims& d) {
  DnnSaaf f;
  f.h.push_back(multiply(unpool_forward(z, positions, {d.B, d.T, d.C, d.P}, d.unpool), r));
  for (int l = 0; l < d.L; ++l) f.h.push_back(dense_forward(f.h.back(), p.w[l], p.bias[l], layer_dims(d, l)));
  f.u = d.use_saaf ? saaf_forward(f.h.back(), p.saaf_v, p.saaf_w, d.saaf) : f.h.back();
  return f;
}

void dnn_saaf_backward(Vec& dr, Vec& dz, DnnSaafParams& grads, const Vec& du, const DnnSaaf& forward, const Vec& r,
                       const Vec& z, const Positions& positions, const DnnSaafParams& p, const DnnSaafDims& d) {
  Vec g = du;
  if (d.use_saaf) g = saaf_backward(grads.saaf_v, grads.saaf_w, du, forward.h.back(), p.saaf_v, p.saaf_w, d.saaf);
  for (int l = d.L - 1; l >= 0; --l) {
    g = dense_backward(grads.w[l], grads.bias[l], g, forward.h[l + 1], forward.h[l], p.w[l], layer_dims(d, l));
  }
  const PoolDims pool{d.B, d.T, d.C, d.P};
  dr = multiply(g, unpool_forward(z, positions, pool, d.unpool));
  dz = unpool_backward(multiply(g, r), positions, pool, d.unpool);
}

}  // namespace cafx::reference
