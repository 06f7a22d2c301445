#include "kernels/exchange/exchange.h"

#include "kernels/base/error.h"

namespace cafx {

// Slices end at multiples of 32 floats, so that each one starts aligned for vectors of any width.
static long slice(long n, int ranks) { return (n + 32L * ranks - 1) / (32L * ranks) * 32; }

long exchange_padded(long n, int ranks) {
  CAFX_CHECK(n >= 1 && ranks >= 1 && ranks <= kMostGpus, n, ranks);
  return ranks == 1 ? n : slice(n, ranks) * ranks;
}

std::size_t exchange_scratch(long n, int ranks) {
  CAFX_CHECK(n >= 1 && ranks >= 1 && ranks <= kMostGpus, n, ranks);
  return sizeof(double) * static_cast<std::size_t>(ranks) +
         sizeof(float) * static_cast<std::size_t>(slice(n, ranks)) * static_cast<std::size_t>(ranks - 1);
}

std::size_t exchange_bytes(long n, int ranks) {
  CAFX_CHECK(n >= 1 && ranks >= 1 && ranks <= kMostGpus, n, ranks);
  const std::size_t slices = 2 * sizeof(float) * static_cast<std::size_t>(slice(n, ranks));
  return (slices + sizeof(double)) * static_cast<std::size_t>(ranks - 1);
}

#ifndef CAFX_HAS_CUDA

struct Exchange::State {};
ExchangeId new_exchange_id() { check_failed("built with CUDA", __FILE__, __LINE__, ""); }
std::string exchange_name() { check_failed("built with CUDA", __FILE__, __LINE__, ""); }
Exchange::Exchange(const Context&, const ExchangeId&, int, int) {
  check_failed("built with CUDA", __FILE__, __LINE__, "");
}
Exchange::~Exchange() = default;
int Exchange::rank() const { return 0; }
int Exchange::ranks() const { return 1; }
void Exchange::sum(const Context&, float*, double*, const std::vector<int>&, long, void*, bool) {}
std::string Exchange::failure() const { return ""; }
void Exchange::abort() noexcept {}

#endif

}  // namespace cafx
