// kernels/dnn_saaf/dnn_saaf_unfused_cuda.h -- DNN-SAAF on a GPU by the plain ops: dense layers by cuBLAS, SAAF by its
// own kernel.
//
//   The functions of dnn_saaf.h for curves or layers that are too large for a block's shared memory, and for
//   Context::fuse_dnn = false. The weights are plain, (O,I); tensors stored as bf16 or fp16 are widened before
//   and rounded after.
#pragma once

#include "kernels/dnn_saaf/dnn_saaf.h"

namespace cafx::cuda::dnn_unfused {

std::size_t saved(const Context&, const DnnSaafDims&);    // bytes
std::size_t scratch(const Context&, const DnnSaafDims&);  // bytes
void forward(const Context&, Stored* u, float* saved, const Stored* r, const float* z, const std::int32_t* positions,
             const DnnSaafWeights&, float* scratch, const DnnSaafDims&);
void backward(const Context&, Stored* dr, float* dz, const DnnSaafGrads&, const Stored* du, const float* saved,
              const Stored* r, const float* z, const std::int32_t* positions, const DnnSaafWeights&, float* scratch,
              const DnnSaafDims&);

}  // namespace cafx::cuda::dnn_unfused
