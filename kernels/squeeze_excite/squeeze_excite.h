// kernels/squeeze_excite/squeeze_excite.h -- squeeze and excitation: a gain for each channel of a frame, told by how
// loud all of its channels are; the result is added to what is there.
//
//   a[b,c] = mean_t |x[b,t,c]|     h[b] = relu(b1 + w1 a[b])     s[b] = sigmoid(b2 + w2 h[b])
//   y[b,t,c] += s[b,c] x[b,t,c]
//
// Source   Hu et al. 2018, arXiv:1709.01507, of magnitudes as in CRAFx, arXiv:1905.06148.
// Shapes   x, dx, y, dy (B,T,C), Stored   w1, dw1 (H,C)   b1, db1 (H)   w2, dw2 (C,H)   b2, db2 (C)     C contiguous
// Grads    dx =   dw1 +=   db1 +=   dw2 +=   db2 +=     dy is the gradient of y, and of what y held before.
// Saved    x, and saved (B,2C+H) floats from forward to backward: a, s, h of each frame.
// Scratch  squeeze_excite_scratch bytes, for forward and backward.   In place: no.
// Errors   sizes >= 1: CheckError with the numbers.
// Bits     same input, same device and instruction set: same bits; a frame's do not depend on the others of its call.
#pragma once

#include <cstddef>

#include "kernels/device/context.h"

namespace cafx {

struct SqueezeExciteDims {
  int B, T, C, H;
};
constexpr std::size_t squeeze_excite_saved(SqueezeExciteDims d) {  // floats
  return static_cast<std::size_t>(d.B) * static_cast<std::size_t>(2 * d.C + d.H);
}

template <class Pointer>
struct SqueezeExciteTensors {
  Pointer w1, b1, w2, b2;
};

std::size_t squeeze_excite_scratch(const Context&, SqueezeExciteDims);  // bytes
void squeeze_excite_forward(const Context&, Stored* y, float* saved, const Stored* x,
                            const SqueezeExciteTensors<const float*>&, void* scratch, SqueezeExciteDims);
void squeeze_excite_backward(const Context&, Stored* dx, const SqueezeExciteTensors<float*>& gradients,
                             const Stored* dy, const Stored* x, const float* saved,
                             const SqueezeExciteTensors<const float*>&, void* scratch, SqueezeExciteDims);

}  // namespace cafx
