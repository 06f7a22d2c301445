#include "kernels/dense/dense.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kTanh,
                                       Activation::kSoftplus};

// Backward gets y as floats: relu's slope hangs on the sign of a number that rounding may turn.
TEST(Dense, MatchesReference) {
  for (DenseDims d : {DenseDims{17, 3, 5},
                      {1, 1, 1},
                      {34, 5, 3},
                      {3, 16, 16},
                      {7, 33, 17},
                      {64, 8, 40},
                      {130, 67, 33},
                      {2048, 128, 64}}) {
    for (const Activation a : kActivations) {
      if (d.N > 1000 && a != Activation::kSoftplus) continue;
      d.activation = a;
      const double range = std::sqrt(3.0 / d.I);  // sums of about 1, so that tanh is not flat
      const Vec x = random(d.N * d.I, 1), w = random(d.O * d.I, 2, -range, range), bias = random(d.O, 3),
                dy = random(d.N * d.O, 4), want = reference::dense_forward(x, w, bias, d), y = as_floats(want);
      Vec dw(w.size()), dbias(bias.size());
      const Vec dx = reference::dense_backward(dw, dbias, dy, y, x, w, d);
      const std::string sizes = fmt::format("N={} I={} O={} {}", d.N, d.I, d.O, to_string(a));
      const auto scratch = [=](const Context& c) { return dense_scratch(c, d); };
      check_op({sizes,
                {{"x", x}, {"w", w}, {"bias", bias}},
                {sets("y", want)},
                [=](const Context& c, const Buffers& b) {
                  dense_forward(c, b["y"], b["x"], b["w"], b["bias"], b.scratch, d);
                },
                scratch});
      check_op({sizes,
                {{"dy", dy}, {"y", y}, {"x", x}, {"w", w}},
                {optional(sets("dx", dx)), adds("dw", dw), adds("dbias", dbias)},
                [=](const Context& c, const Buffers& b) {
                  dense_backward(c, b["dx"], b["dw"], b["dbias"], b["dy"], b["y"], b["x"], b["w"], b.scratch, d);
                },
                scratch});
    }
  }
}

TEST(DenseTime, MatchesReference) {
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
      const Vec x = random(d.B * d.I * d.C, 1), w = random(d.O * d.I, 2, -range, range), bias = random(d.O, 3),
                dy = random(d.B * d.O * d.C, 4), want = reference::dense_time_forward(x, w, bias, d),
                y = as_floats(want);
      Vec dw(w.size()), dbias(bias.size());
      const Vec dx = reference::dense_time_backward(dw, dbias, dy, y, x, w, d);
      const std::string sizes = fmt::format("B={} I={} O={} C={} {}", d.B, d.I, d.O, d.C, to_string(a));
      const auto scratch = [=](const Context& c) { return dense_time_scratch(c, d); };
      check_op({sizes,
                {{"x", x}, {"w", w}, {"bias", bias}},
                {sets("y", want)},
                [=](const Context& c, const Buffers& b) {
                  dense_time_forward(c, b["y"], b["x"], b["w"], b["bias"], b.scratch, d);
                },
                scratch});
      check_op({sizes,
                {{"dy", dy}, {"y", y}, {"x", x}, {"w", w}},
                {sets("dx", dx), adds("dw", dw), adds("dbias", dbias)},
                [=](const Context& c, const Buffers& b) {
                  dense_time_backward(c, b["dx"], b["dw"], b["dbias"], b["dy"], b["y"], b["x"], b["w"], b.scratch, d);
                },
                scratch});
    }
  }
}

TEST(Dense, RefusesSizesBelowOne) {
  const Pointer p = nowhere();
  expect_refused(
      {DenseDims{0, 1, 1}, {1, 0, 1}, {1, 1, 0}}, [&](DenseDims d) { dense_forward({}, p, p, p, p, p, d); },
      [&](DenseDims d) { dense_backward({}, p, p, p, p, p, p, p, p, d); }, [&](DenseDims d) { dense_scratch({}, d); });
  expect_refused(
      {DenseTimeDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}},
      [&](DenseTimeDims d) { dense_time_forward({}, p, p, p, p, p, d); },
      [&](DenseTimeDims d) { dense_time_backward({}, p, p, p, p, p, p, p, p, d); },
      [&](DenseTimeDims d) { dense_time_scratch({}, d); });
}

}  // namespace
}  // namespace cafx
