// kernels/film/film.h -- temporal feature-wise modulation (FiLM): blocks of a signal, scaled, shifted and bent.
//
//   film_pool   pooled[k,b,c] = max of x[b,c,t] over block k, t in [k P, (k+1) P); behind the end of x stand zeros
//               pooled[k,b,C+i] = constants[b,i]: beside the maxima, where knobs stand
//   film        y[b,c,t] = tanh(g z[b,c,t] + s) + residual[c] x[b,c,t]
//               g, s = modulation[k,b,c], [k,b,C+c] of t's block; with around_one g is 1 + its number
//
// Source   Perez et al. 2018, arXiv:1709.07871; over time, with a recurrent net on the pooled signal: Birnbaum et al.
//          2019, arXiv:1909.06628.
// Shapes   x, z, y, and their gradients (B,C,T), time contiguous   residual, dresidual (C)
//          pooled, dpooled (K,B,C+N), K = film_blocks: time outermost, as kernels/lstm reads it
//          constants (B,N), null: zeros; they need no gradient
//          modulation, dmodulation (K,B,2C): scales, then shifts; null: 1 and 0
// Grads    film_backward: dz =   dmodulation =      film_residual_backward: dx +=   dresidual +=
//          film_pool_backward: dx +=, to the first maximum of each block
// In place dz may be dy, y may be x.   Scratch  none.
// Errors   sizes >= 1, beside >= 0: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits; of forward also where T is divided at whole blocks.
#pragma once

#include "kernels/device/context.h"

namespace cafx {

struct FilmDims {
  int B, C, T;
  int block = 1;            // P; not read where there is no modulation
  int beside = 0;           // N
  bool around_one = false;  // scales
};
constexpr int film_blocks(FilmDims d) { return (d.T + d.block - 1) / d.block; }

void film_pool_forward(const Context&, float* pooled, const float* x, const float* constants, FilmDims);
void film_pool_backward(const Context&, float* dx, const float* dpooled, const float* x, FilmDims);
void film_forward(const Context&, float* y, const float* z, const float* x, const float* residual,
                  const float* modulation, FilmDims);
void film_backward(const Context&, float* dz, float* dmodulation, const float* dy, const float* z,
                   const float* modulation, FilmDims);
void film_residual_backward(const Context&, float* dx, float* dresidual, const float* dy, const float* x,
                            const float* residual, FilmDims);

}  // namespace cafx
