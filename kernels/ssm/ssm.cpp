#include "kernels/ssm/ssm.h"

#include <cmath>
#include <complex>
#include <vector>

#include "kernels/base/elements.h"
#include "kernels/device/dispatch.h"
#include "kernels/ssm/ssm_layout.h"

namespace cafx {

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

void prepare_channel(float* to, const SsmTensors<const float*>& p, int N, int channel) {
  constexpr int Q = ssm::Q;
  const ssm::Packed at(N);
  double response[Q] = {};
  response[0] = p.d[channel];
  for (int n = 0; n < N; ++n) {
    const SsmOscillator o(p, N, channel, n);
    const Complex r = o.c * o.E;
    Complex power = 1.0;
    for (int j = 0; j < Q; ++j) {
      response[j] += 2.0 * (r * power).real();
      put(to + at.hear + static_cast<long>(Q - 1 - j) * 2 * N, n, power);
      power *= o.a;
      const Complex heard = 2.0 * r * power;
      to[at.speak + 2L * n * Q + j] = static_cast<float>(heard.real());
      to[at.speak + (2L * n + 1) * Q + j] = static_cast<float>(-heard.imag());
    }
    put(to + at.over, n, power);
    put(to + at.turn, n, {power.real(), power.real()});
    put(to + at.turn_across, n, {-power.imag(), power.imag()});
    put(to + at.r, n, r);
    put(to + at.slope, n, o.c * o.a / o.A);
    put(to + at.e, n, o.E);
    put(to + at.a, n, o.A);
    put(to + at.fall, n, r / o.A);
    to[at.dt] = static_cast<float>(o.dt);
  }
  for (int i = 0; i < Q; ++i) {
    for (int t = 0; t < Q; ++t) {
      const float k = t < i ? 0.0f : static_cast<float>(response[t - i]);
      to[at.response + i * Q + t] = k;
      to[at.response_t + t * Q + i] = k;
    }
    for (int m = 0; m < 2 * N; ++m) {
      to[at.hear_t + static_cast<long>(m) * Q + i] = to[at.hear + static_cast<long>(i) * 2 * N + m];
      to[at.speak_t + static_cast<long>(i) * 2 * N + m] = to[at.speak + static_cast<long>(m) * Q + i];
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
  over_tasks(context, d.C,
             [&](const Context&, int c) { prepare_channel(static_cast<float*>(packed) + c * size, p, d.N, c); });
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
