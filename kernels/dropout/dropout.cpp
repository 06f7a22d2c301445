#include "kernels/dropout/dropout.h"

#include <cmath>

#include "kernels/device/dispatch.h"
#include "kernels/dropout/dropout_math.h"

namespace cafx {

CAFX_CUDA(void, dropout,
          (const Context&, float* y, const float* x, DropoutMask mask, DropoutKey key, const DropoutKey* from,
           std::int64_t first, DropoutDims d));

void dropout(const Context& context, float* y, const float* x, double rate, const DropoutDraw& draw,
             std::uint32_t layer, std::int64_t first, DropoutDims d) {
  CAFX_CHECK(d.rows >= 0 && d.width >= 0 && d.stride >= d.width && rate >= 0.0 && rate < 1.0, d.rows, d.width, d.stride,
             rate);
  CAFX_CHECK(first >= 0 && draw.key.update < (std::uint64_t{1} << 48) && layer < 1u << 16, first, draw.key.update,
             layer);
  const DropoutMask mask{layer, static_cast<std::uint64_t>(std::llround(rate * 0x1p32)),
                         static_cast<float>(1.0 / (1.0 - rate))};
  CAFX_CUDA_CALL(context, dropout, y, x, mask, draw.key, draw.from, first, d);
  const Rng rng = mask.draws(draw.from ? *draw.from : draw.key);
  auto at = static_cast<std::uint64_t>(first);
  auto bits = rng.bits(at / kDropoutDraw);
  for (long r = 0; r < d.rows; ++r) {
    for (long i = r * d.stride; i < r * d.stride + d.width; ++i) {
      y[i] = mask(x[i], bits[at % kDropoutDraw]);
      if (++at % kDropoutDraw == 0) bits = rng.bits(at / kDropoutDraw);
    }
  }
}

}  // namespace cafx
