// tests/reference/reference_cafx.h -- the whole of CAFx and its pretraining form, composed of the oracle's ops.
//
//   supervised   conv1d, abs, local_conv, softplus, max_pool, local_dense, dense, unpool, x residual, dnn, saaf, deconv
//   pretrain     conv1d, abs, local_conv, softplus, max_pool, unpool by positions, x residual, deconv
//
//   Parameters and gradients are tensors by the names that stand on disk (FACTS: conv1d.weight, ..., deconv.bias).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/cafx/config.h"
#include "tests/reference/reference.h"

namespace cafx::reference {

using Tensors = std::map<std::string, Vec>;

// Every tensor's name and shape, in the order of the layers.
std::vector<std::pair<std::string, std::vector<long>>> cafx_shapes(const CafxConfig& config, bool supervised);

struct Cafx {
  FrontEnd front_end;
  Vec latent1, latent2;  // after Dense-Local and Dense; empty in pretraining
  DnnSaaf dnn_saaf;      // in pretraining: h[0] and u are the product with the residual
  Vec y;                 // (B,frame)
};

Cafx cafx_forward(const CafxConfig& config, bool supervised, const Tensors& params, const Vec& x, int B);
// The gradient of f = dot(y, dy) in every parameter.
Tensors cafx_backward(const CafxConfig& config, bool supervised, const Tensors& params, const Vec& x, int B,
                      const Cafx& forward, const Vec& dy);

// Mean absolute error over the batch, plus saaf_l2 (sum w^2 + sum v^2) in the supervised form.
struct CafxLoss {
  double mae, l2;
};
CafxLoss cafx_loss(const CafxConfig& config, bool supervised, const Tensors& params, const Vec& y, const Vec& target);
// Its gradient in every parameter.
Tensors cafx_gradient(const CafxConfig& config, bool supervised, const Tensors& params, const Vec& x, const Vec& target,
                      int B);

}  // namespace cafx::reference
