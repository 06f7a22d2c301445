// kernels/local_dense/local_dense_cuda.h -- a piece of Dense-Local that the fused latent layers share.
#pragma once

#include "kernels/local_dense/local_dense.h"

namespace cafx::cuda {

// dw[c,o,i] += sum_b g[b,o,c] x[b,i,c] and dbias[c,o] += sum_b g[b,o,c], over the batch in order; = where add is false.
void local_dense_weights(const Context&, float* dw, float* dbias, const float* g, const float* x, LocalDenseDims,
                         bool add);

}  // namespace cafx::cuda
