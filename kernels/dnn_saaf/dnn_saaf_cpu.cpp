// The fused DNN-SAAF of the CPU: one tile of samples goes through every layer while it is in cache. Forward keeps each
// layer's output (that of the worker's own frames, so in the last-level cache); backward recomputes only the product
// with the residual. With bf16 the operands of a layer's products are rounded in tiles of their own (simd/gemm_bf16.h).
#include "kernels/dnn_saaf/dnn_saaf.h"

#include "kernels/dnn_saaf/dnn_saaf_layout.h"
#include "kernels/pointwise/pointwise_cpu.h"
#include "kernels/saaf/saaf_cpu.h"
#include "kernels/simd/gemm.h"
#include "kernels/simd/gemm_bf16.h"
#include "kernels/simd/part.h"

namespace cafx::CAFX_ISA_NS {

namespace {

// The factor of sample t of the frame: z of its window, or zero off the maximum.
CAFX_INLINE vf unpooled(const float* z, const std::int32_t* positions, long i, int r, int m, Unpool unpool) {
  const vf v = load_m(z + i, m);
  if (unpool == Unpool::kHold) return v;
  vi at = {};
  if (m == kW) {
    at = *reinterpret_cast<const viu*>(positions + i);
  } else {
    for (int lane = 0; lane < m; ++lane) at[lane] = positions[i + lane];
  }
  return at == set1i(r) ? v : vf{};
}

double multiply_adds(int n, int width, int inputs) { return static_cast<double>(n) * width * inputs; }
double product_bytes(int n, int width, int inputs) {  // of n samples through a layer, forward or backward
  return 4.0 * (static_cast<double>(n) * (width + inputs) + static_cast<double>(width) * inputs);
}

// h0 (n,C) = unpool(z) r for samples t0 .. t0 + n of one frame.
void multiply_residual(float* h0, const float* r, const float* z, const std::int32_t* positions, int t0, int n,
                       const DnnSaafDims& d) {
  for (int i = 0; i < n; ++i) {
    const int t = t0 + i;
    const long window = static_cast<long>(t / d.P) * d.C;
    for_vectors(d.C, [&](long c, int m) {
      store_m(h0 + static_cast<long>(i) * d.C + c,
              load_m(r + static_cast<long>(t) * d.C + c, m) * unpooled(z, positions, window + c, t % d.P, m, d.unpool),
              m);
    });
  }
}

// The SAAF on n rows; a curve that fits into registers is looked up there.
void saaf_forward_tile(float* u, const float* x, int n, const float* packed, const DnnPacked& at, SaafDims d) {
#if defined(__AVX512F__)
  if (saaf_fits_lanes(d)) return saaf_rows_forward_turned(u, x, n, packed + at.lanes, d);
#endif
  saaf_rows_forward(u, x, n, reinterpret_cast<const SaafPiece*>(packed + at.table), d);
}
template <Precision kStored>
void saaf_backward_tile(float* dx, SaafSums* sums, const float* dy, const float* x, int n, const float* packed,
                        const DnnPacked& at, SaafDims d) {
#if defined(__AVX512F__)
  if (saaf_fits_lanes(d)) return saaf_rows_backward_turned<kStored>(dx, sums, dy, x, n, packed + at.lanes, d);
#endif
  saaf_rows_backward<kStored>(dx, sums, dy, x, n, reinterpret_cast<const SaafPiece*>(packed + at.table), d);
}

// f.template operator()<P>() for the format of the large tensors, known only at run time.
template <class F>
CAFX_INLINE void with_stored(Precision stored, F f) {
  switch (stored) {
    case Precision::kBf16:
      return f.template operator()<Precision::kBf16>();
    case Precision::kFp16:
      return f.template operator()<Precision::kFp16>();
    default:
      return f.template operator()<Precision::kFp32>();
  }
}

// The three products of layer l on n rows, in fp32 or by bf16 units; `pairs` is scratch for these.
struct Layer {
  int l, width, inputs;
  const float* packed;
  const DnnPacked& at;
  float* pairs;
  long pair_tile;
  bool bf16;

  Layer(int layer, const float* weights, const DnnPacked& offsets, float* scratch, const DnnScratch& own, bool units,
        const DnnSaafDims& d)
      : l(layer),
        width(d.width[layer]),
        inputs(dnn_inputs(d, layer)),
        packed(weights),
        at(offsets),
        pairs(scratch + own.pairs),
        pair_tile(DnnScratch::pair_tile(d)),
        bf16(units) {}

  // out (n,width) = bias + in w^T
  void forward(float* out, const float* in, int n) const {
#if defined(__AVX512F__)
    if (bf16) {
      auto* a = reinterpret_cast<bf16::Pair*>(pairs);
      const long P = bf16::n_pairs(inputs);
      bf16::pairs_along_rows(a, P, in, inputs, n, inputs);
      return bf16::gemm(n, width, P, a, P, 1, reinterpret_cast<const bf16::Pair*>(packed + at.forward[l]), width, out,
                        width, GemmInit::kBias, packed + at.bias[l]);
    }
#endif
    gemm(n, width, inputs, in, inputs, 1, packed + at.w[l], width, out, width, GemmInit::kBias, packed + at.bias[l]);
  }

  // dw (width,inputs) += g^T in
  void weights(float* dw, const float* g, const float* in, int n) const {
#if defined(__AVX512F__)
    if (bf16) {
      auto *a = reinterpret_cast<bf16::Pair*>(pairs), *b = reinterpret_cast<bf16::Pair*>(pairs + pair_tile);
      bf16::pairs_of_rows(a, g, width, n, width);
      bf16::pairs_of_rows(b, in, inputs, n, inputs);
      return bf16::gemm(width, inputs, bf16::n_pairs(n), a, 1, width, b, inputs, dw, inputs, GemmInit::kAdd);
    }
#endif
    gemm(width, inputs, n, g, 1, width, in, inputs, dw, inputs, GemmInit::kAdd);
  }

  // g_in (n,inputs) = g w
  void inputs_gradient(float* g_in, const float* g, const float* w, int n) const {
#if defined(__AVX512F__)
    if (bf16) {
      auto* a = reinterpret_cast<bf16::Pair*>(pairs);
      const long P = bf16::n_pairs(width);
      bf16::pairs_along_rows(a, P, g, width, n, width);
      return bf16::gemm(n, inputs, P, a, P, 1, reinterpret_cast<const bf16::Pair*>(packed + at.backward[l]), inputs,
                        g_in, inputs, GemmInit::kZero);
    }
#endif
    gemm(n, inputs, width, g, width, 1, w, inputs, g_in, inputs, GemmInit::kZero);
  }
};

}  // namespace

void dnn_saaf_prepare(float* packed, const DnnSaafWeights& weights, bool bf16_units, const DnnSaafDims& d) {
  const DnnPacked at(d);
  for (int l = 0; l < d.L; ++l) {
    transpose(packed + at.w[l], weights.w[l], d.width[l], dnn_inputs(d, l));
    for (int o = 0; o < d.width[l]; ++o) packed[at.bias[l] + o] = weights.bias[l][o];
#if defined(__AVX512F__)
    if (!bf16_units) continue;
    bf16::pairs_of_rows(reinterpret_cast<bf16::Pair*>(packed + at.forward[l]), packed + at.w[l], d.width[l],
                        dnn_inputs(d, l), d.width[l]);
    bf16::pairs_of_rows(reinterpret_cast<bf16::Pair*>(packed + at.backward[l]), weights.w[l], dnn_inputs(d, l),
                        d.width[l], dnn_inputs(d, l));
#else
    (void)bf16_units;
#endif
  }
  if (!d.use_saaf) return;
  for (int c = 0; c < d.C; ++c) {
    saaf_make_table(reinterpret_cast<SaafPiece*>(packed + at.table), weights.saaf_v, weights.saaf_w, saaf_dims(d), c);
  }
  if (saaf_fits_lanes(saaf_dims(d))) {
    saaf_make_lanes(packed + at.lanes, reinterpret_cast<const SaafPiece*>(packed + at.table), saaf_dims(d));
  }
}

void dnn_saaf_forward(float* u, float* saved, const float* r, const float* z, const std::int32_t* positions,
                      const float* packed, float* scratch, bool bf16_units, Precision stored, const DnnSaafDims& d) {
  const DnnPacked at(d);
  const DnnSaved keep(d);
  const DnnScratch own(d);
  const SaafDims saaf = saaf_dims(d);
  float* tiles[2] = {scratch + own.a, scratch + own.b};
  for (int b = 0; b < d.B; ++b) {
    const long frame = static_cast<long>(b) * d.T, z_b = frame / d.P * d.C;
    for (int t0 = 0; t0 < d.T; t0 += kDnnTile) {
      const int n = d.T - t0 < kDnnTile ? d.T - t0 : kDnnTile;
      float* in = scratch + own.c;
      {
        const Part part("unpool, times residual", 0, 4.0 * (2.0 + 1.0 / d.P) * n * d.C);
        multiply_residual(in, r + frame * d.C, z + z_b, positions ? positions + z_b : nullptr, t0, n, d);
      }
      for (int l = 0; l < d.L; ++l) {
        const int width = d.width[l];
        float* out = saved ? saved + keep.h[l] + (frame + t0) * width : tiles[l % 2];
        {
          const Part part("products", multiply_adds(n, width, dnn_inputs(d, l)),
                          product_bytes(n, width, dnn_inputs(d, l)));
          Layer(l, packed, at, scratch, own, bf16_units, d).forward(out, in, n);
        }
        if (l + 1 < d.L) {
          const Part part("activations", 0, 8.0 * n * width);
          with_activation(d.activation, [&]<Activation A>() {
            for_vectors(static_cast<long>(n) * width,
                        [&](long i, int m) { store_m(out + i, activate<A>(load_m(out + i, m)), m); });
          });
        }
        in = out;
      }
      float* u_t = u + (frame + t0) * d.C;
      const Part part("SAAF", 0, 8.0 * n * d.C);
      if (d.use_saaf) {
        saaf_forward_tile(u_t, in, n, packed, at, saaf);
      } else {
        for (long i = 0; i < static_cast<long>(n) * d.C; ++i) u_t[i] = in[i];
      }
      round_all(u_t, static_cast<long>(n) * d.C, stored);
    }
  }
}

void dnn_saaf_backward(float* dr, float* dz, const DnnSaafGrads& grads, const float* du, const float* saved,
                       const float* r, const float* z, const std::int32_t* positions, const DnnSaafWeights& weights,
                       const float* packed, float* scratch, bool bf16_units, Precision stored, const DnnSaafDims& d) {
  const DnnPacked at(d);
  const DnnSaved keep(d);
  const DnnScratch own(d);
  const SaafDims saaf = saaf_dims(d);
  SaafSums* sums = reinterpret_cast<SaafSums*>(scratch + own.sums);
  for (long i = 0; i < static_cast<long>(saaf.S + 2) * d.C; ++i) sums[i] = {};
  for (long i = 0; i < static_cast<long>(d.B) * (d.T / d.P) * d.C; ++i) dz[i] = 0.0f;
  for (int b = 0; b < d.B; ++b) {
    const long frame = static_cast<long>(b) * d.T, z_b = frame / d.P * d.C;
    const std::int32_t* positions_b = positions ? positions + z_b : nullptr;
    for (int t0 = 0; t0 < d.T; t0 += kDnnTile) {
      const int n = d.T - t0 < kDnnTile ? d.T - t0 : kDnnTile;
      float *g = scratch + own.a, *g_in = scratch + own.b, *h0 = scratch + own.c;
      const float* du_t = du + (frame + t0) * d.C;
      if (d.use_saaf) {
        const Part part("SAAF", 0, 12.0 * n * d.C);
        const float* x = saved + keep.h[d.L - 1] + (frame + t0) * d.C;
        with_stored(stored,
                    [&]<Precision kStored>() { saaf_backward_tile<kStored>(g, sums, du_t, x, n, packed, at, saaf); });
      } else {
        for (long i = 0; i < static_cast<long>(n) * d.C; ++i) g[i] = du_t[i];
      }
      {
        const Part part("unpool, times residual", 0, 4.0 * (2.0 + 1.0 / d.P) * n * d.C);
        multiply_residual(h0, r + frame * d.C, z + z_b, positions_b, t0, n, d);
      }
      for (int l = d.L - 1; l >= 0; --l) {
        const int width = d.width[l], inputs = dnn_inputs(d, l);
        const Layer layer(l, packed, at, scratch, own, bf16_units, d);
        const float* in = l == 0 ? h0 : saved + keep.h[l - 1] + (frame + t0) * inputs;
        {
          const Part part("products for weights", multiply_adds(n, width, inputs), product_bytes(n, width, inputs));
          round_all(g, static_cast<long>(n) * width, stored);  // once, for the products and the biases' sums
          layer.weights(grads.dw[l], g, in, n);
          add_column_sums(grads.dbias[l], g, n, width, width);
        }
        {
          const Part part("products for inputs", multiply_adds(n, width, inputs), product_bytes(n, width, inputs));
          layer.inputs_gradient(g_in, g, weights.w[l], n);
        }
        if (l > 0) {
          const Part part("slopes", 0, 12.0 * n * inputs);
          const float* y = EmulatedPrecision::is_on() ? rounded_copy(0, in, static_cast<long>(n) * inputs) : in;
          with_activation(d.activation, [&]<Activation A>() {
            for_vectors(static_cast<long>(n) * inputs, [&](long i, int m) {
              vf h = load_m(y + i, m);
              if (bf16_units) h = vround_bf16(h);  // as rounded for the products
              store_m(g_in + i, load_m(g_in + i, m) * slope<A>(h), m);
            });
          });
        }
        float* swap = g;
        g = g_in;
        g_in = swap;
      }
      const Part part("through the residual", 0, 4.0 * (3.0 + 3.0 / d.P) * n * d.C);
      for (int i = 0; i < n; ++i) {  // through the product
        const int t = t0 + i;
        const long row = (frame + t) * d.C, window = static_cast<long>(t / d.P) * d.C;
        for_vectors(d.C, [&](long c, int m) {
          const vf dh = load_m(g + static_cast<long>(i) * d.C + c, m);
          const vf v = unpooled(z + z_b, positions_b, window + c, t % d.P, m, d.unpool);
          store_m(dr + row + c, vrounded(dh * v, stored), m);
          vf part = dh * load_m(r + row + c, m);
          if (d.unpool == Unpool::kPositions) {
            vi place = {};
            for (int lane = 0; lane < m; ++lane) place[lane] = positions_b[window + c + lane];
            part = place == set1i(t % d.P) ? part : vf{};
          }
          store_m(dz + z_b + window + c, load_m(dz + z_b + window + c, m) + part, m);
        });
      }
    }
  }
  if (!d.use_saaf) return;
  for (int c = 0; c < d.C; ++c) saaf_finish_gradient(grads.dsaaf_v, grads.dsaaf_w, sums, saaf, c);
}

}  // namespace cafx::CAFX_ISA_NS
