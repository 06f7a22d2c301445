// Sizes of arrays, without overflow of an int.
#pragma once

#include <cstddef>

namespace cafx {

// a * b, of sizes that are not negative.
constexpr std::size_t elements(int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); }

}  // namespace cafx
