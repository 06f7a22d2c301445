#include "kernels/pool/pool.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, max_pool_forward, (float* z, std::int32_t* positions, const float* x, PoolDims d));
CAFX_BACKENDS(void, max_pool_backward, (float* dx, const float* dz, const std::int32_t* positions, PoolDims d));
CAFX_BACKENDS(void, unpool_forward, (float* y, const float* z, const std::int32_t* positions, PoolDims d, Unpool u));
CAFX_BACKENDS(void, unpool_backward, (float* dz, const float* dy, const std::int32_t* positions, PoolDims d, Unpool u));
CAFX_BACKENDS(void, unpool_multiply_forward,
              (float* u, const float* z, const float* x, const std::int32_t* positions, Precision stored, PoolDims d,
               Unpool form));
CAFX_BACKENDS(void, unpool_multiply_backward,
              (float* dz, float* dx, const float* du, const float* z, const float* x, const std::int32_t* positions,
               Precision stored, PoolDims d, Unpool form, bool adds));
CAFX_CUDA(void, max_pool_forward, (const Context&, float* z, std::int32_t* positions, const float* x, PoolDims d));
CAFX_CUDA(void, max_pool_backward,
          (const Context&, float* dx, const float* dz, const std::int32_t* positions, PoolDims d));
CAFX_CUDA(void, unpool_forward,
          (const Context&, float* y, const float* z, const std::int32_t* positions, PoolDims d, Unpool u));
CAFX_CUDA(void, unpool_backward,
          (const Context&, float* dz, const float* dy, const std::int32_t* positions, PoolDims d, Unpool u));

CAFX_CUDA(void, unpool_multiply_forward,
          (const Context&, Stored* u, const float* z, const Stored* x, const std::int32_t* positions, PoolDims d,
           Unpool form));
CAFX_CUDA(void, unpool_multiply_backward,
          (const Context&, float* dz, Stored* dx, const Stored* du, const float* z, const Stored* x,
           const std::int32_t* positions, PoolDims d, Unpool form, bool adds));

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
void unpool_multiply_forward(const Context& context, Stored* u, const float* z, const Stored* x,
                             const std::int32_t* positions, PoolDims d, Unpool form) {
  check(d);
  CAFX_CHECK(positions || form == Unpool::kHold);
  CAFX_CUDA_CALL(context, unpool_multiply_forward, u, z, x, positions, d, form);
  CAFX_CALL(context, unpool_multiply_forward, static_cast<float*>(u), z, static_cast<const float*>(x), positions,
            stored_precision(context), d, form);
}
void unpool_multiply_backward(const Context& context, float* dz, Stored* dx, const Stored* du, const float* z,
                              const Stored* x, const std::int32_t* positions, PoolDims d, Unpool form, bool adds) {
  check(d);
  CAFX_CHECK(positions || form == Unpool::kHold);
  CAFX_CUDA_CALL(context, unpool_multiply_backward, dz, dx, du, z, x, positions, d, form, adds);
  CAFX_CALL(context, unpool_multiply_backward, dz, static_cast<float*>(dx), static_cast<const float*>(du), z,
            static_cast<const float*>(x), positions, stored_precision(context), d, form, adds);
}

}  // namespace cafx
