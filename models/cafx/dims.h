// models/cafx/dims.h -- the dimensions of every op of CAFx, from its config.
#pragma once

#include <algorithm>
#include <string>

#include "kernels/base/error.h"
#include "kernels/deconv1d/deconv1d.h"
#include "kernels/dense/dense.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/front_end/front_end.h"
#include "kernels/latent/latent.h"
#include "kernels/local_dense/local_dense.h"
#include "kernels/pool/pool.h"
#include "models/cafx/config.h"

namespace cafx {

inline Activation parse_activation(const std::string& name) {
  for (const auto a : {Activation::kIdentity, Activation::kRelu, Activation::kTanh, Activation::kSoftplus}) {
    if (name == to_string(a)) return a;
  }
  throw Error("unknown activation '{}'", name);
}

// The dimensions of every op for B frames.
struct CafxDims {
  FrontEndDims front;
  LocalDenseDims local_dense;
  DenseTimeDims latent, dense;  // latent: in place of Dense-Local, where latent_layer = "dense"
  LatentDims both;              // Dense-Local and dense
  DnnSaafDims dnn;
  Deconv1dDims deconv;
  PoolDims pool;

  CafxDims(const CafxConfig& c, int B) {
    const int n_pooled = c.frame / c.pool;
    front = {B, c.frame, c.filters, c.taps, c.local_taps, c.pool};
    local_dense = {B, n_pooled, c.latent, c.filters, Activation::kSoftplus};
    latent = {B, n_pooled, c.latent, c.filters, Activation::kSoftplus};
    dense = {B, c.latent, n_pooled, c.filters, Activation::kSoftplus};
    both = {B, n_pooled, c.latent, c.filters};
    dnn = {};
    dnn.B = B;
    dnn.T = c.frame;
    dnn.C = c.filters;
    dnn.P = c.pool;
    dnn.unpool = c.unpool == "hold" ? Unpool::kHold : Unpool::kPositions;
    dnn.L = static_cast<int>(c.dnn.size());
    std::copy(c.dnn.begin(), c.dnn.end(), dnn.width);
    dnn.activation = parse_activation(c.activation);
    dnn.use_saaf = c.saaf;
    dnn.saaf = saaf_of(c, B);
    deconv = {B, c.frame, c.filters, c.taps, c.deconv == "adjoint" ? Deconv::kAdjoint : Deconv::kCorrelate};
    pool = {B, c.frame, c.filters, c.pool};
  }

  static SaafDims saaf_of(const CafxConfig& c, int B) {
    return {B,
            c.frame,
            c.filters,
            c.saaf_segments,
            static_cast<float>(c.saaf_lo),
            static_cast<float>(c.saaf_hi),
            static_cast<float>(c.saaf_scale),
            c.saaf_every_second,
            c.saaf_has_v0,
            c.saaf_order};
  }
};

}  // namespace cafx
