#include "kernels/base/rng.h"

#include <algorithm>
#include <numeric>

namespace cafx {

std::vector<std::uint32_t> permutation(std::uint32_t n, Rng rng) {
  std::vector<std::uint64_t> keys(n);
  for (std::uint32_t i = 0; i < n; ++i) keys[i] = rng.bits64(i);
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
  return order;
}

}  // namespace cafx
