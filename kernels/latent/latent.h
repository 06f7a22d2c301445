// kernels/latent/latent.h -- CAFx's two latent layers in one kernel each way, for a GPU.
//
//   h[b,o,c]    = softplus(bias1[c,o] + sum_i w1[c,o,i] z[b,i,c])       Dense-Local
//   zhat[b,i,c] = softplus(bias2[i] + sum_o w2[i,o] h[b,o,c])           Dense over time, one for all channels
//
// Source   arXiv:1810.06603, the latent DNN. Plain twin: local_dense, dense_time.
// Shapes   z, zhat, dz, dzhat (B,I,C)   h (B,O,C)   w1, dw1 (C,O,I)   bias1 (C,O)   w2, dw2 (I,O)   bias2 (I)
// Rounds   in bf16 and fp16, where latent_rounds says so, the operands of products: z, w1, h, w2 and the gradients
//          before both activations. Slopes and the biases' gradients are of numbers that are not rounded, and h is
//          written so. Else nothing.
// Grads    dz =   dw1 = dbias1 =   dw2 += dbias2 +=     dzhat is the gradient of zhat, after the activation; slopes are
//          computed from h and zhat. Of a frame nothing else is written: the gradient of h stays on chip.
// Scratch  latent_scratch bytes, for backward.   In place: no.
// Errors   CheckError where latent_is_fused says no: it takes I = O = 64 and C in eights, on a GPU.
// Bits     same input, same device: same bits.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct LatentDims {
  int B, I, O, C;
};

bool latent_is_fused(const Context&, LatentDims);
// Whether operands of these layers' products are rounded to bf16 or fp16: where that is the precision, on a GPU those
// that tensor cores multiply in a fused kernel, on a CPU all that it emulates.
bool latent_rounds(const Context&, LatentDims);
std::size_t latent_scratch(const Context&, LatentDims);  // bytes; 0 where it is not fused
void latent_forward(const Context&, float* h, float* zhat, const float* z, const float* w1, const float* bias1,
                    const float* w2, const float* bias2, LatentDims);
void latent_backward(const Context&, float* dz, float* dw1, float* dbias1, float* dw2, float* dbias2,
                     const float* dzhat, const float* zhat, const float* h, const float* z, const float* w1,
                     const float* w2, void* scratch, LatentDims);

}  // namespace cafx
