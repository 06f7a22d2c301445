// kernels/dnn_saaf/dnn_saaf_layout.h -- the CPU's layout of packed weights, saved outputs and scratch of the fused
// DNN-SAAF.
#pragma once

#include <algorithm>

#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/saaf/saaf_math.h"

namespace cafx {

inline constexpr int kDnnTile = 64;  // samples per tile: the widest activations fit the first-level cache

inline SaafDims saaf_dims(const DnnSaafDims& d) {
  SaafDims s = d.saaf;
  s.B = d.B;
  s.T = d.T;
  s.C = d.C;
  return s;
}
inline int dnn_inputs(const DnnSaafDims& d, int l) { return l == 0 ? d.C : d.width[l - 1]; }
inline long dnn_widest(const DnnSaafDims& d) { return std::max(d.C, *std::max_element(d.width, d.width + d.L)); }

constexpr long dnn_pairs(long n) { return (n + 1) / 2; }  // of bf16 in n numbers: a word each

// Offsets in floats. The SAAF's table comes first, so that it is aligned.
struct DnnPacked {
  long table, lanes;                                     // of the SAAF (saaf_math.h)
  long w[kMaxDnnLayers], bias[kMaxDnnLayers];            // w (in,out)
  long forward[kMaxDnnLayers], backward[kMaxDnnLayers];  // as bf16: pairs (in / 2,out), pairs (out / 2,in)
  long size;
  explicit DnnPacked(const DnnSaafDims& d) : table(0) {
    lanes = static_cast<long>(saaf_table_bytes(saaf_dims(d)) / sizeof(float));
    long at = lanes + static_cast<long>(saaf_lanes_bytes(saaf_dims(d)) / sizeof(float));
    for (int l = 0; l < d.L; ++l) {
      w[l] = at;
      at += static_cast<long>(dnn_inputs(d, l)) * d.width[l];
      bias[l] = at;
      at += d.width[l];
      forward[l] = at;
      at += dnn_pairs(dnn_inputs(d, l)) * d.width[l];
      backward[l] = at;
      at += dnn_pairs(d.width[l]) * dnn_inputs(d, l);
    }
    size = at;
  }
};

// h_1 .. h_L, each (B,T,width).
struct DnnSaved {
  long h[kMaxDnnLayers], size;
  explicit DnnSaved(const DnnSaafDims& d) {
    long at = 0;
    for (int l = 0; l < d.L; ++l) {
      h[l] = at;
      at += static_cast<long>(d.B) * d.T * d.width[l];
    }
    size = at;
  }
};

struct DnnScratch {
  long sums, a, b, c, pairs, size;  // three tiles of the widest layer, and three as bf16
  explicit DnnScratch(const DnnSaafDims& d) : sums(0) {
    const long tile = kDnnTile * dnn_widest(d);
    a = static_cast<long>(saaf_sums_bytes(saaf_dims(d)) / sizeof(float));
    b = a + tile;
    c = b + tile;
    pairs = c + tile;
    size = pairs + 3 * pair_tile(d);
  }
  static long pair_tile(const DnnSaafDims& d) {
    return std::max(kDnnTile * dnn_pairs(dnn_widest(d)), dnn_pairs(kDnnTile) * dnn_widest(d));
  }
};

}  // namespace cafx
