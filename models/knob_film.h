// models/knob_film.h -- scales and shifts of layers (FiLM) from the controls of knobs, by a small net.
//
//   hidden = tanh(net controls + bias)      modulation = film hidden + bias
//
//   A layer's scale is 1 + its number of the modulation. Where `film` begins with zeros, layers begin as those of a
//   model without knobs, and whatever they then learn of a knob they learn from what it changes.
//
// Source   Perez et al. 2018, arXiv:1709.07871.
#pragma once

#include <cstddef>

#include "kernels/dense/dense.h"

namespace cafx {

inline constexpr int kFilmHidden = 16;

// A few numbers that steer all others: rounding them costs more than it saves.
inline Context unrounded(Context context) {
  context.precision = Precision::kFp32;
  return context;
}

template <class Pointer>
struct KnobFilmTensors {
  Pointer net, net_bias, film, film_bias;  // (kFilmHidden,controls), (kFilmHidden), (rows,kFilmHidden), (rows)
};

struct KnobFilm {
  int controls = 0, rows = 0;  // rows: numbers of the modulation; 0: there is none

  std::size_t scratch(const Context&, int B) const;  // bytes
  // hidden (B,kFilmHidden) and modulation (B,rows) from `at` (B,controls).
  void forward(const Context&, float* modulation, float* hidden, const KnobFilmTensors<const float*>&, const float* at,
               void* scratch, int B) const;
  // Gradients of its tensors: +=. dhidden: room for (B,kFilmHidden).
  void backward(const Context&, const KnobFilmTensors<float*>& gradients, float* dhidden, const float* dmodulation,
                const float* modulation, const float* hidden, const KnobFilmTensors<const float*>&, const float* at,
                void* scratch, int B) const;
};

}  // namespace cafx
