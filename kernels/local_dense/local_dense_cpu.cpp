#include "kernels/local_dense/local_dense.h"

#include "kernels/local_dense/local_dense_layout.h"
#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/gemm.h"
#include "kernels/simd/transpose.h"

namespace cafx::CAFX_ISA_NS {

namespace {
long rounded(long n) { return (n + 15) / 16 * 16; }

// Channels c0 .. c0 + n_c of x (n_rows,C) as rows of `stride` floats, and back.
void pack(float* rows, long stride, const float* x, int n_rows, int C, int c0, int n_c) {
  for (int c = 0; c < n_c; c += kW) {
    to_rows(rows + c * stride, stride, x + c0 + c, C, n_rows, n_c - c < kW ? n_c - c : kW);
  }
}
void unpack(float* x, const float* rows, long stride, int n_rows, int C, int c0, int n_c) {
  for (int c = 0; c < n_c; c += kW) {
    from_rows(x + c0 + c, C, rows + c * stride, stride, n_rows, n_c - c < kW ? n_c - c : kW);
  }
}
}  // namespace

void local_dense_forward_block(float* y, const float* x, const float* w, const float* bias, float* scratch,
                               LocalDenseDims d, int c0, int n_c) {
  const long x_stride = rounded(static_cast<long>(d.B) * d.I), y_stride = rounded(static_cast<long>(d.B) * d.O);
  float* x_rows = scratch;                 // (16) rows of (B,I)
  float* y_rows = x_rows + 16 * x_stride;  // (16) rows of (B,O)
  float* x_ib = y_rows + 16 * y_stride;    // (I,B)
  float* y_ob = x_ib + x_stride;           // (O,B)
  pack(x_rows, x_stride, x, d.B * d.I, d.C, c0, n_c);
  for (int c = 0; c < n_c; ++c) {
    const float* w_c = w + static_cast<long>(c0 + c) * d.O * d.I;
    const float* bias_c = bias + static_cast<long>(c0 + c) * d.O;
    transpose(x_ib, x_rows + c * x_stride, d.B, d.I);
    gemm(d.O, d.B, d.I, w_c, d.I, 1, x_ib, d.B, y_ob, d.B, GemmInit::kZero);
    with_activation(d.activation, [&]<Activation A>() {
      for (int o = 0; o < d.O; ++o) {
        float* row = y_ob + static_cast<long>(o) * d.B;
        for_vectors(d.B, [&](long i, int m) { store_m(row + i, activate<A>(load_m(row + i, m) + bias_c[o]), m); });
      }
    });
    transpose(y_rows + c * y_stride, y_ob, d.O, d.B);
  }
  unpack(y, y_rows, y_stride, d.B * d.O, d.C, c0, n_c);
}

void local_dense_backward_block(float* dx, float* dw, float* dbias, const float* dy, const float* y, const float* x,
                                const float* w, float* scratch, LocalDenseDims d, int c0, int n_c) {
  const long x_stride = rounded(static_cast<long>(d.B) * d.I), y_stride = rounded(static_cast<long>(d.B) * d.O);
  float* x_rows = scratch;                 // (16) rows of (B,I): x, then dx
  float* g_rows = x_rows + 16 * x_stride;  // (16) rows of (B,O): dy, then the gradient before the activation
  float* dx_own = g_rows + 16 * y_stride;  // (B,I)
  pack(x_rows, x_stride, x, d.B * d.I, d.C, c0, n_c);
  // The slope is computed while the channels are still side by side.
  for (int c = 0; c < n_c; c += kW) {
    const int n = n_c - c < kW ? n_c - c : kW;
    with_activation(d.activation, [&]<Activation A>() {
      for (long row = 0; row < static_cast<long>(d.B) * d.O; row += kW) {
        vf tile[kW];
        for (int i = 0; i < kW; ++i) {
          const long at = (row + i) * d.C + c0 + c;
          tile[i] = row + i < static_cast<long>(d.B) * d.O ? load_m(dy + at, n) * slope<A>(load_m(y + at, n)) : vf{};
        }
        transpose_tile(tile);
        for (int i = 0; i < n; ++i) store(g_rows + (c + i) * y_stride + row, tile[i]);
      }
    });
  }
  for (int c = 0; c < n_c; ++c) {
    const float* w_c = w + static_cast<long>(c0 + c) * d.O * d.I;
    const float* g = g_rows + c * y_stride;
    float* x_c = x_rows + c * x_stride;
    add_column_sums(dbias + static_cast<long>(c0 + c) * d.O, g, d.B, d.O, d.O);
    gemm(d.O, d.I, d.B, g, 1, d.O, x_c, d.I, dw + static_cast<long>(c0 + c) * d.O * d.I, d.I, GemmInit::kAdd);
    gemm(d.B, d.I, d.O, g, d.O, 1, w_c, d.I, dx_own, d.I, GemmInit::kZero);
    for (long i = 0; i < static_cast<long>(d.B) * d.I; ++i) x_c[i] = dx_own[i];
  }
  unpack(dx, x_rows, x_stride, d.B * d.I, d.C, c0, n_c);
}

void local_dense_prepare(float* packed, const float* w, const float* bias, LocalDenseDims d) {
  const LocalDensePacked at(d);
  for (long i = 0; i < at.size; ++i) packed[i] = 0.0f;
  const int n_tiles = (d.O + kLocalDenseTile - 1) / kLocalDenseTile;
  for (int c = 0; c < d.C; ++c) {
    for (int o = 0; o < d.O; ++o) {
      const long tile = static_cast<long>(c / kW) * n_tiles + o / kLocalDenseTile;
      const int lane = o % kLocalDenseTile * kW + c % kW;
      const float* row = w + (static_cast<long>(c) * d.O + o) * d.I;
      for (int i = 0; i < d.I; ++i) packed[at.w + (tile * d.I + i) * kLocalDenseTile * kW + lane] = row[i];
      packed[at.bias + tile * kLocalDenseTile * kW + lane] = bias[static_cast<long>(c) * d.O + o];
    }
  }
}

namespace {
// N frames of one vector of channels and one tile of outputs: channels are the lanes, so no sum crosses them, and each
// runs over the inputs in order, as in local_dense_forward_block.
template <int N, Activation A>
CAFX_INLINE void packed_tile(float* y, const float* x, const float* w, const float* bias, int n_o, int m,
                             LocalDenseDims d) {
  vf acc[N][kLocalDenseTile] = {};
  for (int i = 0; i < d.I; ++i) {
    vf in[N];
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) in[n] = load_m(x + (static_cast<long>(n) * d.I + i) * d.C, m);
#pragma GCC unroll 8
    for (int o = 0; o < kLocalDenseTile; ++o) {
      const vf v = load(w + (static_cast<long>(i) * kLocalDenseTile + o) * kW);
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) acc[n][o] += v * in[n];
    }
  }
  for (int n = 0; n < N; ++n) {
    for (int o = 0; o < n_o; ++o) {
      store_m(y + (static_cast<long>(n) * d.O + o) * d.C, activate<A>(acc[n][o] + load(bias + o * kW)), m);
    }
  }
}
}  // namespace

void local_dense_forward_packed(float* y, const float* x, const float* packed, LocalDenseDims d) {
  const LocalDensePacked at(d);
  const float *w = packed + at.w, *bias = packed + at.bias;
#if defined(__AVX512F__)
  constexpr int kFrames = 2;  // 16 sums in registers
#else
  constexpr int kFrames = 1;
#endif
  with_activation(d.activation, [&]<Activation A>() {
    for_vectors(d.C, [&](long c, int m) {
      for (int o = 0; o < d.O; o += kLocalDenseTile) {
        const int n_o = d.O - o < kLocalDenseTile ? d.O - o : kLocalDenseTile;
        const auto place = [&](int b) { return y + (static_cast<long>(b) * d.O + o) * d.C + c; };
        int b = 0;
        for (; b + kFrames <= d.B; b += kFrames) {
          packed_tile<kFrames, A>(place(b), x + static_cast<long>(b) * d.I * d.C + c, w, bias, n_o, m, d);
        }
        for (; b < d.B; ++b) {
          packed_tile<1, A>(place(b), x + static_cast<long>(b) * d.I * d.C + c, w, bias, n_o, m, d);
        }
        w += static_cast<long>(d.I) * kLocalDenseTile * kW;
        bias += kLocalDenseTile * kW;
      }
    });
  });
}

}  // namespace cafx::CAFX_ISA_NS
