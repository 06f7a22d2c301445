#include "kernels/device/each_cuda.h"
#include "kernels/dropout/dropout_math.h"

namespace cafx::cuda {

// A thread for each draw of the generator.
void dropout(const Context& context, float* y, const float* x, DropoutMask mask, DropoutKey key, const DropoutKey* from,
             std::int64_t first, DropoutDims d) {
  const long n = d.rows * d.width, before = static_cast<long>(first % kDropoutDraw);
  const std::uint64_t first_draw = static_cast<std::uint64_t>(first / kDropoutDraw);
  if (n == 0) return;
  for_each(context, ceil_div(before + n, kDropoutDraw), [=] __device__(Members members) mutable {
    members.enter(y, x);
    members.enter_given(from);
    const Rng rng = mask.draws(from ? *from : key);
    return [=](long draw) {
      const auto bits = rng.bits(first_draw + draw);
      for (int k = 0; k < kDropoutDraw; ++k) {
        const long i = draw * kDropoutDraw + k - before;
        if (i < 0 || i >= n) continue;
        const long at = i / d.width * d.stride + i % d.width;
        y[at] = mask(x[at], bits[k]);
      }
    };
  });
}

}  // namespace cafx::cuda
