#include "kernels/ssm/ssm.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "kernels/base/elements.h"
#include "kernels/device/dispatch.h"
#include "kernels/ssm/ssm_layout.h"

namespace cafx {

CAFX_BACKENDS(void, ssm_turn_tables, (float* packed, int N));
CAFX_BACKENDS(void, ssm_forward,
              (float* y, float* state, float* saved, const float* u, const void* packed, void* scratch, SsmDims d));
CAFX_BACKENDS(void, ssm_backward,
              (float* du, const SsmTensors<float*>& g, const float* dy, const float* u, const float* saved,
               const void* packed, void* scratch, SsmDims d));
CAFX_BACKENDS(void, ssm_play, (float* y, float* state, const float* u, const void* packed, void* scratch, SsmDims d));

CAFX_CUDA(std::size_t, ssm_scratch, (const Context&, SsmDims d));
CAFX_CUDA(void, ssm_prepare, (const Context&, void* packed, const SsmTensors<const float*>& p, SsmDims d));
CAFX_CUDA(void, ssm_forward,
          (const Context&, float* y, float* state, float* saved, const float* u, const void* packed, void* scratch,
           SsmDims d));
CAFX_CUDA(void, ssm_backward,
          (const Context&, float* du, const SsmTensors<float*>& g, const float* dy, const float* u, const float* saved,
           const void* packed, void* scratch, SsmDims d));

static void check(SsmDims d) { CAFX_CHECK(d.B >= 1 && d.C >= 1 && d.N >= 1 && d.T >= 1, d.B, d.C, d.N, d.T); }
static int padded_channels(int C) {
  return (C + 15) / 16 * 16;
}  // channels in whole vectors of the widest instruction set

using Complex = std::complex<double>;

SsmOscillator::SsmOscillator(const SsmTensors<const float*>& p, int N, int channel, int n) {
  const long i = static_cast<long>(channel) * N + n;
  dt = std::exp(static_cast<double>(p.log_dt[channel]));
  A = {-std::exp(static_cast<double>(p.log_a_real[i])), p.a_imag[i]};
  a = std::exp(dt * A);
  c = {p.c[2 * i], p.c[2 * i + 1]};
  // exp(z) - 1, without loss where z is small.
  const Complex z = dt * A;
  const double half = std::sin(0.5 * z.imag());
  const Complex less{std::expm1(z.real()) * std::cos(z.imag()) - 2.0 * half * half, a.imag()};
  E = less / A;
}

namespace {

void put(float* to, int n, Complex z) {
  to[2 * n] = static_cast<float>(z.real());
  to[2 * n + 1] = static_cast<float>(z.imag());
}

// Powers of so many oscillators are computed side by side.
constexpr int kSideBySide = 8;

void prepare_channel(float* to, const SsmTensors<const float*>& p, int N, int channel) {
  constexpr int Q = ssm::Q;
  const ssm::Packed at(N);
  double response[Q] = {};
  response[0] = p.d[channel];
  for (int first = 0; first < N; first += kSideBySide) {
    const int n_here = std::min(kSideBySide, N - first);
    double a_re[kSideBySide] = {}, a_im[kSideBySide] = {}, re[kSideBySide] = {}, im[kSideBySide] = {},
           heard_re[kSideBySide] = {}, heard_im[kSideBySide] = {};  // a; a^j; 2 r a^j
    for (int i = 0; i < n_here; ++i) {
      const int n = first + i;
      const SsmOscillator o(p, N, channel, n);
      const Complex r = o.c * o.E;
      a_re[i] = o.a.real(), a_im[i] = o.a.imag();
      re[i] = 1.0;
      heard_re[i] = 2.0 * r.real(), heard_im[i] = 2.0 * r.imag();
      put(to + at.r, n, r);
      put(to + at.slope, n, o.c * o.a / o.A);
      put(to + at.e, n, o.E);
      put(to + at.a, n, o.A);
      put(to + at.fall, n, r / o.A);
      to[at.dt] = static_cast<float>(o.dt);
    }
    const auto times_a = [&](double* x, double* y) {
      for (int i = 0; i < kSideBySide; ++i) {
        const double was = x[i];
        x[i] = was * a_re[i] - y[i] * a_im[i];
        y[i] = was * a_im[i] + y[i] * a_re[i];
      }
    };
    for (int j = 0; j < Q; ++j) {
      float *hear = to + at.hear + (static_cast<long>(Q - 1 - j) * N + first) * 2,
            *speak_t = to + at.speak_t + (static_cast<long>(j) * N + first) * 2;
      for (int i = 0; i < n_here; ++i) {
        response[j] += heard_re[i];
        hear[2 * i] = static_cast<float>(re[i]);
        hear[2 * i + 1] = static_cast<float>(im[i]);
      }
      times_a(re, im);
      times_a(heard_re, heard_im);
      for (int i = 0; i < n_here; ++i) {
        speak_t[2 * i] = static_cast<float>(heard_re[i]);
        speak_t[2 * i + 1] = -static_cast<float>(heard_im[i]);
      }
    }
    for (int i = 0; i < n_here; ++i) {
      put(to + at.over, first + i, {re[i], im[i]});
      put(to + at.turn, first + i, {re[i], re[i]});
      put(to + at.turn_across, first + i, {-im[i], im[i]});
    }
  }
  for (int i = 0; i < Q; ++i) {
    for (int t = 0; t < Q; ++t) {
      const float k = t < i ? 0.0f : static_cast<float>(response[t - i]);
      to[at.response + i * Q + t] = k;
      to[at.response_t + t * Q + i] = k;
    }
  }
}

}  // namespace

std::size_t ssm_packed(SsmDims d) {
  check(d);
  return sizeof(float) * static_cast<std::size_t>(ssm::Packed(d.N).size) * static_cast<std::size_t>(d.C);
}

void ssm_prepare(const Context& context, void* packed, const SsmTensors<const float*>& p, SsmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, ssm_prepare, packed, p, d);
  const long size = ssm::Packed(d.N).size;
  over_tasks(context, d.C, [&](const Context&, int c) {
    float* of_channel = static_cast<float*>(packed) + c * size;
    prepare_channel(of_channel, p, d.N, c);
    CAFX_CALL(context, ssm_turn_tables, of_channel, d.N);
  });
}

// Of a tile, states at the chunks' borders and their gradients; a chunk of u, of y and of both gradients; sums over all
// tiles of products: u dy (Q,Q), dy s (Q,2N), u ds (Q,2N), s ds (4N); sums over the powers (4N).
std::size_t ssm_scratch(const Context& context, SsmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, ssm_scratch, d);
  const int n = 2 * d.N, rows = kSsmTile / kSsmChunk + 1;
  return sizeof(float) * (elements(2 * rows, n) + 4 * kSsmChunk + elements(kSsmChunk, kSsmChunk) +
                          elements(2 * kSsmChunk, n) + elements(4, n));
}

void ssm_forward(const Context& context, float* y, float* state, float* saved, const float* u, const void* packed,
                 void* scratch, SsmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, ssm_forward, y, state, saved, u, packed, scratch, d);
  CAFX_CALL(context, ssm_forward, y, state, saved, u, packed, scratch, d);
}

void ssm_backward(const Context& context, float* du, const SsmTensors<float*>& g, const float* dy, const float* u,
                  const float* saved, const void* packed, void* scratch, SsmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, ssm_backward, du, g, dy, u, saved, packed, scratch, d);
  CAFX_CALL(context, ssm_backward, du, g, dy, u, saved, packed, scratch, d);
}

std::size_t ssm_play_state(SsmDims d) {
  check(d);
  return elements(2 * d.N, padded_channels(d.C));
}

std::size_t ssm_play_packed(SsmDims d) {
  check(d);
  return sizeof(float) * elements(4 * d.N + 1, padded_channels(d.C));
}

// (N,4,channels): real and imaginary part of exp(dt A) - 1, 2 Re c E, -2 Im c E; then d (channels).
void ssm_play_prepare(const Context& context, void* packed, const SsmTensors<const float*>& p, SsmDims d) {
  check(d);
  CAFX_CHECK(context.device == Device::kCpu);
  const int P = padded_channels(d.C);
  float* to = static_cast<float*>(packed);
  for (int n = 0; n < d.N; ++n, to += 4 * P) {
    for (int c = 0; c < P; ++c) {
      for (int i = 0; i < 4; ++i) to[i * P + c] = 0.0f;
      if (c >= d.C) continue;
      const SsmOscillator o(p, d.N, c, n);
      const Complex r = 2.0 * o.c * o.E, less = o.E * o.A;
      to[c] = static_cast<float>(less.real());
      to[P + c] = static_cast<float>(less.imag());
      to[2 * P + c] = static_cast<float>(r.real());
      to[3 * P + c] = static_cast<float>(-r.imag());
    }
  }
  for (int c = 0; c < P; ++c) to[c] = c < d.C ? p.d[c] : 0.0f;
}

std::size_t ssm_play_scratch(SsmDims d) {
  check(d);
  return sizeof(float) * elements(8, padded_channels(d.C));
}

void ssm_play(const Context& context, float* y, float* state, const float* u, const void* packed, void* scratch,
              SsmDims d) {
  check(d);
  CAFX_CHECK(context.device == Device::kCpu && d.B == 1, d.B);
  CAFX_CALL(context, ssm_play, y, state, u, packed, scratch, d);
}

}  // namespace cafx
