#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/device/dispatch.h"

namespace cafx {

CAFX_BACKENDS(void, adam_block,
              (float* params, float* m, float* v, const float* grads, const float* decay_mask, long n, AdamStep step,
               float correction1, float correction2));
CAFX_BACKENDS(double, squared_norm_block, (const float* x, long n));
CAFX_BACKENDS(void, reduce_block, (float* total, float* const* slots, int n_slots, long at, long n));

constexpr long kBlock = 4096;

// body(first, count) for each block of [0, n), in parallel.
template <class Body>
static void over_blocks(const Context& context, long n, const Body& body) {
  const int n_blocks = static_cast<int>((n + kBlock - 1) / kBlock);
  over_tasks(context, n_blocks,
             [&](const Context& inner, int i) { body(inner, i * kBlock, std::min(kBlock, n - i * kBlock)); });
}

void adam_step(const Context& context, float* params, float* m, float* v, const float* grads, const float* decay_mask,
               long n, AdamStep step) {
  CAFX_CHECK(n >= 0 && step.step >= 1, n, step.step);
  const double t = static_cast<double>(step.step);
  const auto correction1 = static_cast<float>(1.0 - std::pow(static_cast<double>(step.beta1), t));
  const auto correction2 = static_cast<float>(1.0 - std::pow(static_cast<double>(step.beta2), t));
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    CAFX_CALL(inner, adam_block, params + at, m + at, v + at, grads + at, decay_mask ? decay_mask + at : nullptr, count,
              step, correction1, correction2);
  });
}

double squared_norm(const Context& context, const float* x, long n) {
  CAFX_CHECK(n >= 0, n);
  std::vector<double> sums(static_cast<std::size_t>((n + kBlock - 1) / kBlock));
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    sums[static_cast<std::size_t>(at / kBlock)] = CAFX_CALL(inner, squared_norm_block, x + at, count);
  });
  double total = 0.0;
  for (const double s : sums) total += s;
  return total;
}

void reduce_slots(const Context& context, float* total, float* const* slots, int n_slots, long n) {
  CAFX_CHECK(n >= 0 && n_slots >= 1 && n_slots <= kGradientSlots, n, n_slots);
  over_blocks(context, n, [&](const Context& inner, long at, long count) {
    CAFX_CALL(inner, reduce_block, total, slots, n_slots, at, count);
  });
}

}  // namespace cafx
