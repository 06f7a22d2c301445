// kernels/film/film_fold.h -- a linear layer and the scales and shifts behind it (FiLM), as one linear layer.
//
//   (1 + g[o]) (bias[o] + sum_i w[o,i] x[i]) + s[o]  =  folded_bias[o] + sum_i folded[o,i] x[i]
//
//   What modulates a convolution is constant over many samples, so it is cheaper to fold it into the weights than to
//   apply it to what they make; a model at one position of its knobs is then a model without any.
//
// Source   Perez et al. 2018, arXiv:1709.07871.
// Shapes   w, folded, dw, dfolded (O,I)   bias, folded_bias, dbias, dfolded_bias (O); all four null: there is no bias
//          and no shift   modulation, dmodulation (2O): g, then s
// Grads    dw +=   dbias +=   dmodulation +=     from dfolded and dfolded_bias, those of the folded layer.
// In place no.   Scratch  none.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device: same bits.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct FilmFoldDims {
  int O, I;
};
template <class Pointer>
struct FilmLayer {
  Pointer w, bias;
};

void film_fold(const Context&, const FilmLayer<float*>& folded, const FilmLayer<const float*>& layer,
               const float* modulation, FilmFoldDims);
void film_fold_backward(const Context&, const FilmLayer<float*>& gradients, float* dmodulation,
                        const FilmLayer<const float*>& dfolded, const FilmLayer<const float*>& layer,
                        const float* modulation, FilmFoldDims);

}  // namespace cafx
