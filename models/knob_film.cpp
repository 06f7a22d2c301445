#include "models/knob_film.h"

#include <algorithm>

namespace cafx {

namespace {

DenseDims net_dims(const KnobFilm& k, int B) { return {B, k.controls, kFilmHidden, Activation::kTanh}; }
DenseDims film_dims(const KnobFilm& k, int B) { return {B, kFilmHidden, k.rows, Activation::kIdentity}; }

}  // namespace

std::size_t KnobFilm::scratch(const Context& context, int B) const {
  const Context c = unrounded(context);
  return std::max(dense_scratch(c, net_dims(*this, B)), dense_scratch(c, film_dims(*this, B)));
}

void KnobFilm::forward(const Context& context, float* modulation, float* hidden, const KnobFilmTensors<const float*>& t,
                       const float* at, void* scratch, int B) const {
  const Context c = unrounded(context);
  dense_forward(c, hidden, at, t.net, t.net_bias, scratch, net_dims(*this, B));
  dense_forward(c, modulation, hidden, t.film, t.film_bias, scratch, film_dims(*this, B));
}

void KnobFilm::backward(const Context& context, const KnobFilmTensors<float*>& g, float* dhidden,
                        const float* dmodulation, const float* modulation, const float* hidden,
                        const KnobFilmTensors<const float*>& t, const float* at, void* scratch, int B) const {
  const Context c = unrounded(context);
  dense_backward(c, dhidden, g.film, g.film_bias, dmodulation, modulation, hidden, t.film, scratch,
                 film_dims(*this, B));
  dense_backward(c, nullptr, g.net, g.net_bias, dhidden, hidden, at, t.net, scratch, net_dims(*this, B));
}

}  // namespace cafx
