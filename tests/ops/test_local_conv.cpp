#include "kernels/local_conv/local_conv.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr LocalConvDims kSizes[] = {{2, 17, 3, 5}, {1, 1, 1, 1},  {2, 1, 3, 4},    {2, 3, 5, 11},
                                    {1, 9, 16, 8}, {2, 7, 33, 6}, {1, 130, 67, 7}, {2, 1024, 128, 128}};

TEST(LocalConv, IsTheOracles) {
  for (const LocalConvDims d : kSizes) {
    const long n = static_cast<long>(d.B) * d.T * d.C;
    const Vec x = random(n, 1), w = random(d.C * d.K, 2), bias = random(d.C, 3), dy = random(n, 4);
    const Vec want = reference::local_conv_forward(x, w, bias, d);
    Vec dw(w.size()), dbias(d.C);
    const Vec dx = reference::local_conv_backward(dw, dbias, dy, x, w, d);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(fmt::format("{} B={} T={} C={} K={}", label(context), d.B, d.T, d.C, d.K));
      Floats fx(x), fw(w), fbias(bias), fdy(dy), y(x.size(), kNan);
      local_conv_forward(context, y, fx, fw, fbias, d);
      expect_near(y, want, "y");
      for (const float start : kStarts) {
        Floats got_x(x.size(), kNan), got_w(w.size(), start), got_bias(d.C, start);
        local_conv_backward(context, got_x, got_w, got_bias, fdy, fx, fw, d);
        expect_near(got_x, dx, "dx");
        expect_near(got_w, dw, "dw", start);
        expect_near(got_bias, dbias, "dbias", start);
      }
    }
  }
}

TEST(LocalConv, RefusesSizesBelowOne) {
  Floats one(1, 0.0f);
  for (const LocalConvDims d :
       {LocalConvDims{0, 1, 1, 1}, LocalConvDims{1, 0, 1, 1}, LocalConvDims{1, 1, 0, 1}, LocalConvDims{1, 1, 1, 0}}) {
    EXPECT_THROW(local_conv_forward({}, one, one, one, one, d), CheckError);
    EXPECT_THROW(local_conv_backward({}, one, one, one, one, one, one, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
