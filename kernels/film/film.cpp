#include "kernels/film/film.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, film_pool_forward, (float* pooled, const float* x, const float* constants, FilmDims d));
CAFX_BACKENDS(void, film_pool_backward, (float* dx, const float* dpooled, const float* x, FilmDims d));
CAFX_BACKENDS(void, film_forward,
              (float* y, const float* z, const float* x, const float* residual, const float* modulation, FilmDims d));
CAFX_BACKENDS(void, film_backward,
              (float* dz, float* dmodulation, const float* dy, const float* z, const float* modulation, FilmDims d));
CAFX_BACKENDS(void, film_residual_backward,
              (float* dx, float* dresidual, const float* dy, const float* x, const float* residual, FilmDims d));
CAFX_CUDA(void, film_pool_forward, (const Context&, float* pooled, const float* x, const float* constants, FilmDims d));
CAFX_CUDA(void, film_pool_backward, (const Context&, float* dx, const float* dpooled, const float* x, FilmDims d));
CAFX_CUDA(void, film_forward,
          (const Context&, float* y, const float* z, const float* x, const float* residual, const float* modulation,
           FilmDims d));
CAFX_CUDA(void, film_backward,
          (const Context&, float* dz, float* dmodulation, const float* dy, const float* z, const float* modulation,
           FilmDims d));
CAFX_CUDA(void, film_residual_backward,
          (const Context&, float* dx, float* dresidual, const float* dy, const float* x, const float* residual,
           FilmDims d));

static void check(FilmDims d) {
  CAFX_CHECK(d.B >= 1 && d.C >= 1 && d.T >= 1 && d.block >= 1 && d.beside >= 0, d.B, d.C, d.T, d.block, d.beside);
}

void film_pool_forward(const Context& context, float* pooled, const float* x, const float* constants, FilmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, film_pool_forward, pooled, x, constants, d);
  CAFX_CALL(context, film_pool_forward, pooled, x, constants, d);
}
void film_pool_backward(const Context& context, float* dx, const float* dpooled, const float* x, FilmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, film_pool_backward, dx, dpooled, x, d);
  CAFX_CALL(context, film_pool_backward, dx, dpooled, x, d);
}
void film_forward(const Context& context, float* y, const float* z, const float* x, const float* residual,
                  const float* modulation, FilmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, film_forward, y, z, x, residual, modulation, d);
  CAFX_CALL(context, film_forward, y, z, x, residual, modulation, d);
}
void film_backward(const Context& context, float* dz, float* dmodulation, const float* dy, const float* z,
                   const float* modulation, FilmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, film_backward, dz, dmodulation, dy, z, modulation, d);
  CAFX_CALL(context, film_backward, dz, dmodulation, dy, z, modulation, d);
}
void film_residual_backward(const Context& context, float* dx, float* dresidual, const float* dy, const float* x,
                            const float* residual, FilmDims d) {
  check(d);
  CAFX_CUDA_CALL(context, film_residual_backward, dx, dresidual, dy, x, residual, d);
  CAFX_CALL(context, film_residual_backward, dx, dresidual, dy, x, residual, d);
}

}  // namespace cafx
