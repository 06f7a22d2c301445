#include "kernels/saaf/saaf_cpu.h"

namespace cafx::CAFX_ISA_NS {

void saaf_forward(float* y, const float* x, const float* v, const float* w, void* scratch, SaafDims d) {
  SaafPiece* table = static_cast<SaafPiece*>(scratch);
  for (int c = 0; c < d.C; ++c) saaf_make_table(table, v, w, d, c);
  saaf_rows_forward(y, x, d.B * d.T, table, d);
}

void saaf_backward(float* dx, float* dv, float* dw, const float* dy, const float* x, const float* v, const float* w,
                   void* scratch, SaafDims d) {
  SaafPiece* table = static_cast<SaafPiece*>(scratch);
  SaafSums* sums = reinterpret_cast<SaafSums*>(table + static_cast<long>(d.S + 2) * d.C);
  for (int c = 0; c < d.C; ++c) saaf_make_table(table, v, w, d, c);
  for (long i = 0; i < static_cast<long>(d.S + 2) * d.C; ++i) sums[i] = {};
  saaf_rows_backward(dx, sums, dy, x, d.B * d.T, table, d);
  for (int c = 0; c < d.C; ++c) saaf_finish_gradient(dv, dw, sums, d, c);
}

}  // namespace cafx::CAFX_ISA_NS
