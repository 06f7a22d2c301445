// tf32, bf16 and fp16: ops against the oracle on rounded operands, tensors between ops.
#include "kernels/device/precision.h"

#include <array>
#include <bit>
#include <memory>

#include "kernels/conv1d/conv1d.h"
#include "kernels/deconv1d/deconv1d.h"
#include "kernels/front_end/front_end.h"
#include "kernels/pool/pool.h"
#include "tests/ops/precision.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(Precision, DenseMatchesReferenceOfRoundedOperands) {
  if (on_cuda()) GTEST_SKIP() << "cuBLAS rounds in its own way, and the virtual one not at all";
  for (const DenseDims d : {DenseDims{17, 3, 5}, {64, 40, 24}, {130, 67, 33}}) {
    const Vec x = random(d.N * d.I, 1), w = random(d.O * d.I, 2), bias = random(d.O, 3), dy = random(d.N * d.O, 4);
    for (const Precision p : kRounded) {
      const Expected want = expected(p, [&](auto of, auto sum) {
        Vec dw(w.size()), dbias(bias.size()), y = reference::dense_forward(of(x), of(w), sum(bias), d);
        Vec dx = reference::dense_backward(dw, dbias, of(dy), y, of(x), of(w), d);
        return std::vector<Vec>{y, dx, dw, dbias};
      });
      for (Context context : contexts()) {
        context.precision = p;
        context.use_bf16_units = false;
        SCOPED_TRACE(fmt::format("{} N={} I={} O={}", name_of(context), d.N, d.I, d.O));
        Floats fx(x), fw(w), fbias(bias), fdy(dy), y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f),
            dbias(bias.size(), 0.0f);
        Bytes scratch(dense_scratch(context, d));
        dense_forward(context, y, fx, fw, fbias, scratch.get(), d);
        dense_backward(context, dx, dw, dbias, fdy, y, fx, fw, scratch.get(), d);
        expect_rounded(y, want, 0, p, "y");
        expect_rounded(dx, want, 1, p, "dx");
        expect_rounded(dw, want, 2, p, "dw");
        expect_near(dbias, want.exact[3], "dbias, which is a sum and no product");
      }
    }
  }
}

// By units and emulated. Plain Conv1D has no units.
TEST(Precision, ConvolutionsMatchReferenceOfRoundedOperands) {
  if (on_cuda()) GTEST_SKIP() << "cuDNN rounds in its own way, and the virtual one not at all";
  for (const Conv1dDims d : {Conv1dDims{2, 37, 19, 16}, {1, 150, 40, 33}, {2, 5, 3, 8}}) {
    const Vec x = random(d.B * (d.T + d.K - 1), 1), w = random(d.C * d.K, 2), bias = random(d.C, 3),
              dy = rounded(random(d.B * d.T * d.C, 4), Precision::kBf16);
    const Deconv1dDims back{d.B, d.T, d.C, d.K, d.C == 40 ? Deconv::kCorrelate : Deconv::kAdjoint};
    const Vec u = rounded(random(d.B * d.T * d.C, 5), Precision::kBf16), one = random(1, 6), e = random(d.B * d.T, 7);
    for (Context context : contexts_with_emulation()) {
      for (const Precision p : kRounded) {
        context.precision = p;
        SCOPED_TRACE(fmt::format("{} T={} C={} K={}", name_of(context), d.T, d.C, d.K));
        const auto expect_result = [&](Floats& got, const Expected& want, const char* what) {
          if (is_16_bit(p)) return expect_stored(got.values(), want.emulated[0], what, p);  // it is laid down rounded
          expect_rounded(got, want, 0, p, what);
        };
        const Expected want = expected(p, [&](auto of, auto sum) {
          Vec dw(w.size()), dbias(bias.size());
          reference::conv1d_backward(dw, dbias, of(dy), of(x), d);
          return std::vector<Vec>{reference::conv1d_forward(of(x), of(w), sum(bias), d), dw, dbias};
        });
        Floats fx(x), fw(w), fbias(bias), fdy(dy), y(dy.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
        if (!bf16_units(context)) {
          Bytes scratch(std::max(conv1d_forward_scratch(context, d), conv1d_backward_scratch(context, d)));
          conv1d_forward(context, y, fx, fw, fbias, scratch.get(), d);
          expect_result(y, want, "conv1d y");
          conv1d_backward(context, dw, dbias, fdy, fx, scratch.get(), d);
          expect_rounded(dw, want, 1, p, "conv1d dw");
          expect_near(dbias, want.exact[2], "conv1d dbias");
        }
        {  // the fused form; no gradient comes through z, so that dx1 stays
          const FrontEndDims front{d.B, d.T, d.C, d.K, 4, 1};
          const std::size_t n = dy.size();
          Bytes packed(front_end_packed(context, front)), scratch(front_end_scratch(context, front));
          Floats w2(random(4 * d.C, 8)), x1(n, kNan), z(n, kNan), dz(n, 0.0f), own_dw(w.size(), 0.0f),
              own_dbias(bias.size(), 0.0f), dw2(4 * d.C, 0.0f), dbias2(bias.size(), 0.0f);
          Ints positions(Positions(n, 0));
          front_end_prepare(context, packed.get(), fw, fbias, w2, fbias, front);
          front_end_forward(context, x1, z, positions, fx, packed.get(), scratch.get(), front);
          expect_result(x1, want, "front end x1");
          front_end_backward(context, fdy, own_dw, own_dbias, dw2, dbias2, dz, x1, z, positions, fx, w2, scratch.get(),
                             front);
          expect_rounded(own_dw, want, 1, p, "front end dw");
          expect_near(own_dbias, want.exact[2], "front end dbias");
        }

        Bytes more(deconv1d_scratch(context, back));
        Floats fu(u), fone(one), padded(reference::pad(e, d.B, d.T, d.K, deconv1d_pad(back))), out(e.size(), kNan),
            du(u.size(), kNan), dw2(w.size(), 0.0f), dbias2(1, 0.0f);
        deconv1d_forward(context, out, fu, fw, fone, more.get(), back);
        deconv1d_backward(context, du, dw2, dbias2, padded, fu, fw, more.get(), back);
        const Expected of_u = expected(p, [&](auto of, auto sum) {
          Vec want_dw(w.size()), want_dbias(1);
          Vec want_du = reference::deconv1d_backward(want_dw, want_dbias, of(e), of(u), of(w), back);
          return std::vector<Vec>{want_du, want_dw, want_dbias,
                                  reference::deconv1d_forward(of(u), of(w), sum(one), back)};
        });
        expect_result(du, of_u, "deconv1d du");
        expect_rounded(dw2, of_u, 1, p, "deconv1d dw");
        expect_near(dbias2, of_u.exact[2], "deconv1d dbias");
        expect_rounded(out, of_u, 3, p, "deconv1d y");
      }
    }
  }
}

// On a GPU in bf16 and fp16 the tensors between ops are of two bytes a number: buffers have exactly that size, which
// the virtual GPU watches to the byte; a CPU keeps floats of the same numbers. Convolutions multiply what they round,
// or in fp32 what is stored; results are rounded once.
TEST(Precision, TensorsBetweenOpsAreStoredRounded) {
  for (const Precision p : kStored) {
    constexpr FrontEndDims kSizes[] = {{2, 132, 67, 7, 9, 12},    {1, 300, 18, 64, 128, 20},  {2, 64, 16, 8, 6, 4},
                                       {1, 9, 3, 4, 5, 3},        {1, 256, 128, 64, 128, 16}, {3, 512, 32, 64, 128, 16},
                                       {1, 768, 64, 50, 9, 16},   {1, 256, 256, 31, 5, 8},    {2, 1024, 16, 8, 100, 64},
                                       {1, 768, 32, 64, 128, 256}};
    for (const FrontEndDims d : kSizes) {
      const long n = static_cast<long>(d.B) * d.T * d.C, windows = n / d.P;
      const Conv1dDims conv{d.B, d.T, d.C, d.K1};
      const PoolDims pool{d.B, d.T, d.C, d.P};
      const Vec x = random(static_cast<long>(d.B) * (d.T + d.K1 - 1), 1), w1 = random(d.C * d.K1, 2, -0.3, 0.3),
                bias1 = random(d.C, 3, -0.1, 0.1), w2 = random(d.C * d.K2, 4, -0.3, 0.3), bias2 = random(d.C, 5),
                g = rounded(random(windows, 6), p), residual = rounded(random(n, 7), p), none(n);
      for (Context context : contexts()) {
        context.precision = p;
        ASSERT_EQ(stored_bytes(context), on_cuda() ? 2u : 4u);
        SCOPED_TRACE(fmt::format("{} T={} C={} K={},{} P={}", name_of(context), d.T, d.C, d.K1, d.K2, d.P));
        const bool rounds = convolutions_round(context, conv);
        EXPECT_EQ(rounds, !on_cuda() || (!*context.use_cudnn && d.T % 256 == 0 && d.C % 32 == 0)) << "chosen so";
        const auto as = [&](const Vec& v) { return rounds ? rounded(v, p) : v; };
        const Vec rounded_w2 = rounded(w2, p);
        Floats fx(x), fw1(w1), fbias1(bias1), fw2(w2), fbias2(bias2), z(windows, kNan), dw1(w1.size(), 0.0f),
            dbias1(bias1.size(), 0.0f), dw2(w2.size(), 0.0f), dbias2(bias2.size(), 0.0f);
        StoredNumbers x1(context, n), dx1(context, residual);
        Ints positions(static_cast<std::size_t>(windows));
        Bytes packed(front_end_packed(context, d)), scratch(front_end_scratch(context, d));
        front_end_prepare(context, packed.get(), fw1, fbias1, fw2, fbias2, d);
        front_end_forward(context, x1, z, positions, fx, packed.get(), scratch.get(), d);
        expect_stored(x1.values(), reference::conv1d_forward(as(x), as(w1), bias1, conv), "x1", p);
        reference::FrontEnd given;
        given.x1 = x1.values();
        given.positions = positions.values();
        Positions ignored;
        const Vec x2 = reference::activation_forward(
            reference::local_conv_forward(reference::abs_forward(given.x1), rounded_w2, bias2, {d.B, d.T, d.C, d.K2}),
            Activation::kSoftplus);
        expect_near(z, reference::max_pool_forward(ignored, x2, pool), "z, from the x1 that is stored");
        expect_near(z, reference::unpool_backward(x2, given.positions, pool, Unpool::kPositions),
                    "z, from its positions");
        given.x2 = reference::unpool_forward(z.values(), given.positions, pool, Unpool::kPositions);
        // Of gradients that round to `g` before the softplus, a third of the way to the next number.
        Vec dz(g), given_dz(g);
        for (long i = 0; i < windows; ++i) {
          const double slope = -std::expm1(-static_cast<double>(z.data()[i]));
          dz[i] /= slope, given_dz[i] *= (1.0 + 0.3 * unit_of(p)) / slope;
        }
        Floats fdz(given_dz);
        front_end_backward(context, dx1, dw1, dbias1, dw2, dbias2, fdz, x1, z, positions, fx, fw2, scratch.get(), d);
        Vec want_dx1 = residual, unused(w1.size()), unused_bias(d.C), want_dw2(w2.size()), want_dbias2(d.C);
        reference::front_end_backward(want_dx1, unused, unused_bias, want_dw2, want_dbias2, dz, given, x, rounded_w2,
                                      d);
        expect_stored(dx1.values(), want_dx1, "dx1", p);
        expect_near(dw2, want_dw2, "dw2");
        expect_near(dbias2, want_dbias2, "dbias2");
        Vec want_dw1(w1.size()), want_dbias1(d.C);
        reference::conv1d_backward(want_dw1, want_dbias1, dx1.values(), as(x), conv);
        expect_near(dw1, want_dw1, "dw1, from the dx1 that is stored");
        expect_near(dbias1, want_dbias1, "dbias1, from the dx1 that is stored");

        if (!on_cuda()) continue;  // ConvolutionsMatchReferenceOfRoundedOperands
        Bytes conv_scratch(std::max(conv1d_forward_scratch(context, conv), conv1d_backward_scratch(context, conv)));
        StoredNumbers y(context, n), dy(context, residual);
        Floats plain_dw(w1.size(), 0.0f), plain_dbias(bias1.size(), 0.0f);
        conv1d_forward(context, y, fx, fw1, fbias1, conv_scratch.get(), conv);
        EXPECT_EQ(y.values(), given.x1) << "plain Conv1D";
        conv1d_backward(context, plain_dw, plain_dbias, dy, fx, conv_scratch.get(), conv);
        std::fill(want_dw1.begin(), want_dw1.end(), 0.0), std::fill(want_dbias1.begin(), want_dbias1.end(), 0.0);
        reference::conv1d_backward(want_dw1, want_dbias1, residual, as(x), conv);
        expect_near(plain_dw, want_dw1, "plain Conv1D's dw");
        expect_near(plain_dbias, want_dbias1, "plain Conv1D's dbias");

        for (const Deconv form : {Deconv::kAdjoint, Deconv::kCorrelate}) {
          const Deconv1dDims back{d.B, d.T, d.C, d.K1, form};
          const Vec one = random(1, 8), e = random(static_cast<long>(d.B) * d.T, 9);
          Floats fone(one), padded(reference::pad(e, d.B, d.T, d.K1, deconv1d_pad(back))), out(e.size(), kNan),
              dw(w1.size(), 0.0f), dbias(1, 0.0f);
          StoredNumbers u(context, residual), du(context, n);
          Bytes more(deconv1d_scratch(context, back));
          deconv1d_forward(context, out, u, fw1, fone, more.get(), back);
          expect_near(out, reference::deconv1d_forward(residual, as(w1), one, back), "deconv1d y");
          deconv1d_backward(context, du, dw, dbias, padded, u, fw1, more.get(), back);
          Vec want_dw(w1.size()), want_dbias(1), ignored_dw(w1.size()), ignored_dbias(1);
          reference::deconv1d_backward(ignored_dw, want_dbias, e, residual, w1, back);
          expect_stored(du.values(),
                        reference::deconv1d_backward(want_dw, ignored_dbias, as(e), residual, as(w1), back), "du", p);
          expect_near(dw, want_dw, "deconv1d dw");
          expect_near(dbias, want_dbias, "deconv1d dbias");
        }
      }
    }
  }
}

// Kernels cut a small batch into smaller tiles.
TEST(Precision, AFramesBitsDoNotDependOnTheBatch) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU goes frame by frame";
  const FrontEndDims one{1, 1024, 64, 64, 128, 16}, many{34, 1024, 64, 64, 128, 16};
  const Vec w1 = random(64 * 64, 2, -0.3, 0.3), w2 = random(64 * 128, 4, -0.3, 0.3), bias = random(64, 5);
  for (const Precision p : kStored) {
    Context context = contexts().front();
    context.precision = p;
    const auto run = [&](FrontEndDims d) {
      Vec x;
      for (int b = 0; b < d.B; ++b) {
        const Vec frame = random(1024 + 63, b + 1);
        x.insert(x.end(), frame.begin(), frame.end());
      }
      Floats fx(x), fw1(w1), fw2(w2), fbias(bias), z(static_cast<std::size_t>(d.B) * 64 * 64, kNan),
          y(static_cast<std::size_t>(d.B) * 1024, kNan), fone(random(1, 8));
      Ints positions(z.size());
      StoredNumbers x1(context, static_cast<long>(d.B) * 1024 * 64);
      const Deconv1dDims back{d.B, 1024, 64, 64, Deconv::kAdjoint};
      Bytes packed(front_end_packed(context, d)), scratch(front_end_scratch(context, d)),
          more(deconv1d_scratch(context, back));
      front_end_prepare(context, packed.get(), fw1, fbias, fw2, fbias, d);
      front_end_forward(context, x1, z, positions, fx, packed.get(), scratch.get(), d);
      deconv1d_forward(context, y, x1, fw1, fone, more.get(), back);
      return std::array{z.values(), y.values()};
    };
    const auto alone = run(one), among = run(many);
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(std::equal(alone[i].begin(), alone[i].end(), among[i].begin()))
          << (i == 0 ? "z" : "y of the deconvolution");
    }
  }
}

// Unpooling times residual is the two ops that it stands for, rounded once.
TEST(Precision, UnpoolMultiplyIsStoredAsTheRestIs) {
  for (const PoolDims d : {PoolDims{2, 15, 3, 5}, {1, 12, 16, 4}, {2, 9, 33, 3}, {1, 130, 67, 13}}) {
    const long n = static_cast<long>(d.B) * d.T * d.C;
    const Vec x = rounded(random(n, 2), Precision::kBf16), du = rounded(random(n, 3), Precision::kBf16);
    Vec z = random(n / d.P, 1);  // some of fp16's subnormal numbers, some over its largest
    for (std::size_t i = 0; i < z.size(); ++i) z[i] = std::ldexp(z[i], std::array{0, -12, -17, -23, 9, 17}[i % 6]);
    Positions at;
    for (long i = 0; i < n / d.P; ++i) at.push_back(static_cast<std::int32_t>(7 * i % d.P));
    for (const Unpool form : {Unpool::kPositions, Unpool::kHold}) {
      const Vec held = reference::unpool_forward(z, at, d, form);
      for (Context context : contexts()) {
        for (const Precision p : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
          context.precision = p;
          SCOPED_TRACE(fmt::format("{} C={} P={} form {}", name_of(context), d.C, d.P, static_cast<int>(form)));
          StoredNumbers fx(context, x), fdu(context, du), u(context, n), dx(context, n);
          Floats fz(z), dz(z.size(), kNan);
          Ints positions(at);
          std::int32_t* given = form == Unpool::kHold ? nullptr : positions.data();
          unpool_multiply_forward(context, u, fz, fx, given, d, form);
          unpool_multiply_backward(context, dz, dx, fdu, fz, fx, given, d, form);
          const auto once = [&](const Vec& a, const Vec& b) {
            Vec product(a.size());
            for (std::size_t i = 0; i < a.size(); ++i) {
              product[i] = round_to(static_cast<float>(a[i]) * static_cast<float>(b[i]), p);
            }
            return product;
          };
          EXPECT_EQ(u.values(), once(held, x));
          EXPECT_EQ(dx.values(), once(held, du));
          expect_near(dz, reference::unpool_backward(reference::multiply(du, x), at, d, form), "dz");
        }
      }
    }
  }
}

}  // namespace
}  // namespace cafx
