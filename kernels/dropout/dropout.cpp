#include "kernels/dropout/dropout.h"

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace cafx {

void dropout(const Context& context, float* y, const float* x, long n, double rate, const DropoutDraw& draw,
             std::uint32_t layer, std::int64_t first) {
  CAFX_CHECK(
      n >= 0 && rate >= 0.0 && rate < 1.0 && first >= 0 && draw.update < (std::uint64_t{1} << 48) && layer < 1u << 16,
      n, rate, first, draw.update, layer);
  if (context.device != Device::kCpu) throw Error("dropout has no CUDA twin; use --device cpu");
  const Rng rng{draw.seed, (static_cast<std::uint64_t>(layer) << 48) | draw.update};
  const auto below = static_cast<std::uint64_t>(std::llround(rate * 0x1p32));
  const auto kept = static_cast<float>(1.0 / (1.0 - rate));
  // One draw of the generator is for four numbers.
  for (long i = 0; i < n;) {
    const auto at = static_cast<std::uint64_t>(first + i);
    const auto bits = rng.bits(at / 4);
    for (std::size_t k = at % 4; k < 4 && i < n; ++k, ++i) y[i] = bits[k] < below ? 0.0f : kept * x[i];
  }
}

}  // namespace cafx
