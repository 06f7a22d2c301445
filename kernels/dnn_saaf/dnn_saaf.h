// kernels/dnn_saaf/dnn_saaf.h -- CAFx's DNN-SAAF, fused: unpool, times residual, dense layers per sample, SAAF.
//
//   h0[b,t,c] = unpool(z)[b,t,c] * r[b,t,c]
//   h_l = act(bias_l + h_{l-1} w_l^T), l = 1 .. L, the last without activation;     u = saaf(h_L)
//
// Source   arXiv:1810.06603 (4 layers), its journal version (5 layers). Plain twin: unpool, multiply, dense, saaf.
// Shapes   r, dr, u, du (B,T,C), Stored   z, dz (B,T/P,C)   positions (B,T/P,C), used where unpool is kPositions
//          w[l] (width[l], width[l-1]) with width[-1] = C, bias[l] (width[l]); the last width is C. SAAF as in saaf.h.
//          Where `apart` is given, frame b has its own w[l] and bias[l], b times so many floats behind those of the
//          first, and gradients likewise; all frames have the same curves.
// Saved    h_1 .. h_L in `saved` (dnn_saaf_saved bytes for these B frames), from forward to backward; nothing where
//          the device recomputes them.
// Grads    dr =   dz =   dw[l] +=   dbias[l] += (bf16, fp16: of rounded gradients)   dv +=   dw_saaf += (of rounded t)
// Packed   dnn_saaf_prepare packs the weights for the device, once a step.
// Scratch  dnn_saaf_scratch bytes per call, forward and backward; does not depend on B on a CPU.
// Errors   1 <= L <= kMaxDnnLayers, last width C, P divides T; no du where dnn_saaf_takes_dy is false, rows
//          where dnn_saaf_gives_rows is: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/device/context.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "kernels/saaf/saaf.h"

namespace cafx {

inline constexpr int kMaxDnnLayers = 8;

struct DnnSaafDims {
  int B, T, C, P;
  Unpool unpool;
  int L;                     // dense layers
  int width[kMaxDnnLayers];  // outputs of each
  Activation activation;     // between the layers
  bool use_saaf;             // false: u = h_L
  SaafDims saaf;             // its B, T, C are those above
  long apart = 0;            // of frames with weights of their own; 0: all have the same
};
inline bool has_own_weights(const DnnSaafDims& d) { return d.apart != 0 && d.B > 1; }

struct DnnSaafWeights {
  const float* w[kMaxDnnLayers];
  const float* bias[kMaxDnnLayers];
  const float* saaf_v;
  const float* saaf_w;
};
struct DnnSaafGrads {
  float* dw[kMaxDnnLayers];
  float* dbias[kMaxDnnLayers];
  float* dsaaf_v;
  float* dsaaf_w;
};

// du, or where it comes from: a kernel that knows the deconvolution behind computes du itself, which then is never in
// memory. du[b,t,c] = sum over k of dy_padded[b, t + k] w[c,k], as conv1d.h has it, rounded as it would be stored.
struct DnnSaafDu {
  const Stored* du = nullptr;
  const float *dy_padded = nullptr, *w = nullptr;  // (B,T+K-1), (C,K); used where there is no du
  int K = 1;
  bool flip = false;  // taps reversed
};
bool dnn_saaf_takes_dy(const Context&, const DnnSaafDims&, int K);

// Where u goes beside memory: its rows of the deconvolution behind (kDeconvRow numbers for each 16 samples,
// deconv1d.h), by a kernel that knows the filters. u may then be null.
struct DnnSaafRows {
  float* rows = nullptr;
  const float* w = nullptr;  // (C,K)
  int K = 1;
  bool flip = false;  // taps reversed
};
bool dnn_saaf_gives_rows(const Context&, const DnnSaafDims&, int K);

std::size_t dnn_saaf_packed(const Context&, const DnnSaafDims&);   // bytes
std::size_t dnn_saaf_saved(const Context&, const DnnSaafDims&);    // bytes
std::size_t dnn_saaf_scratch(const Context&, const DnnSaafDims&);  // bytes
void dnn_saaf_prepare(const Context&, void* packed, const DnnSaafWeights&, const DnnSaafDims&);
// saved may be null if no backward follows.
void dnn_saaf_forward(const Context&, Stored* u, void* saved, const Stored* r, const float* z,
                      const std::int32_t* positions, const void* packed, void* scratch, const DnnSaafDims&);
void dnn_saaf_forward_to(const Context&, Stored* u, const DnnSaafRows&, void* saved, const Stored* r, const float* z,
                         const std::int32_t* positions, const void* packed, void* scratch, const DnnSaafDims&);
void dnn_saaf_backward(const Context&, Stored* dr, float* dz, const DnnSaafGrads&, const Stored* du, const void* saved,
                       const Stored* r, const float* z, const std::int32_t* positions, const DnnSaafWeights&,
                       const void* packed, void* scratch, const DnnSaafDims&);
void dnn_saaf_backward_from(const Context&, Stored* dr, float* dz, const DnnSaafGrads&, const DnnSaafDu&,
                            const void* saved, const Stored* r, const float* z, const std::int32_t* positions,
                            const DnnSaafWeights&, const void* packed, void* scratch, const DnnSaafDims&);

}  // namespace cafx
