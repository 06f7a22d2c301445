#include "kernels/local_conv/local_conv.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr LocalConvDims kSizes[] = {{2, 17, 3, 5}, {1, 1, 1, 1},  {2, 1, 3, 4},    {2, 3, 5, 11},
                                    {1, 9, 16, 8}, {2, 7, 33, 6}, {1, 130, 67, 7}, {2, 1024, 128, 128}};

TEST(LocalConv, MatchesReference) {
  for (const LocalConvDims d : kSizes) {
    const long n = static_cast<long>(d.B) * d.T * d.C;
    const Vec x = random(n, 1), w = random(d.C * d.K, 2), bias = random(d.C, 3), dy = random(n, 4);
    Vec dw(w.size()), dbias(bias.size());
    const Vec dx = reference::local_conv_backward(dw, dbias, dy, x, w, d);
    const std::string sizes = fmt::format("B={} T={} C={} K={}", d.B, d.T, d.C, d.K);
    check_op(sizes, {{"x", x}, {"w", w}, {"bias", bias}}, {sets("y", reference::local_conv_forward(x, w, bias, d))},
             by_name(local_conv_forward, "y", "x", "w", "bias", d));
    check_op(sizes, {{"dy", dy}, {"x", x}, {"w", w}}, {sets("dx", dx), adds("dw", dw), adds("dbias", dbias)},
             by_name(local_conv_backward, "dx", "dw", "dbias", "dy", "x", "w", d));
  }
}

TEST(LocalConv, RefusesSizesBelowOne) {
  expect_refused({LocalConvDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, local_conv_forward,
                 local_conv_backward);
}

}  // namespace
}  // namespace cafx
