#include "kernels/transpose/transpose.h"

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, transpose_each, (float* y, const float* x, TransposeDims d));
CAFX_CUDA(void, transpose_each, (const Context&, float* y, const float* x, TransposeDims d));

void transpose(const Context& context, float* y, const float* x, TransposeDims d) {
  CAFX_CHECK(d.B >= 1 && d.R >= 1 && d.C >= 1, d.B, d.R, d.C);
  CAFX_CUDA_CALL(context, transpose_each, y, x, d);
  CAFX_CALL(context, transpose_each, y, x, d);
}

}  // namespace cafx
