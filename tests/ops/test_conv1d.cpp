#include "kernels/conv1d/conv1d.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

// The last two have more tiles than a GPU's blocks, so that each goes over several.
constexpr Conv1dDims kSizes[] = {{2, 17, 3, 5},      {1, 1, 1, 1},    {2, 1, 3, 4},    {2, 3, 5, 11},
                                 {1, 9, 16, 8},      {2, 7, 33, 6},   {1, 130, 67, 7}, {2, 1024, 128, 64},
                                 {2, 300, 132, 150}, {1200, 2, 4, 4}, {1200, 2, 3, 5}};

TEST(Conv1d, MatchesReference) {
  for (const Conv1dDims d : kSizes) {
    const Vec x = random(static_cast<long>(d.B) * (d.T + d.K - 1), 1), w = random(d.C * d.K, 2), bias = random(d.C, 3),
              dy = random(static_cast<long>(d.B) * d.T * d.C, 4);
    Vec dw(w.size()), dbias(bias.size());
    reference::conv1d_backward(dw, dbias, dy, x, d);
    const std::string sizes = fmt::format("B={} T={} C={} K={}", d.B, d.T, d.C, d.K);
    check_op(sizes, {{"x", x}, {"w", w}, {"bias", bias}}, {sets("y", reference::conv1d_forward(x, w, bias, d))},
             by_name(conv1d_forward, "y", "x", "w", "bias", "scratch", d), bytes_of(conv1d_forward_scratch, d));
    check_op(sizes, {{"dy", dy}, {"x", x}}, {adds("dw", dw), optional(adds("dbias", dbias))},
             by_name(conv1d_backward, "dw", "dbias", "dy", "x", "scratch", d), bytes_of(conv1d_backward_scratch, d));
  }
}

TEST(Conv1d, RefusesSizesBelowOne) {
  const Pointer p = nowhere();
  expect_refused(
      {Conv1dDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, -3}}, conv1d_forward,
      [&](Conv1dDims d) { conv1d_backward({}, p, p, p, p, nullptr, d); }, conv1d_forward_scratch);
}

}  // namespace
}  // namespace cafx
