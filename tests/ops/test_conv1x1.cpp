#include "kernels/conv1x1/conv1x1.h"

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Tolerance kSums{3e-6, 3e-5};
constexpr Tolerance kCancels{3e-6, 2e-4};  // a thousand terms of either sign: the error is theirs, not that of the rest

TEST(Conv1x1, ReferenceGradientMatchesDifferences) {
  const Conv1x1Dims d{3, 2, 5, 5, 5, 2};
  Vec x = random(30, 1), w = random(6, 2), bias = random(2, 3), dw(6), dbias(2);
  const Vec dy = random(20, 4), dx = reference::conv1x1_backward(dw, dbias, dy, x, w, d);
  const auto f = [&] { return dot(reference::conv1x1_forward(x, w, bias, d), dy); };
  expect_gradients(f, {{"dx", x, dx}, {"dw", w, dw}, {"dbias", bias, dbias}});
}

TEST(Conv1x1, MatchesReference) {
  constexpr Conv1x1Dims kSizes[] = {{3, 5, 17, 20, 18, 2},
                                    {1, 1, 1, 1, 1},
                                    {1, 16, 1000, 1000, 1300},
                                    {16, 1, 513, 513, 513, 3},
                                    {7, 9, 100, 100, 100}};
  for (const Conv1x1Dims d : kSizes) {
    for (const bool has_bias : {true, false}) {
      const Vec x = random(d.B * d.I * d.x_stride, 1), w = random(d.O * d.I, 2),
                bias = has_bias ? random(d.O, 3) : Vec(), dy = random(d.B * d.O * d.y_stride, 4);
      Vec dw(w.size()), dbias(bias.size());
      const Vec dx = reference::conv1x1_backward(dw, dbias, dy, x, w, d);
      const std::string sizes = fmt::format("B={} I={} O={} T={} bias={}", d.B, d.I, d.O, d.T, has_bias);
      check_op(sizes, {{"x", x}, {"w", w}, {"bias", bias}}, {sets("y", reference::conv1x1_forward(x, w, bias, d))},
               by_name(conv1x1_forward, "y", "x", "w", "bias", d));
      check_op(sizes, {{"dy", dy}, {"x", x}, {"w", w}},
               {optional(sets("dx", dx)), adds("dw", dw, kSums), optional(adds("dbias", dbias, kCancels))},
               by_name(conv1x1_backward, "dx", "dw", "dbias", "dy", "x", "w", "scratch", d),
               bytes_of(conv1x1_backward_scratch, d));
    }
  }
}

TEST(Conv1x1, RefusesWrongSizes) {
  constexpr Conv1x1Dims kWrong[] = {{0, 1, 1, 1, 1}, {1, 0, 1, 1, 1}, {1, 1, 0, 1, 1},
                                    {1, 1, 2, 1, 2}, {1, 1, 2, 2, 1}, {1, 1, 1, 1, 1, 0}};
  expect_refused(kWrong, conv1x1_forward, conv1x1_backward, conv1x1_backward_scratch);
}

}  // namespace
}  // namespace cafx
