#include "kernels/loss/loss.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(Mae, IsTheOracles) {
  for (const MaeDims d :
       {MaeDims{2, 17, 5, 2, 17}, {1, 1, 1, 0, 1}, {3, 5, 8, 7, 9}, {2, 3, 4, 0, 3}, {2, 1024, 64, 31, 1087}}) {
    const Vec y = random(d.B * d.T, 1);
    Vec target = random(d.B * d.target_stride, 2), plain;
    if (d.T > 4) target[4] = y[4];  // no error: no gradient
    for (int b = 0; b < d.B; ++b) {
      plain.insert(plain.end(), target.begin() + b * d.target_stride, target.begin() + b * d.target_stride + d.T);
    }
    const float scale = 0.37f;
    const Vec loss = reference::mae_forward(y, plain, d.B, d.T);
    const Vec dy = reference::pad(reference::mae_backward(y, plain, scale), d.B, d.T, d.K, d.pad);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(fmt::format("{} B={} T={} K={} pad={}", label(context), d.B, d.T, d.K, d.pad));
      Floats fy(y), ftarget(target), got(dy.size(), kNan);
      Items<double> sums(std::vector<double>(static_cast<std::size_t>(d.B), NAN));
      mae_forward_backward(context, sums, got, fy, ftarget, scale, d);
      expect_near(got, dy, "dy", 0, {0, 0});
      for (int b = 0; b < d.B; ++b) EXPECT_NEAR(sums.data()[b], loss[b], 1e-6 * loss[b]);
    }
  }
}

// The caller finds a broken step by its loss.
TEST(Mae, NanShowsInTheLoss) {
  for (const Context& context : contexts()) {
    Floats y(17, 0.0f), target(17, 0.0f), dy(17, 0.0f);
    y.data()[16] = kNan;
    Items<double> loss({0.0});
    mae_forward_backward(context, loss, dy, y, target, 1.0f, {1, 17, 1, 0, 17});
    EXPECT_TRUE(std::isnan(loss.data()[0])) << label(context);
  }
}

TEST(Mae, RefusesWrongSizes) {
  Floats one(16, 0.0f);
  double loss;
  for (const MaeDims d : {MaeDims{0, 1, 1, 0, 1}, MaeDims{1, 0, 1, 0, 1}, MaeDims{1, 1, 0, 0, 1},
                          MaeDims{1, 1, 2, 2, 1}, MaeDims{1, 1, 2, -1, 1}}) {
    EXPECT_THROW(mae_forward_backward({}, &loss, one, one, one, 1.0f, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
