#include "datasets/find/spectrum.h"

#include <kiss_fftr.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "kernels/base/error.h"

namespace cafx {

namespace {

struct FreeFft {
  void operator()(kiss_fftr_state* p) const { kiss_fftr_free(p); }
};
using Fft = std::unique_ptr<kiss_fftr_state, FreeFft>;

// This thread's last plans of each direction: lengths are few, and a plan costs as much as its transform.
kiss_fftr_state* plan(std::size_t n, int inverse) {
  constexpr std::size_t kKept = 3;
  struct Kept {
    Fft fft;
    std::size_t size = 0;
  };
  thread_local Kept plans[2][kKept];
  Kept* kept = plans[inverse];
  std::size_t i = 0;
  while (i + 1 < kKept && kept[i].size != n) ++i;
  if (kept[i].size != n) {
    kept[i].fft.reset(kiss_fftr_alloc(static_cast<int>(n), inverse, nullptr, nullptr));
    kept[i].size = n;
  }
  for (; i > 0; --i) std::swap(kept[i], kept[i - 1]);
  return kept[0].fft.get();
}

}  // namespace

std::size_t fft_size(std::size_t n) {
  std::size_t size = 1024;
  while (size < n) size *= 2;
  return size;
}

Bins spectrum(const float* x, std::size_t n, std::size_t size) {
  CAFX_CHECK(n <= size, n, size);
  thread_local std::vector<float> padded;  // kept: the system clears the pages of each new one
  padded.resize(size);
  std::copy_n(x, n, padded.begin());
  std::fill(padded.begin() + static_cast<long>(n), padded.end(), 0.0f);
  Bins s(size / 2 + 1);
  kiss_fftr(plan(size, 0), padded.data(), reinterpret_cast<kiss_fft_cpx*>(s.data()));
  return s;
}

namespace {

void inverse_into(const Bins& s, std::vector<float>& x) {
  x.resize(2 * (s.size() - 1));
  kiss_fftri(plan(x.size(), 1), reinterpret_cast<const kiss_fft_cpx*>(s.data()), x.data());
}

}  // namespace

std::vector<float> inverse(const Bins& s) {
  std::vector<float> x;
  inverse_into(s, x);
  return x;
}

std::vector<float> correlate(const Bins& a, const Bins& b, double whitening, long from, long to, double cutoff) {
  CAFX_CHECK(a.size() == b.size() && from <= to, a.size(), b.size(), from, to);
  const std::size_t most = std::min(a.size(), static_cast<std::size_t>(cutoff * static_cast<double>(a.size() - 1)) + 1);
  thread_local std::vector<float> of_a, of_b, r;
  thread_local Bins g;
  of_a.resize(most);
  of_b.resize(most);
  float loudest_a = 0.0f, loudest_b = 0.0f;
  for (std::size_t i = 0; i < most; ++i) {
    of_a[i] = magnitude(a[i]);
    of_b[i] = magnitude(b[i]);
    loudest_a = std::max(loudest_a, of_a[i]);
    loudest_b = std::max(loudest_b, of_b[i]);
  }
  g.assign(a.size(), 0.0f);
  double total = 0.0;
  for (std::size_t i = 0; i < most; ++i) {
    if (!(of_a[i] > 1e-4f * loudest_a) || !(of_b[i] > 1e-4f * loudest_b)) continue;
    // In two factors: their product may leave a float's range.
    const float weight = to_minus(of_a[i], whitening) * to_minus(of_b[i], whitening);
    g[i] = conjugate_times(a[i], b[i]) * weight;
    total += magnitude(g[i]);
  }
  inverse_into(g, r);
  const long n = static_cast<long>(r.size());
  const double scale = total > 0.0 ? 0.5 / total : 0.0;
  std::vector<float> lags(static_cast<std::size_t>(to - from + 1));
  long at = ((from % n) + n) % n;
  for (float& v : lags) {
    v = static_cast<float>(static_cast<double>(r[static_cast<std::size_t>(at)]) * scale);
    if (++at == n) at = 0;
  }
  return lags;
}

std::size_t strongest(std::span<const float> r) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < r.size(); ++i) {
    if (std::abs(r[best]) < std::abs(r[i])) best = i;
  }
  return best;
}

double standing_out(std::span<const float> r, std::size_t peak) {
  double second = 0.0;
  for (std::size_t i = 0; i < r.size(); ++i) {
    if (i + 8 < peak || i > peak + 8) second = std::max<double>(second, std::abs(r[i]));
  }
  const double first = std::abs(r[peak]);
  return first > 0.0 ? std::clamp(1.0 - second / first, 0.0, 1.0) : 0.0;
}

double between_samples(std::span<const float> r, std::size_t peak) {
  if (peak == 0 || peak + 1 >= r.size()) return static_cast<double>(peak);
  const double a = std::abs(r[peak - 1]), b = std::abs(r[peak]), c = std::abs(r[peak + 1]), bend = a - 2.0 * b + c;
  return static_cast<double>(peak) + (bend < 0.0 ? std::clamp(0.5 * (a - c) / bend, -0.5, 0.5) : 0.0);
}

}  // namespace cafx
