#include "kernels/front_end/front_end.h"

#include "kernels/conv1d/conv1d.h"
#include "kernels/local_conv/local_conv.h"
#include "kernels/pool/pool.h"
#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

struct Inputs {
  explicit Inputs(FrontEndDims d)
      : x(random(static_cast<long>(d.B) * (d.T + d.K1 - 1), 1)),
        w1(random(static_cast<long>(d.C) * d.K1, 2, -0.3, 0.3)),
        bias1(random(d.C, 3, -0.1, 0.1)),
        w2(random(static_cast<long>(d.C) * d.K2, 4, -0.3, 0.3)),
        bias2(random(d.C, 5)),
        dz(random(static_cast<long>(d.B) * (d.T / d.P) * d.C, 6)),
        residual(random(static_cast<long>(d.B) * d.T * d.C, 7)) {}
  Vec x, w1, bias1, w2, bias2, dz, residual;
};

struct Forward {
  explicit Forward(FrontEndDims d)
      : x1(static_cast<std::size_t>(d.B) * d.T * d.C, kNan),
        z(static_cast<std::size_t>(d.B) * (d.T / d.P) * d.C, kNan),
        positions(z.size()) {}
  Floats x1, z;
  Ints positions;
};

struct Grads {
  Grads(FrontEndDims d, const Vec& residual, float start)
      : dx1(residual),
        dw1(static_cast<std::size_t>(d.C) * d.K1, start),
        dbias1(d.C, start),
        dw2(static_cast<std::size_t>(d.C) * d.K2, start),
        dbias2(d.C, start) {}
  Floats dx1, dw1, dbias1, dw2, dbias2;
};

void fused_forward(const Context& context, Forward& f, const Inputs& in, FrontEndDims d) {
  Floats x(in.x), w1(in.w1), bias1(in.bias1), w2(in.w2), bias2(in.bias2);
  Bytes packed(front_end_packed(context, d)), scratch(front_end_scratch(context, d));
  front_end_prepare(context, packed.get(), w1, bias1, w2, bias2, d);
  front_end_forward(context, f.x1, f.z, f.positions, x, packed.get(), scratch.get(), d);
}

void fused_backward(const Context& context, Grads& g, Forward& f, const Inputs& in, FrontEndDims d) {
  Floats x(in.x), w2(in.w2), dz(in.dz);
  Bytes scratch(front_end_scratch(context, d));
  front_end_backward(context, g.dx1, g.dw1, g.dbias1, g.dw2, g.dbias2, dz, f.x1, f.z, f.positions, x, w2, scratch.get(),
                     d);
}

// The same from the ops alone; backward at the positions and values of `f`, as the fused one.
void plain_forward(const Context& context, Forward& f, const Inputs& in, FrontEndDims d) {
  Floats x(in.x), w1(in.w1), bias1(in.bias1), w2(in.w2), bias2(in.bias2);
  Floats a(f.x1.size(), kNan), b(f.x1.size(), kNan);
  const long n = static_cast<long>(f.x1.size());
  const Conv1dDims conv{d.B, d.T, d.C, d.K1};
  Bytes scratch(conv1d_forward_scratch(context, conv));
  conv1d_forward(context, f.x1, x, w1, bias1, scratch.get(), conv);
  abs_forward(context, a, f.x1, n);
  local_conv_forward(context, b, a, w2, bias2, {d.B, d.T, d.C, d.K2});
  activation_forward(context, b, b, n, Activation::kSoftplus);
  max_pool_forward(context, f.z, f.positions, b, {d.B, d.T, d.C, d.P});
}

void plain_backward(const Context& context, Grads& g, Forward& f, const Inputs& in, FrontEndDims d) {
  Floats x(in.x), w2(in.w2), dz(in.dz), dsum(f.x1.size(), kNan), a(f.x1.size(), kNan), da(f.x1.size(), kNan);
  const long n = static_cast<long>(f.x1.size());
  activation_backward(context, dz, dz, f.z, static_cast<long>(f.z.size()), Activation::kSoftplus);
  max_pool_backward(context, dsum, dz, f.positions, {d.B, d.T, d.C, d.P});
  abs_forward(context, a, f.x1, n);
  local_conv_backward(context, da, g.dw2, g.dbias2, dsum, a, w2, {d.B, d.T, d.C, d.K2});
  abs_backward(context, da, da, f.x1, n);
  for (long i = 0; i < n; ++i) g.dx1.data()[i] += da.data()[i];
  const Conv1dDims conv{d.B, d.T, d.C, d.K1};
  Bytes back(conv1d_backward_scratch(context, conv));
  conv1d_backward(context, g.dw1, g.dbias1, g.dx1, x, back.get(), conv);
}

// Two candidates of one window that differ by less than rounding may change places; else the positions are equal.
void expect_positions(const Positions& got, const reference::FrontEnd& want, FrontEndDims d) {
  double largest = 0;
  for (const double s : want.before_softplus) largest = std::max(largest, std::abs(s));
  const int n = d.T / d.P;
  long swapped = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want.positions[i]) continue;
    ASSERT_GE(got[i], 0);
    ASSERT_LT(got[i], d.P);
    const std::size_t c = i % d.C, p = i / d.C % n, b = i / d.C / n;
    const auto at = [&](int r) { return want.before_softplus[(b * d.T + p * d.P + r) * d.C + c]; };
    EXPECT_LE(at(want.positions[i]) - at(got[i]), 4e-6 * largest) << "position " << i;
    ++swapped;
  }
  EXPECT_LE(swapped, static_cast<long>(got.size() / 100 + 1));
}

void expect_oracle(FrontEndDims d) {
  const Inputs in(d);
  const reference::FrontEnd want = reference::front_end_forward(in.x, in.w1, in.bias1, in.w2, in.bias2, d);
  for (const Context& context : contexts()) {
    SCOPED_TRACE(fmt::format("{} B={} T={} C={} K1={} K2={} P={}", label(context), d.B, d.T, d.C, d.K1, d.K2, d.P));
    Forward f(d), plain(d);
    fused_forward(context, f, in, d);
    expect_near(f.x1, want.x1, "x1");
    expect_near(f.z, want.z, "z");
    expect_positions(f.positions.values(), want, d);
    plain_forward(context, plain, in, d);
    expect_near(f.x1, plain.x1.values(), "x1 against the plain twin");
    expect_near(f.z, plain.z.values(), "z against the plain twin");

    Grads g(d, in.residual, 0.0f), twin(d, in.residual, 0.0f);
    fused_backward(context, g, f, in, d);
    plain_backward(context, twin, f, in, d);
    constexpr Tolerance kTwice{2e-6, 2e-5};
    expect_near(g.dx1, twin.dx1.values(), "dx1 against the plain twin", 0, kTwice);
    expect_near(g.dw1, twin.dw1.values(), "dw1 against the plain twin", 0, kTwice);
    expect_near(g.dbias1, twin.dbias1.values(), "dbias1 against the plain twin", 0, kTwice);
    expect_near(g.dw2, twin.dw2.values(), "dw2 against the plain twin", 0, kTwice);
    expect_near(g.dbias2, twin.dbias2.values(), "dbias2 against the plain twin", 0, kTwice);
  }

  // Backward from what forward gave, as in training: the sign of x1 and the positions are inputs, not results.
  reference::FrontEnd given;
  given.x1 = as_floats(want.x1);
  given.positions = want.positions;
  const Vec z = as_floats(want.z);
  given.x2 = reference::unpool_forward(z, given.positions, {d.B, d.T, d.C, d.P}, Unpool::kPositions);
  Vec dx1 = in.residual, dw1(in.w1.size()), dbias1(in.bias1.size()), dw2(in.w2.size()), dbias2(in.bias2.size());
  reference::front_end_backward(dx1, dw1, dbias1, dw2, dbias2, in.dz, given, in.x, in.w2, d);
  check_op({fmt::format("B={} T={} C={} K1={} K2={} P={}", d.B, d.T, d.C, d.K1, d.K2, d.P),
            {{"dz", in.dz}, {"x1", given.x1}, {"z", z}, ints("at", given.positions), {"x", in.x}, {"w2", in.w2}},
            {updates("dx1", in.residual, dx1), adds("dw1", dw1), adds("dbias1", dbias1), adds("dw2", dw2),
             adds("dbias2", dbias2)},
            [=](const Context& c, const Buffers& b) {
              front_end_backward(c, b["dx1"], b["dw1"], b["dbias1"], b["dw2"], b["dbias2"], b["dz"], b["x1"], b["z"],
                                 b["at"], b["x"], b["w2"], b.scratch, d);
            },
            [=](const Context& c) { return front_end_scratch(c, d); }});
}

TEST(FrontEnd, SmallAndOddSizesMatchReference) {
  for (const FrontEndDims d : {FrontEndDims{2, 15, 3, 5, 7, 5},
                               {1, 1, 1, 1, 1, 1},
                               {2, 1, 3, 4, 5, 1},
                               {2, 4, 5, 11, 13, 2},
                               {1, 12, 16, 8, 6, 4},
                               {2, 9, 33, 6, 5, 3},
                               {1, 17, 3, 4, 4, 17},
                               {1, 6, 1, 2, 3, 1},
                               {2, 132, 67, 7, 9, 12},
                               {1, 300, 18, 64, 128, 20},
                               {1, 600, 5, 3, 7, 300},
                               {2, 300, 33, 2, 150, 20}}) {
    expect_oracle(d);
  }
}

// So many tiles that a block of a GPU's backward kernel works through several tiles of a frame (three blocks for each
// multiprocessor share all tiles).
TEST(FrontEnd, ManyTilesMatchReference) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  expect_oracle({1, 40 * 65, 330, 1, 5, 65});
}

TEST(FrontEnd, TheRealSizeMatchesReference) { expect_oracle({1, 1024, 128, 64, 128, 16}); }

TEST(FrontEnd, JournalsPoolMatchesReference) { expect_oracle({1, 512, 24, 64, 128, 64}); }

// Equal candidates everywhere: the first of each window is the maximum.
TEST(FrontEnd, TheFirstOfEqualCandidatesWins) {
  const FrontEndDims d{1, 12, 17, 3, 3, 4};
  Inputs in(d);
  std::fill(in.x.begin(), in.x.end(), 0.0);
  std::fill(in.bias1.begin(), in.bias1.end(), 0.0);
  for (const Context& context : contexts()) {
    Forward f(d);
    fused_forward(context, f, in, d);
    EXPECT_EQ(f.positions.values(), Positions(f.z.size(), 0)) << label(context);
  }
}

// A frame's result hangs on its own samples alone, wherever it stands in the batch.
TEST(FrontEnd, FramesDoNotTouchEachOther) {
  const FrontEndDims both{2, 60, 19, 6, 7, 4}, one{1, 60, 19, 6, 7, 4};
  Inputs in(both), second(one);
  second.x.assign(in.x.begin() + static_cast<long>(in.x.size() / 2), in.x.end());
  second.w1 = in.w1, second.bias1 = in.bias1, second.w2 = in.w2, second.bias2 = in.bias2;
  for (const Context& context : contexts()) {
    Forward f(both), alone(one);
    fused_forward(context, f, in, both);
    fused_forward(context, alone, second, one);
    expect_same_bits(f.x1.data() + alone.x1.size(), alone.x1, alone.x1.size(), "x1");
    expect_same_bits(f.z.data() + alone.z.size(), alone.z, alone.z.size(), "z");
  }
}

TEST(FrontEnd, RefusesWhatItsContractExcludes) {
  const Pointer p = nowhere();
  expect_refused(
      {FrontEndDims{0, 4, 1, 1, 1, 4},
       {1, 0, 1, 1, 1, 1},
       {1, 4, 0, 1, 1, 4},
       {1, 4, 1, 0, 1, 4},
       {1, 4, 1, 1, 0, 4},
       {1, 4, 1, 1, 1, 0},
       {1, 10, 1, 1, 1, 4}},
      [&](FrontEndDims d) { front_end_forward({}, p, p, p, p, p, p, d); },
      [&](FrontEndDims d) { front_end_backward({}, p, p, p, p, p, p, p, p, p, p, p, p, d); },
      [&](FrontEndDims d) { front_end_prepare({}, p, p, p, p, p, d); },
      [&](FrontEndDims d) { front_end_packed({}, d); }, [&](FrontEndDims d) { front_end_scratch({}, d); });
}

}  // namespace
}  // namespace cafx
