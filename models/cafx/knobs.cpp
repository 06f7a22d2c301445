#include "models/cafx/knobs.h"

#include "kernels/base/error.h"
#include "kernels/device/memory.h"

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

FilmFoldDims CafxKnobs::layer(std::size_t l, int n) const {
  return {widths_[l], l == 0 ? inputs_ : widths_[l - 1], n, n_changed_, film_.rows};
}

// Of the net or of the layer beside Dense, in floats.
long CafxKnobs::scratch(const Context& context, int n) const {
  const std::size_t bytes = in_dnn() ? film_.scratch(context, n) : dense_scratch(unrounded(context), beside_latent(n));
  return static_cast<long>(bytes / sizeof(float) + 16) / 16 * 16;
}
// Scratch, hidden units, modulation, what is changed; of gradients all but the first.
std::size_t CafxKnobs::room(const Context& context, int n) const {
  return any() ? static_cast<std::size_t>(scratch(context, n)) + back_room(n) : 0;
}
std::size_t CafxKnobs::back_room(int n) const {
  return any() ? static_cast<std::size_t>(n_net(n) + n * n_changed_) : 0;
}

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

CafxTensors CafxKnobs::fold(const Context& context, const CafxTensors& t, const float* controls, float* room,
                            int n) const {
  float *hidden = room + scratch(context, n), *modulation = hidden + static_cast<long>(n) * kFilmHidden;
  const CafxTensors folded = in_place(t, hidden + n_net(n));
  if (!in_dnn()) {
    dense_forward(unrounded(context), folded.dense_b, controls, t.knobs_w, t.dense_b, room, beside_latent(n));
    return folded;
  }
  film_.forward(context, modulation, hidden, const_film_tensors_of(t), controls, room, n);
  for (std::size_t l = 0; l < widths_.size(); ++l) {
    const FilmFoldDims d = layer(l, n);
    film_fold(context, {folded.dnn_w[l], folded.dnn_b[l]}, {t.dnn_w[l], t.dnn_b[l]}, modulation, d);
    modulation += 2 * d.O;
  }
  return folded;
}

CafxTensors CafxKnobs::gradients(const Context& context, const CafxTensors& g, float* back, int n) const {
  fill_zero(context, back, sizeof(float) * back_room(n));
  return in_place(g, back + n_net(n));
}

void CafxKnobs::backward(const Context& context, const CafxTensors& g, const CafxTensors& t, const float* controls,
                         float* room, float* back, int n) const {
  const CafxTensors dfolded = in_place(g, back + n_net(n));
  if (!in_dnn()) {
    const DenseDims d = beside_latent(n);
    const float* folded = room + scratch(context, n);
    dense_backward(unrounded(context), nullptr, g.knobs_w, g.dense_b, dfolded.dense_b, folded, controls, t.knobs_w,
                   room, d);
    return;
  }
  const float *hidden = room + scratch(context, n), *modulation = hidden + static_cast<long>(n) * kFilmHidden;
  float *dhidden = back, *dmodulation = back + static_cast<long>(n) * kFilmHidden;
  long at = 0;
  for (std::size_t l = 0; l < widths_.size(); ++l) {
    const FilmFoldDims d = layer(l, n);
    film_fold_backward(context, {g.dnn_w[l], g.dnn_b[l]}, dmodulation + at, {dfolded.dnn_w[l], dfolded.dnn_b[l]},
                       {t.dnn_w[l], t.dnn_b[l]}, modulation + at, d);
    at += 2L * d.O;
  }
  film_.backward(context, film_tensors_of(g), dhidden, dmodulation, modulation, hidden, const_film_tensors_of(t),
                 controls, room, n);
}

}  // namespace cafx
