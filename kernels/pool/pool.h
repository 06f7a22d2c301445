// kernels/pool/pool.h -- max pooling over time with positions of the maxima; two forms of unpooling, also times x.
//
//   max_pool   z[b,p,c] = max over r of x[b, p P + r, c],  positions[b,p,c] = that r (the first one where equal)
//   unpool     positions: y[b, p P + r, c] = z[b,p,c] at r = positions[b,p,c], zero elsewhere
//              hold:      y[b, p P + r, c] = z[b,p,c] for every r
//   unpool_multiply   u = unpool(z) x
//
// Source   arXiv:1810.06603 (`positions`), its journal version (`hold`).
// Shapes   x, y (B,T,C); of unpool_multiply x, dx, u, du (B,T,C), Stored   z (B,T/P,C)   positions (B,T/P,C) in [0, P)
//          C contiguous
// Grads    max_pool_backward: dx = (zero off the maxima).   unpool_backward: dz =   unpool_multiply_backward: dz, dx =,
//          or += with `adds`
// In place: no.
// Errors   P divides T, sizes >= 1: CheckError with the numbers.
// Bits     exact; unpool_multiply those of unpool and multiply (pointwise.h).   A NaN never becomes a maximum unless it
//          is first in its window.
#pragma once

#include <cstdint>

#include "kernels/device/context.h"

namespace cafx {

enum class Unpool { kPositions, kHold };

struct PoolDims {
  int B, T, C, P;
};

void max_pool_forward(const Context&, float* z, std::int32_t* positions, const float* x, PoolDims);
void max_pool_backward(const Context&, float* dx, const float* dz, const std::int32_t* positions, PoolDims);
// positions may be null for kHold.
void unpool_forward(const Context&, float* y, const float* z, const std::int32_t* positions, PoolDims, Unpool);
void unpool_backward(const Context&, float* dz, const float* dy, const std::int32_t* positions, PoolDims, Unpool);
void unpool_multiply_forward(const Context&, Stored* u, const float* z, const Stored* x, const std::int32_t* positions,
                             PoolDims, Unpool);
void unpool_multiply_backward(const Context&, float* dz, Stored* dx, const Stored* du, const float* z, const Stored* x,
                              const std::int32_t* positions, PoolDims, Unpool, bool adds = false);

}  // namespace cafx
