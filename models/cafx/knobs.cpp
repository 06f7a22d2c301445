#include "models/cafx/knobs.h"

#include <algorithm>

#include "kernels/film/film_fold.h"

namespace cafx {

CafxKnobs::CafxKnobs(const CafxConfig& c, CafxParts parts)
    : controls_(parts.controls), latent_rows_(c.frame / c.pool), inputs_(c.filters) {
  if (!any()) return;
  if (c.knob_layers == "latent") {
    n_changed_ = latent_rows_;
    return;
  }
  widths_ = c.dnn;
  film_ = {controls_, 0};
  for (std::size_t l = 0; l < widths_.size(); ++l) {
    const FilmFoldDims d = layer(l);
    film_.rows += 2 * d.O;
    n_changed_ += static_cast<long>(d.O) * (d.I + 1);
  }
}

FilmFoldDims CafxKnobs::layer(std::size_t l) const { return {widths_[l], l == 0 ? inputs_ : widths_[l - 1]}; }

// Scratch of the net, in floats.
long CafxKnobs::scratch(const Context& context) const {
  return in_dnn() ? static_cast<long>(film_.scratch(context, 1) / sizeof(float) + 16) / 16 * 16 : 0;
}
// Scratch, hidden units, modulation, what is changed; of gradients all but the first.
std::size_t CafxKnobs::room(const Context& context) const {
  return any() ? static_cast<std::size_t>(scratch(context) + n_net() + n_changed_) : 0;
}
std::size_t CafxKnobs::back_room() const { return any() ? static_cast<std::size_t>(n_net() + n_changed_) : 0; }

CafxTensors CafxKnobs::in_place(CafxTensors t, float* changed) const {
  if (!in_dnn()) {
    t.dense_b = changed;
    return t;
  }
  for (std::size_t l = 0; l < widths_.size(); ++l) {
    const FilmFoldDims d = layer(l);
    t.dnn_w[l] = changed;
    t.dnn_b[l] = changed + static_cast<long>(d.O) * d.I;
    changed = t.dnn_b[l] + d.O;
  }
  return t;
}

static KnobFilmTensors<float*> film_tensors_of(const CafxTensors& t) {
  return {t.knobs_w, t.knobs_b, t.film_w, t.film_b};
}
static KnobFilmTensors<const float*> const_film_tensors_of(const CafxTensors& t) {
  return {t.knobs_w, t.knobs_b, t.film_w, t.film_b};
}

CafxTensors CafxKnobs::fold(const Context& context, const CafxTensors& t, const float* controls, float* room) const {
  float *hidden = room + scratch(context), *modulation = hidden + kFilmHidden;
  const CafxTensors folded = in_place(t, hidden + n_net());
  if (!in_dnn()) {
    for (int i = 0; i < latent_rows_; ++i) {
      float sum = t.dense_b[i];
      for (int k = 0; k < controls_; ++k) sum += t.knobs_w[i * controls_ + k] * controls[k];
      folded.dense_b[i] = sum;
    }
    return folded;
  }
  film_.forward(context, modulation, hidden, const_film_tensors_of(t), controls, room, 1);
  for (std::size_t l = 0; l < widths_.size(); ++l) {
    const FilmFoldDims d = layer(l);
    film_fold(context, {folded.dnn_w[l], folded.dnn_b[l]}, {t.dnn_w[l], t.dnn_b[l]}, modulation, d);
    modulation += 2 * d.O;
  }
  return folded;
}

CafxTensors CafxKnobs::gradients(const CafxTensors& g, float* back) const {
  std::fill_n(back, back_room(), 0.0f);
  return in_place(g, back + n_net());
}

void CafxKnobs::backward(const Context& context, const CafxTensors& g, const CafxTensors& t, const float* controls,
                         float* room, float* back) const {
  const CafxTensors dfolded = in_place(g, back + n_net());
  if (!in_dnn()) {
    for (int i = 0; i < latent_rows_; ++i) {
      g.dense_b[i] += dfolded.dense_b[i];
      for (int k = 0; k < controls_; ++k) g.knobs_w[i * controls_ + k] += dfolded.dense_b[i] * controls[k];
    }
    return;
  }
  const float *hidden = room + scratch(context), *modulation = hidden + kFilmHidden;
  float *dhidden = back, *dmodulation = back + kFilmHidden;
  long at = 0;
  for (std::size_t l = 0; l < widths_.size(); ++l) {
    const FilmFoldDims d = layer(l);
    film_fold_backward(context, {g.dnn_w[l], g.dnn_b[l]}, dmodulation + at, {dfolded.dnn_w[l], dfolded.dnn_b[l]},
                       {t.dnn_w[l], t.dnn_b[l]}, modulation + at, d);
    at += 2L * d.O;
  }
  film_.backward(context, film_tensors_of(g), dhidden, dmodulation, modulation, hidden, const_film_tensors_of(t),
                 controls, room, 1);
}

}  // namespace cafx
