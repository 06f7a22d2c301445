#include "kernels/relative_error/relative_error.h"

#include "tests/ops/differences.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(RelativeError, ReferenceGradientMatchesDifferences) {
  for (const float pre_emphasis : {0.0f, 0.85f}) {
    const RelativeErrorDims d{2, 9, 11, pre_emphasis};
    Vec y = random(d.B * d.T, 1);
    const Vec target = random(d.B * d.target_stride, 2), esr = {0.7, 1.3}, mae = {0.2, 0.6};
    expect_gradient("dy", y, reference::relative_error_backward(y, target, esr, mae, d), [&] {
      const Vec loss = reference::relative_error_forward(y, target, esr, mae, d);
      return loss[0] + loss[1];
    });
  }
}

TEST(RelativeError, MatchesReference) {
  for (RelativeErrorDims d : {RelativeErrorDims{2, 17, 17}, {1, 1, 1}, {3, 5, 9}, {2, 1024, 8000}}) {
    for (const float pre_emphasis : {0.0f, 0.85f, 1.0f}) {
      d.pre_emphasis = pre_emphasis;
      const Vec y = random(d.B * d.T, 1), esr = random(d.B, 3, 0.1, 2), mae = random(d.B, 4, 0.1, 2);
      Vec target = random(d.B * d.target_stride, 2);
      if (d.T > 4) target[4] = y[4];  // no error: no gradient of the magnitude
      const Vec loss = reference::relative_error_forward(y, target, esr, mae, d);
      const Vec dy = reference::relative_error_backward(y, target, esr, mae, d);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} B={} T={} a={}", label(context), d.B, d.T, pre_emphasis));
        Floats fy(y), ftarget(target), fesr(esr), fmae(mae), got(dy.size(), kNan);
        std::vector<double> sums(static_cast<std::size_t>(d.B), NAN);
        relative_error_forward_backward(context, sums.data(), got, fy, ftarget, fesr, fmae, d);
        expect_near(got, dy, "dy");
        for (int b = 0; b < d.B; ++b) EXPECT_NEAR(sums[static_cast<std::size_t>(b)], loss[b], 1e-6 * loss[b]);
      }
    }
  }
}

TEST(RelativeError, NanShowsInTheLoss) {
  for (const Context& context : contexts()) {
    Floats y(17, 0.0f), target(17, 0.0f), dy(17, 0.0f), scale(1, 1.0f);
    y.data()[16] = kNan;
    double loss = 0.0;
    relative_error_forward_backward(context, &loss, dy, y, target, scale, scale, {1, 17, 17});
    EXPECT_TRUE(std::isnan(loss)) << label(context);
  }
}

TEST(RelativeError, RefusesWrongSizes) {
  Floats one(16, 0.0f);
  double loss;
  for (const RelativeErrorDims d :
       {RelativeErrorDims{0, 1, 1}, RelativeErrorDims{1, 0, 1}, RelativeErrorDims{1, 2, 1}}) {
    EXPECT_THROW(relative_error_forward_backward({}, &loss, one, one, one, one, one, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
