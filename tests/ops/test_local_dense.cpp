#include "kernels/local_dense/local_dense.h"

#include "tests/ops/layer.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(LocalDense, MatchesReference) {
  constexpr LocalDenseDims kSizes[] = {{2, 17, 5, 3},  {1, 1, 1, 1},  {2, 3, 8, 1},    {1, 4, 4, 16},   {2, 7, 9, 33},
                                       {19, 5, 6, 18}, {5, 9, 7, 37}, {3, 33, 35, 20}, {2, 64, 64, 128}};
  for (LocalDenseDims d : kSizes) {
    for (const Activation a : kActivations) {
      d.activation = a;
      check_layer(local_dense_forward, local_dense_backward, local_dense_scratch, reference::local_dense_forward,
                  reference::local_dense_backward, d, d.B * d.I * d.C, d.C * d.O * d.I, d.C * d.O,
                  fmt::format("B={} I={} O={} C={}", d.B, d.I, d.O, d.C));
    }
  }
}

TEST(LocalDense, RefusesSizesBelowOne) {
  expect_refused({LocalDenseDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, local_dense_forward,
                 local_dense_backward, local_dense_scratch);
}

// "The same to the bit", with the weights laid out for a few frames.
TEST(LocalDense, PackedHasTheSameBits) {
  if (on_cuda()) GTEST_SKIP() << "of the CPU alone";
  for (LocalDenseDims d :
       {LocalDenseDims{1, 17, 5, 3}, {2, 1, 1, 1}, {3, 7, 9, 33}, {5, 33, 35, 20}, {1, 64, 64, 128}}) {
    for (const Activation a : {Activation::kIdentity, Activation::kSoftplus}) {
      d.activation = a;
      const Vec x = random(d.B * d.I * d.C, 1), w = random(d.C * d.O * d.I, 2), bias = random(d.C * d.O, 3);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} B={} I={} O={} C={} {}", label(context), d.B, d.I, d.O, d.C, to_string(a)));
        Floats fx(x), fw(w), fbias(bias), y(static_cast<std::size_t>(d.B) * d.O * d.C, kNan), got(y.size(), kNan);
        Bytes scratch(local_dense_scratch(context, d)), packed(local_dense_packed(context, d));
        local_dense_forward(context, y, fx, fw, fbias, scratch.get(), d);
        local_dense_prepare(context, packed.get(), fw, fbias, d);
        local_dense_forward_packed(context, got, fx, packed.get(), d);
        expect_same_bits(got, y, y.size(), "y");
      }
    }
  }
}

}  // namespace
}  // namespace cafx
