// kernels/film/film_fold.h -- a linear layer and the scales and shifts behind it (FiLM), as one linear layer.
//
//   (1 + g[b,o]) (bias[o] + sum_i w[o,i] x[i]) + s[b,o]  =  folded_bias[b,o] + sum_i folded[b,o,i] x[i]
//
//   What modulates a convolution is constant over many samples, so it is cheaper to fold it into the weights than to
//   apply it to what they make; a model at one position of its knobs is then a model without any.
//
// Source   Perez et al. 2018, arXiv:1709.07871.
// Shapes   w, dw (O,I)   bias, dbias (O)   folded, dfolded (B,O,I)   folded_bias, dfolded_bias (B,O), of B positions;
//          all four of bias null: there is no bias and no shift   modulation, dmodulation (B,2O): g, then s
//          From one position to the next: folded_apart floats, and modulation_apart.
// Grads    dw +=   dbias +=   dmodulation +=     from dfolded and dfolded_bias, those of the folded layers.
// In place no.   Scratch  none.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device: same bits.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct FilmFoldDims {
  int O, I;
  int B = 1;
  long folded_apart = 0, modulation_apart = 0;
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
