#include "kernels/device/sums.h"

#include "kernels/base/error.h"
#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_CUDA(void, add_parts, (const Context&, const PartialSums::Sum& sum));
CAFX_CUDA(void, add_left_parts, (const Context&, PartialSums& sums));

void add_parts(const Context& context, const PartialSums::Sum& sum) {
  CAFX_CHECK(context.device == Device::kCuda && sum.parts >= 1 && sum.n >= 1 && sum.n_pieces >= 1, sum.parts, sum.n);
  CAFX_CUDA_CALL(context, add_parts, sum);
}

void add_left_parts(const Context& context, PartialSums& sums) {
  if (sums.n == 0) return;
  CAFX_CHECK(context.device == Device::kCuda, sums.n);
  CAFX_CUDA_CALL(context, add_left_parts, sums);
}

bool PartialSums::take(const Sum& sum) {
  for (int i = 0; i < n; ++i) {
    Sum& s = sums[i];
    if (s.pieces[0].out != sum.pieces[0].out || s.n != sum.n) continue;
    if (s.partial + s.parts * s.n == sum.partial) {
      s.parts += sum.parts;
      return true;
    }
    return false;  // it would write where another sum does
  }
  if (n == kMost) return false;
  sums[n++] = sum;
  return true;
}

}  // namespace cafx
