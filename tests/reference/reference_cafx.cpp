#include "tests/reference/reference_cafx.h"

#include <cmath>

#include "kernels/base/error.h"

namespace cafx::reference {

namespace {

Activation parse_activation(const std::string& name) {
  for (const Activation a : {Activation::kIdentity, Activation::kRelu, Activation::kTanh, Activation::kSoftplus}) {
    if (name == to_string(a)) return a;
  }
  CAFX_CHECK(false, name);
  return Activation::kIdentity;
}

struct Dims {
  FrontEndDims front_end;
  PoolDims pool;
  LocalDenseDims local_dense;
  DenseTimeDims latent, dense;
  DnnSaafDims dnn_saaf;
  Deconv1dDims deconv;
};

Dims dims_of(const CafxConfig& c, int B) {
  Dims d{};
  const int n = c.frame / c.pool, C = c.filters;
  d.front_end = {B, c.frame, C, c.taps, c.local_taps, c.pool};
  d.pool = {B, c.frame, C, c.pool};
  d.local_dense = {B, n, c.latent, C, Activation::kSoftplus};
  d.latent = {B, n, c.latent, C, Activation::kSoftplus};
  d.dense = {B, c.latent, n, C, Activation::kSoftplus};
  d.dnn_saaf.B = B;
  d.dnn_saaf.T = c.frame;
  d.dnn_saaf.C = C;
  d.dnn_saaf.P = c.pool;
  d.dnn_saaf.unpool = c.unpool == "hold" ? Unpool::kHold : Unpool::kPositions;
  d.dnn_saaf.L = static_cast<int>(c.dnn.size());
  for (int l = 0; l < d.dnn_saaf.L; ++l) d.dnn_saaf.width[l] = c.dnn[l];
  d.dnn_saaf.activation = parse_activation(c.activation);
  d.dnn_saaf.use_saaf = c.saaf;
  d.dnn_saaf.saaf = {B,
                     c.frame,
                     C,
                     c.saaf_segments,
                     static_cast<float>(c.saaf_lo),
                     static_cast<float>(c.saaf_hi),
                     static_cast<float>(c.saaf_scale),
                     c.saaf_every_second,
                     c.saaf_has_v0,
                     c.saaf_order};
  d.deconv = {B, c.frame, C, c.taps, c.deconv == "adjoint" ? Deconv::kAdjoint : Deconv::kCorrelate};
  return d;
}

DnnSaafParams dnn_params(const CafxConfig& c, const Tensors& t) {
  DnnSaafParams p;
  for (std::size_t l = 0; l < c.dnn.size(); ++l) {
    p.w.push_back(t.at("dnn." + std::to_string(l) + ".weight"));
    p.bias.push_back(t.at("dnn." + std::to_string(l) + ".bias"));
  }
  if (c.saaf) {
    p.saaf_v = t.at("saaf.v");
    p.saaf_w = t.at("saaf.w");
  }
  return p;
}

}  // namespace

std::vector<std::pair<std::string, std::vector<long>>> cafx_shapes(const CafxConfig& c, bool supervised) {
  const long C = c.filters, n = c.frame / c.pool;
  std::vector<std::pair<std::string, std::vector<long>>> shapes = {{"conv1d.weight", {C, 1, c.taps}},
                                                                   {"conv1d.bias", {C}},
                                                                   {"local_conv.weight", {C, 1, c.local_taps}},
                                                                   {"local_conv.bias", {C}}};
  if (supervised) {
    if (c.latent_layer == "local") {
      shapes.push_back({"local_dense.weight", {C, c.latent, n}});
      shapes.push_back({"local_dense.bias", {C, c.latent}});
    } else {
      shapes.push_back({"latent_dense.weight", {c.latent, n}});
      shapes.push_back({"latent_dense.bias", {c.latent}});
    }
    shapes.push_back({"dense.weight", {n, c.latent}});
    shapes.push_back({"dense.bias", {n}});
    for (std::size_t l = 0; l < c.dnn.size(); ++l) {
      const std::string name = "dnn." + std::to_string(l);
      shapes.push_back({name + ".weight", {c.dnn[l], l == 0 ? c.filters : c.dnn[l - 1]}});
      shapes.push_back({name + ".bias", {c.dnn[l]}});
    }
    if (c.saaf) {
      const SaafDims d = dims_of(c, 1).dnn_saaf.saaf;
      shapes.push_back({"saaf.v", {n_v(d), C}});
      shapes.push_back({"saaf.w", {n_curved(d), C}});
    }
  }
  shapes.push_back({"deconv.bias", {1}});
  return shapes;
}

Cafx cafx_forward(const CafxConfig& c, bool supervised, const Tensors& p, const Vec& x, int B) {
  const Dims d = dims_of(c, B);
  Cafx f;
  f.front_end = front_end_forward(pad(x, B, c.frame, c.taps, (c.taps - 1) / 2), p.at("conv1d.weight"),
                                  p.at("conv1d.bias"), p.at("local_conv.weight"), p.at("local_conv.bias"), d.front_end);
  if (supervised) {
    f.latent1 =
        c.latent_layer == "local"
            ? local_dense_forward(f.front_end.z, p.at("local_dense.weight"), p.at("local_dense.bias"), d.local_dense)
            : dense_time_forward(f.front_end.z, p.at("latent_dense.weight"), p.at("latent_dense.bias"), d.latent);
    f.latent2 = dense_time_forward(f.latent1, p.at("dense.weight"), p.at("dense.bias"), d.dense);
    f.dnn_saaf = dnn_saaf_forward(f.front_end.x1, f.latent2, f.front_end.positions, dnn_params(c, p), d.dnn_saaf);
  } else {
    const Vec x2 = unpool_forward(f.front_end.z, f.front_end.positions, d.pool, Unpool::kPositions);
    f.dnn_saaf.u = multiply(x2, f.front_end.x1);
    f.dnn_saaf.h.push_back(f.dnn_saaf.u);
  }
  f.y = deconv1d_forward(f.dnn_saaf.u, p.at("conv1d.weight"), p.at("deconv.bias"), d.deconv);
  return f;
}

Tensors cafx_backward(const CafxConfig& c, bool supervised, const Tensors& p, const Vec& x, int B, const Cafx& f,
                      const Vec& dy) {
  const Dims d = dims_of(c, B);
  Tensors g;
  for (const auto& [name, tensor] : p) g[name].assign(tensor.size(), 0.0);
  const Vec du =
      deconv1d_backward(g["conv1d.weight"], g["deconv.bias"], dy, f.dnn_saaf.u, p.at("conv1d.weight"), d.deconv);
  Vec dx1, dz;
  if (supervised) {
    DnnSaafParams grads = dnn_params(c, g);
    Vec dlatent2;
    dnn_saaf_backward(dx1, dlatent2, grads, du, f.dnn_saaf, f.front_end.x1, f.latent2, f.front_end.positions,
                      dnn_params(c, p), d.dnn_saaf);
    for (std::size_t l = 0; l < c.dnn.size(); ++l) {
      g["dnn." + std::to_string(l) + ".weight"] = grads.w[l];
      g["dnn." + std::to_string(l) + ".bias"] = grads.bias[l];
    }
    if (c.saaf) {
      g["saaf.v"] = grads.saaf_v;
      g["saaf.w"] = grads.saaf_w;
    }
    const Vec dlatent1 = dense_time_backward(g["dense.weight"], g["dense.bias"], dlatent2, f.latent2, f.latent1,
                                             p.at("dense.weight"), d.dense);
    dz = c.latent_layer == "local"
             ? local_dense_backward(g["local_dense.weight"], g["local_dense.bias"], dlatent1, f.latent1, f.front_end.z,
                                    p.at("local_dense.weight"), d.local_dense)
             : dense_time_backward(g["latent_dense.weight"], g["latent_dense.bias"], dlatent1, f.latent1, f.front_end.z,
                                   p.at("latent_dense.weight"), d.latent);
  } else {
    dx1 = multiply(du, unpool_forward(f.front_end.z, f.front_end.positions, d.pool, Unpool::kPositions));
    dz = unpool_backward(multiply(du, f.front_end.x1), f.front_end.positions, d.pool, Unpool::kPositions);
  }
  front_end_backward(dx1, g["conv1d.weight"], g["conv1d.bias"], g["local_conv.weight"], g["local_conv.bias"], dz,
                     f.front_end, pad(x, B, c.frame, c.taps, (c.taps - 1) / 2), p.at("local_conv.weight"), d.front_end);
  return g;
}

CafxLoss cafx_loss(const CafxConfig& c, bool supervised, const Tensors& p, const Vec& y, const Vec& target) {
  CafxLoss loss{0, 0};
  for (std::size_t i = 0; i < y.size(); ++i) loss.mae += std::abs(y[i] - target[i]);
  loss.mae /= static_cast<double>(y.size());
  if (supervised && c.saaf) {
    for (const char* name : {"saaf.v", "saaf.w"}) {
      for (const double value : p.at(name)) loss.l2 += c.saaf_l2 * value * value;
    }
  }
  return loss;
}

Tensors cafx_gradient(const CafxConfig& c, bool supervised, const Tensors& p, const Vec& x, const Vec& target, int B) {
  const Cafx f = cafx_forward(c, supervised, p, x, B);
  Tensors g =
      cafx_backward(c, supervised, p, x, B, f, mae_backward(f.y, target, 1.0 / static_cast<double>(f.y.size())));
  if (supervised && c.saaf) {
    for (const char* name : {"saaf.v", "saaf.w"}) {
      for (std::size_t i = 0; i < g[name].size(); ++i) g[name][i] += 2 * c.saaf_l2 * p.at(name)[i];
    }
  }
  return g;
}

}  // namespace cafx::reference
