#include <utility>

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"
#include "kernels/simd/transpose.h"
#include "kernels/ssm/ssm_layout.h"

namespace cafx::CAFX_ISA_NS {

namespace {

constexpr int Q = ssm::Q, kChunks = kSsmTile / kSsmChunk;

// Of N complex numbers, as pairs: each pair's numbers in the other order; the real part of each, twice; the imaginary
// part; the real parts of a with those of b behind each.
using Lanes = std::make_integer_sequence<int, kW>;
template <int... I>
CAFX_INLINE vf swapped(vf x, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, x, (I ^ 1)...);
}
template <int... I>
CAFX_INLINE vf reals(vf x, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, x, (I & ~1)...);
}
template <int... I>
CAFX_INLINE vf imaginaries(vf x, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, x, (I | 1)...);
}
template <int... I>
CAFX_INLINE vf reals_and(vf a, vf b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, ((I & ~1) + (I & 1) * kW)...);
}
CAFX_INLINE vf swapped(vf x) { return swapped(x, Lanes{}); }
CAFX_INLINE vf reals(vf x) { return reals(x, Lanes{}); }
CAFX_INLINE vf imaginaries(vf x) { return imaginaries(x, Lanes{}); }
CAFX_INLINE vf reals_and(vf a, vf b) { return reals_and(a, b, Lanes{}); }

alignas(64) constexpr float kMinusPlus[16] = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};

// a b, and with the conjugate of a, number by number.
CAFX_INLINE vf product(vf a, vf b) { return reals(a) * b + load(kMinusPlus) * (imaginaries(a) * swapped(b)); }
CAFX_INLINE vf conj_product(vf a, vf b) { return reals(a) * b - load(kMinusPlus) * (imaginaries(a) * swapped(b)); }

// to += a from, and with the conjugate of a; a = a^Q as `turn` and `turn_across` hold it.
CAFX_INLINE void turn(float* to, const float* a, const float* across, const float* from, int N) {
  for_vectors(2 * N, [&](long i, int m) {
    const vf x = load_m(from + i, m), sum = load_m(to + i, m) + load_m(a + i, m) * x;
    store_m(to + i, sum + load_m(across + i, m) * swapped(x), m);
  });
}
CAFX_INLINE void turn_back(float* to, const float* a, const float* across, const float* from, int N) {
  for_vectors(2 * N, [&](long i, int m) {
    const vf x = load_m(from + i, m), sum = load_m(to + i, m) + load_m(a + i, m) * x;
    store_m(to + i, sum - load_m(across + i, m) * swapped(x), m);
  });
}

// states (chunks+1,2N): row 0 is given, row k+1 is what chunk k makes of row k.
void run(float* states, const float* u, const float* packed, const ssm::Packed& at, int chunks, int N) {
  const int n = 2 * N;
  gemm(chunks, n, Q, u, Q, 1, packed + at.hear, n, states + n, n, GemmInit::kZero);
  for (int k = 0; k < chunks; ++k) {
    turn(states + static_cast<long>(k + 1) * n, packed + at.turn, packed + at.turn_across,
         states + static_cast<long>(k) * n, N);
  }
}

// The same over the last `rest` samples, fewer than a chunk: by the rows of `hear` from the end. a: a^rest.
void run_rest(float* next, const float* state, const float* u, const float* packed, const ssm::Packed& at, int rest,
              int N) {
  const int n = 2 * N;
  gemm(1, n, rest, u, Q, 1, packed + at.hear + static_cast<long>(Q - rest) * n, n, next, n, GemmInit::kZero);
  const float* a = packed + at.hear + static_cast<long>(Q - 1 - rest) * n;
  for (int i = 0; i < n; i += 2) {
    next[i] += a[i] * state[i] - a[i + 1] * state[i + 1];
    next[i + 1] += a[i] * state[i + 1] + a[i + 1] * state[i];
  }
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
      run_rest(next, last, own_u, packed, at, rest, N);
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
    sums = s_ds + 2 * n;
    end = sums + 2 * n;
  }
};

// s_ds (2,2N) += the products of s and ds, number by number, then of each with the other's neighbour: s conj(ds) is the
// sum of a pair of the first ones, and the difference of a pair of the others.
CAFX_INLINE void add_products(float* s_ds, const float* s, const float* ds, int N) {
  for_vectors(2 * N, [&](long i, int m) {
    const vf x = load_m(s + i, m), d = load_m(ds + i, m);
    store_m(s_ds + i, load_m(s_ds + i, m) + x * d, m);
    store_m(s_ds + 2 * N + i, load_m(s_ds + 2 * N + i, m) + swapped(x) * d, m);
  });
}

// `chunks` chunks from their beginning; row `chunks` of w.dstates is the gradient of the state behind them, and row 0
// is made that of the state before.
void backward_chunks(float* du, const float* dy, const float* u, const float* packed, const ssm::Packed& at,
                     const Work& w, int chunks, int N) {
  const int n = 2 * N;
  gemm(chunks, n, Q, dy, Q, 1, packed + at.speak_t, n, w.dstates, n, GemmInit::kZero);
  for (int k = chunks - 1; k >= 0; --k) {
    float *here = w.dstates + static_cast<long>(k) * n, *behind = here + n;
    add_products(w.s_ds, w.states + static_cast<long>(k) * n, behind, N);
    turn_back(here, packed + at.turn, packed + at.turn_across, behind, N);
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
  const float *r = packed + at.r, *slope = packed + at.slope, *e = packed + at.e, *a = packed + at.a,
              *fall = packed + at.fall;
  const float dt = packed[at.dt];
  for_vectors(n2, [&](long i, int m) {
    vf sum = {}, by_j = {};
    for (int j = 0; j <= Q; ++j) {
      const vf p = load_m((j < Q ? packed + at.hear + static_cast<long>(Q - 1 - j) * n2 : packed + at.over) + i, m);
      vf term = j < Q ? set1(2.0f * response[j]) * p : vf{};
      if (j > 0) term += product(load_m(w.dy_s + static_cast<long>(j - 1) * n2 + i, m) * 2.0f, p);
      sum += term;
      by_j += static_cast<float>(j) * term;
    }
    store_m(first + i, sum, m);
    vf of_a = product(load_m(r + i, m), by_j);  // c E sum_j j q_j p_j
    for (int j = 1; j < Q; ++j) {               // u conj(ds)
      const long row = static_cast<long>(Q - 1 - j) * n2 + i;
      of_a += static_cast<float>(j) * conj_product(load_m(w.u_ds + row, m), load_m(packed + at.hear + row, m));
    }
    const vf x = load_m(w.s_ds + i, m), y = load_m(w.s_ds + n2 + i, m);  // s conj(ds): a pair's sum, its difference
    const vf s_ds = reals_and(x + swapped(x), y - swapped(y));
    store_m(weighted + i, of_a + static_cast<float>(Q) * product(s_ds, load_m(packed + at.over + i, m)), m);
  });
  double dlog_dt = 0.0;
  float *dc = g.c + static_cast<long>(channel) * n2, *dlog_a = g.log_a_real + static_cast<long>(channel) * N,
        *da_imag = g.a_imag + static_cast<long>(channel) * N;
  for (int i = 0; i < n2; i += 2) {
    const float pr = first[i], pi = first[i + 1];
    dc[i] += pr * e[i] - pi * e[i + 1];
    dc[i + 1] -= pr * e[i + 1] + pi * e[i];
    const float xr = weighted[i] + (pr * slope[i] - pi * slope[i + 1]);
    const float xi = weighted[i + 1] + (pr * slope[i + 1] + pi * slope[i]);
    const float ar = xr * dt - (pr * fall[i] - pi * fall[i + 1]), ai = xi * dt - (pr * fall[i + 1] + pi * fall[i]);
    dlog_a[i / 2] += a[i] * ar;
    da_imag[i / 2] -= ai;
    dlog_dt += static_cast<double>(xr) * a[i] - static_cast<double>(xi) * a[i + 1];
  }
  g.log_dt[channel] += static_cast<float>(dlog_dt * dt);
  g.d[channel] += response[0];
}

}  // namespace

// The tables hear_t and speak from their transposes.
void ssm_turn_tables(float* packed, int N) {
  const ssm::Packed at(N);
  const int n = 2 * N;
  for (int i = 0; i < n; i += kW) {
    const int m = n - i < kW ? n - i : kW;
    to_rows(packed + at.hear_t + static_cast<long>(i) * Q, Q, packed + at.hear + i, n, Q, m);
    to_rows(packed + at.speak + static_cast<long>(i) * Q, Q, packed + at.speak_t + i, n, Q, m);
  }
}

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
// taken in steps of one product, so that a sample's bits do not depend on M. s a = s + s (a - 1): the rounding of a
// near 1 would change how long an oscillator rings.
template <int M>
CAFX_INLINE void play(float* samples, float* state, const float* packed, int N, int P) {
  vf u[M], y[M];
  for (int t = 0; t < M; ++t) {
    u[t] = load(samples + static_cast<long>(t) * P);
    y[t] = load(packed + 4L * N * P) * u[t];
  }
  for (int n = 0; n < N; ++n, packed += 4 * P, state += 2 * P) {
    const vf er = load(packed), ei = load(packed + P), cr = load(packed + 2 * P), ci = load(packed + 3 * P);
    vf sr = load(state), si = load(state + P);
    for (int t = 0; t < M; ++t) {
      vf re = u[t] + er * sr;
      re = re - ei * si;
      vf im = ei * sr;
      im = im + er * si;
      sr = sr + re;
      si = si + im;
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
