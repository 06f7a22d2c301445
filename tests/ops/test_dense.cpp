#include "kernels/dense/dense.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kTanh,
                                       Activation::kSoftplus};

// The oracle's backward gets the op's own y: relu's slope hangs on the sign of a number that rounding may turn.
TEST(Dense, IsTheOracles) {
  for (DenseDims d : {DenseDims{17, 3, 5},
                      {1, 1, 1},
                      {34, 5, 3},
                      {3, 16, 16},
                      {7, 33, 17},
                      {64, 8, 40},
                      {130, 67, 33},
                      {2048, 128, 64}}) {
    const bool large = d.N > 1000;
    for (const Activation a : kActivations) {
      if (large && a != Activation::kSoftplus) continue;
      d.activation = a;
      const double range = std::sqrt(3.0 / d.I);  // sums of about 1, so that tanh is not flat
      const Vec x = random(d.N * d.I, 1), w = random(d.O * d.I, 2, -range, range), bias = random(d.O, 3),
                dy = random(d.N * d.O, 4);
      const Vec want = reference::dense_forward(x, w, bias, d);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} N={} I={} O={} {}", label(context), d.N, d.I, d.O, to_string(a)));
        Floats fx(x), fw(w), fbias(bias), fdy(dy), y(want.size(), kNan);
        {
          Bytes scratch(dense_scratch(context, d));
          dense_forward(context, y, fx, fw, fbias, scratch.get(), d);
        }
        expect_near(y, want, "y");
        Vec dw(w.size()), dbias(d.O);
        const Vec dx = reference::dense_backward(dw, dbias, dy, y.values(), x, w, d);
        for (const float start : kStarts) {
          Floats got_x(x.size(), kNan), got_w(w.size(), start), got_bias(d.O, start), without(w.size(), start);
          {
            Bytes scratch(dense_scratch(context, d));
            dense_backward(context, got_x, got_w, got_bias, fdy, y, fx, fw, scratch.get(), d);
          }
          expect_near(got_x, dx, "dx");
          expect_near(got_w, dw, "dw", start);
          expect_near(got_bias, dbias, "dbias", start);
          Bytes scratch(dense_scratch(context, d));
          dense_backward(context, nullptr, without, got_bias, fdy, y, fx, fw, scratch.get(), d);
          expect_same_bits(without, got_w, w.size(), "dw without dx");
        }
      }
    }
  }
}

TEST(DenseTime, IsTheOracles) {
  for (DenseTimeDims d : {DenseTimeDims{2, 17, 5, 3},
                          {1, 1, 1, 1},
                          {2, 3, 8, 1},
                          {1, 4, 4, 16},
                          {2, 7, 9, 33},
                          {2, 70, 65, 67},
                          {2, 64, 64, 128}}) {
    for (const Activation a : kActivations) {
      d.activation = a;
      const double range = std::sqrt(3.0 / d.I);
      const Vec x = random(d.B * d.I * d.C, 1), w = random(d.O * d.I, 2, -range, range), bias = random(d.O, 3);
      const Vec dy = random(d.B * d.O * d.C, 4), want = reference::dense_time_forward(x, w, bias, d);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} B={} I={} O={} C={} {}", label(context), d.B, d.I, d.O, d.C, to_string(a)));
        Floats fx(x), fw(w), fbias(bias), fdy(dy), y(want.size(), kNan);
        {
          Bytes scratch(dense_time_scratch(context, d));
          dense_time_forward(context, y, fx, fw, fbias, scratch.get(), d);
        }
        expect_near(y, want, "y");
        Vec dw(w.size()), dbias(d.O);
        const Vec dx = reference::dense_time_backward(dw, dbias, dy, y.values(), x, w, d);
        for (const float start : kStarts) {
          Floats got_x(x.size(), kNan), got_w(w.size(), start), got_bias(d.O, start);
          Bytes scratch(dense_time_scratch(context, d));
          dense_time_backward(context, got_x, got_w, got_bias, fdy, y, fx, fw, scratch.get(), d);
          expect_near(got_x, dx, "dx");
          expect_near(got_w, dw, "dw", start);
          expect_near(got_bias, dbias, "dbias", start);
        }
      }
    }
  }
}

TEST(Dense, RefusesSizesBelowOne) {
  Floats one(1, 0.0f);
  for (const DenseDims d : {DenseDims{0, 1, 1}, DenseDims{1, 0, 1}, DenseDims{1, 1, 0}}) {
    EXPECT_THROW(dense_forward({}, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(dense_backward({}, one, one, one, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(dense_scratch({}, d), CheckError);
  }
  for (const DenseTimeDims d :
       {DenseTimeDims{0, 1, 1, 1}, DenseTimeDims{1, 0, 1, 1}, DenseTimeDims{1, 1, 0, 1}, DenseTimeDims{1, 1, 1, 0}}) {
    EXPECT_THROW(dense_time_forward({}, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(dense_time_backward({}, one, one, one, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(dense_time_scratch({}, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
