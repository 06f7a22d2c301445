// The fused front end of the CPU.
//
//   Forward   64 channels at a time: x1 by a product with a Toeplitz view of the signal, then for each vector of
//             channels |x1| copied once into a contiguous panel, 16 outputs at a time in registers (8 taps, 23 loads
//             for 128 products), pooled at once: x2 is never stored. By halves: with h0, h1 the even and odd taps, x0,
//             x1 the even and odd samples of the panel,
//                 x2[2n]   = m[n] + sum_j h0[j] (x0[n+j] - x1[n+j]),       m[n] = sum_j (h0 + h1)[j] x1[n+j]
//                 x2[2n+1] = m[n] + sum_j h1[j] (x0[n+j+1] - x1[n+j])
//             three products instead of four.
//   Backward  along time: the channels of a vector are transposed to rows, so that the 128 taps of the one sample in P
//             that carries gradient are contiguous.
#include "kernels/front_end/front_end.h"

#include "kernels/conv1d/conv1d_cpu.h"
#include "kernels/front_end/front_end_layout.h"
#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"
#include "kernels/simd/part.h"
#include "kernels/simd/transpose.h"

namespace cafx::CAFX_ISA_NS {

namespace {

#if defined(__AVX512F__)
constexpr int kOutputs = 16, kTaps = 8;
#else
constexpr int kOutputs = 8, kTaps = 4;
#endif

// out[i] += sum_k panel[i + k] taps[k] for N taps, each sum in order of k.
template <int N>
CAFX_INLINE void add_taps(vf (&out)[kOutputs], const float* panel, const float* taps) {
  vf w[N];
#pragma GCC unroll 8
  for (int k = 0; k < N; ++k) w[k] = load(taps + k * kW);
#pragma GCC unroll 24
  for (int s = 0; s < kOutputs + N - 1; ++s) {
    const vf x = load(panel + s * kW);
#pragma GCC unroll 8
    for (int k = 0; k < N; ++k) {
      if (s - k >= 0 && s - k < kOutputs) out[s - k] += x * w[k];
    }
  }
}

// out[i] += sum over n_taps of panel[i + k] taps[k], in order of k.
CAFX_INLINE void add_all_taps(vf (&out)[kOutputs], const float* panel, const float* taps, int n_taps) {
  int k = 0;
  for (; k + kTaps <= n_taps; k += kTaps) add_taps<kTaps>(out, panel + k * kW, taps + k * kW);
  for (; k < n_taps; ++k) add_taps<1>(out, panel + k * kW, taps + k * kW);
}

// The maximum of each window of P samples, which arrive in order, for one vector of channels.
struct Pooling {
  float* z;
  std::int32_t* positions;
  int n_lanes;
  FrontEndDims d;
  vf best = {};
  vi at = {};
  int r = 0;  // place in the window

  CAFX_INLINE void add(vf x) {
    const vi better = r == 0 ? set1i(-1) : reinterpret_cast<vi>(x > best);
    best = better ? x : best;
    at = better ? set1i(r) : at;
    if (++r < d.P) return;
    store_m(z, vsoftplus(best), n_lanes);
    store_n(positions, at, n_lanes);
    z += d.C;
    positions += d.C;
    r = 0;
  }
};

// z and positions of one vector of channels and n samples, whole windows, from the panel of |x1| around them.
void convolve_and_pool(float* z, std::int32_t* positions, const float* panel, const float* taps, vf bias, int n_lanes,
                       int n, FrontEndDims d) {
  Pooling pool{z, positions, n_lanes, d};
  for (int t = 0; t < n; t += kOutputs) {
    vf out[kOutputs];
#pragma GCC unroll 16
    for (int i = 0; i < kOutputs; ++i) out[i] = bias;
    add_all_taps(out, panel + t * kW, taps, d.K2);
    const int n_out = n - t < kOutputs ? n - t : kOutputs;
    for (int i = 0; i < n_out; ++i) pool.add(out[i]);
  }
}

// The same by halves: panels of x0 - x1, of x1, and of the next x0 - x1, `half` vectors each; taps h0, h0 + h1, h1.
void convolve_and_pool_fast(float* z, std::int32_t* positions, const float* panels, long half, const float* taps,
                            vf bias, int n_lanes, int n, FrontEndDims d) {
  Pooling pool{z, positions, n_lanes, d};
  const int n_taps = d.K2 / 2;
  const float *even_panel = panels, *middle_panel = panels + half * kW, *odd_panel = panels + 2 * half * kW;
  const float *h0 = taps, *h01 = taps + n_taps * kW, *h1 = taps + 2 * n_taps * kW;
  for (int t = 0; t < n; t += 2 * kOutputs) {
    const long at = static_cast<long>(t / 2) * kW;
    vf even[kOutputs], odd[kOutputs];
#pragma GCC unroll 16
    for (int i = 0; i < kOutputs; ++i) even[i] = bias;
    add_all_taps(even, middle_panel + at, h01, n_taps);
#pragma GCC unroll 16
    for (int i = 0; i < kOutputs; ++i) odd[i] = even[i];
    add_all_taps(even, even_panel + at, h0, n_taps);
    add_all_taps(odd, odd_panel + at, h1, n_taps);
    const int n_pairs = (n - t) / 2 < kOutputs ? (n - t) / 2 : kOutputs;
    for (int i = 0; i < n_pairs; ++i) {
      pool.add(even[i]);
      pool.add(odd[i]);
    }
  }
}

constexpr int kChannels = 64;  // whose rows are computed and used together
int channels_from(int c0, FrontEndDims d) { return d.C - c0 < kChannels ? d.C - c0 : kChannels; }

// Channels c0 .. c0 + n_c of n rows of x1.
void make_rows(float* x1, const float* x, const float* packed, int n, int c0, int n_c, bool bf16_units,
               Precision stored, FrontEndDims d) {
  const FrontEndPacked at(d);
  const Part part("Conv1D", static_cast<double>(n) * n_c * d.K1, 4.0 * n * (n_c + 1));
  const auto round_rows = [&] {
    for (int t = 0; t < n; ++t) round_all(x1 + static_cast<long>(t) * d.C + c0, n_c, stored);
  };
#if defined(__AVX512F__)
  constexpr int kPairs = 1024;
  if (bf16_units && d.K1 <= kPairs / 2) {
    bf16::Pair pairs[kPairs];
    const auto* w = reinterpret_cast<const bf16::Pair*>(packed + at.pairs) + c0;
    for (int t = 0; t < n; t += kPairs / 2) {
      const int rows = n - t < kPairs / 2 ? n - t : kPairs / 2;
      bf16::overlapping_pairs(pairs, x + t, rows + d.K1 - 1);
      bf16::gemm(rows, n_c, static_cast<int>(bf16::n_pairs(d.K1)), pairs, 1, 2, w, d.C,
                 x1 + static_cast<long>(t) * d.C + c0, d.C, GemmInit::kBias, packed + at.bias1 + c0);
    }
    return round_rows();
  }
#else
  (void)bf16_units;
#endif
  gemm(n, n_c, d.K1, x, 1, 1, packed + at.w1 + c0, d.C, x1 + c0, d.C, GemmInit::kBias, packed + at.bias1 + c0);
  round_rows();
}

// The same channels of n windows; rows [-before, n P + after) of x1 exist; beyond them it is zero.
void make_windows(float* z, std::int32_t* positions, const float* x1, int n, int before, int after, const float* packed,
                  float* panel, int c0, int n_c, FrontEndDims d) {
  const FrontEndPacked at(d);
  const int left = (d.K2 - 1) / 2, n_rows = n * d.P;
  const bool fast = front_end_is_fast(d);
  const int n_panel = static_cast<int>(round_up(n_rows, fast ? 32 : 16)) + d.K2 - 1;
  const long half = (n_panel + 1) / 2;
  for (int c = c0; c < c0 + n_c; c += kW) {
    const int m = c0 + n_c - c < kW ? c0 + n_c - c : kW;
    const auto row = [&](int i) {
      const int t = i - left;
      return t >= -before && t < n_rows + after ? vabs(load_m(x1 + static_cast<long>(t) * d.C + c, m)) : vf{};
    };
    {
      const Part part("abs, into panels", 0, 8.0 * n_rows * m);
      if (fast) {
        vf x0 = row(0);
        for (long i = 0; i < half; ++i) {
          const vf x1_i = row(static_cast<int>(2 * i + 1)), next = row(static_cast<int>(2 * i + 2));
          store(panel + i * kW, x0 - x1_i);
          store(panel + (half + i) * kW, x1_i);
          store(panel + (2 * half + i) * kW, next - x1_i);
          x0 = next;
        }
      } else {
        for (int i = 0; i < n_panel; ++i) store(panel + static_cast<long>(i) * kW, row(i));
      }
    }
    const Part part("Conv1D-Local, pool, softplus", static_cast<double>(n_rows) * m * d.K2,
                    4.0 * m * (n_rows + 2.0 * n));
    const vf bias = load(packed + at.bias2 + c);
    if (fast) {
      convolve_and_pool_fast(z + c, positions + c, panel, half,
                             packed + at.fast + static_cast<long>(c / kW) * (3l * d.K2 / 2) * kW, bias, m, n_rows, d);
    } else {
      convolve_and_pool(z + c, positions + c, panel, packed + at.w2 + static_cast<long>(c / kW) * d.K2 * kW, bias, m,
                        n_rows, d);
    }
  }
}

float operand(float x, Precision stored) {
  round_all(&x, 1, stored);
  return x;
}

}  // namespace

void front_end_prepare(float* packed, const float* w1, const float* bias1, const float* w2, const float* bias2,
                       bool bf16_units, Precision stored, FrontEndDims d) {
  const FrontEndPacked at(d);
  transpose(packed + at.w1, w1, d.C, d.K1);
  for (int c = 0; c < d.C; ++c) packed[at.bias1 + c] = bias1[c];
  for (long i = at.w2; i < at.size; ++i) packed[i] = 0.0f;
#if defined(__AVX512F__)
  if (bf16_units) bf16::pairs_of_rows(reinterpret_cast<bf16::Pair*>(packed + at.pairs), packed + at.w1, d.C, d.K1, d.C);
#else
  (void)bf16_units;
#endif
  for (int c = 0; c < d.C; ++c) {
    float* panel = packed + at.w2 + static_cast<long>(c / kW) * d.K2 * kW + c % kW;
    for (int k = 0; k < d.K2; ++k)
      panel[static_cast<long>(k) * kW] = operand(w2[static_cast<long>(c) * d.K2 + k], stored);
    packed[at.bias2 + c] = bias2[c];
    if (!front_end_is_fast(d)) continue;
    const int n_taps = d.K2 / 2;
    float* fast = packed + at.fast + static_cast<long>(c / kW) * 3 * n_taps * kW + c % kW;
    for (int j = 0; j < n_taps; ++j) {
      const float* taps = w2 + static_cast<long>(c) * d.K2 + 2 * j;
      const float h0 = operand(taps[0], stored), h1 = operand(taps[1], stored);
      fast[j * kW] = h0;
      fast[(n_taps + j) * kW] = h0 + h1;
      fast[(2 * n_taps + j) * kW] = h1;
    }
  }
}

void front_end_forward(float* x1, float* z, std::int32_t* positions, const float* x_padded, const float* packed,
                       float* scratch, bool bf16_units, Precision stored, FrontEndDims d) {
  for (int b = 0; b < d.B; ++b) {
    const float* x_b = x_padded + static_cast<long>(b) * (d.T + d.K1 - 1);
    float* x1_b = x1 + static_cast<long>(b) * d.T * d.C;
    const long z_b = static_cast<long>(b) * (d.T / d.P) * d.C;
    for (int c0 = 0; c0 < d.C; c0 += kChannels) {
      make_rows(x1_b, x_b, packed, d.T, c0, channels_from(c0, d), bf16_units, stored, d);
      make_windows(z + z_b, positions + z_b, x1_b, d.T / d.P, 0, 0, packed, scratch, c0, channels_from(c0, d), d);
    }
  }
}

void front_end_rows(float* x1, const float* x, const float* packed, int n, bool bf16_units, Precision stored,
                    FrontEndDims d) {
  for (int c0 = 0; c0 < d.C; c0 += kChannels)
    make_rows(x1, x, packed, n, c0, channels_from(c0, d), bf16_units, stored, d);
}

void front_end_windows(float* z, std::int32_t* positions, const float* x1, int n, int before, int after,
                       const float* packed, float* scratch, FrontEndDims d) {
  for (int c0 = 0; c0 < d.C; c0 += kChannels) {
    make_windows(z, positions, x1, n, before, after, packed, scratch, c0, channels_from(c0, d), d);
  }
}

namespace {

// For N vectors of taps from tap k0 on: dw += g abs[..], dabs[..] += g w, over the windows of one channel.
// Windows are visited with a stride: neighbours overlap, and a load that follows a store to half of its bytes stalls.
template <int N>
void backward_taps(float* dw, float* dabs, const float* abs, const float* w, const float* g,
                   const std::int32_t* positions, long stride_c, int n_windows, int P, int k0) {
  vf sum[N], tap[N];
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) {
    sum[v] = load(dw + k0 + v * kW);
    tap[v] = load(w + k0 + v * kW);
  }
  constexpr int kStride = 16;
  for (int first = 0; first < kStride; ++first) {
    for (int p = first; p < n_windows; p += kStride) {
      const long t = static_cast<long>(p) * P + positions[p * stride_c] + k0;
      const vf gp = set1(g[p]);
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) {
        sum[v] += gp * load(abs + t + v * kW);
        store(dabs + t + v * kW, load(dabs + t + v * kW) + gp * tap[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < N; ++v) store(dw + k0 + v * kW, sum[v]);
}

}  // namespace

void front_end_backward(float* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2, const float* dz,
                        const float* x1, const float* z, const std::int32_t* positions, const float* x_padded,
                        const float* w2, float* scratch, bool bf16_units, Precision stored, FrontEndDims d) {
  const FrontEndScratch at(d);
  const int left = (d.K2 - 1) / 2, n_windows = d.T / d.P;
  const long taps = round_up(d.K2, kW), g_row = round_up(n_windows, 16);
  float *abs = scratch + at.abs, *dabs = scratch + at.dabs, *g = scratch + at.g, *w = scratch + at.w,
        *dw = scratch + at.dw;
  for (int b = 0; b < d.B; ++b) {
    const float* x1_b = x1 + static_cast<long>(b) * d.T * d.C;
    float* dx1_b = dx1 + static_cast<long>(b) * d.T * d.C;
    const long z_b = static_cast<long>(b) * n_windows * d.C;
    for (int c0 = 0; c0 < d.C; c0 += kW) {
      const int m = d.C - c0 < kW ? d.C - c0 : kW;
      {
        const Part part("transposing", 0, 4.0 * m * (d.T * 2.0 + n_windows * 3.0));
        // Gradient before the softplus, and |x1|, as rows along time.
        for (int p = 0; p < n_windows; p += kW) {
          vf tile[kW];
          for (int i = 0; i < kW; ++i) {
            const long i_z = z_b + static_cast<long>(p + i) * d.C + c0;
            tile[i] = p + i < n_windows ? load_m(dz + i_z, m) * slope<Activation::kSoftplus>(load_m(z + i_z, m)) : vf{};
          }
          transpose_tile(tile);
          for (int c = 0; c < m; ++c) store(g + c * g_row + p, vrounded(tile[c], stored));
        }
        for (long i = 0; i < 16 * at.row; ++i) {
          abs[i] = 0.0f;
          dabs[i] = 0.0f;
        }
        for (int t = 0; t < d.T; t += kW) {
          vf tile[kW];
          for (int i = 0; i < kW; ++i) {
            tile[i] = t + i < d.T ? vabs(load_m(x1_b + static_cast<long>(t + i) * d.C + c0, m)) : vf{};
          }
          transpose_tile(tile);
          for (int c = 0; c < m; ++c) store(abs + c * at.row + left + t, tile[c]);
        }
      }
      {
        const Part part("Conv1D-Local", 2.0 * m * n_windows * d.K2, 4.0 * m * (d.T * 2.0 + n_windows));
        for (int c = 0; c < m; ++c) {
          const float* w_c = w2 + static_cast<long>(c0 + c) * d.K2;
          float* dw_c = dw2 + static_cast<long>(c0 + c) * d.K2;
          for (int k = 0; k < taps; ++k) {
            w[k] = k < d.K2 ? operand(w_c[k], stored) : 0.0f;
            dw[k] = k < d.K2 ? dw_c[k] : 0.0f;
          }
          const float* g_c = g + c * g_row;
          const auto run = [&]<int N>(int k0) {
            backward_taps<N>(dw, dabs + c * at.row, abs + c * at.row, w, g_c, positions + z_b + c0 + c, d.C, n_windows,
                             d.P, k0);
          };
          int k0 = 0;
          for (; k0 + 8 * kW <= taps; k0 += 8 * kW) run.template operator()<8>(k0);
          for (; k0 + 4 * kW <= taps; k0 += 4 * kW) run.template operator()<4>(k0);
          for (; k0 < taps; k0 += kW) run.template operator()<1>(k0);
          for (int k = 0; k < d.K2; ++k) dw_c[k] = dw[k];
          float total = 0.0f;
          for (int p = 0; p < n_windows; ++p) total += g_c[p];
          dbias2[c0 + c] += total;
        }
      }
      const Part part("transposing", 0, 16.0 * m * d.T);
      // Back to channels side by side, through the absolute value.
      for (int t = 0; t < d.T; t += kW) {
        vf tile[kW];
        for (int c = 0; c < kW; ++c) tile[c] = c < m ? load(dabs + c * at.row + left + t) : vf{};
        transpose_tile(tile);
        for (int i = 0; i < kW && t + i < d.T; ++i) {
          const long j = static_cast<long>(t + i) * d.C + c0;
          const vf x = load_m(x1_b + j, m);
          const vf dx = load_m(dx1_b + j, m) + (x > 0.0f ? tile[i] : (x < 0.0f ? -tile[i] : vf{}));
          store_m(dx1_b + j, vrounded(dx, stored), m);
        }
      }
    }
    const Part part("Conv1D", static_cast<double>(d.T) * d.C * d.K1, 4.0 * d.T * (d.C + 1));
    add_filter_gradient(dw1, dx1_b, x_padded + static_cast<long>(b) * (d.T + d.K1 - 1), d.T, d.C, d.K1, bf16_units,
                        scratch + at.pairs);
    add_column_sums(dbias1, dx1_b, d.T, d.C, d.C);
  }
}

}  // namespace cafx::CAFX_ISA_NS
