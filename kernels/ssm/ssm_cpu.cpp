#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"
#include "kernels/ssm/ssm_layout.h"

namespace cafx::CAFX_ISA_NS {

namespace {

constexpr int Q = ssm::Q, kChunks = kSsmTile / kSsmChunk;

// to = a from + to, and with the conjugate of a, of N complex numbers: real parts, then imaginary ones.
CAFX_INLINE void turn(float* to, const float* a, const float* from, int N) {
  for_vectors(N, [&](long n, int m) {
    const vf re = load_m(a + n, m), im = load_m(a + N + n, m), x = load_m(from + n, m), y = load_m(from + N + n, m);
    store_m(to + n, load_m(to + n, m) + (re * x - im * y), m);
    store_m(to + N + n, load_m(to + N + n, m) + (re * y + im * x), m);
  });
}
CAFX_INLINE void turn_back(float* to, const float* a, const float* from, int N) {
  for_vectors(N, [&](long n, int m) {
    const vf re = load_m(a + n, m), im = load_m(a + N + n, m), x = load_m(from + n, m), y = load_m(from + N + n, m);
    store_m(to + n, load_m(to + n, m) + (re * x + im * y), m);
    store_m(to + N + n, load_m(to + N + n, m) + (re * y - im * x), m);
  });
}

// states (chunks+1,2N): row 0 is given, row k+1 is what chunk k makes of row k.
void run(float* states, const float* u, const float* packed, const ssm::Packed& at, int chunks, int N) {
  const int n = 2 * N;
  gemm(chunks, n, Q, u, Q, 1, packed + at.hear, n, states + n, n, GemmInit::kZero);
  for (int k = 0; k < chunks; ++k) {
    turn(states + static_cast<long>(k + 1) * n, packed + at.over, states + static_cast<long>(k) * n, N);
  }
}

// The last samples, fewer than a chunk: rows of `hear` from the end. power: a^rest.
const float* power(const float* packed, const ssm::Packed& at, int rest, int N) {
  return packed + at.hear + static_cast<long>(Q - 1 - rest) * 2 * N;
}

void copy_floats(float* to, const float* from, int n) {
  for (int i = 0; i < n; ++i) to[i] = from[i];
}
void pad_chunk(float* to, const float* from, int n) {
  for (int t = 0; t < Q; ++t) to[t] = t < n ? from[t] : 0.0f;
}

void forward_channel(float* y, float* state, float* saved, const float* u, const float* packed, float* states, int N,
                     int T) {
  const ssm::Packed at(N);
  const int n = 2 * N;
  float *own_u = states + (kChunks + 1L) * n, *own_y = own_u + Q;
  copy_floats(states, state, n);
  for (int t0 = 0; t0 < T; t0 += kSsmTile) {
    const int samples = T - t0 < kSsmTile ? T - t0 : kSsmTile, chunks = samples / Q, rest = samples % Q;
    if (saved) copy_floats(saved + static_cast<long>(t0 / kSsmTile) * n, states, n);
    if (chunks > 0) {
      run(states, u + t0, packed, at, chunks, N);
      gemm(chunks, Q, Q, u + t0, Q, 1, packed + at.response, Q, y + t0, Q, GemmInit::kZero);
      gemm(chunks, Q, n, states, n, 1, packed + at.speak, Q, y + t0, Q, GemmInit::kAdd);
    }
    float* last = states + static_cast<long>(chunks) * n;
    if (rest > 0) {
      const int t = t0 + chunks * Q;
      pad_chunk(own_u, u + t, rest);
      gemm(1, Q, Q, own_u, Q, 1, packed + at.response, Q, own_y, Q, GemmInit::kZero);
      gemm(1, Q, n, last, n, 1, packed + at.speak, Q, own_y, Q, GemmInit::kAdd);
      copy_floats(y + t, own_y, rest);
      float* next = chunks > 0 ? states : states + n;
      gemm(1, n, rest, own_u, Q, 1, packed + at.hear + static_cast<long>(Q - rest) * n, n, next, n, GemmInit::kZero);
      turn(next, power(packed, at, rest, N), last, N);
      last = next;
    }
    if (last != states) copy_floats(states, last, n);
  }
  copy_floats(state, states, n);
}

// Scratch of backward, in the order of ssm_scratch.
struct Work {
  float *states, *dstates, *u, *dy, *du, *spare, *u_dy, *dy_s, *u_ds, *s_ds, *sums, *end;
  Work(float* base, int N) {
    const long n = 2L * N;
    states = base;
    dstates = states + (kChunks + 1) * n;
    u = dstates + (kChunks + 1) * n;
    dy = u + Q;
    du = dy + Q;
    spare = du + Q;
    u_dy = spare + Q;
    dy_s = u_dy + Q * Q;
    u_ds = dy_s + Q * n;
    s_ds = u_ds + Q * n;
    sums = s_ds + n;
    end = sums + 2 * n;
  }
};

// s_ds += s conj(ds), of N complex numbers.
CAFX_INLINE void add_products(float* s_ds, const float* s, const float* ds, int N) {
  for_vectors(N, [&](long n, int m) {
    const vf sr = load_m(s + n, m), si = load_m(s + N + n, m), dr = load_m(ds + n, m), di = load_m(ds + N + n, m);
    store_m(s_ds + n, load_m(s_ds + n, m) + (sr * dr + si * di), m);
    store_m(s_ds + N + n, load_m(s_ds + N + n, m) + (si * dr - sr * di), m);
  });
}

// `chunks` chunks from their beginning; row `chunks` of w.dstates is the gradient of the state behind them, and row 0 is
// made that of the state before.
void backward_chunks(float* du, const float* dy, const float* u, const float* packed, const ssm::Packed& at,
                     const Work& w, int chunks, int N) {
  const int n = 2 * N;
  gemm(chunks, n, Q, dy, Q, 1, packed + at.speak_t, n, w.dstates, n, GemmInit::kZero);
  for (int k = chunks - 1; k >= 0; --k) {
    float *here = w.dstates + static_cast<long>(k) * n, *behind = here + n;
    add_products(w.s_ds, w.states + static_cast<long>(k) * n, behind, N);
    turn_back(here, packed + at.over, behind, N);
  }
  gemm(chunks, Q, Q, dy, Q, 1, packed + at.response_t, Q, du, Q, GemmInit::kZero);
  gemm(chunks, Q, n, w.dstates + n, n, 1, packed + at.hear_t, Q, du, Q, GemmInit::kAdd);
  gemm(Q, Q, chunks, u, 1, Q, dy, Q, w.u_dy, Q, GemmInit::kAdd);
  gemm(Q, n, chunks, dy, 1, Q, w.states, n, w.dy_s, n, GemmInit::kAdd);
  gemm(Q, n, chunks, u, 1, Q, w.dstates + n, n, w.u_ds, n, GemmInit::kAdd);
}

void backward_place(float* du, const float* dy, const float* u, const float* saved, const float* packed, const Work& w,
                    int N, int T) {
  const ssm::Packed at(N);
  const int n = 2 * N;
  float* later = w.dstates;  // the gradient of the state behind a tile: none behind the last
  for (int i = 0; i < n; ++i) later[i] = 0.0f;
  for (int mark = ssm_marks(T) - 1; mark >= 0; --mark) {
    const int t0 = mark * kSsmTile, samples = T - t0 < kSsmTile ? T - t0 : kSsmTile, chunks = samples / Q,
              rest = samples % Q;
    copy_floats(w.states, saved + static_cast<long>(mark) * n, n);
    if (chunks > 0) run(w.states, u + t0, packed, at, chunks, N);
    float* behind = w.dstates + static_cast<long>(chunks) * n;
    if (later != behind) copy_floats(behind, later, n);
    if (rest > 0) {  // only behind the last chunk, where the state has no gradient
      const int t = t0 + chunks * Q;
      pad_chunk(w.u, u + t, rest);
      pad_chunk(w.dy, dy + t, rest);
      gemm(1, Q, Q, w.dy, Q, 1, packed + at.response_t, Q, w.du, Q, GemmInit::kZero);
      copy_floats(du + t, w.du, rest);
      gemm(Q, Q, 1, w.u, 1, Q, w.dy, Q, w.u_dy, Q, GemmInit::kAdd);
      gemm(Q, n, 1, w.dy, 1, Q, w.states + static_cast<long>(chunks) * n, n, w.dy_s, n, GemmInit::kAdd);
      gemm(1, n, Q, w.dy, Q, 1, packed + at.speak_t, n, behind, n, GemmInit::kZero);
    }
    if (chunks > 0) backward_chunks(du + t0, dy + t0, u + t0, packed, at, w, chunks, N);
    later = w.dstates;
  }
}

// From the sums of products to the tensors: with p_j = a^j, the output depends on c E by sum_j q_j p_j, and on dt A by
// c E sum_j j q_j p_j and the sums over the states.
void finish_channel(const SsmTensors<float*>& g, const float* packed, const Work& w, int channel, int N) {
  const ssm::Packed at(N);
  const int n2 = 2 * N;
  float response[Q];
  for (int j = 0; j < Q; ++j) {
    response[j] = 0.0f;
    for (int i = 0; i + j < Q; ++i) response[j] += w.u_dy[i * Q + i + j];
  }
  float *first = w.sums, *weighted = w.sums + n2;  // sum_j q_j p_j and sum_j j q_j p_j; then other sums over j
  for (int i = 0; i < 2 * n2; ++i) w.sums[i] = 0.0f;
  for (int j = 0; j <= Q; ++j) {
    const float* p = j < Q ? packed + at.hear + static_cast<long>(Q - 1 - j) * n2 : packed + at.over;
    const float now = j < Q ? 2.0f * response[j] : 0.0f, of = static_cast<float>(j);
    const float* heard = j > 0 ? w.dy_s + static_cast<long>(j - 1) * n2 : nullptr;
    for (int n = 0; n < N; ++n) {
      const float qr = heard ? now + 2.0f * heard[n] : now, qi = heard ? 2.0f * heard[N + n] : 0.0f;
      const float re = qr * p[n] - qi * p[N + n], im = qr * p[N + n] + qi * p[n];
      first[n] += re;
      first[N + n] += im;
      weighted[n] += of * re;
      weighted[N + n] += of * im;
    }
  }
  const float *r = packed + at.r, *slope = packed + at.slope, *e = packed + at.e, *a = packed + at.a,
              *fall = packed + at.fall;
  const float dt = packed[at.dt];
  for (int n = 0; n < N; ++n) {  // weighted = c E weighted: of dt A
    const float re = weighted[n] * r[n] - weighted[N + n] * r[N + n],
                im = weighted[n] * r[N + n] + weighted[N + n] * r[n];
    weighted[n] = re;
    weighted[N + n] = im;
  }
  for (int j = 1; j <= Q; ++j) {
    const float* p = j < Q ? packed + at.hear + static_cast<long>(Q - 1 - j) * n2 : packed + at.over;
    const float *re = j < Q ? w.u_ds + static_cast<long>(Q - 1 - j) * n2 : w.s_ds, *im = re + N;
    const float sign = j < Q ? -1.0f : 1.0f, of = static_cast<float>(j);  // the conjugate of ds; s_ds has it
    for (int n = 0; n < N; ++n) {
      weighted[n] += of * (p[n] * re[n] - p[N + n] * sign * im[n]);
      weighted[N + n] += of * (p[n] * sign * im[n] + p[N + n] * re[n]);
    }
  }
  double dlog_dt = 0.0;
  float *dc = g.c + static_cast<long>(channel) * n2, *dlog_a = g.log_a_real + static_cast<long>(channel) * N,
        *da_imag = g.a_imag + static_cast<long>(channel) * N;
  for (int n = 0; n < N; ++n) {
    const float pr = first[n], pi = first[N + n];
    dc[2 * n] += pr * e[n] - pi * e[N + n];
    dc[2 * n + 1] -= pr * e[N + n] + pi * e[n];
    const float xr = weighted[n] + (pr * slope[n] - pi * slope[N + n]);
    const float xi = weighted[N + n] + (pr * slope[N + n] + pi * slope[n]);
    const float ar = xr * dt - (pr * fall[n] - pi * fall[N + n]), ai = xi * dt - (pr * fall[N + n] + pi * fall[n]);
    dlog_a[n] += a[n] * ar;
    da_imag[n] -= ai;
    dlog_dt += static_cast<double>(xr) * a[n] - static_cast<double>(xi) * a[N + n];
  }
  g.log_dt[channel] += static_cast<float>(dlog_dt * dt);
  g.d[channel] += response[0];
}

}  // namespace

void ssm_forward(float* y, float* state, float* saved, const float* u, const void* packed, void* scratch, SsmDims d) {
  const long size = ssm::Packed(d.N).size, n = 2L * d.N, marks = ssm_marks(d.T);
  for (int c = 0; c < d.C; ++c) {
    for (long b = 0; b < d.B; ++b) {
      const long row = b * d.C + c;
      forward_channel(y + row * d.T, state + row * n, saved ? saved + row * marks * n : nullptr, u + row * d.T,
                      static_cast<const float*>(packed) + c * size, static_cast<float*>(scratch), d.N, d.T);
    }
  }
}

// A channel's sums over all places are finished together.
void ssm_backward(float* du, const SsmTensors<float*>& g, const float* dy, const float* u, const float* saved,
                  const void* packed, void* scratch, SsmDims d) {
  const long size = ssm::Packed(d.N).size, n = 2L * d.N, marks = ssm_marks(d.T);
  const Work w(static_cast<float*>(scratch), d.N);
  for (int c = 0; c < d.C; ++c) {
    const float* of_channel = static_cast<const float*>(packed) + c * size;
    for (float* s = w.u_dy; s < w.end; ++s) *s = 0.0f;
    for (long b = 0; b < d.B; ++b) {
      const long row = b * d.C + c;
      backward_place(du + row * d.T, dy + row * d.T, u + row * d.T, saved + row * marks * n, of_channel, w, d.N, d.T);
    }
    finish_channel(g, of_channel, w, c, d.N);
  }
}

namespace {

// M samples of kW channels: an oscillator after the other, which has its state in registers meanwhile. Each sum is
// taken in steps of one product, so that a sample's bits do not depend on M.
template <int M>
CAFX_INLINE void play(float* samples, float* state, const float* packed, int N, int P) {
  vf u[M], y[M];
  for (int t = 0; t < M; ++t) {
    u[t] = load(samples + static_cast<long>(t) * P);
    y[t] = load(packed + 4L * N * P) * u[t];
  }
  for (int n = 0; n < N; ++n, packed += 4 * P, state += 2 * P) {
    const vf ar = load(packed), ai = load(packed + P), cr = load(packed + 2 * P), ci = load(packed + 3 * P);
    vf sr = load(state), si = load(state + P);
    for (int t = 0; t < M; ++t) {
      vf re = u[t] + ar * sr;
      re = re - ai * si;
      vf im = ai * sr;
      im = im + ar * si;
      sr = re;
      si = im;
      y[t] += cr * sr;
      y[t] += ci * si;
    }
    store(state, sr);
    store(state + P, si);
  }
  for (int t = 0; t < M; ++t) store(samples + static_cast<long>(t) * P, y[t]);
}

}  // namespace

void ssm_play(float* y, float* state, const float* u, const void* packed, void* scratch, SsmDims d) {
  constexpr int kSamples = 8;
  const int P = (d.C + 15) / 16 * 16;
  float* samples = static_cast<float*>(scratch);  // (kSamples,P)
  for (int i = 0; i < kSamples * P; ++i) samples[i] = 0.0f;
  for (int t0 = 0; t0 < d.T;) {
    const int m = d.T - t0 >= kSamples ? kSamples : 1;
    for (int c = 0; c < d.C; ++c) {
      for (int t = 0; t < m; ++t) samples[t * P + c] = u[static_cast<long>(c) * d.T + t0 + t];
    }
    for (int c = 0; c < P; c += kW) {
      const float* of = static_cast<const float*>(packed) + c;
      if (m == kSamples) {
        play<kSamples>(samples + c, state + c, of, d.N, P);
      } else {
        play<1>(samples + c, state + c, of, d.N, P);
      }
    }
    for (int c = 0; c < d.C; ++c) {
      for (int t = 0; t < m; ++t) y[static_cast<long>(c) * d.T + t0 + t] = samples[t * P + c];
    }
    t0 += m;
  }
}

}  // namespace cafx::CAFX_ISA_NS
