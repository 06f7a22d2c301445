// models/cafx/tensors.h -- the tensors of CAFx: names, shapes, how they start.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/dnn_saaf/dnn_saaf.h"
#include "models/cafx/config.h"
#include "models/cafx/dims.h"
#include "models/cafx/net.h"
#include "models/knob_film.h"
#include "models/params.h"

namespace cafx {

inline Init parse_init(const std::string& name) {
  if (name == "lecun_uniform") return Init::kLecunUniform;
  if (name == "glorot_uniform") return Init::kGlorotUniform;
  return Init::kFanInUniform;
}

// Pointers into a flat block of parameters or gradients, one for each tensor.
struct CafxTensors {
  float *conv_w, *conv_b, *local_w, *local_b, *deconv_b;
  float *dense_w, *dense_b, *dnn_w[kMaxDnnLayers], *dnn_b[kMaxDnnLayers], *saaf_v, *saaf_w;
  float *knobs_w, *knobs_b, *film_w, *film_b;  // of knobs: models/cafx/knobs.h
  float *local_dense_w, *local_dense_b, *latent_w, *latent_b;
};

// How a tensor starts, and what applies to it.
struct CafxTensorKind {
  Init init = Init::kZero;
  double fan_in = 1, fan_out = 1, scale = 0.0;
  bool decay = false, penalised = false, whole_batch = false;
};

// Names every tensor of a form with its shape, kind and place: the one table that allocation, initialisation,
// checkpoints, export and tests are made from. Dense-Local is last: its gradient is summed over the whole batch.
template <class Visit>
void visit_tensors(const CafxConfig& c, CafxParts parts, Visit f) {
  const std::int64_t C = c.filters, pooled = c.frame / c.pool, latent = c.latent;
  const Init conv = parse_init(c.conv_init), dense = parse_init(c.dense_init);
  const auto weights = [](Init init, double fan_in, double fan_out) {
    CafxTensorKind k{init, fan_in, fan_out};
    k.decay = true;
    return k;
  };
  const CafxTensorKind zero;
  const double taps = c.taps, local_taps = c.local_taps;
  f("conv1d.weight", {C, 1, c.taps}, weights(conv, taps, taps * c.filters), &CafxTensors::conv_w);
  f("conv1d.bias", {C}, zero, &CafxTensors::conv_b);
  f("local_conv.weight", {C, 1, c.local_taps}, weights(conv, local_taps, local_taps), &CafxTensors::local_w);
  f("local_conv.bias", {C}, zero, &CafxTensors::local_b);
  f("deconv.bias", {1}, zero, &CafxTensors::deconv_b);
  const auto of_dense = [&](std::int64_t out, std::int64_t in) {
    return weights(dense, static_cast<double>(in), static_cast<double>(out));
  };
  if (parts.latent && c.latent_layer == "dense") {
    f("latent_dense.weight", {latent, pooled}, of_dense(latent, pooled), &CafxTensors::latent_w);
    f("latent_dense.bias", {latent}, zero, &CafxTensors::latent_b);
  }
  if (parts.latent) {
    f("dense.weight", {pooled, latent}, of_dense(pooled, latent), &CafxTensors::dense_w);
    f("dense.bias", {pooled}, zero, &CafxTensors::dense_b);
  }
  std::int64_t in = C;
  for (std::size_t l = 0; parts.dnn && l < c.dnn.size(); ++l) {
    const std::string name = "dnn." + std::to_string(l);
    f(name + ".weight", {c.dnn[l], in}, of_dense(c.dnn[l], in), [l](CafxTensors& t) -> float*& { return t.dnn_w[l]; });
    f(name + ".bias", {c.dnn[l]}, zero, [l](CafxTensors& t) -> float*& { return t.dnn_b[l]; });
    in = c.dnn[l];
  }
  if (parts.dnn && c.saaf) {
    const SaafDims s = CafxDims::saaf_of(c, 1);
    CafxTensorKind curve{c.saaf_init == "identity" ? Init::kZero : Init::kNormal};
    curve.scale = c.saaf_init_std;
    curve.penalised = true;
    CafxTensorKind straight = curve;
    if (c.saaf_init == "identity") straight.init = Init::kIdentityCurve;
    f("saaf.v", {n_v(s), C}, straight, &CafxTensors::saaf_v);
    f("saaf.w", {n_curved(s), C}, curve, &CafxTensors::saaf_w);
  }
  if (parts.controls > 0 && c.knob_layers == "latent") {
    f("dense.knobs", {pooled, parts.controls}, of_dense(pooled, latent + parts.controls), &CafxTensors::knobs_w);
  } else if (parts.controls > 0) {
    std::int64_t rows = 0;
    for (const int width : c.dnn) rows += 2 * width;
    const auto uniform = [](double fan_in, bool decay) {
      CafxTensorKind k{Init::kFanInUniform, fan_in};
      k.decay = decay;
      return k;
    };
    f("knobs.weight", {kFilmHidden, parts.controls}, uniform(parts.controls, true), &CafxTensors::knobs_w);
    f("knobs.bias", {kFilmHidden}, uniform(parts.controls, false), &CafxTensors::knobs_b);
    CafxTensorKind still;
    still.decay = true;
    f("film.weight", {rows, kFilmHidden}, still, &CafxTensors::film_w);
    f("film.bias", {rows}, zero, &CafxTensors::film_b);
  }
  if (!parts.latent || c.latent_layer == "dense") return;
  CafxTensorKind local = of_dense(latent, pooled), local_bias;
  local.whole_batch = local_bias.whole_batch = true;
  f("local_dense.weight", {C, latent, pooled}, local, &CafxTensors::local_dense_w);
  f("local_dense.bias", {C, latent}, local_bias, &CafxTensors::local_dense_b);
}

// The tensor as Params allocates it.
inline ParamSpec spec_of(const std::string& name, std::vector<std::int64_t> shape, const CafxTensorKind& k) {
  ParamSpec p{name, std::move(shape)};
  p.init = k.init;
  p.init_scale = k.scale;
  p.fan_in = k.fan_in;
  p.fan_out = k.fan_out;
  p.decay = k.decay;
  p.penalised = k.penalised;
  p.whole_batch = k.whole_batch;
  return p;
}

inline DnnSaafWeights dnn_weights_of(const CafxTensors& t) {
  DnnSaafWeights w{};
  std::copy(t.dnn_w, t.dnn_w + kMaxDnnLayers, w.w);
  std::copy(t.dnn_b, t.dnn_b + kMaxDnnLayers, w.bias);
  w.saaf_v = t.saaf_v;
  w.saaf_w = t.saaf_w;
  return w;
}
inline DnnSaafGrads dnn_grads_of(const CafxTensors& t) {
  DnnSaafGrads g{};
  std::copy(t.dnn_w, t.dnn_w + kMaxDnnLayers, g.dw);
  std::copy(t.dnn_b, t.dnn_b + kMaxDnnLayers, g.dbias);
  g.dsaaf_v = t.saaf_v;
  g.dsaaf_w = t.saaf_w;
  return g;
}

// The pointer that visit_tensors names for a tensor, in CafxTensors or what is derived of it.
template <class Tensors, class Of>
float*& member(Tensors& t, float* Of::*m) {
  return t.*m;
}
template <class Tensors, class Get>
float*& member(Tensors& t, Get get) {
  return get(t);
}

}  // namespace cafx
