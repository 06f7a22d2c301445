// models/crafx/tensors.h -- the tensors of CRAFx: names, shapes, how they start.
#pragma once

#include <string>

#include "kernels/lstm/bilstm.h"
#include "kernels/squeeze_excite/squeeze_excite.h"
#include "models/cafx/tensors.h"
#include "models/crafx/config.h"

namespace cafx {

// Pointers into a flat block of parameters or gradients, one for each tensor; CAFx's are those of front end, DNN-SAAF
// and deconvolution.
struct CrafxTensors : CafxTensors {
  BilstmTensors<float*> lstm[kMaxCrafxLayers];
  float *latent_v, *latent_w;
  SqueezeExciteTensors<float*> excite;
};

// CAFx's tensors keep their names, so that a pretrained front end is taken over.
template <class Visit>
void visit_tensors(const CrafxConfig& c, Visit f) {
  const CafxConfig parts = c.parts();
  visit_tensors(parts, {.latent = false, .dnn = true}, f);
  const CafxTensorKind zero;
  std::int64_t in = static_cast<std::int64_t>(c.frames()) * c.filters;
  for (std::size_t l = 0; l < c.lstm.size(); ++l) {
    const std::int64_t H = c.lstm[l];
    CafxTensorKind bias{Init::kFanInUniform, static_cast<double>(H)}, weight = bias;
    weight.decay = true;
    const std::string name = "lstm." + std::to_string(l);
    f(name + ".weight", {4 * H, in + H}, weight, [l](CrafxTensors& t) -> float*& { return t.lstm[l].w; });
    f(name + ".bias", {4 * H}, bias, [l](CrafxTensors& t) -> float*& { return t.lstm[l].bias; });
    f(name + ".reverse.weight", {4 * H, in + H}, weight,
      [l](CrafxTensors& t) -> float*& { return t.lstm[l].w_reversed; });
    f(name + ".reverse.bias", {4 * H}, bias, [l](CrafxTensors& t) -> float*& { return t.lstm[l].bias_reversed; });
    in = 2 * H;
  }
  const SaafDims s = CafxDims::saaf_of(parts, 1);
  CafxTensorKind curve{c.saaf_init == "identity" ? Init::kZero : Init::kNormal};
  curve.scale = c.saaf_init_std;
  curve.penalised = true;
  CafxTensorKind straight = curve;
  if (c.saaf_init == "identity") straight.init = Init::kIdentityCurve;
  f("latent_saaf.v", {n_v(s), c.filters}, straight, &CrafxTensors::latent_v);
  f("latent_saaf.w", {n_curved(s), c.filters}, curve, &CrafxTensors::latent_w);
  const auto of_dense = [&](double fan_in, double fan_out) {
    CafxTensorKind k{parse_init(c.dense_init), fan_in, fan_out};
    k.decay = true;
    return k;
  };
  f("excite.0.weight", {c.excite, c.filters}, of_dense(c.filters, c.excite),
    [](CrafxTensors& t) -> float*& { return t.excite.w1; });
  f("excite.0.bias", {c.excite}, zero, [](CrafxTensors& t) -> float*& { return t.excite.b1; });
  f("excite.1.weight", {c.filters, c.excite}, of_dense(c.excite, c.filters),
    [](CrafxTensors& t) -> float*& { return t.excite.w2; });
  f("excite.1.bias", {c.filters}, zero, [](CrafxTensors& t) -> float*& { return t.excite.b2; });
}

// The tensors in a block laid out by `params`.
inline CrafxTensors tensors_of(const CrafxConfig& c, const Params& params, float* base) {
  CrafxTensors t{};
  std::size_t i = 0;
  visit_tensors(c, [&](const std::string&, std::vector<std::int64_t>, const CafxTensorKind&, auto m) {
    member(t, m) = base + params[i++].offset;
  });
  return t;
}

inline BilstmTensors<const float*> weights_of(const BilstmTensors<float*>& t) {
  return {t.w, t.bias, t.w_reversed, t.bias_reversed};
}
inline SqueezeExciteTensors<const float*> weights_of(const SqueezeExciteTensors<float*>& t) {
  return {t.w1, t.b1, t.w2, t.b2};
}

}  // namespace cafx
