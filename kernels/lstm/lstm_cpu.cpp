#include "kernels/lstm/lstm.h"

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

namespace {
CAFX_INLINE vf bend(vf x, bool linear) { return linear ? x : vtanh(x); }

// Rows of h and c around sample t: the state before it in the direction of time, and its own.
struct LstmRows {
  long before, now;
};
LstmRows lstm_rows(LstmDims d, int t) { return d.reversed ? LstmRows{t + 1L, t} : LstmRows{t, t + 1L}; }
}  // namespace

// One sample after the other, all streams together: a product with the weights of h, then the gates. The products with
// the weights of x are made for all samples at once where these are the larger part: weights are then read once.
void lstm_forward(float* h, float* c, float* gates, const float* x, const float* w, const float* bias, void* scratch,
                  LstmDims d) {
  const int H = d.H, G = 4 * d.H;
  const long BI = static_cast<long>(d.B) * d.I, BH = static_cast<long>(d.B) * H, BG = static_cast<long>(d.B) * G;
  float* w_t = static_cast<float*>(scratch);          // (I+H,4H)
  float* own = w_t + static_cast<long>(d.I + H) * G;  // (B,4H)
  transpose(w_t, w, G, d.I + H);
  const bool at_once = gates && d.I > H;
  if (at_once) gemm(d.T * d.B, G, d.I, x, d.I, 1, w_t, G, gates, G, GemmInit::kBias, bias);
  for (int step = 0; step < d.T; ++step) {
    const int t = d.reversed ? d.T - 1 - step : step;
    const LstmRows row = lstm_rows(d, t);
    float* z_t = gates ? gates + t * BG : own;
    if (!at_once) gemm(d.B, G, d.I, x + t * BI, d.I, 1, w_t, G, z_t, G, GemmInit::kBias, bias);
    gemm(d.B, G, H, h + row.before * BH, H, 1, w_t + static_cast<long>(d.I) * G, G, z_t, G, GemmInit::kAdd);
    for (int b = 0; b < d.B; ++b) {
      float* z = z_t + static_cast<long>(b) * G;
      const float* c_before = c + row.before * BH + static_cast<long>(b) * H;
      float *c_now = c + row.now * BH + static_cast<long>(b) * H, *h_now = h + row.now * BH + static_cast<long>(b) * H;
      for_vectors(2 * H, [&](long j, int m) { store_m(z + j, vsigmoid(load_m(z + j, m)), m); });
      for_vectors(H, [&](long j, int m) {
        const vf i = load_m(z + j, m), f = load_m(z + H + j, m);
        const vf g = bend(load_m(z + 2 * H + j, m), d.linear), o = vsigmoid(load_m(z + 3 * H + j, m));
        const vf now = f * load_m(c_before + j, m) + i * g;
        store_m(z + 2 * H + j, g, m);
        store_m(z + 3 * H + j, o, m);
        store_m(c_now + j, now, m);
        store_m(h_now + j, o * bend(now, d.linear), m);
      });
    }
  }
}

// Each gate fills whole vectors, so that no tail is masked: (I+H,4,padded), bias (4,padded) first, zeros beyond H.
static int padded_of(int H) { return (H + kW - 1) / kW * kW; }

void lstm_prepare(void* packed, const float* w, const float* bias, LstmDims d) {
  const int H = d.H, P = padded_of(H), in = d.I + d.H;
  float* to = static_cast<float*>(packed);
  for (int k = -1; k < in; ++k) {
    for (int g = 0; g < 4; ++g) {
      for (int j = 0; j < P; ++j) {
        *to++ = j >= H ? 0.0f : k < 0 ? bias[g * H + j] : w[static_cast<long>(g * H + j) * in + k];
      }
    }
  }
}

// z[n] = bias[n] + sum_k in[k] w[k,n] for N vectors of n, which stay in registers: every weight is read once a sample.
template <int N>
CAFX_INLINE void add_columns(float* z, const float* bias, const float* w, const float* x, int I, const float* h, int H,
                             long stride) {
  vf sum[N];
  for (int n = 0; n < N; ++n) sum[n] = load(bias + n * kW);
  for (int i = 0; i < I; ++i, w += stride) {
    const vf of = set1(x[i]);
    for (int n = 0; n < N; ++n) sum[n] += of * load(w + n * kW);
  }
  for (int k = 0; k < H; ++k, w += stride) {
    const vf of = set1(h[k]);
    for (int n = 0; n < N; ++n) sum[n] += of * load(w + n * kW);
  }
  for (int n = 0; n < N; ++n) store(z + n * kW, sum[n]);
}

void lstm_play(float* h, float* state, const float* x, const void* packed, void* scratch, LstmDims d) {
  const int H = d.H, P = padded_of(H), G = 4 * P;
  const float *bias = static_cast<const float*>(packed), *w = bias + G;
  float *z = static_cast<float*>(scratch), *c = z + G;  // c (padded)
  for (int j = 0; j < P; ++j) c[j] = j < H ? state[H + j] : 0.0f;
  const float* before = state;
  for (int t = 0; t < d.T; ++t) {
    const float* in = x + static_cast<long>(t) * d.I;
    int n = 0;
    for (; n + 8 * kW <= G; n += 8 * kW) add_columns<8>(z + n, bias + n, w + n, in, d.I, before, H, G);
    for (; n < G; n += 4 * kW) add_columns<4>(z + n, bias + n, w + n, in, d.I, before, H, G);  // G is 4 vectors or more
    float* now = h + static_cast<long>(t) * H;
    for_vectors(H, [&](long j, int m) {
      const vf i = vsigmoid(load(z + j)), f = vsigmoid(load(z + P + j)), g = vtanh(load(z + 2 * P + j)),
               o = vsigmoid(load(z + 3 * P + j));
      const vf of_c = f * load(c + j) + i * g;
      store(c + j, of_c);
      store_m(now + j, o * vtanh(of_c), m);
    });
    before = now;
  }
  for (int j = 0; j < H; ++j) {
    state[j] = before[j];
    state[H + j] = c[j];
  }
}

// Against the direction of time; the products that sum over time are made once for each chunk.
void lstm_backward(float* dx, float* dw, float* dbias, const float* dh, const float* x, const float* h, const float* c,
                   const float* gates, const float* w, void* scratch, LstmDims d) {
  const int H = d.H, G = 4 * d.H, in = d.I + d.H;
  const long BI = static_cast<long>(d.B) * d.I, BH = static_cast<long>(d.B) * H, BG = static_cast<long>(d.B) * G;
  float* dw_t = static_cast<float*>(scratch);    // (I+H,4H)
  float* dz = dw_t + static_cast<long>(in) * G;  // (chunk,B,4H)
  float* later = dz + kLstmChunk * BG;           // (B,H): what the next sample's gates say of h
  float* dc = later + BH;                        // (B,H)
  for (long i = 0; i < static_cast<long>(in) * G; ++i) dw_t[i] = 0.0f;
  for (long i = 0; i < BH; ++i) later[i] = dc[i] = 0.0f;
  for (int done = 0; done < d.T; done += kLstmChunk) {
    const int n = d.T - done < kLstmChunk ? d.T - done : kLstmChunk;
    const int begin = d.reversed ? done : d.T - done - n;
    for (int step = 0; step < n; ++step) {
      const int t = d.reversed ? begin + step : begin + n - 1 - step;
      const LstmRows now = lstm_rows(d, t);
      float* dz_t = dz + (t - begin) * BG;
      for (int b = 0; b < d.B; ++b) {
        const float* a = gates + t * BG + static_cast<long>(b) * G;
        float* out = dz_t + static_cast<long>(b) * G;
        const long row = static_cast<long>(b) * H;
        for_vectors(H, [&](long j, int m) {
          const vf i = load_m(a + j, m), f = load_m(a + H + j, m), g = load_m(a + 2 * H + j, m),
                   o = load_m(a + 3 * H + j, m);
          const vf bent_c = bend(load_m(c + now.now * BH + row + j, m), d.linear);
          const vf of_bend = d.linear ? set1(1.0f) : 1.0f - bent_c * bent_c,
                   of_g = d.linear ? set1(1.0f) : 1.0f - g * g;
          const vf dh_now = load_m(dh + t * BH + row + j, m) + load_m(later + row + j, m);
          const vf dc_now = load_m(dc + row + j, m) + dh_now * o * of_bend;
          store_m(out + j, dc_now * g * i * (1.0f - i), m);
          store_m(out + H + j, dc_now * load_m(c + now.before * BH + row + j, m) * f * (1.0f - f), m);
          store_m(out + 2 * H + j, dc_now * i * of_g, m);
          store_m(out + 3 * H + j, dh_now * bent_c * o * (1.0f - o), m);
          store_m(dc + row + j, dc_now * f, m);
        });
      }
      gemm(d.B, H, G, dz_t, G, 1, w + d.I, in, later, H, GemmInit::kZero);
    }
    const int rows = n * d.B;
    gemm(d.I, G, rows, x + begin * BI, 1, d.I, dz, G, dw_t, G, GemmInit::kAdd);
    gemm(H, G, rows, h + lstm_rows(d, begin).before * BH, 1, H, dz, G, dw_t + static_cast<long>(d.I) * G, G,
         GemmInit::kAdd);
    add_column_sums(dbias, dz, rows, G, G);
    if (dx) gemm(rows, d.I, G, dz, G, 1, w, in, dx + begin * BI, d.I, GemmInit::kZero);
  }
  for (int g = 0; g < G; ++g) {
    for (int k = 0; k < in; ++k) dw[static_cast<long>(g) * in + k] += dw_t[static_cast<long>(k) * G + g];
  }
}

}  // namespace cafx::CAFX_ISA_NS
