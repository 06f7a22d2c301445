#include "kernels/pointwise/pointwise.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kTanh,
                                       Activation::kSoftplus};
constexpr long kCounts[] = {0, 1, 7, 16, 33, 100, 4099};

// From deep in the flat ends to the middle, with both zeros.
Vec inputs(long n) {
  Vec x = random(n, 1, -3, 3);
  for (long i = 0; i < n; i += 5) x[i] = static_cast<float>(x[i] * 40);
  if (n > 20) x[11] = 0.0, x[12] = -0.0;
  return x;
}

TEST(Pointwise, ActivationsAreTheOracles) {
  for (const long n : kCounts) {
    const Vec x = inputs(n), dy = random(n, 2);
    for (const Activation a : kActivations) {
      const Vec want = reference::activation_forward(x, a);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} n={} {}", label(context), n, to_string(a)));
        Floats y(n, kNan), fx(x), fdy(dy), dx(n, kNan), in_place(x);
        activation_forward(context, y, fx, n, a);
        for (long i = 0; i < n; ++i) {
          EXPECT_TRUE(std::abs(y.data()[i] - want[i]) <= 4e-7 * std::max(1.0, std::abs(want[i]))) << x[i];
        }
        activation_forward(context, in_place, in_place, n, a);
        expect_same_bits(in_place, y, n, "y in place");
        activation_backward(context, dx, fdy, y, n, a);
        expect_near(dx, reference::activation_backward(dy, y.values(), a), "dx");
        activation_backward(context, fdy, fdy, y, n, a);
        expect_same_bits(fdy, dx, n, "dx in place");
      }
    }
  }
}

TEST(Pointwise, AbsAndProductAreTheOracles) {
  for (const long n : kCounts) {
    const Vec x = inputs(n), b = random(n, 3), dy = random(n, 2);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(fmt::format("{} n={}", label(context), n));
      Floats y(n, kNan), fx(x), fb(b), fdy(dy), dx(n, kNan), da(n, kNan), db(n, kNan);
      abs_forward(context, y, fx, n);
      expect_near(y, reference::abs_forward(x), "abs", 0, {0, 0});
      abs_backward(context, dx, fdy, fx, n);
      expect_near(dx, reference::abs_backward(dy, x), "abs dx", 0, {0, 0});
      multiply_forward(context, y, fx, fb, n);
      expect_near(y, reference::multiply(x, b), "product");
      multiply_backward(context, da, db, fdy, fx, fb, n);
      expect_near(da, reference::multiply(dy, b), "da");
      expect_near(db, reference::multiply(dy, x), "db");

      Floats abs_in_place(x), product_in_place(x), dx_in_place(dy), a_in_place(x), b_in_place(b);
      abs_forward(context, abs_in_place, abs_in_place, n);
      expect_near(abs_in_place, reference::abs_forward(x), "abs in place", 0, {0, 0});
      abs_backward(context, dx_in_place, dx_in_place, fx, n);
      expect_same_bits(dx_in_place, dx, n, "abs dx in place");
      multiply_forward(context, product_in_place, product_in_place, fb, n);
      expect_same_bits(product_in_place, y, n, "product in place");
      multiply_backward(context, a_in_place, b_in_place, fdy, a_in_place, b_in_place, n);
      expect_same_bits(a_in_place, da, n, "da in place of a");
      expect_same_bits(b_in_place, db, n, "db in place of b");
    }
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
    const Vec x = {-1e30, -200, -88, 88, 200, 1e30};
    for (const Activation a : kActivations) {
      Floats fx(x), y(x.size(), kNan);
      activation_forward(context, y, fx, 6, a);
      const Vec want = reference::activation_forward(x, a);
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_TRUE(std::abs(y.data()[i] - want[i]) <= 4e-7 * std::max(1.0, std::abs(want[i])))
            << label(context) << " " << to_string(a) << "(" << x[i] << ") is " << y.data()[i];
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
