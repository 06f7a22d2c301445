// models/cafx/knobs.h -- what a position of the knobs makes of the weights of CAFx, by model.knob_layers.
//
//   film     every dense layer of DNN-SAAF is scaled and shifted, unit by unit, before its activation; scales and
//            shifts are those of one net (models/knob_film.h), folded into weights and biases
//            (kernels/film/film_fold.h)
//   latent   the controls stand beside the latent rows that Dense reads, zhat = softplus(bias + w h + knobs controls):
//            they add to its bias
//
//   Either way a model at one position is a CAFx without knobs. Several frames go through it together: with `latent`
//   each with a bias of its own, with `film` with layers of its own (DnnSaafDims::apart).
#pragma once

#include "kernels/film/film_fold.h"
#include "models/cafx/config.h"
#include "models/cafx/tensors.h"
#include "models/knob_film.h"

namespace cafx {

class CafxKnobs {
 public:
  CafxKnobs(const CafxConfig&, CafxParts);

  bool any() const { return controls_ > 0; }
  bool in_dnn() const { return film_.rows > 0; }
  bool in_bias() const { return any() && !in_dnn(); }  // of Dense, then (n,rows)
  // Between the layers of DNN-SAAF of n positions and between their gradients, in floats; 0: no position has its own.
  long apart(int n) const { return in_dnn() && n > 1 ? n_changed_ : 0; }
  // Floats of fold, on a border of 64 bytes, and of a gradient; of n positions.
  std::size_t room(const Context&, int n) const;
  std::size_t back_room(int n) const;
  // t with what the controls (n, controls of the config) change, in `room`.
  CafxTensors fold(const Context&, const CafxTensors& t, const float* controls, float* room, int n) const;
  // g with tensors of zeros in `back` for the gradients of what fold changed; then from those to g.
  CafxTensors gradients(const Context&, const CafxTensors& g, float* back, int n) const;
  void backward(const Context&, const CafxTensors& g, const CafxTensors& t, const float* controls, float* room,
                float* back, int n) const;

 private:
  FilmFoldDims layer(std::size_t l, int n = 1) const;
  DenseDims beside_latent(int n) const { return {n, controls_, latent_rows_}; }
  CafxTensors in_place(CafxTensors t, float* changed) const;
  long scratch(const Context&, int n) const;
  long n_net(int n) const { return in_dnn() ? static_cast<long>(n) * (kFilmHidden + film_.rows) : 0; }

  int controls_ = 0, latent_rows_ = 0, inputs_ = 0;
  std::vector<int> widths_;  // of the layers that are scaled and shifted
  KnobFilm film_;
  long n_changed_ = 0;  // of a position
};

}  // namespace cafx
