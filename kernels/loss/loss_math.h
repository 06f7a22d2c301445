// kernels/loss/loss_math.h -- what the loss's twins share: coefficients of one place, terms of one sample, tables of
// the STFT.
#pragma once

#include <cmath>
#include <cstddef>

#include "kernels/loss/loss.h"

#if defined(__CUDACC__)
#define CAFX_HOST_DEVICE __host__ __device__
#else
#define CAFX_HOST_DEVICE
#endif

namespace cafx {

inline constexpr float kStftFloor = 1e-8f;    // of a squared magnitude
inline constexpr double kEnergyFloor = 1e-8;  // of an energy that the place itself gives
inline constexpr int kStftLargest = 2048;     // n_fft
inline constexpr int kStftWindows = 600 + 1200 + 240;

// Twiddles exp(-2 pi i k / kStftLargest) as pairs; the windows of the resolutions, one after the other.
struct StftTables {
  float twiddles[2 * kStftLargest];
  float windows[kStftWindows];
};
constexpr int window_offset(int resolution) {
  int offset = 0;
  for (int r = 0; r < resolution; ++r) offset += kStftResolutions[r].window;
  return offset;
}

}  // namespace cafx

#ifdef CAFX_ISA_NS  // a copy for each instruction set, so that the linker merges none of them
namespace cafx::CAFX_ISA_NS {
#else
namespace cafx {
#endif

CAFX_HOST_DEVICE inline int stft_frames(int T, int hop) { return 1 + T / hop; }
CAFX_HOST_DEVICE inline bool stft_fits(int T, int n_fft) { return T > n_fft / 2; }
// Where sample i of the signal reflected at both ends comes from.
CAFX_HOST_DEVICE inline int reflected(int i, int T) { return i < 0 ? -i : i >= T ? 2 * (T - 1) - i : i; }

CAFX_HOST_DEVICE inline bool mae_alone(const LossWeights& w) {
  return w.mae == 1.0f && !w.relative_mae && w.mse == 0.0f && w.esr == 0.0f && w.dc == 0.0f && w.log_cosh == 0.0f &&
         w.mr_stft == 0.0f;
}

// Sums over one place's samples.
struct LossSums {
  double magnitude = 0, square = 0, error = 0, filtered = 0, log_cosh = 0;  // |e|, e^2, e, p^2, log cosh e
  double energy = 0, plain_energy = 0;                                      // of the target: p^2, e^2
};

CAFX_HOST_DEVICE inline double log_cosh(double x) { return fabs(x) + log1p(0.5 * expm1(-2.0 * fabs(x))); }

CAFX_HOST_DEVICE inline void add_sample(LossSums& s, const LossWeights& w, float y, float target, float y_before,
                                        float target_before) {
  const float e = y - target, p = e - w.pre_emphasis * (y_before - target_before);
  const float r = target - w.pre_emphasis * target_before;
  s.magnitude += fabs(static_cast<double>(e));
  s.square += static_cast<double>(e) * static_cast<double>(e);
  s.error += static_cast<double>(e);
  s.filtered += static_cast<double>(p) * static_cast<double>(p);
  s.energy += static_cast<double>(r) * static_cast<double>(r);
  s.plain_energy += static_cast<double>(target) * static_cast<double>(target);
  if (w.log_cosh != 0.0f) s.log_cosh += log_cosh(static_cast<double>(e));
}

// What the terms in time make of the sums: their part of losses[b], and the gradient's factors.
struct LossFactors {
  double loss;
  float sign, linear, filtered, constant, tanh;  // of sign(e), e, p[t] - a p[t+1], 1, tanh(e)
};
CAFX_HOST_DEVICE inline LossFactors loss_factors(const LossSums& s, const LossWeights& w, const float* reference, int T,
                                                 float scale) {
  const double energy = reference ? static_cast<double>(reference[0]) : s.energy / T + kEnergyFloor;
  const double plain = reference ? static_cast<double>(reference[1]) : s.plain_energy / T + kEnergyFloor;
  const double magnitude = w.relative_mae ? static_cast<double>(reference[2]) : 1.0;
  // Weights of 0 take no part: a reference of 0 that belongs to none does not matter.
  const double mae = w.mae != 0.0f ? static_cast<double>(w.mae) / magnitude : 0.0;
  const double esr = w.esr != 0.0f ? static_cast<double>(w.esr) / energy : 0.0;
  const double dc = w.dc != 0.0f ? static_cast<double>(w.dc) / plain : 0.0;
  const double mse = static_cast<double>(w.mse), cosh = static_cast<double>(w.log_cosh),
               to = static_cast<double>(scale);
  LossFactors f;
  f.loss = mae * s.magnitude + mse * s.square + esr * s.filtered + dc * s.error * s.error / T + cosh * s.log_cosh;
  f.sign = static_cast<float>(mae * to);
  f.linear = static_cast<float>(2.0 * mse * to);
  f.filtered = static_cast<float>(2.0 * esr * to);
  f.constant = static_cast<float>(2.0 * dc * s.error / T * to);
  f.tanh = static_cast<float>(cosh * to);
  return f;
}

// The gradient of one sample, from the errors before, at and after it (0 beyond the ends).
CAFX_HOST_DEVICE inline float sample_gradient(const LossFactors& f, float a, float before, float e, float after,
                                              bool last) {
  const float p = e - a * before, p_after = last ? 0.0f : after - a * e;
  const float sign = e > 0.0f ? 1.0f : e < 0.0f ? -1.0f : 0.0f * e;  // NaN stays
  float g = f.sign * sign + f.linear * e + f.filtered * (p - a * p_after) + f.constant;
  if (f.tanh != 0.0f) g += f.tanh * tanhf(e);
  return g;
}

}  // namespace cafx
