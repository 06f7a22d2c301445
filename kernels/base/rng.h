// kernels/base/rng.h -- counter-based random numbers: a value is a pure function of (seed, stream, index).
//
//   There is no state: counters alone resume a run, and every device gets the same numbers.
//
// Source   Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3" (Philox 4x32, 10 rounds).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace cafx {

constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

struct Rng {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;  // one stream for each use: an initialised tensor, the shuffle of one epoch

  constexpr std::array<std::uint32_t, 4> bits(std::uint64_t index) const {
    return philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                       static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  }
  constexpr std::uint64_t bits64(std::uint64_t index) const {
    const auto b = bits(index);
    return (std::uint64_t{b[0]} << 32) | b[1];
  }
  // In [0, 1), 53 bits.
  double uniform(std::uint64_t index) const { return static_cast<double>(bits64(index) >> 11) * 0x1p-53; }
  // Standard normal (Box and Muller).
  double normal(std::uint64_t index) const {
    const auto b = bits(index);
    const double u = (static_cast<double>(b[0]) + 0.5) * 0x1p-32;
    const double v = (static_cast<double>(b[1]) + 0.5) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
};

// The order of n things in one epoch: indices sorted by (random key, index); any device that sorts can compute it.
std::vector<std::uint32_t> permutation(std::uint32_t n, Rng rng);

}  // namespace cafx
