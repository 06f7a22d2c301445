// kernels/dnn_saaf/dnn_saaf_unfused_cuda.h -- DNN-SAAF on a GPU by the plain ops: dense layers by cuBLAS, SAAF by itself.
//
//   The functions of dnn_saaf.h for curves or layers that are too large for a block's shared memory, and for
//   Context::fuse_dnn = false. The weights are plain, (O,I) as they are.
#pragma once

#include "kernels/dnn_saaf/dnn_saaf.h"

namespace cafx::cuda::dnn_unfused {

std::size_t saved(const Context&, const DnnSaafDims&);    // bytes
std::size_t scratch(const Context&, const DnnSaafDims&);  // bytes
void forward(const Context&, float* u, float* saved, const float* r, const float* z, const std::int32_t* positions,
             const DnnSaafWeights&, float* scratch, const DnnSaafDims&);
void backward(const Context&, float* dr, float* dz, const DnnSaafGrads&, const float* du, const float* saved,
              const float* r, const float* z, const std::int32_t* positions, const DnnSaafWeights&, float* scratch,
              const DnnSaafDims&);

}  // namespace cafx::cuda::dnn_unfused
