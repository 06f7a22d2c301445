#include <algorithm>
#include <cmath>

#include "datasets/find/take.h"
#include "kernels/base/error.h"

namespace cafx {

Take make_take(const float* dry, std::size_t n_dry, const float* wet, std::size_t n_wet, std::size_t size) {
  const Bins a = spectrum(dry, n_dry, size), b = spectrum(wet, n_wet, size);
  thread_local std::vector<float> of_a, of_b;
  of_a.resize(a.size());
  of_b.resize(a.size());
  float loudest_a = 0.0f, loudest_b = 0.0f;
  for (std::size_t i = 0; i < a.size(); ++i) {
    of_a[i] = magnitude(a[i]);
    of_b[i] = magnitude(b[i]);
    loudest_a = std::max(loudest_a, of_a[i]);
    loudest_b = std::max(loudest_b, of_b[i]);
  }
  Take take;
  take.cross.resize(a.size());
  double total = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(of_a[i] > 1e-4f * loudest_a) || !(of_b[i] > 1e-4f * loudest_b)) continue;
    const float weight = to_minus(of_a[i], kLatencyWhitening) * to_minus(of_b[i], kLatencyWhitening);
    take.cross[i] = conjugate_times(a[i], b[i]) * weight;
    total += magnitude(take.cross[i]);
  }
  const auto scale = static_cast<float>(total > 0.0 ? 0.5 / total : 0.0);
  for (auto& z : take.cross) z *= scale;
  return take;
}

namespace {

std::vector<float> lags_of(std::span<const float> r, long from, long to) {
  const long n = static_cast<long>(r.size());
  CAFX_CHECK(from <= to && to - from < n, from, to, n);
  std::vector<float> lags(static_cast<std::size_t>(to - from + 1));
  long at = ((from % n) + n) % n;
  for (float& v : lags) {
    v = r[static_cast<std::size_t>(at)];
    if (++at == n) at = 0;
  }
  return lags;
}

}  // namespace

std::vector<float> correlation(const Take& take, long from, long to) { return lags_of(inverse(take.cross), from, to); }

void Template::add(std::span<const float> r, long at, double weight) {
  for (long k = -kReach; k <= kReach; ++k) {
    if (at + k < 0 || at + k >= static_cast<long>(r.size())) continue;
    taps_[static_cast<std::size_t>(k + kReach)] += static_cast<float>(weight) * r[static_cast<std::size_t>(at + k)];
  }
}

bool Template::empty() const {
  return std::all_of(taps_.begin(), taps_.end(), [](float v) { return v == 0.0f; });
}

Bins Template::filter(std::size_t size) const {
  std::vector<float> taps(size, 0.0f);
  for (long k = -kReach; k <= kReach; ++k) {
    taps[static_cast<std::size_t>((k + static_cast<long>(size)) % static_cast<long>(size))] =
        taps_[static_cast<std::size_t>(k + kReach)];
  }
  Bins h = spectrum(taps.data(), size, size);
  float loudest = 0.0f;
  for (const auto& z : h) loudest = std::max(loudest, magnitude(z));
  for (auto& z : h) z = loudest > 0.0f ? std::conj(z) / std::max(magnitude(z), 0.1f * loudest) : 0.0f;
  return h;
}

std::vector<float> match(const Take& take, const Bins& filter, long from, long to) {
  CAFX_CHECK(filter.size() == take.cross.size(), filter.size(), take.cross.size());
  Bins g(take.cross.size());
  for (std::size_t i = 0; i < g.size(); ++i) g[i] = take.cross[i] * filter[i];
  return lags_of(inverse(g), from, to);
}

std::vector<float> Matcher::operator()(const Take& take, long from, long to) {
  const std::size_t size = 2 * (take.cross.size() - 1);
  const auto found = filters_.find(size);
  const Bins& filter = found != filters_.end() ? found->second : filters_[size] = response_.filter(size);
  return match(take, filter, from, to);
}

}  // namespace cafx
