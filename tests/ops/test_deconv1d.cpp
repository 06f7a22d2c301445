#include "kernels/deconv1d/deconv1d.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Deconv1dDims kSizes[] = {{2, 17, 3, 5},      {1, 1, 1, 1},      {2, 1, 3, 4},  {2, 3, 5, 11},
                                   {1, 9, 16, 8},      {2, 7, 33, 6},     {1, 64, 5, 4}, {2, 130, 67, 7},
                                   {2, 1024, 128, 64}, {2, 300, 132, 150}};
constexpr Deconv kForms[] = {Deconv::kAdjoint, Deconv::kCorrelate};

TEST(Deconv1d, IsTheOracles) {
  for (Deconv1dDims d : kSizes) {
    for (const Deconv form : kForms) {
      d.form = form;
      const Vec u = random(static_cast<long>(d.B) * d.T * d.C, 1), w = random(d.C * d.K, 2), bias = random(1, 3);
      const Vec dy = random(d.B * d.T, 4), want = reference::deconv1d_forward(u, w, bias, d);
      Vec dw(w.size()), dbias(1);
      const Vec du = reference::deconv1d_backward(dw, dbias, dy, u, w, d);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(
            fmt::format("{} B={} T={} C={} K={} form {}", label(context), d.B, d.T, d.C, d.K, static_cast<int>(form)));
        Floats fu(u), fw(w), fbias(bias), y(want.size(), kNan);
        {
          Bytes scratch(deconv1d_scratch(context, d));
          deconv1d_forward(context, y, fu, fw, fbias, scratch.get(), d);
        }
        expect_near(y, want, "y");
        Floats fdy(reference::pad(dy, d.B, d.T, d.K, deconv1d_pad(d)));
        for (const float start : kStarts) {
          Floats got_u(u.size(), kNan), got_w(w.size(), start), got_bias(1, start);
          Bytes scratch(deconv1d_scratch(context, d));
          deconv1d_backward(context, got_u, got_w, got_bias, fdy, fu, fw, scratch.get(), d);
          expect_near(got_u, du, "du");
          expect_near(got_w, dw, "dw", start);
          expect_near(got_bias, dbias, "dbias", start);
        }
      }
    }
  }
}

TEST(Deconv1d, RefusesSizesBelowOne) {
  Floats one(1, 0.0f);
  for (const Deconv1dDims d :
       {Deconv1dDims{0, 1, 1, 1}, Deconv1dDims{1, 0, 1, 1}, Deconv1dDims{1, 1, 0, 1}, Deconv1dDims{1, 1, 1, 0}}) {
    EXPECT_THROW(deconv1d_forward({}, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(deconv1d_backward({}, one, one, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(deconv1d_scratch({}, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
