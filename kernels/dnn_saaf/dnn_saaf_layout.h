// kernels/dnn_saaf/dnn_saaf_layout.h -- where the CPU's fused DNN-SAAF keeps packed weights, saved outputs and scratch.
#pragma once

#include <algorithm>

#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/saaf/saaf_math.h"

namespace cafx {

inline constexpr int kDnnTile =
    64;  // samples worked on at a time: its widest activations stay in the first-level cache

inline SaafDims saaf_dims(const DnnSaafDims& d) {
  SaafDims s = d.saaf;
  s.B = d.B;
  s.T = d.T;
  s.C = d.C;
  return s;
}
inline int dnn_inputs(const DnnSaafDims& d, int l) { return l == 0 ? d.C : d.width[l - 1]; }
inline long dnn_widest(const DnnSaafDims& d) { return std::max(d.C, *std::max_element(d.width, d.width + d.L)); }

// Offsets in floats. The SAAF's table comes first, so that it is aligned.
struct DnnPacked {
  long table, w[kMaxDnnLayers], bias[kMaxDnnLayers], size;  // w (in,out)
  explicit DnnPacked(const DnnSaafDims& d) : table(0) {
    long at = static_cast<long>(saaf_table_bytes(saaf_dims(d)) / sizeof(float));
    for (int l = 0; l < d.L; ++l) {
      w[l] = at;
      at += static_cast<long>(dnn_inputs(d, l)) * d.width[l];
      bias[l] = at;
      at += d.width[l];
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
  long sums, a, b, c, size;  // three tiles of the widest layer
  explicit DnnScratch(const DnnSaafDims& d) : sums(0) {
    const long tile = kDnnTile * dnn_widest(d);
    a = static_cast<long>(saaf_sums_bytes(saaf_dims(d)) / sizeof(float));
    b = a + tile;
    c = b + tile;
    size = c + tile;
  }
};

}  // namespace cafx
