// kernels/front_end/front_end.h -- CAFx's front end, fused: Conv1D, abs, Conv1D-Local, softplus, max pooling.
//
//   x1[b,t,c] = bias1[c] + sum_k w1[c,k] x_padded[b, t + k]
//   x2[b,t,c] = softplus(bias2[c] + sum_k w2[c,k] |x1[b, t + k - (K2-1)/2, c]|)
//   z[b,p,c]  = max over r of x2[b, p P + r, c], positions[b,p,c] = that r (first where equal)
//
// Source   arXiv:1810.06603. Plain twin: conv1d, abs, local_conv, activation, max_pool.
// Differs  softplus is monotone, so the maximum is taken before it: P times fewer softplus. Backward uses that one
//          sample in P carries gradient: P times fewer products than the plain twin.
// Rounds   in bf16 and fp16 w2 and the gradient before the softplus, dz sigmoid, as operands; x1 and dx1 are stored
//          rounded.
// Shapes   x_padded (B,T+K1-1)   z, positions (B,T/P,C)   w1 (C,K1)  w2 (C,K2)  biases (C)   x1, dx1 (B,T,C), Stored
// Grads    dx1 in and out: holds the gradient of x1 from the residual; the part through z is added in place.
//          dw1 += dbias1 += dw2 += dbias2 +=
// Packed   front_end_prepare packs the weights for the device, once a step; packed of front_end_packed bytes.
// Scratch  front_end_scratch bytes per call, forward and backward.
// Errors   P divides T, sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/device/context.h"
#include "kernels/frames/frames.h"

namespace cafx {

struct FrontEndDims {
  int B, T, C, K1, K2, P;
};

std::size_t front_end_packed(const Context&, FrontEndDims);   // bytes; does not depend on B
std::size_t front_end_scratch(const Context&, FrontEndDims);  // bytes; does not depend on B on a CPU
void front_end_prepare(const Context&, void* packed, const float* w1, const float* bias1, const float* w2,
                       const float* bias2, FrontEndDims);
void front_end_forward(const Context&, Stored* x1, float* z, std::int32_t* positions, const float* x_padded,
                       const void* packed, void* scratch, FrontEndDims);
// The same from the frames of `source`, which x_padded then holds behind `left` zeros each, and by the weights as they
// are, where kernels do (front_end_gathers); else false, and nothing is done. What runs aside is joined.
struct FrontEndWeights {
  const float *w1, *bias1, *w2, *bias2;
};
bool front_end_gathers(const Context&, FrontEndDims);
bool front_end_forward_from(const Context&, Stored* x1, float* z, std::int32_t* positions, float* x_padded,
                            FrameSource source, int left, FrontEndWeights, FrontEndDims);
void front_end_backward(const Context&, Stored* dx1, float* dw1, float* dbias1, float* dw2, float* dbias2,
                        const float* dz, const Stored* x1, const float* z, const std::int32_t* positions,
                        const float* x_padded, const float* w2, void* scratch, FrontEndDims);

// Forward in pieces, for frames that share their rows (models/cafx/sequence.cpp). CPU only, no threads. A row or window
// has the bits of front_end_forward where it has the same neighbours.
//
// x1 (n,C) from x (n+K1-1), as conv1d_forward with the packed weights.
void front_end_rows(const Context&, float* x1, const float* x, const void* packed, int n, FrontEndDims);
// z, positions (n,C) of n windows; x1 points at the first sample's row of the first window. `before` rows exist
// in front of x1 and `after` behind the last window; beyond these |x1| is zero. n P <= T.
void front_end_windows(const Context&, float* z, std::int32_t* positions, const float* x1, int n, int before, int after,
                       const void* packed, void* scratch, FrontEndDims);

}  // namespace cafx
