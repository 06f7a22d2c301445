// kernels/dnn_saaf/dnn_saaf_wgmma_cuda.h -- the kernels of dnn_saaf_persistent_cuda.h for Hopper.
//
//   `takes` is true on a GPU of 9.0 where this build has code of sm_90a, for layers 128-128-64-64-128 (preset paper).
//   Same arguments, packed weights, rounding and scratch; sums are added in another order.
#pragma once

#include "kernels/dnn_saaf/dnn_saaf.h"

namespace cafx::cuda::dnn_wgmma {

bool takes(const Context&, const DnnSaafDims&);
bool takes_dy(const Context&, const DnnSaafDims&, int K);  // backward computes du, forward gives rows
void forward(const Context&, Stored* u, const DnnSaafRows&, const Stored* r, const float* z,
             const std::int32_t* positions, const float* packed, const DnnSaafDims&);
void backward(const Context&, Stored* dr, float* dz, const DnnSaafGrads&, const DnnSaafDu&, const Stored* r,
              const float* z, const std::int32_t* positions, const float* packed, float* scratch, const DnnSaafDims&);

}  // namespace cafx::cuda::dnn_wgmma
