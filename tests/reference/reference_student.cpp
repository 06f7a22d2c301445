#include "tests/reference/reference_student.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace cafx::reference {

namespace {
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
}  // namespace

Lstm lstm_forward(const Vec& x, const Vec& h0, const Vec& c0, const Vec& w, const Vec& bias, LstmDims d) {
  const long T = d.T, B = d.B, I = d.I, H = d.H, in = I + H;
  Lstm f;
  f.h.resize(static_cast<std::size_t>((T + 1) * B * H));
  f.c.resize(f.h.size());
  f.gates.resize(static_cast<std::size_t>(T * B * 4 * H));
  const long state = d.reversed ? T * B * H : 0;
  std::copy(h0.begin(), h0.end(), f.h.begin() + state);
  std::copy(c0.begin(), c0.end(), f.c.begin() + state);
  for (long step = 0; step < T; ++step) {
    const long t = d.reversed ? T - 1 - step : step;
    const long row_before = d.reversed ? t + 1 : t, row_now = d.reversed ? t : t + 1;
    for (long b = 0; b < B; ++b) {
      double* gates = f.gates.data() + (t * B + b) * 4 * H;
      for (long r = 0; r < 4 * H; ++r) {
        double z = bias[r];
        for (long i = 0; i < I; ++i) z += w[r * in + i] * x[(t * B + b) * I + i];
        for (long k = 0; k < H; ++k) z += w[r * in + I + k] * f.h[(row_before * B + b) * H + k];
        gates[r] = r / H == 2 ? (d.linear ? z : std::tanh(z)) : sigmoid(z);
      }
      for (long k = 0; k < H; ++k) {
        const long before = (row_before * B + b) * H + k, now = (row_now * B + b) * H + k;
        f.c[now] = gates[H + k] * f.c[before] + gates[k] * gates[2 * H + k];
        f.h[now] = gates[3 * H + k] * (d.linear ? f.c[now] : std::tanh(f.c[now]));
      }
    }
  }
  return f;
}

Vec lstm_backward(Vec& dw, Vec& dbias, const Vec& dh, const Lstm& f, const Vec& x, const Vec& w, LstmDims d) {
  const long T = d.T, B = d.B, I = d.I, H = d.H, in = I + H;
  Vec dx(x.size());
  for (long b = 0; b < B; ++b) {
    Vec later(static_cast<std::size_t>(H)), dc(later);
    for (long step = 0; step < T; ++step) {
      const long t = d.reversed ? step : T - 1 - step;
      const long row_before = d.reversed ? t + 1 : t, row_now = d.reversed ? t : t + 1;
      const double* gates = f.gates.data() + (t * B + b) * 4 * H;
      Vec dz(static_cast<std::size_t>(4 * H));
      for (long k = 0; k < H; ++k) {
        const long before = (row_before * B + b) * H + k, now = (row_now * B + b) * H + k;
        const double i = gates[k], forget = gates[H + k], g = gates[2 * H + k], o = gates[3 * H + k],
                     bent_c = d.linear ? f.c[now] : std::tanh(f.c[now]), of_h = dh[(t * B + b) * H + k] + later[k];
        dc[k] += of_h * o * (d.linear ? 1 : 1 - bent_c * bent_c);
        dz[k] = dc[k] * g * i * (1 - i);
        dz[H + k] = dc[k] * f.c[before] * forget * (1 - forget);
        dz[2 * H + k] = dc[k] * i * (d.linear ? 1 : 1 - g * g);
        dz[3 * H + k] = of_h * bent_c * o * (1 - o);
        dc[k] *= forget;
        later[k] = 0;
      }
      for (long r = 0; r < 4 * H; ++r) {
        dbias[r] += dz[r];
        for (long i = 0; i < I; ++i) {
          dw[r * in + i] += dz[r] * x[(t * B + b) * I + i];
          dx[(t * B + b) * I + i] += dz[r] * w[r * in + i];
        }
        for (long k = 0; k < H; ++k) {
          dw[r * in + I + k] += dz[r] * f.h[(row_before * B + b) * H + k];
          later[k] += dz[r] * w[r * in + I + k];
        }
      }
    }
  }
  return dx;
}

namespace {

LstmDims backwards(LstmDims d) {
  d.reversed = true;
  return d;
}
Lstm from_rest(const Vec& x, const Vec& w, const Vec& bias, LstmDims d) {
  const Vec rest(static_cast<std::size_t>(d.B * d.H));
  return lstm_forward(x, rest, rest, w, bias, d);
}

}  // namespace

Vec bilstm_forward(const Vec& x, const Bilstm& p, LstmDims d) {
  const Vec h = from_rest(x, p.w, p.bias, d).h, other = from_rest(x, p.w_reversed, p.bias_reversed, backwards(d)).h;
  const long row = static_cast<long>(d.B) * d.H;
  Vec y;
  for (long n = 0; n < static_cast<long>(d.T) * d.B; ++n) {
    y.insert(y.end(), h.begin() + row + n * d.H, h.begin() + row + (n + 1) * d.H);
    y.insert(y.end(), other.begin() + n * d.H, other.begin() + (n + 1) * d.H);
  }
  return y;
}

Vec bilstm_backward(Bilstm& g, const Vec& dy, const Vec& x, const Bilstm& p, LstmDims d) {
  Vec dh, dh_other;
  for (long at = 0; at < std::ssize(dy); at += 2 * d.H) {
    dh.insert(dh.end(), dy.begin() + at, dy.begin() + at + d.H);
    dh_other.insert(dh_other.end(), dy.begin() + at + d.H, dy.begin() + at + 2 * d.H);
  }
  Vec dx = lstm_backward(g.w, g.bias, dh, from_rest(x, p.w, p.bias, d), x, p.w, d);
  const Vec more =
      lstm_backward(g.w_reversed, g.bias_reversed, dh_other, from_rest(x, p.w_reversed, p.bias_reversed, backwards(d)),
                    x, p.w_reversed, backwards(d));
  for (std::size_t i = 0; i < dx.size(); ++i) dx[i] += more[i];
  return dx;
}

Vec squeeze_excite_forward(Vec& saved, const Vec& x, const SqueezeExcite& p, SqueezeExciteDims d) {
  const long T = d.T, C = d.C, H = d.H;
  Vec y(x.size());
  saved.clear();
  for (long b = 0; b < d.B; ++b) {
    Vec a(static_cast<std::size_t>(C)), h(static_cast<std::size_t>(H)), s(a.size());
    const double* of = x.data() + b * T * C;
    for (long i = 0; i < T * C; ++i) a[i % C] += std::abs(of[i]) / static_cast<double>(T);
    for (long j = 0; j < H; ++j) {
      double z = p.b1[j];
      for (long c = 0; c < C; ++c) z += p.w1[j * C + c] * a[c];
      h[j] = std::max(0.0, z);
    }
    for (long c = 0; c < C; ++c) {
      double z = p.b2[c];
      for (long j = 0; j < H; ++j) z += p.w2[c * H + j] * h[j];
      s[c] = sigmoid(z);
    }
    for (long i = 0; i < T * C; ++i) y[b * T * C + i] = s[i % C] * of[i];
    for (const Vec* v : {&a, &s, &h}) saved.insert(saved.end(), v->begin(), v->end());
  }
  return y;
}

Vec squeeze_excite_backward(SqueezeExcite& g, const Vec& dy, const Vec& saved, const Vec& x, const SqueezeExcite& p,
                            SqueezeExciteDims d) {
  const long T = d.T, C = d.C, H = d.H;
  Vec dx(x.size());
  for (long b = 0; b < d.B; ++b) {
    const double *a = saved.data() + b * (2 * C + H), *s = a + C, *h = s + C;
    Vec da(static_cast<std::size_t>(C)), ds(da.size()), dh(static_cast<std::size_t>(H));
    const long at = b * T * C;
    for (long i = 0; i < T * C; ++i) ds[i % C] += dy[at + i] * x[at + i];
    for (long c = 0; c < C; ++c) {
      ds[c] *= s[c] * (1 - s[c]);
      g.b2[c] += ds[c];
      for (long j = 0; j < H; ++j) {
        g.w2[c * H + j] += ds[c] * h[j];
        dh[j] += ds[c] * p.w2[c * H + j] * (h[j] > 0 ? 1 : 0);
      }
    }
    for (long j = 0; j < H; ++j) {
      g.b1[j] += dh[j];
      for (long c = 0; c < C; ++c) {
        g.w1[j * C + c] += dh[j] * a[c];
        da[c] += dh[j] * p.w1[j * C + c] / static_cast<double>(T);
      }
    }
    for (long i = 0; i < T * C; ++i) {
      const double v = x[at + i], sign = v > 0 ? 1 : v < 0 ? -1 : 0;
      dx[at + i] = s[i % C] * dy[at + i] + sign * da[i % C];
    }
  }
  return dx;
}

namespace {

// Of B tensors behind one another the b-th; empty stays empty.
Vec place(const Vec& all, long b, long B) {
  const auto n = static_cast<long>(all.size()) / B;
  return Vec(all.begin() + b * n, all.begin() + (b + 1) * n);
}
void append(Vec& all, const Vec& more) { all.insert(all.end(), more.begin(), more.end()); }

template <class Dims>
Dims of_one_place(Dims d) {
  d.B = 1;
  return d;
}

}  // namespace

Vec conv1x1_forward(const Vec& x, const Vec& w, const Vec& bias, Conv1x1Dims d) {
  if (d.B > 1) {
    Vec y;
    for (long b = 0; b < d.B; ++b) append(y, conv1x1_forward(place(x, b, d.B), w, bias, of_one_place(d)));
    return y;
  }
  Vec y(static_cast<std::size_t>(d.O * d.y_stride), NAN);
  for (long o = 0; o < d.O; ++o) {
    for (long t = 0; t < d.T; ++t) {
      double sum = bias.empty() ? 0 : bias[o];
      for (long i = 0; i < d.I; ++i) sum += w[o * d.I + i] * x[i * d.x_stride + t];
      y[o * d.y_stride + t] = sum;
    }
  }
  return y;
}

Vec conv1x1_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& x, const Vec& w, Conv1x1Dims d) {
  if (d.B > 1) {
    Vec dx;
    for (long b = 0; b < d.B; ++b) {
      append(dx, conv1x1_backward(dw, dbias, place(dy, b, d.B), place(x, b, d.B), w, of_one_place(d)));
    }
    return dx;
  }
  Vec dx(x.size(), NAN);
  for (long i = 0; i < d.I; ++i) {
    for (long t = 0; t < d.T; ++t) {
      dx[i * d.x_stride + t] = 0;
      for (long o = 0; o < d.O; ++o) {
        dx[i * d.x_stride + t] += w[o * d.I + i] * dy[o * d.y_stride + t];
        dw[o * d.I + i] += dy[o * d.y_stride + t] * x[i * d.x_stride + t];
      }
    }
  }
  for (long o = 0; o < d.O && !dbias.empty(); ++o) {
    for (long t = 0; t < d.T; ++t) dbias[o] += dy[o * d.y_stride + t];
  }
  return dx;
}

Vec wavenet_layer_forward(Vec& head, Vec& saved, const Vec& x, const Vec& condition, const WavenetLayer& p,
                          WavenetLayerDims d) {
  if (d.B > 1) {
    Vec all_y, all_saved, all_head;
    for (long b = 0; b < d.B; ++b) {
      Vec h = place(head, b, d.B), kept;
      append(all_y, wavenet_layer_forward(h, kept, place(x, b, d.B), place(condition, b, d.B), p, of_one_place(d)));
      append(all_saved, kept);
      append(all_head, h);
    }
    saved = all_saved;
    head = all_head;
    return all_y;
  }
  const long C = d.C, Z = n_z(d), K = d.K, T = d.T;
  Vec y(static_cast<std::size_t>(C * d.y_stride), NAN);
  saved.assign(static_cast<std::size_t>(Z * T), 0);
  for (long t = 0; t < T; ++t) {
    for (long o = 0; o < Z; ++o) {
      double z = p.bias[o] + p.mixer[o] * condition[t];
      for (long i = 0; i < C; ++i) {
        for (long k = 0; k < K; ++k) z += p.w[(o * C + i) * K + k] * x[i * d.x_stride + t + k * d.dilation];
      }
      saved[o * T + t] = o < C ? std::tanh(z) : sigmoid(z);
    }
    const auto a = [&](long i) { return saved[i * T + t] * (d.gated ? saved[(C + i) * T + t] : 1); };
    for (long o = 0; o < C; ++o) {
      if (t >= T - d.H) head[o * d.head_stride + t - (T - d.H)] += a(o);
      double sum = x[o * d.x_stride + t + (K - 1) * d.dilation] + p.bias1[o];
      for (long i = 0; i < C; ++i) sum += p.w1[o * C + i] * a(i);
      y[o * d.y_stride + t] = sum;
    }
  }
  return y;
}

Vec wavenet_layer_backward(WavenetLayer& g, const Vec& dy, const Vec& dhead, const Vec& saved, const Vec& x,
                           const Vec& condition, const WavenetLayer& p, WavenetLayerDims d) {
  if (d.B > 1) {
    Vec dx;
    for (long b = 0; b < d.B; ++b) {
      append(dx, wavenet_layer_backward(g, place(dy, b, d.B), place(dhead, b, d.B), place(saved, b, d.B),
                                        place(x, b, d.B), place(condition, b, d.B), p, of_one_place(d)));
    }
    return dx;
  }
  const long C = d.C, Z = n_z(d), K = d.K, T = d.T;
  Vec dx(x.size(), NAN);
  for (long i = 0; i < C; ++i) {
    for (long t = 0; t < T + (K - 1) * d.dilation; ++t) dx[i * d.x_stride + t] = 0;
  }
  for (long t = 0; t < T; ++t) {
    Vec dz(static_cast<std::size_t>(Z));
    for (long i = 0; i < C; ++i) {
      const double v = saved[i * T + t], s = d.gated ? saved[(C + i) * T + t] : 1;
      double da = t >= T - d.H ? dhead[i * d.head_stride + t - (T - d.H)] : 0;
      for (long o = 0; o < C && !dy.empty(); ++o) {
        da += p.w1[o * C + i] * dy[o * d.y_stride + t];
        g.w1[o * C + i] += dy[o * d.y_stride + t] * v * s;
      }
      if (!dy.empty()) {
        g.bias1[i] += dy[i * d.y_stride + t];
        dx[i * d.x_stride + t + (K - 1) * d.dilation] += dy[i * d.y_stride + t];
      }
      dz[i] = da * s * (1 - v * v);
      if (d.gated) dz[C + i] = da * v * s * (1 - s);
    }
    for (long o = 0; o < Z; ++o) {
      g.bias[o] += dz[o];
      g.mixer[o] += dz[o] * condition[t];
      for (long i = 0; i < C; ++i) {
        for (long k = 0; k < K; ++k) {
          g.w[(o * C + i) * K + k] += dz[o] * x[i * d.x_stride + t + k * d.dilation];
          dx[i * d.x_stride + t + k * d.dilation] += dz[o] * p.w[(o * C + i) * K + k];
        }
      }
    }
  }
  return dx;
}

}  // namespace cafx::reference
