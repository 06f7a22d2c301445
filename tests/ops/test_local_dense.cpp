#include "kernels/local_dense/local_dense.h"

#include "tests/ops/layer.h"
#include "tests/ops/precision.h"

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

// Alone and on a CPU; with Dense on a GPU: test_latent.cpp.
TEST(LocalDense, MatchesReferenceOfRoundedOperands) {
  if (on_cuda()) GTEST_SKIP() << "alone in fp32";
  for (const LocalDenseDims d : {LocalDenseDims{2, 17, 5, 3, Activation::kIdentity},
                                 {19, 5, 6, 18, Activation::kIdentity},
                                 {3, 33, 35, 20, Activation::kIdentity}}) {
    const Vec x = random(d.B * d.I * d.C, 1), w = random(d.C * d.O * d.I, 2), bias = random(d.C * d.O, 3),
              dy = random(d.B * d.O * d.C, 4);
    const auto run = [&](const Context& context) {
      Floats fx(x), fw(w), fbias(bias), fdy(dy), y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f),
          dbias(bias.size(), 0.0f);
      Bytes scratch(local_dense_scratch(context, d));
      local_dense_forward(context, y, fx, fw, fbias, scratch.get(), d);
      local_dense_backward(context, dx, dw, dbias, fdy, y, fx, fw, scratch.get(), d);
      return std::array{y.values(), dx.values(), dw.values(), dbias.values()};
    };
    for (Context context : contexts_with_emulation()) {
      context.precision = Precision::kFp32;
      const auto exact = run(context);
      for (const Precision p : kRounded) {
        context.precision = p;
        SCOPED_TRACE(fmt::format("{} B={} I={} O={} C={}", name_of(context), d.B, d.I, d.O, d.C));
        const auto got = run(context);
        if (!is_16_bit(p) || bf16_units(context)) {
          EXPECT_EQ(got, exact) << "the bits of fp32";
          continue;
        }
        const Expected want = expected(p, [&](auto of, auto sum) {
          Vec dw(w.size()), dbias(bias.size()), y = reference::local_dense_forward(of(x), of(w), sum(bias), d);
          Vec dx = reference::local_dense_backward(dw, dbias, of(dy), y, of(x), of(w), d);
          return std::vector<Vec>{y, dx, dw, dbias};
        });
        const char* names[] = {"y", "dx", "dw"};
        for (std::size_t i = 0; i < 3; ++i) {
          Floats values(got[i]);
          expect_rounded(values, want, i, p, names[i]);
        }
        EXPECT_EQ(got[3], exact[3]) << "dbias, which is a sum and no product";
      }
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
      std::vector<Context> all = contexts();
      for (Context& context : contexts()) {
        for (const Precision p : kRounded) context.precision = p, all.push_back(context);
      }
      for (const Context& context : all) {
        SCOPED_TRACE(fmt::format("{} B={} I={} O={} C={} {}", name_of(context), d.B, d.I, d.O, d.C, to_string(a)));
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
