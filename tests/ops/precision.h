// tests/ops/precision.h -- what tests of tf32, bf16 and fp16 share.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "kernels/device/precision.h"
#include "tests/ops/op_test.h"

namespace cafx::op_test {

inline constexpr Precision kRounded[] = {Precision::kTf32, Precision::kBf16, Precision::kFp16};
inline constexpr Precision kStored[] = {Precision::kBf16, Precision::kFp16};  // also in memory, of a GPU
inline int mantissa_of(Precision p) { return p == Precision::kBf16 ? 7 : 10; }
// Largest relative error of one rounding.
inline double unit_of(Precision p) { return std::ldexp(1.0, -mantissa_of(p) - 1); }

// Where the processor multiplies bf16 itself, once more with that emulated.
inline std::vector<Context> contexts_with_emulation() {
  std::vector<Context> all = contexts();
  for (Context context : contexts()) {
    context.precision = Precision::kBf16;
    if (!bf16_units(context)) continue;
    context.use_bf16_units = false;
    all.push_back(context);
  }
  return all;
}
inline std::string name_of(const Context& c) {
  return fmt::format("{} {}{}", label(c), to_string(c.precision), bf16_units(c) ? " by its units" : "");
}

inline Vec rounded(Vec x, Precision p) {
  for (double& v : x) v = round_to(static_cast<float>(v), p);
  return x;
}

inline Vec absolute(Vec x) {
  for (double& v : x) v = std::abs(v);
  return x;
}

// What an oracle makes of operands rounded, as they are, and of their absolute values: its results. `f` gets how to
// change a factor of its products, and how a summand, which is never rounded.
struct Expected {
  std::vector<Vec> emulated, exact, magnitude;
};
template <class F>
Expected expected(Precision p, F f) {
  const auto round = [p](const Vec& x) { return rounded(x, p); };
  const auto same = [](const Vec& x) { return x; };
  return {f(round, same), f(same, same), f(absolute, absolute)};
}

// Two rounded factors are wrong by 2 u + u^2 of their product at most.
inline void expect_rounded(Floats& got, const Expected& want, std::size_t result, Precision p,
                           const std::string& what) {
  const Vec &exact = want.exact[result], &magnitude = want.magnitude[result];
  expect_near(got, want.emulated[result], what);
  const Vec values = got.values();
  const double u = unit_of(p);
  double furthest = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double err = std::abs(values[i] - exact[i]);
    ASSERT_TRUE(err <= (2 * u + u * u + 1e-5) * magnitude[i]) << what << "[" << i << "]";
    furthest = std::max(furthest, err / magnitude[i]);
  }
  EXPECT_GT(furthest, 0.03 * u) << what << " was not rounded";
}

inline double rms(const Vec& a, const Vec& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// `got` are numbers of that format; what they were rounded from is `want` but for fp32's rounding, which may tip a few
// to the neighbour.
inline void expect_stored(const Vec& got, const Vec& want, const std::string& what, Precision p) {
  ASSERT_EQ(got.size(), want.size()) << what;
  const double u = unit_of(p), fp32 = on_cuda() ? 1e-5 : 1e-6;
  double largest = 0.0;
  for (const double v : want) largest = std::max(largest, std::abs(v));
  long tipped = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i], round_to(static_cast<float>(got[i]), p)) << what << "[" << i << "] is no " << to_string(p);
    ASSERT_TRUE(std::abs(got[i] - want[i]) <= 1.01 * u * std::abs(want[i]) + 2 * fp32 * largest)
        << what << "[" << i << "] is " << got[i] << ", rounded from " << want[i];
    tipped += got[i] != round_to(static_cast<float>(want[i]), p);
  }
  EXPECT_LE(tipped, static_cast<long>(want.size() / 50 + 1)) << what;
}

}  // namespace cafx::op_test
