#include "kernels/transpose/transpose.h"

#include <algorithm>

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, transpose_each, (float* y, const float* x, TransposeDims d));
CAFX_CUDA(void, transpose_each, (const Context&, float* y, const float* x, TransposeDims d));
CAFX_CUDA(void, exchange_outer, (const Context&, float* y, const float* x, ExchangeDims d));
CAFX_CUDA(void, with_constants, (const Context&, float* y, const float* x, const float* c, ConstantsDims d));

void transpose(const Context& context, float* y, const float* x, TransposeDims d) {
  CAFX_CHECK(d.B >= 1 && d.R >= 1 && d.C >= 1, d.B, d.R, d.C);
  CAFX_CUDA_CALL(context, transpose_each, y, x, d);
  CAFX_CALL(context, transpose_each, y, x, d);
}

void exchange_outer(const Context& context, float* y, const float* x, ExchangeDims d) {
  CAFX_CHECK(d.I >= 1 && d.J >= 1 && d.K >= 1 && d.C >= 1, d.I, d.J, d.K, d.C);
  CAFX_CUDA_CALL(context, exchange_outer, y, x, d);
  for (long i = 0; i < d.I; ++i) {
    for (long j = 0; j < d.J; ++j) {
      for (long k = 0; k < d.K; ++k, x += d.C) std::copy_n(x, d.C, y + ((k * d.J + j) * d.I + i) * d.C);
    }
  }
}

void with_constants(const Context& context, float* y, const float* x, const float* c, ConstantsDims d) {
  CAFX_CHECK(d.B >= 1 && d.T >= 1 && d.K >= 1, d.B, d.T, d.K);
  CAFX_CUDA_CALL(context, with_constants, y, x, c, d);
  for (long t = 0; t < d.T; ++t) {
    for (long b = 0; b < d.B; ++b) {
      *y++ = x[b * d.T + t];
      y = c ? std::copy_n(c + b * d.K, d.K, y) : std::fill_n(y, d.K, 0.0f);
    }
  }
}

}  // namespace cafx
