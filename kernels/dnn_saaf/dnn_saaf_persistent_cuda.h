// kernels/dnn_saaf/dnn_saaf_persistent_cuda.h -- DNN-SAAF in bf16 or fp16 for layers whose widths are known when it is
// compiled.
//
//   The functions of dnn_saaf.h for the shapes that `takes` names: blocks that stay on their multiprocessor keep all
//   weights in shared memory and all sums of the weights' gradients in registers; forward and backward of one context
//   go together, since they share `packed`. All other shapes run in dnn_saaf_mma_cuda.h.
//
// Rounding  as device/precision.h and dnn_saaf.h say for these; a softplus has a relative error of 1.3e-6.
#pragma once

#include "kernels/dnn_saaf/dnn_saaf.h"

namespace cafx::cuda::dnn_persistent {

bool takes(const Context&, const DnnSaafDims&);
bool takes_dy(const Context&, const DnnSaafDims&, int K);  // backward computes du, forward gives rows
std::size_t packed(const DnnSaafDims&);                    // bytes
std::size_t scratch(const Context&, const DnnSaafDims&);   // bytes
void prepare(const Context&, float* packed, const DnnSaafWeights&, const DnnSaafDims&);
void forward(const Context&, Stored* u, const DnnSaafRows&, const Stored* r, const float* z,
             const std::int32_t* positions, const float* packed, const DnnSaafDims&);
void backward(const Context&, Stored* dr, float* dz, const DnnSaafGrads&, const DnnSaafDu&, const Stored* r,
              const float* z, const std::int32_t* positions, const float* packed, float* scratch, const DnnSaafDims&);

}  // namespace cafx::cuda::dnn_persistent
