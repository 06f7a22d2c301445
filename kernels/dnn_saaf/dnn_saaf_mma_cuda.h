// kernels/dnn_saaf/dnn_saaf_mma_cuda.h -- DNN-SAAF on tensor cores, operands rounded to tf32, bf16 or fp16
// (device/precision.h).
//
//   The functions of dnn_saaf.h for a context whose precision is not fp32. They take layers of up to 128 outputs and
//   curves whose sums fit in a block's shared memory; for others `takes` is false and the cuBLAS twin runs.
#pragma once

#include "kernels/dnn_saaf/dnn_saaf.h"

namespace cafx::cuda::dnn_mma {

bool takes(const Context&, const DnnSaafDims&);
std::size_t packed(const Context&, const DnnSaafDims&);   // bytes
std::size_t scratch(const Context&, const DnnSaafDims&);  // bytes
void prepare(const Context&, float* packed, const DnnSaafWeights&, const DnnSaafDims&);
void forward(const Context&, Stored* u, const Stored* r, const float* z, const std::int32_t* positions,
             const float* packed, const DnnSaafDims&);
void backward(const Context&, Stored* dr, float* dz, const DnnSaafGrads&, const Stored* du, const Stored* r,
              const float* z, const std::int32_t* positions, const float* packed, float* scratch, const DnnSaafDims&);

// dz (windows,C) = sum over a window's parts of dz_parts (windows,parts,C), in order.
void add_window_parts(const Context&, float* dz, const float* dz_parts, long windows, int parts, int C);

}  // namespace cafx::cuda::dnn_mma
