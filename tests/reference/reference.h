// tests/reference/reference.h -- the oracle: every op of kernels/ as the plainest loop in double precision.
//
//   Written from the formulas in the ops' headers, not from their code: no prefix sums, no tiles, no padding tricks.
//   Same names, shapes and Dims as the ops. A Vec holds a tensor row-major. Backward functions return or write (=) the
//   gradient of the input and add (+=) the gradients of the parameters, as the ops do.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/conv1d/conv1d.h"
#include "kernels/deconv1d/deconv1d.h"
#include "kernels/dense/dense.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/frames/frames.h"
#include "kernels/front_end/front_end.h"
#include "kernels/local_conv/local_conv.h"
#include "kernels/local_dense/local_dense.h"
#include "kernels/loss/loss.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/pool/pool.h"
#include "kernels/saaf/saaf.h"

namespace cafx::reference {

using Vec = std::vector<double>;
using Positions = std::vector<std::int32_t>;

// Pointwise.
double activate(double x, Activation a);
double slope(double y, Activation a);  // at the input, from the output
Vec activation_forward(const Vec& x, Activation a);
Vec activation_backward(const Vec& dy, const Vec& y, Activation a);
Vec abs_forward(const Vec& x);
Vec abs_backward(const Vec& dy, const Vec& x);
Vec multiply(const Vec& a, const Vec& b);

// Convolutions.
Vec conv1d_forward(const Vec& x_padded, const Vec& w, const Vec& bias, Conv1dDims d);
void conv1d_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& x_padded, Conv1dDims d);
Vec local_conv_forward(const Vec& x, const Vec& w, const Vec& bias, LocalConvDims d);
Vec local_conv_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& x, const Vec& w, LocalConvDims d);
Vec deconv1d_forward(const Vec& u, const Vec& w, const Vec& bias, Deconv1dDims d);
// dy (B,T), without padding.
Vec deconv1d_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& u, const Vec& w, Deconv1dDims d);
// (B, T+K-1) with x[b] at `left`, zero around.
Vec pad(const Vec& x, int B, int T, int K, int left);

// Dense layers. dy is the gradient after the activation.
Vec dense_forward(const Vec& x, const Vec& w, const Vec& bias, DenseDims d);
Vec dense_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& y, const Vec& x, const Vec& w, DenseDims d);
Vec dense_time_forward(const Vec& x, const Vec& w, const Vec& bias, DenseTimeDims d);
Vec dense_time_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& y, const Vec& x, const Vec& w, DenseTimeDims d);
Vec local_dense_forward(const Vec& x, const Vec& w, const Vec& bias, LocalDenseDims d);
Vec local_dense_backward(Vec& dw, Vec& dbias, const Vec& dy, const Vec& y, const Vec& x, const Vec& w,
                         LocalDenseDims d);

// Pooling.
Vec max_pool_forward(Positions& positions, const Vec& x, PoolDims d);
Vec max_pool_backward(const Vec& dz, const Positions& positions, PoolDims d);
Vec unpool_forward(const Vec& z, const Positions& positions, PoolDims d, Unpool form);
Vec unpool_backward(const Vec& dy, const Positions& positions, PoolDims d, Unpool form);

// SAAF, from the basis functions b_s themselves.
Vec saaf_forward(const Vec& x, const Vec& v, const Vec& w, SaafDims d);
Vec saaf_backward(Vec& dv, Vec& dw, const Vec& dy, const Vec& x, const Vec& v, const Vec& w, SaafDims d);
// The largest |slope| of each channel's curve, from slopes taken on both sides of every break point.
Vec saaf_lipschitz(const Vec& v, const Vec& w, SaafDims d);

// The two fused ops.
struct FrontEnd {
  Vec x1, before_softplus, x2, z;  // before_softplus, x2 (B,T,C)
  Positions positions;
};
FrontEnd front_end_forward(const Vec& x_padded, const Vec& w1, const Vec& bias1, const Vec& w2, const Vec& bias2,
                           FrontEndDims d);
// dx1 is completed in place.
void front_end_backward(Vec& dx1, Vec& dw1, Vec& dbias1, Vec& dw2, Vec& dbias2, const Vec& dz, const FrontEnd& forward,
                        const Vec& x_padded, const Vec& w2, FrontEndDims d);

struct DnnSaafParams {
  std::vector<Vec> w, bias;
  Vec saaf_v, saaf_w;
};
struct DnnSaaf {
  std::vector<Vec> h;  // h[0] the product with the residual, h[l] after layer l
  Vec u;
};
DnnSaaf dnn_saaf_forward(const Vec& r, const Vec& z, const Positions& positions, const DnnSaafParams& p,
                         const DnnSaafDims& d);
void dnn_saaf_backward(Vec& dr, Vec& dz, DnnSaafParams& grads, const Vec& du, const DnnSaaf& forward, const Vec& r,
                       const Vec& z, const Positions& positions, const DnnSaafParams& p, const DnnSaafDims& d);

// Loss, optimiser, frames.
Vec mae_forward(const Vec& y, const Vec& target, int B, int T);            // the sum of each frame, (B)
Vec mae_backward(const Vec& y, const Vec& target, double gradient_scale);  // (B,T)
void adam_step(Vec& params, Vec& m, Vec& v, const Vec& grads, const Vec& decay_mask, const AdamStep& step);
void lamb_step(Vec& params, Vec& m, Vec& v, const Vec& grads, const Vec& decay_mask,
               const std::vector<TensorSpan>& tensors, const AdamStep& step);
Vec gather_frames(const Vec& audio, const std::vector<FrameRef>& refs, GatherDims d);
// n samples from the frames (n_frames, frame) that `frame_start` places; divided by the sum of windows.
Vec overlap_add(const Vec& frames, long n_samples, int frame, int hop);

}  // namespace cafx::reference
