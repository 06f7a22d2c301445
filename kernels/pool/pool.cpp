#include "kernels/pool/pool.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, max_pool_forward, (float* z, std::int32_t* positions, const float* x, PoolDims d));
CAFX_BACKENDS(void, max_pool_backward, (float* dx, const float* dz, const std::int32_t* positions, PoolDims d));
CAFX_BACKENDS(void, unpool_forward, (float* y, const float* z, const std::int32_t* positions, PoolDims d, Unpool u));
CAFX_BACKENDS(void, unpool_backward, (float* dz, const float* dy, const std::int32_t* positions, PoolDims d, Unpool u));
CAFX_CUDA(void, max_pool_forward, (const Context&, float* z, std::int32_t* positions, const float* x, PoolDims d));
CAFX_CUDA(void, max_pool_backward,
          (const Context&, float* dx, const float* dz, const std::int32_t* positions, PoolDims d));
CAFX_CUDA(void, unpool_forward,
          (const Context&, float* y, const float* z, const std::int32_t* positions, PoolDims d, Unpool u));
CAFX_CUDA(void, unpool_backward,
          (const Context&, float* dz, const float* dy, const std::int32_t* positions, PoolDims d, Unpool u));

static void check(PoolDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.C >= 1 && d.P >= 1 && d.T % d.P == 0, d.B, d.T, d.C, d.P);
}

void max_pool_forward(const Context& context, float* z, std::int32_t* positions, const float* x, PoolDims d) {
  check(d);
  CAFX_CUDA_CALL(context, max_pool_forward, z, positions, x, d);
  CAFX_CALL(context, max_pool_forward, z, positions, x, d);
}
void max_pool_backward(const Context& context, float* dx, const float* dz, const std::int32_t* positions, PoolDims d) {
  check(d);
  CAFX_CUDA_CALL(context, max_pool_backward, dx, dz, positions, d);
  CAFX_CALL(context, max_pool_backward, dx, dz, positions, d);
}
void unpool_forward(const Context& context, float* y, const float* z, const std::int32_t* positions, PoolDims d,
                    Unpool u) {
  check(d);
  CAFX_CHECK(positions || u == Unpool::kHold);
  CAFX_CUDA_CALL(context, unpool_forward, y, z, positions, d, u);
  CAFX_CALL(context, unpool_forward, y, z, positions, d, u);
}
void unpool_backward(const Context& context, float* dz, const float* dy, const std::int32_t* positions, PoolDims d,
                     Unpool u) {
  check(d);
  CAFX_CHECK(positions || u == Unpool::kHold);
  CAFX_CUDA_CALL(context, unpool_backward, dz, dy, positions, d, u);
  CAFX_CALL(context, unpool_backward, dz, dy, positions, d, u);
}

}  // namespace cafx
