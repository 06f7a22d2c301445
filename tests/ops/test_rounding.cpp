// tf32, bf16 and fp16: the rounding itself.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/base/rng.h"
#include "kernels/device/precision.h"
#include "tests/ops/precision.h"

namespace cafx {
namespace {

using namespace op_test;

// By arithmetic in double: the nearest multiple of the unit in the last place.
double nearest(double x, Precision p) {
  const bool fp16 = p == Precision::kFp16;
  const int least = fp16 ? -14 : -126, exponent = x == 0.0 ? least : std::max(std::ilogb(x), least);
  const double ulp = std::ldexp(1.0, exponent - mantissa_of(p));
  const double r = ulp * (p != Precision::kTf32 ? std::nearbyint(x / ulp) : std::round(x / ulp));
  return std::abs(r) >= std::ldexp(1.0, fp16 ? 16 : 128) ? std::copysign(std::numeric_limits<double>::infinity(), r)
                                                         : r;
}

TEST(Precision, RoundsToTheNearestOfTheFormat) {
  const Rng rng{1, 2};
  for (const Precision p : kRounded) {
    for (std::uint64_t i = 0; i < 200000; ++i) {
      auto bits = static_cast<std::uint32_t>(rng.uniform(2 * i) * 4294967295.0);
      // Every fourth number lies half-way between two, or a step beside that.
      const std::uint32_t half = 1u << (22 - mantissa_of(p));
      if (i % 4 == 0) bits = (bits & ~(2 * half - 1)) + half + static_cast<std::uint32_t>(i / 4 % 3) - 1;
      // Of fp16 exponents around its range.
      if (p == Precision::kFp16) bits = (bits & 0x807fffffu) | (100 + static_cast<std::uint32_t>(i % 46)) << 23;
      const auto x = std::bit_cast<float>(bits);
      if (!std::isfinite(x)) continue;
      ASSERT_EQ(round_to(x, p), static_cast<float>(nearest(x, p))) << to_string(p) << " of " << x;
      ASSERT_EQ(std::signbit(round_to(x, p)), std::signbit(x));
    }
  }
}

// Every number of fp16, what lies half-way to the next, and a step of fp32 beside that.
TEST(Precision, EveryNumberOfFp16IsRoundedTo) {
  const float inf = std::numeric_limits<float>::infinity();
  for (std::uint32_t h = 0; h <= 0x7bff; ++h) {
    const auto bits = static_cast<std::uint16_t>(h);
    const float x = value_of_fp16(bits), next = h < 0x7bff ? value_of_fp16(static_cast<std::uint16_t>(h + 1)) : 0x1p16f,
                up = h < 0x7bff ? next : inf, half = 0.5f * (x + next);
    ASSERT_LT(x, next);
    ASSERT_EQ(value_of_fp16(static_cast<std::uint16_t>(bits | 0x8000)), -x);
    ASSERT_EQ(round_to(x, Precision::kFp16), x);
    ASSERT_EQ(round_to(std::nextafter(half, 0.0f), Precision::kFp16), x);
    ASSERT_EQ(round_to(half, Precision::kFp16), h % 2 ? up : x) << x;
    ASSERT_EQ(round_to(-half, Precision::kFp16), h % 2 ? -up : -x) << x;
    ASSERT_EQ(round_to(std::nextafter(half, inf), Precision::kFp16), up);
  }
  EXPECT_EQ(value_of_fp16(0x7c00), inf);
  EXPECT_TRUE(std::isnan(value_of_fp16(0x7e00)));
  EXPECT_EQ(value_of_fp16(0x0001), 0x1p-24f);
}

TEST(Precision, HalvesAndSpecialNumbers) {
  const float inf = std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::max();
  // bf16: 1 + 2^-8 lies half-way, 1 is even; 1 + 3 2^-8 goes up to the even one.
  EXPECT_EQ(round_to(1.00390625f, Precision::kBf16), 1.0f);
  EXPECT_EQ(round_to(1.01171875f, Precision::kBf16), 1.015625f);
  // tf32: halves go away from zero, as cvt.rna sends them.
  EXPECT_EQ(round_to(1.0f + 0x1p-11f, Precision::kTf32), 1.0f + 0x1p-10f);
  EXPECT_EQ(round_to(-1.0f - 0x1p-11f, Precision::kTf32), -1.0f - 0x1p-10f);
  EXPECT_EQ(round_to(1.0f + 0x1p-11f - 0x1p-23f, Precision::kTf32), 1.0f);
  for (const Precision p : kRounded) {
    for (const float x : {0.0f, -0.0f, 1.0f, -2.5f, inf, -inf, p == Precision::kFp16 ? 0x1p-24f : 0x1p-126f}) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(round_to(x, p)), std::bit_cast<std::uint32_t>(x)) << x;
    }
    EXPECT_TRUE(std::isnan(round_to(kNan, p)));
    EXPECT_TRUE(std::isnan(round_to(std::bit_cast<float>(0x7f800001u), p)));  // a payload in the last bit alone
    EXPECT_EQ(round_to(most, p), inf);
    EXPECT_EQ(round_to(-most, p), -inf);
    EXPECT_EQ(round_to(0x1p-149f, p), 0.0f);
  }
  EXPECT_EQ(round_to(1.0000001f, Precision::kFp32), 1.0000001f);
  EXPECT_EQ(parse_precision("bf16"), Precision::kBf16);
  EXPECT_EQ(parse_precision("fp16"), Precision::kFp16);
  EXPECT_THROW(parse_precision("fp8"), Error);
}

}  // namespace
}  // namespace cafx
