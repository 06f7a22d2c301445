#include "kernels/local_dense/local_dense.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(LocalDense, IsTheOracles) {
  for (LocalDenseDims d : {LocalDenseDims{2, 17, 5, 3},
                           {1, 1, 1, 1},
                           {2, 3, 8, 1},
                           {1, 4, 4, 16},
                           {2, 7, 9, 33},
                           {19, 5, 6, 18},
                           {3, 33, 35, 20},
                           {2, 64, 64, 128}}) {
    for (const Activation a : {Activation::kIdentity, Activation::kRelu, Activation::kTanh, Activation::kSoftplus}) {
      d.activation = a;
      const double range = std::sqrt(3.0 / d.I);  // sums of about 1, so that tanh is not flat
      const Vec x = random(d.B * d.I * d.C, 1), w = random(d.C * d.O * d.I, 2, -range, range),
                bias = random(d.C * d.O, 3);
      const Vec dy = random(d.B * d.O * d.C, 4), want = reference::local_dense_forward(x, w, bias, d);
      for (const Context& context : contexts()) {
        SCOPED_TRACE(fmt::format("{} B={} I={} O={} C={} {}", label(context), d.B, d.I, d.O, d.C, to_string(a)));
        Floats fx(x), fw(w), fbias(bias), fdy(dy), y(want.size(), kNan);
        {
          Bytes scratch(local_dense_scratch(context, d));
          local_dense_forward(context, y, fx, fw, fbias, scratch.get(), d);
        }
        expect_near(y, want, "y");
        Vec dw(w.size()), dbias(bias.size());
        const Vec dx = reference::local_dense_backward(dw, dbias, dy, y.values(), x, w, d);
        for (const float start : kStarts) {
          Floats got_x(x.size(), kNan), got_w(w.size(), start), got_bias(bias.size(), start);
          Bytes scratch(local_dense_scratch(context, d));
          local_dense_backward(context, got_x, got_w, got_bias, fdy, y, fx, fw, scratch.get(), d);
          expect_near(got_x, dx, "dx");
          expect_near(got_w, dw, "dw", start);
          expect_near(got_bias, dbias, "dbias", start);
        }
      }
    }
  }
}

// "The bits do not depend on the number of threads": with a pool and without.
TEST(LocalDense, SameBitsForAnyNumberOfThreads) {
  const LocalDenseDims d{5, 9, 7, 37};
  const Vec x = random(d.B * d.I * d.C, 1), w = random(d.C * d.O * d.I, 2), bias = random(d.C * d.O, 3);
  const Vec dy = random(d.B * d.O * d.C, 4);
  for (Context context : contexts()) {
    Floats fx(x), fw(w), fbias(bias), fdy(dy);
    Floats y1(dy.size(), kNan), dx1(x.size(), kNan), dw1(w.size(), 0.0f), dbias1(bias.size(), 0.0f);
    for (const int threads : {0, 1, 2, 5}) {
      ThreadPool pool(threads > 0 ? threads : 1);
      context.pool = threads > 0 ? &pool : nullptr;
      Floats y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
      Bytes scratch(local_dense_scratch(context, d));
      local_dense_forward(context, y, fx, fw, fbias, scratch.get(), d);
      local_dense_backward(context, dx, dw, dbias, fdy, y, fx, fw, scratch.get(), d);
      if (threads == 0) {
        std::copy(y.data(), y.data() + y.size(), y1.data());
        std::copy(dx.data(), dx.data() + dx.size(), dx1.data());
        std::copy(dw.data(), dw.data() + dw.size(), dw1.data());
        std::copy(dbias.data(), dbias.data() + dbias.size(), dbias1.data());
        continue;
      }
      SCOPED_TRACE(fmt::format("{} {} threads", label(context), threads));
      expect_same_bits(y1, y, y.size(), "y");
      expect_same_bits(dx1, dx, dx.size(), "dx");
      expect_same_bits(dw1, dw, dw.size(), "dw");
      expect_same_bits(dbias1, dbias, dbias.size(), "dbias");
    }
  }
}

TEST(LocalDense, RefusesSizesBelowOne) {
  Floats one(1, 0.0f);
  for (const LocalDenseDims d : {LocalDenseDims{0, 1, 1, 1}, LocalDenseDims{1, 0, 1, 1}, LocalDenseDims{1, 1, 0, 1},
                                 LocalDenseDims{1, 1, 1, 0}}) {
    EXPECT_THROW(local_dense_forward({}, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(local_dense_backward({}, one, one, one, one, one, one, one, one.data(), d), CheckError);
    EXPECT_THROW(local_dense_scratch({}, d), CheckError);
  }
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
