// kernels/loss/loss_stft_cpu.h -- the multi-resolution STFT term of one place on a CPU, with its gradient.
//
//   Two frames are one complex signal, so one complex transform gives both spectra; kW such pairs go through the
//   transform side by side, one to a lane, so that it is written without a shuffle. y and target take the same steps:
//   equal signals have equal spectra. An own transform: the library in this build allocates its plans, and its
//   templates would be merged between instruction sets.
//
//   Included by loss_cpu.cpp only.
#pragma once

#include <cmath>

#include "kernels/loss/loss_math.h"
#include "kernels/simd/vec.h"

namespace cafx::CAFX_ISA_NS {

// sum_n x[n] exp(-2 pi i k n / N) for each lane, N a power of two from 4 on; Stockham's order, four at a time. The
// result lies in re, im; the others are overwritten. With re and im exchanged it is the sum with exp(+2 pi i k n / N).
struct Transform {
  int N;
  const float* twiddles;           // (kStftLargest) pairs
  float *re, *im, *re_to, *im_to;  // (N) vectors each

  void swap() {
    float *r = re, *i = im;
    re = re_to, im = im_to;
    re_to = r, im_to = i;
  }
  void run() {
    const int unit = kStftLargest / N;
    int n = N, s = 1;
    for (; n >= 4; n /= 4, s *= 4) {
      const int quarter = n / 4;
      for (int p = 0; p < quarter; ++p) {
        const float* w = twiddles + 2L * unit * s * p;  // of one step; two and three are as far again
        const float *w2 = twiddles + 4L * unit * s * p, *w3 = twiddles + 6L * unit * s * p;
        for (int q = 0; q < s; ++q) {
          const long from = q + static_cast<long>(s) * p, to = q + 4L * s * p, apart = static_cast<long>(s) * quarter;
          const auto r = [&](long k) { return load(re + (from + k * apart) * kW); };
          const auto i = [&](long k) { return load(im + (from + k * apart) * kW); };
          const vf sum_r = r(0) + r(2), sum_i = i(0) + i(2), dif_r = r(0) - r(2), dif_i = i(0) - i(2);
          const vf odd_r = r(1) + r(3), odd_i = i(1) + i(3), turned_r = i(3) - i(1),
                   turned_i = r(1) - r(3);  // i (b - d)
          const auto put = [&](long k, vf x, vf y) {
            store(re_to + (to + k * s) * kW, x);
            store(im_to + (to + k * s) * kW, y);
          };
          const auto put_turned = [&](long k, vf x, vf y, const float* by) {
            put(k, x * by[0] - y * by[1], x * by[1] + y * by[0]);
          };
          put(0, sum_r + odd_r, sum_i + odd_i);
          put_turned(1, dif_r - turned_r, dif_i - turned_i, w);
          put_turned(2, sum_r - odd_r, sum_i - odd_i, w2);
          put_turned(3, dif_r + turned_r, dif_i + turned_i, w3);
        }
      }
      swap();
    }
    if (n == 2) {
      for (long q = 0; q < s; ++q) {
        const vf ar = load(re + q * kW), ai = load(im + q * kW), br = load(re + (q + s) * kW),
                 bi = load(im + (q + s) * kW);
        store(re_to + q * kW, ar + br);
        store(im_to + q * kW, ai + bi);
        store(re_to + (q + s) * kW, ar - br);
        store(im_to + (q + s) * kW, ai - bi);
      }
      swap();
    }
  }
};

// The STFT of one resolution over one signal.
struct Stft {
  StftResolution r;
  int T, frames, bins, groups;  // groups of kW pairs of frames
  const float *window, *twiddles;
  float* buffers;  // 4 n_fft vectors

  Stft(int resolution, int T, const StftTables& tables, float* buffers)
      : r(kStftResolutions[resolution]),
        T(T),
        frames(stft_frames(T, r.hop)),
        bins(r.n_fft / 2 + 1),
        groups((frames + 2 * kW - 1) / (2 * kW)),
        window(tables.windows + window_offset(resolution)),
        twiddles(tables.twiddles),
        buffers(buffers) {}

  Transform transform() const {
    const long n = static_cast<long>(r.n_fft) * kW;
    return {r.n_fft, twiddles, buffers, buffers + n, buffers + 2 * n, buffers + 3 * n};
  }
  int frame(int group, int lane, int half) const { return 2 * (group * kW + lane) + half; }
  // Calls f(index in the buffer, sample of the signal, window) for each sample of a frame that the window lets through.
  template <class F>
  void each_sample(int frame, F f) const {
    const int left = (r.n_fft - r.window) / 2, first = frame * r.hop - r.n_fft / 2 + left;
    for (int i = 0; i < r.window; ++i) f(left + i, reflected(first + i, T), window[i]);
  }

  // Spectra of a group's frames: for each bin re and im of the even frames, then of the odd ones. Frames beyond the
  // last are 0.
  Transform spectra(const float* x, int group) const {
    Transform t = transform();
    for (long i = 0; i < 2L * r.n_fft * kW; ++i) buffers[i] = 0.0f;
    for (int half = 0; half < 2; ++half) {
      float* to = half == 0 ? t.re : t.im;
      for (int lane = 0; lane < kW && frame(group, lane, half) < frames; ++lane) {
        each_sample(frame(group, lane, half),
                    [&](int i, int at, float w) { to[static_cast<long>(i) * kW + lane] = w * x[at]; });
      }
    }
    t.run();
    return t;
  }
  // out[0..3]: re and im of the even and of the odd frames at bin k, from the transform of both.
  static void unpack(vf* out, const Transform& t, int k) {
    const long at = static_cast<long>(k) * kW, mirrored = static_cast<long>((t.N - k) % t.N) * kW;
    const vf zr = load(t.re + at), zi = load(t.im + at), mr = load(t.re + mirrored), mi = load(t.im + mirrored);
    out[0] = 0.5f * (zr + mr);
    out[1] = 0.5f * (zi - mi);
    out[2] = 0.5f * (zi + mi);
    out[3] = 0.5f * (mr - zr);
  }
  // 1 for frames that there are.
  vf there(int group, int half) const {
    vf v = {};
    for (int lane = 0; lane < kW; ++lane) v[lane] = frame(group, lane, half) < frames ? 1.0f : 0.0f;
    return v;
  }
};

CAFX_INLINE vf power(vf re, vf im) { return re * re + im * im; }
CAFX_INLINE vf floored(vf p) { return p < kStftFloor ? set1(kStftFloor) : p; }  // NaN stays NaN
CAFX_INLINE vf vsqrt(vf x) {
  for (int i = 0; i < kW; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

// log(x) for normal x > 0, by the series of atanh around 1: 2e-7 max(1, |result|). NaN stays NaN.
CAFX_INLINE vf vlog(vf x) {
  const vi bits = reinterpret_cast<vi>(x) - set1i(0x3f3504f3);  // from sqrt(1/2) on
  const vi exponent = bits >> 23;
  const vf m = reinterpret_cast<vf>((bits & set1i(0x7fffff)) + set1i(0x3f3504f3)),
           n = __builtin_convertvector(exponent, vf);
  const vf s = (m - 1.0f) / (m + 1.0f), q = s * s;
  vf p = q * 2.2222222e-1f + 2.8571429e-1f;
  p = p * q + 4.0e-1f;
  p = p * q + 6.6666667e-1f;
  const vf result = n * 0.693359375f + (n * -2.12194440e-4f + (2.0f * s + s * q * p));
  return x == x ? result : x;
}

struct StftSums {
  double difference = 0, target = 0, log = 0, linear = 0;  // of (R - S)^2, R^2, |log R - log S|, |R - S|
};

// Fills spectra of y and magnitudes of target, both (groups, bins) blocks of 4 and 2 vectors, and sums the terms.
inline StftSums stft_forward(const Stft& s, float* spectra, float* magnitudes, const float* y, const float* target,
                             bool with_log) {
  StftSums sums;
  for (int g = 0; g < s.groups; ++g) {
    float* of_y = spectra + static_cast<long>(g) * s.bins * 4 * kW;
    float* of_target = magnitudes + static_cast<long>(g) * s.bins * 2 * kW;
    Transform t = s.spectra(y, g);
    vf v[4];
    for (int k = 0; k < s.bins; ++k) {
      Stft::unpack(v, t, k);
      for (int i = 0; i < 4; ++i) store(of_y + (4L * k + i) * kW, v[i]);
    }
    t = s.spectra(target, g);
    vf difference = {}, energy = {}, log = {}, linear = {};
    const vf there[] = {s.there(g, 0), s.there(g, 1)};
    for (int k = 0; k < s.bins; ++k) {
      Stft::unpack(v, t, k);
      for (int half = 0; half < 2; ++half) {
        const float* of = of_y + (4L * k + 2 * half) * kW;
        const vf r2 = floored(power(v[2 * half], v[2 * half + 1])), s2 = floored(power(load(of), load(of + kW)));
        const vf r = vsqrt(r2), d = r - vsqrt(s2);
        store(of_target + (2L * k + half) * kW, r);
        difference += d * d;  // frames that are not there differ by 0
        energy += there[half] * r2;
        linear += vabs(d);
        if (with_log) log += vabs(vlog(r2 / s2));
      }
    }
    sums.difference += static_cast<double>(sum(difference));
    sums.target += static_cast<double>(sum(energy));
    sums.log += 0.5 * static_cast<double>(sum(log));
    sums.linear += static_cast<double>(sum(linear));
  }
  return sums;
}

struct StftFactors {
  float difference, log, linear;  // of S - R, sign(S - R) / S, sign(S - R)
};

// dy += the gradient for y, from what stft_forward left.
inline void stft_backward(const Stft& s, float* dy, const float* spectra, const float* magnitudes, StftFactors f) {
  for (int g = 0; g < s.groups; ++g) {
    const float* of_y = spectra + static_cast<long>(g) * s.bins * 4 * kW;
    const float* of_target = magnitudes + static_cast<long>(g) * s.bins * 2 * kW;
    Transform t = s.transform();
    for (int k = 0; k < s.bins; ++k) {
      vf v[4];
      // A bin inside stands for its mirror image too.
      const float share = k == 0 || 2 * k == s.r.n_fft ? 1.0f : 0.5f;
      for (int half = 0; half < 2; ++half) {
        const vf re = load(of_y + (4L * k + 2 * half) * kW), im = load(of_y + (4L * k + 2 * half + 1) * kW);
        const vf p = power(re, im), magnitude = vsqrt(floored(p)),
                 d = magnitude - load(of_target + (2L * k + half) * kW);
        const vf sign = d > 0.0f ? set1(1.0f) : d < 0.0f ? set1(-1.0f) : 0.0f * d;
        const vf slope = f.difference * d + sign * (f.log / magnitude + f.linear);
        const vf factor = p < kStftFloor ? vf{} : share * slope / magnitude;
        v[2 * half] = factor * re;
        v[2 * half + 1] = factor * im;
      }
      const long at = static_cast<long>(k) * kW, mirrored = static_cast<long>((t.N - k) % t.N) * kW;
      store(t.re + mirrored, v[0] + v[3]);
      store(t.im + mirrored, v[2] - v[1]);
      store(t.re + at, v[0] - v[3]);
      store(t.im + at, v[2] + v[1]);
    }
    float* re = t.re;  // exchanged: the sum with exp(+2 pi i k n / N)
    t.re = t.im, t.im = re;
    re = t.re_to;
    t.re_to = t.im_to, t.im_to = re;
    t.run();
    for (int lane = 0; lane < kW; ++lane) {
      for (int half = 0; half < 2 && s.frame(g, lane, half) < s.frames; ++half) {
        const float* from = half == 0 ? t.im : t.re;
        s.each_sample(s.frame(g, lane, half),
                      [&](int i, int at, float w) { dy[at] += w * from[static_cast<long>(i) * kW + lane]; });
      }
    }
  }
}

// T times the term, without its weight; its gradient times `scale` and the weight is added to dy (T), unless that is
// null.
inline double add_stft(float* dy, const float* y, const float* target, int T, float scale, const LossWeights& w,
                       const StftTables& tables, float* scratch) {
  int n = 0;
  for (const StftResolution& r : kStftResolutions) n += stft_fits(T, r.n_fft) ? 1 : 0;
  double total = 0.0;
  for (int i = 0; i < 3; ++i) {
    if (!stft_fits(T, kStftResolutions[i].n_fft)) continue;
    const Stft s(i, T, tables, scratch);
    float* spectra = scratch + 4L * s.r.n_fft * kW;
    float* magnitudes = spectra + static_cast<long>(s.groups) * s.bins * 4 * kW;
    const StftSums sums = stft_forward(s, spectra, magnitudes, y, target, w.stft_log != 0.0f);
    const double distance = sqrt(sums.difference), of_target = sqrt(sums.target);
    const double count = static_cast<double>(s.frames) * s.bins, to = static_cast<double>(T) / n;
    const auto wc = static_cast<double>(w.stft_convergence), wlog = static_cast<double>(w.stft_log),
               wlin = static_cast<double>(w.stft_linear);
    total += to * (wc * distance / of_target + (wlog * sums.log + wlin * sums.linear) / count);
    if (!dy) continue;
    const double slope = to * static_cast<double>(w.mr_stft) * static_cast<double>(scale);
    stft_backward(s, dy, spectra, magnitudes,
                  {static_cast<float>(distance > 0.0 ? slope * wc / (distance * of_target) : 0.0),
                   static_cast<float>(slope * wlog / count), static_cast<float>(slope * wlin / count)});
  }
  return total;
}

}  // namespace cafx::CAFX_ISA_NS
