// tests/fuzz/mutations.h -- damaged inputs, made by a fixed sequence: the same seed and round, the same bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/base/rng.h"

namespace cafx {

inline std::string number_bytes(std::uint64_t x, int n, bool little) {
  std::string s;
  for (int i = 0; i < n; ++i) s += static_cast<char>(x >> (8 * (little ? i : n - 1 - i)));
  return s;
}

// Up to six changes: bytes, bits, stretches that are gone, doubled or overwritten, lengths as headers have them, signs
// of text. Half of them fall into the first 120 bytes, where a header is.
inline std::string mutated(std::string s, std::uint64_t seed, std::uint64_t round) {
  static constexpr std::uint32_t kNumbers[] = {0,          1,          0x7fffffff, 0x80000000,
                                               0xffffffff, 0xfffffff0, 0x10000,    0x7ff00001};
  const Rng rng{seed, round};
  const std::uint64_t n = 1 + rng.bits64(0) % 6;
  for (std::uint64_t i = 0; i < n && s.size() > 8; ++i) {
    const std::uint64_t r = rng.bits64(4 * i + 1), b = rng.bits64(4 * i + 3);
    const std::uint64_t at = rng.bits64(4 * i + 2) % (r & 64 ? s.size() : std::min<std::size_t>(s.size(), 120));
    switch (r % 8) {
      case 0:
        s[at] = static_cast<char>(b);
        break;
      case 1:
        s[at] = static_cast<char>(s[at] ^ (1 << b % 8));
        break;
      case 2:
        s.erase(at, 1 + b % 40);
        break;
      case 3:
        s.insert(at, s.substr(b % s.size(), 1 + b % 90));
        break;
      case 4:
        s.erase(s.size() - at % (s.size() / 2));
        break;
      case 5:
        if (at + 4 <= s.size()) s.replace(at, 4, number_bytes(kNumbers[b % 8], 4, b & 8));
        break;
      case 6:
        s.replace(at, std::min<std::size_t>(200, s.size() - at), std::string(1 + b % 200, static_cast<char>(b >> 8)));
        break;
      case 7:
        s.insert(at, 1, "{}[]\",:-0e.=#\n"[b % 14]);
        break;
    }
  }
  return s;
}

}  // namespace cafx
