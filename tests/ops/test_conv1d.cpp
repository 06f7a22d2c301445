#include "kernels/conv1d/conv1d.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Conv1dDims kSizes[] = {{2, 17, 3, 5}, {1, 1, 1, 1},    {2, 1, 3, 4},       {2, 3, 5, 11},     {1, 9, 16, 8},
                                 {2, 7, 33, 6}, {1, 130, 67, 7}, {2, 1024, 128, 64}, {2, 300, 132, 150}};

TEST(Conv1d, ForwardIsTheOracles) {
  for (const Conv1dDims d : kSizes) {
    const Vec x = random(static_cast<long>(d.B) * (d.T + d.K - 1), 1), w = random(d.C * d.K, 2), bias = random(d.C, 3);
    const Vec want = reference::conv1d_forward(x, w, bias, d);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(fmt::format("{} B={} T={} C={} K={}", label(context), d.B, d.T, d.C, d.K));
      Floats y(want.size(), kNan), fx(x), fw(w), fbias(bias);
      Bytes scratch(conv1d_forward_scratch(context, d));
      conv1d_forward(context, y, fx, fw, fbias, scratch.get(), d);
      expect_near(y, want, "y");
    }
  }
}

TEST(Conv1d, BackwardIsTheOracles) {
  for (const Conv1dDims d : kSizes) {
    const Vec x = random(static_cast<long>(d.B) * (d.T + d.K - 1), 1),
              dy = random(static_cast<long>(d.B) * d.T * d.C, 2);
    Vec dw(d.C * d.K), dbias(d.C);
    reference::conv1d_backward(dw, dbias, dy, x, d);
    for (const Context& context : contexts()) {
      for (const float start : kStarts) {
        SCOPED_TRACE(fmt::format("{} B={} T={} C={} K={}", label(context), d.B, d.T, d.C, d.K));
        Floats fx(x), fdy(dy), got_w(dw.size(), start), got_bias(d.C, start), alone(dw.size(), start);
        Bytes back(conv1d_backward_scratch(context, d));
        conv1d_backward(context, got_w, got_bias, fdy, fx, back.get(), d);
        expect_near(got_w, dw, "dw", start);
        expect_near(got_bias, dbias, "dbias", start);
        conv1d_backward(context, alone, nullptr, fdy, fx, back.get(), d);
        expect_same_bits(alone, got_w, dw.size(), "dw without dbias");
      }
    }
  }
}

TEST(Conv1d, RefusesSizesBelowOne) {
  Floats one(1, 0.0f);
  for (const Conv1dDims d :
       {Conv1dDims{0, 1, 1, 1}, Conv1dDims{1, 0, 1, 1}, Conv1dDims{1, 1, 0, 1}, Conv1dDims{1, 1, 1, -3}}) {
    EXPECT_THROW(conv1d_forward({}, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(conv1d_backward({}, one, one, one, one, nullptr, d), CheckError);
    EXPECT_THROW(conv1d_forward_scratch({}, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
