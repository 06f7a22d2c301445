#include "kernels/transpose/transpose.h"

#include "kernels/simd/gemm.h"

namespace cafx::CAFX_ISA_NS {

void transpose_each(float* y, const float* x, TransposeDims d) {
  const long n = static_cast<long>(d.R) * d.C;
  for (int b = 0; b < d.B; ++b) transpose(y + b * n, x + b * n, d.R, d.C);
}

}  // namespace cafx::CAFX_ISA_NS
