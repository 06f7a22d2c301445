// models/cafx/knobs.h -- what a position of the knobs makes of the weights of CAFx, by model.knob_layers.
//
//   film     every dense layer of DNN-SAAF is scaled and shifted, unit by unit, before its activation; scales and
//            shifts are those of one net (models/knob_film.h), folded into weights and biases
//            (kernels/film/film_fold.h)
//   latent   the controls stand beside the latent rows that Dense reads, zhat = softplus(bias + w h + knobs controls):
//            they add to its bias
//
//   Either way a model at one position is a CAFx without knobs. On a CPU, a frame at a time.
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
  bool in_dnn() const { return film_.rows > 0; }  // else in the bias of Dense
  // Floats of fold, on a border of 64 bytes, and of a gradient.
  std::size_t room(const Context&) const;
  std::size_t back_room() const;
  // t with what the controls (controls of the config) change, in `room`.
  CafxTensors fold(const Context&, const CafxTensors& t, const float* controls, float* room) const;
  // g with tensors of zeros in `back` for the gradients of what fold changed; then from those to g.
  CafxTensors gradients(const CafxTensors& g, float* back) const;
  void backward(const Context&, const CafxTensors& g, const CafxTensors& t, const float* controls, float* room,
                float* back) const;

 private:
  FilmFoldDims layer(std::size_t l) const;
  CafxTensors in_place(CafxTensors t, float* changed) const;
  long scratch(const Context&) const;
  long n_net() const { return kFilmHidden + film_.rows; }

  int controls_ = 0, latent_rows_ = 0, inputs_ = 0;
  std::vector<int> widths_;  // of the layers that are scaled and shifted
  KnobFilm film_;
  long n_changed_ = 0;
};

}  // namespace cafx
