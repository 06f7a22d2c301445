#include "kernels/dense/dense.h"

#include "tests/ops/layer.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(Dense, MatchesReference) {
  constexpr DenseDims kSizes[] = {{17, 3, 5},  {1, 1, 1},   {34, 5, 3},    {3, 16, 16},
                                  {7, 33, 17}, {64, 8, 40}, {130, 67, 33}, {2048, 128, 64}};
  for (DenseDims d : kSizes) {
    for (const Activation a : kActivations) {
      if (d.N > 1000 && a != Activation::kSoftplus) continue;
      d.activation = a;
      check_layer(dense_forward, dense_backward, dense_scratch, reference::dense_forward, reference::dense_backward, d,
                  d.N * d.I, d.O * d.I, d.O, fmt::format("N={} I={} O={}", d.N, d.I, d.O));
    }
  }
}

TEST(DenseTime, MatchesReference) {
  constexpr DenseTimeDims kSizes[] = {{2, 17, 5, 3}, {1, 1, 1, 1},    {2, 3, 8, 1},    {1, 4, 4, 16},
                                      {2, 7, 9, 33}, {2, 70, 65, 67}, {2, 64, 64, 128}};
  for (DenseTimeDims d : kSizes) {
    for (const Activation a : kActivations) {
      d.activation = a;
      for (const bool bias_of_each : {false, true}) {
        d.bias_of_each = bias_of_each;
        check_layer(dense_time_forward, dense_time_backward, dense_time_scratch, reference::dense_time_forward,
                    reference::dense_time_backward, d, d.B * d.I * d.C, d.O * d.I, bias_of_each ? d.B * d.O : d.O,
                    fmt::format("B={} I={} O={} C={}{}", d.B, d.I, d.O, d.C, bias_of_each ? ", a bias each" : ""));
      }
    }
  }
}

TEST(Dense, RefusesSizesBelowOne) {
  expect_refused({DenseDims{0, 1, 1}, {1, 0, 1}, {1, 1, 0}}, dense_forward, dense_backward, dense_scratch);
  expect_refused({DenseTimeDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, dense_time_forward,
                 dense_time_backward, dense_time_scratch);
}

}  // namespace
}  // namespace cafx
