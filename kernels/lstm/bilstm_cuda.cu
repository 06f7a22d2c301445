#include "kernels/device/each_cuda.h"
#include "kernels/lstm/bilstm.h"

namespace cafx::cuda {

void bilstm_join(const Context& context, float* y, const float* a, const float* b, long rows, int H) {
  for_each(context, rows * 2 * H, [=] __device__(Members members) mutable {
    members.enter(y, a, b);
    return [=](long i) {
      const long row = i / (2 * H), k = i % (2 * H);
      y[i] = k < H ? a[row * H + k] : b[row * H + k - H];
    };
  });
}

void bilstm_part(const Context& context, float* a, float* b, const float* y, long rows, int H) {
  for_each(context, rows * 2 * H, [=] __device__(Members members) mutable {
    members.enter(a, b, y);
    return [=](long i) {
      const long row = i / (2 * H), k = i % (2 * H);
      (k < H ? a[row * H + k] : b[row * H + k - H]) = y[i];
    };
  });
}

}  // namespace cafx::cuda
