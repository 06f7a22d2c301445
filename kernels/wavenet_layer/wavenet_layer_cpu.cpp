#include "kernels/wavenet_layer/wavenet_layer.h"

#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/simd/dots.h"
#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

namespace {

// Tile after tile through the whole layer. Channels are rows, so a tap is a product with the input, shifted.
void forward_place(float* y, float* head, float* saved, const float* x, const float* condition,
                   const WavenetLayerTensors<const float*>& p, void* scratch, WavenetLayerDims d) {
  const int C = d.C, Z = n_z(d), K = d.K;
  const long residual = static_cast<long>(K - 1) * d.dilation;
  float* own = static_cast<float*>(scratch);                   // (Z,tile)
  float* product = own + static_cast<long>(Z) * kWavenetTile;  // (C,tile)
  for (int t0 = 0; t0 < d.T; t0 += kWavenetTile) {
    const int n = d.T - t0 < kWavenetTile ? d.T - t0 : kWavenetTile;
    float* z = saved ? saved + t0 : own;
    const long z_stride = saved ? d.T : kWavenetTile;
    for (int o = 0; o < Z; ++o) {
      float* row = z + o * z_stride;
      const float bias = p.bias[o], mixer = p.mixer[o];
      for_vectors(n, [&](long t, int m) { store_m(row + t, bias + mixer * load_m(condition + t0 + t, m), m); });
    }
    for (int k = 0; k < K; ++k) {
      gemm(Z, n, C, p.w + k, static_cast<long>(C) * K, K, x + t0 + static_cast<long>(k) * d.dilation, d.x_stride, z,
           z_stride, GemmInit::kAdd);
    }
    const float* a = z;
    long a_stride = z_stride;
    for (int i = 0; i < C; ++i) {
      float* row = z + i * z_stride;
      for_vectors(n, [&](long t, int m) { store_m(row + t, vtanh(load_m(row + t, m)), m); });
    }
    if (d.gated) {
      for (int i = 0; i < C; ++i) {
        const float* row = z + i * z_stride;
        float *gate = z + (C + i) * z_stride, *out = product + static_cast<long>(i) * kWavenetTile;
        for_vectors(n, [&](long t, int m) {
          const vf s = vsigmoid(load_m(gate + t, m));
          store_m(gate + t, s, m);
          store_m(out + t, load_m(row + t, m) * s, m);
        });
      }
      a = product;
      a_stride = kWavenetTile;
    }
    const int skip = d.T - d.H - t0 > 0 ? d.T - d.H - t0 : 0;  // samples of this tile before the head's first
    for (int i = 0; i < C && skip < n; ++i) {
      float* out = head + i * d.head_stride + (t0 + skip - (d.T - d.H));
      const float* row = a + i * a_stride + skip;
      for_vectors(n - skip, [&](long t, int m) { store_m(out + t, load_m(out + t, m) + load_m(row + t, m), m); });
    }
    if (!y) continue;
    for (int o = 0; o < C; ++o) {
      float* out = y + o * d.y_stride + t0;
      const float* in = x + o * d.x_stride + residual + t0;
      const float bias = p.bias1[o];
      for_vectors(n, [&](long t, int m) { store_m(out + t, load_m(in + t, m) + bias, m); });
    }
    gemm(C, n, C, p.w1, C, 1, a, a_stride, y + t0, d.y_stride, GemmInit::kAdd);
  }
}

// Sums over time as vectors, for all places; `tiles` is what one tile needs.
struct Sums {
  float *w, *w1, *bias, *mixer, *bias1, *end;
  Sums(float* base, const WavenetLayerDims& d) {
    const long Z = n_z(d), C = d.C;
    w = base;
    w1 = w + Z * C * d.K * kW;
    bias = w1 + C * C * kW;
    mixer = bias + Z * kW;
    bias1 = mixer + Z * kW;
    end = bias1 + C * kW;
  }
};

void backward_place(float* dx, const Sums& sums, const float* dy, const float* dhead, const float* x,
                    const float* condition, const float* saved, const WavenetLayerTensors<const float*>& p,
                    float* tiles, WavenetLayerDims d) {
  const int C = d.C, Z = n_z(d), K = d.K;
  const long tile = kWavenetTile, residual = static_cast<long>(K - 1) * d.dilation;
  float* a = tiles;           // (C,tile)
  float* da = a + C * tile;   // (C,tile)
  float* dz = da + C * tile;  // (Z,tile)
  for (int i = 0; i < C; ++i) {
    float* row = dx + i * d.x_stride;
    for (long t = 0; t < residual; ++t) row[t] = 0.0f;
    for (int t = 0; t < d.T; ++t) row[residual + t] = dy ? dy[i * d.y_stride + t] : 0.0f;
  }
  for (int t0 = 0; t0 < d.T; t0 += kWavenetTile) {
    const int n = d.T - t0 < kWavenetTile ? d.T - t0 : kWavenetTile;
    const float* z = saved + t0;
    const int skip = d.T - d.H - t0 > 0 ? (d.T - d.H - t0 < n ? d.T - d.H - t0 : n) : 0;
    for (int i = 0; i < C; ++i) {
      float* row = da + i * tile;
      for (int t = 0; t < skip; ++t) row[t] = 0.0f;
      const float* from = dhead + i * d.head_stride + (t0 - (d.T - d.H));
      for (int t = skip; t < n; ++t) row[t] = from[t];
    }
    if (dy) gemm(C, n, C, p.w1, 1, C, dy + t0, d.y_stride, da, tile, GemmInit::kAdd);
    for (int i = 0; i < C; ++i) {
      const float *row = z + static_cast<long>(i) * d.T, *of_a = da + i * tile;
      float *out = dz + i * tile, *made = a + i * tile;
      if (!d.gated) {
        for_vectors(n, [&](long t, int m) {
          const vf v = load_m(row + t, m);
          store_m(made + t, v, m);
          store_m(out + t, load_m(of_a + t, m) * (1.0f - v * v), m);
        });
        continue;
      }
      const float* gate = z + static_cast<long>(C + i) * d.T;
      float* out_gate = dz + (C + i) * tile;
      for_vectors(n, [&](long t, int m) {
        const vf v = load_m(row + t, m), s = load_m(gate + t, m), of = load_m(of_a + t, m);
        store_m(made + t, v * s, m);
        store_m(out + t, of * s * (1.0f - v * v), m);
        store_m(out_gate + t, of * v * s * (1.0f - s), m);
      });
    }
    if (dy) {
      add_dots(sums.w1, C, 1, dy + t0, d.y_stride, C, a, tile, C, n);
      add_row_sums(sums.bias1, dy + t0, d.y_stride, C, n);
    }
    add_row_sums(sums.bias, dz, tile, Z, n);
    add_dots(sums.mixer, 1, 1, dz, tile, Z, condition + t0, n, 1, n);
    for (int k = 0; k < K; ++k) {
      const long at = t0 + static_cast<long>(k) * d.dilation;
      add_dots(sums.w + static_cast<long>(k) * kW, static_cast<long>(C) * K, K, dz, tile, Z, x + at, d.x_stride, C, n);
      gemm(C, n, Z, p.w + k, K, static_cast<long>(C) * K, dz, tile, dx + at, d.x_stride, GemmInit::kAdd);
    }
  }
}

}  // namespace

void wavenet_layer_forward(float* y, float* head, float* saved, const float* x, const float* condition,
                           const WavenetLayerTensors<const float*>& p, void* scratch, WavenetLayerDims d) {
  for (long b = 0; b < d.B; ++b) {
    forward_place(y ? y + b * d.C * d.y_stride : nullptr, head + b * d.C * d.head_stride,
                  saved ? saved + b * n_z(d) * d.T : nullptr, x + b * d.C * d.x_stride,
                  condition + b * d.condition_stride, p, scratch, d);
  }
}

void wavenet_layer_backward(float* dx, const WavenetLayerTensors<float*>& g, const float* dy, const float* dhead,
                            const float* x, const float* condition, const float* saved,
                            const WavenetLayerTensors<const float*>& p, void* scratch, WavenetLayerDims d) {
  const int C = d.C, Z = n_z(d), K = d.K;
  float* tiles = static_cast<float*>(scratch);
  const Sums sums(tiles + static_cast<long>(2 * C + Z) * kWavenetTile, d);
  for (float* s = sums.w; s < sums.end; ++s) *s = 0.0f;
  for (long b = 0; b < d.B; ++b) {
    backward_place(dx + b * C * d.x_stride, sums, dy ? dy + b * C * d.y_stride : nullptr, dhead + b * C * d.head_stride,
                   x + b * C * d.x_stride, condition + b * d.condition_stride, saved + b * Z * d.T, p, tiles, d);
  }
  finish_sums(g.w, sums.w, static_cast<long>(Z) * C * K);
  finish_sums(g.w1, sums.w1, static_cast<long>(C) * C);
  finish_sums(g.bias, sums.bias, Z);
  finish_sums(g.mixer, sums.mixer, Z);
  finish_sums(g.bias1, sums.bias1, C);
}

}  // namespace cafx::CAFX_ISA_NS
