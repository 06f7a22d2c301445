#include "kernels/pointwise/pointwise.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr long kCounts[] = {0, 1, 7, 16, 33, 100, 4099};

// From deep in the flat ends to the middle, with both zeros.
Vec inputs(long n) {
  Vec x = random(n, 1, -3, 3);
  for (long i = 0; i < n; i += 5) x[i] = static_cast<float>(x[i] * 40);
  if (n > 20) x[11] = 0.0, x[12] = -0.0;
  return x;
}

// The error that simd/vec.h states: 4e-7 max(1, |result|).
void expect_activation(const Context& context, const Vec& x, Activation a) {
  const auto n = static_cast<long>(x.size());
  const Vec want = reference::activation_forward(x, a);
  Floats fx(x), y(x.size(), kNan);
  activation_forward(context, y, fx, n, a);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_TRUE(std::abs(y.data()[i] - want[i]) <= 4e-7 * std::max(1.0, std::abs(want[i])))
        << label(context) << " " << to_string(a) << "(" << x[i] << ") is " << y.data()[i];
  }
}

TEST(Pointwise, ActivationsMatchReference) {
  for (const long n : kCounts) {
    const Vec x = inputs(n), dy = random(n, 2);
    for (const Activation a : kActivations) {
      for (const Context& context : contexts()) expect_activation(context, x, a);
      if (n == 0) continue;
      const Vec want = reference::activation_forward(x, a), y = as_floats(want);
      const std::string sizes = fmt::format("n={} {}", n, to_string(a));
      check_op(sizes, {{"x", x}}, {in_place("x", sets("y", want))}, by_name(activation_forward, "y", "x", n, a));
      check_op(sizes, {{"dy", dy}, {"y", y}}, {in_place("dy", sets("dx", reference::activation_backward(dy, y, a)))},
               by_name(activation_backward, "dx", "dy", "y", n, a));
    }
  }
}

TEST(Pointwise, AbsAndProductMatchReference) {
  for (const long n : kCounts) {
    if (n == 0) continue;
    const Vec x = inputs(n), a = random(n, 3), dy = random(n, 2);
    const std::string sizes = fmt::format("n={}", n);
    check_op(sizes, {{"x", x}}, {in_place("x", sets("y", reference::abs_forward(x), {0, 0}))},
             by_name(abs_forward, "y", "x", n));
    check_op(sizes, {{"dy", dy}, {"x", x}}, {in_place("dy", sets("dx", reference::abs_backward(dy, x), {0, 0}))},
             by_name(abs_backward, "dx", "dy", "x", n));
    check_op(sizes, {{"x", x}, {"a", a}}, {in_place("x", sets("y", reference::multiply(x, a)))},
             by_name(multiply_forward, "y", "x", "a", n));
    check_op(
        {sizes,
         {{"dy", dy}, {"x", x}, {"a", a}},
         {in_place("x", sets("dx", reference::multiply(dy, a))), in_place("a", sets("da", reference::multiply(dy, x)))},
         by_name(multiply_backward, "dx", "da", "dy", "x", "a", n)});
  }
}

TEST(Pointwise, NanStaysNan) {
  for (const Context& context : contexts()) {
    for (const Activation a : kActivations) {
      Floats x(19, kNan), y(19, 0.0f);
      activation_forward(context, y, x, 19, a);
      for (int i = 0; i < 19; ++i) EXPECT_TRUE(std::isnan(y.data()[i])) << label(context) << " " << to_string(a);
    }
  }
}

// Far out, where exp would overflow: the straight ends, never infinity or NaN.
TEST(Pointwise, HugeNumbersStayOnTheEnds) {
  for (const Context& context : contexts()) {
    for (const Activation a : kActivations) expect_activation(context, {-1e30, -200, -88, 88, 200, 1e30}, a);
  }
}

// Scaled where it is asked for, zero elsewhere, and what is to stay as it is stays, even a NaN: before, behind and
// inside what is scaled.
TEST(Pointwise, ScaledWithinKeepsAndClears) {
  const long n = 1000;
  const Vec x = random(n, 1), before(static_cast<std::size_t>(n), kNan);
  for (const IndexRange& scaled : {IndexRange{100, 300}, {0, n}, {0, 0}}) {
    for (const IndexRange& kept : {IndexRange{400, 450}, {0, 70}, {150, 200}, {990, n}, {0, 0}}) {
      for (const Context& context : contexts()) {
        Floats from(x), y(before);
        scaled_within(context, y, 0.5f, from, scaled, kept, n);
        const Vec got = y.values();
        for (long i = 0; i < n; ++i) {
          const auto at = static_cast<std::size_t>(i);
          if (i >= kept.first && i < kept.last) {
            ASSERT_TRUE(std::isnan(got[at])) << i;
          } else {
            ASSERT_EQ(got[at], i >= scaled.first && i < scaled.last ? 0.5 * x[at] : 0.0) << i;
          }
        }
      }
    }
  }
}

TEST(Pointwise, RefusesANegativeCount) {
  Floats one(1, 0.0f);
  EXPECT_THROW(activation_forward({}, one, one, -1, Activation::kRelu), CheckError);
  EXPECT_THROW(activation_backward({}, one, one, one, -1, Activation::kRelu), CheckError);
  EXPECT_THROW(abs_forward({}, one, one, -1), CheckError);
  EXPECT_THROW(abs_backward({}, one, one, one, -1), CheckError);
  EXPECT_THROW(multiply_forward({}, one, one, one, -1), CheckError);
  EXPECT_THROW(multiply_backward({}, one, one, one, one, one, -1), CheckError);
}

}  // namespace
}  // namespace cafx
