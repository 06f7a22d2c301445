#include "host/cli/fma_peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cafx {

namespace {

constexpr int kFmaRounds = 1 << 16;  // of twelve vectors each: enough to hide the latency of every processor
constexpr int kChains = 12;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) float fma_avx512() {
  __m512 acc[kChains];
  for (auto& a : acc) a = _mm512_set1_ps(1.0f);
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  for (int i = 0; i < kFmaRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = _mm512_fmadd_ps(acc[k], x, y);
  }
  float out[16], total = 0.0f;
  for (const auto& a : acc) {
    _mm512_storeu_ps(out, a);
    total += out[0];
  }
  return total;
}

__attribute__((target("avx2,fma"))) float fma_avx2() {
  __m256 acc[kChains];
  for (auto& a : acc) a = _mm256_set1_ps(1.0f);
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  for (int i = 0; i < kFmaRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = _mm256_fmadd_ps(acc[k], x, y);
  }
  float out[8], total = 0.0f;
  for (const auto& a : acc) {
    _mm256_storeu_ps(out, a);
    total += out[0];
  }
  return total;
}
#endif

typedef float v4 __attribute__((vector_size(16)));
float fma_portable() {
  v4 acc[kChains];
  for (auto& a : acc) a = v4{1, 1, 1, 1};
  for (int i = 0; i < kFmaRounds; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < kChains; ++k) acc[k] = acc[k] * 0.999f + 1e-3f;
  }
  float total = 0.0f;
  for (const auto& a : acc) total += a[0];
  return total;
}

}  // namespace

double measure_fma_peak(const Context& context, double seconds) {
  using Clock = std::chrono::steady_clock;
  int lanes = 4;
  float (*loop)() = fma_portable;
#if defined(__x86_64__)
  if (context.isa == Isa::kAvx512) {
    loop = fma_avx512;
    lanes = 16;
  } else if (context.isa == Isa::kAvx2) {
    loop = fma_avx2;
    lanes = 8;
  }
#endif
  std::vector<float> sink(static_cast<std::size_t>(context.n_workers()));
  double best = 0.0;
  const auto start = Clock::now();
  while (std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
    const int n = context.n_workers();
    const auto t0 = Clock::now();
    over_tasks(context, n, [&](const Context&, int i) {
      for (int r = 0; r < 16; ++r) sink[static_cast<std::size_t>(i)] += loop();
    });
    const double dt = std::chrono::duration<double>(Clock::now() - t0).count();
    best = std::max(best, 2.0 * lanes * kChains * kFmaRounds * 16.0 * n / dt);
  }
  volatile float keep = sink[0];  // the loops must not be optimised away
  (void)keep;
  return best;
}

}  // namespace cafx
