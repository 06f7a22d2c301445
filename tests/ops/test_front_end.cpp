#include "kernels/front_end/front_end.h"

#include <iterator>

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

std::string sizes_of(FrontEndDims d) {
  return fmt::format("B={} T={} C={} K1={} K2={} P={}", d.B, d.T, d.C, d.K1, d.K2, d.P);
}

// Weights laid out and forward in one call. Positions are held by expect_positions.
Op forward_op(const Inputs& in, const reference::FrontEnd& want, FrontEndDims d) {
  Output at = sets_ints("at", want.positions);
  at.tolerance.of_max = d.P;
  return {sizes_of(d),
          {{"x", in.x}, {"w1", in.w1}, {"bias1", in.bias1}, {"w2", in.w2}, {"bias2", in.bias2}},
          {sets("x1", want.x1), sets("z", want.z), at},
          in_turn(by_name(front_end_prepare, "packed", "w1", "bias1", "w2", "bias2", d),
                  by_name(front_end_forward, "x1", "z", "at", "x", "packed", "scratch", d)),
          {{"packed", bytes_of(front_end_packed, d)}, {"scratch", bytes_of(front_end_scratch, d)}}};
}

// From what forward gave, as in training: the sign of x1 and the positions are inputs, not results.
Op backward_op(const Inputs& in, const reference::FrontEnd& want, FrontEndDims d) {
  reference::FrontEnd given;
  given.x1 = as_floats(want.x1);
  given.positions = want.positions;
  const Vec z = as_floats(want.z);
  given.x2 = reference::unpool_forward(z, given.positions, {d.B, d.T, d.C, d.P}, Unpool::kPositions);
  Vec dx1 = in.residual, dw1(in.w1.size()), dbias1(in.bias1.size()), dw2(in.w2.size()), dbias2(in.bias2.size());
  reference::front_end_backward(dx1, dw1, dbias1, dw2, dbias2, in.dz, given, in.x, in.w2, d);
  return {sizes_of(d),
          {{"dz", in.dz}, {"x1", given.x1}, {"z", z}, ints("at", given.positions), {"x", in.x}, {"w2", in.w2}},
          {updates("dx1", in.residual, dx1), adds("dw1", dw1), adds("dbias1", dbias1), adds("dw2", dw2),
           adds("dbias2", dbias2)},
          by_name(front_end_backward, "dx1", "dw1", "dbias1", "dw2", "dbias2", "dz", "x1", "z", "at", "x", "w2",
                  "scratch", d),
          bytes_of(front_end_scratch, d)};
}

// The same from the ops alone.
void plain_forward(const Context& c, const Buffers& b, FrontEndDims d) {
  const long n = static_cast<long>(d.B) * d.T * d.C;
  Floats magnitude(n, kNan), x2(n, kNan);
  const Conv1dDims conv{d.B, d.T, d.C, d.K1};
  Bytes scratch(conv1d_forward_scratch(c, conv));
  conv1d_forward(c, b["x1"], b["x"], b["w1"], b["bias1"], scratch.get(), conv);
  abs_forward(c, magnitude, b["x1"], n);
  local_conv_forward(c, x2, magnitude, b["w2"], b["bias2"], {d.B, d.T, d.C, d.K2});
  activation_forward(c, x2, x2, n, Activation::kSoftplus);
  max_pool_forward(c, b["z"], b["at"], x2, {d.B, d.T, d.C, d.P});
}
void plain_backward(const Context& c, const Buffers& b, FrontEndDims d) {
  const long n = static_cast<long>(d.B) * d.T * d.C;
  Floats dwindows(n / d.P, kNan), dsum(n, kNan), magnitude(n, kNan), dx1(n, kNan);
  activation_backward(c, dwindows, b["dz"], b["z"], n / d.P, Activation::kSoftplus);
  max_pool_backward(c, dsum, dwindows, b["at"], {d.B, d.T, d.C, d.P});
  abs_forward(c, magnitude, b["x1"], n);
  local_conv_backward(c, dx1, b["dw2"], b["dbias2"], dsum, magnitude, b["w2"], {d.B, d.T, d.C, d.K2});
  abs_backward(c, dx1, dx1, b["x1"], n);
  wait();
  for (long i = 0; i < n; ++i) static_cast<float*>(b["dx1"])[i] += dx1.data()[i];
  const Conv1dDims conv{d.B, d.T, d.C, d.K1};
  Bytes scratch(conv1d_backward_scratch(c, conv));
  conv1d_backward(c, b["dw1"], b["dbias1"], b["dx1"], b["x"], scratch.get(), conv);
}

// Two candidates of one window that differ by less than rounding may change places; else the positions are equal.
void expect_positions(const Vec& got, const reference::FrontEnd& want, FrontEndDims d) {
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
  const Op forward = forward_op(in, want, d), backward = backward_op(in, want, d);
  check_op(forward);
  check_op(backward);
  expect_twin(
      forward, [=](const Context& c, const Buffers& b) { plain_forward(c, b, d); }, "at");
  expect_twin(backward, [=](const Context& c, const Buffers& b) { plain_backward(c, b, d); }, "", {2e-6, 2e-5});
  for (const Context& context : contexts()) {
    OpRun run(forward, context, 0.0f);
    run.call();
    SCOPED_TRACE(fmt::format("{} {}", label(context), sizes_of(d)));
    expect_positions(run.output(2), want, d);
  }
}

TEST(FrontEnd, SmallAndOddSizesMatchReference) {
  constexpr FrontEndDims kSizes[] = {{2, 15, 3, 5, 7, 5},       {1, 1, 1, 1, 1, 1},     {2, 1, 3, 4, 5, 1},
                                     {2, 4, 5, 11, 13, 2},      {1, 12, 16, 8, 6, 4},   {2, 9, 33, 6, 5, 3},
                                     {1, 17, 3, 4, 4, 17},      {1, 6, 1, 2, 3, 1},     {2, 132, 67, 7, 9, 12},
                                     {1, 300, 18, 64, 128, 20}, {1, 600, 5, 3, 7, 300}, {2, 300, 33, 2, 150, 20}};
  for (const FrontEndDims d : kSizes) {
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

Op forward_op(const Inputs& in, FrontEndDims d) {
  return forward_op(in, reference::front_end_forward(in.x, in.w1, in.bias1, in.w2, in.bias2, d), d);
}

// Equal candidates everywhere: the first of each window is the maximum.
TEST(FrontEnd, TheFirstOfEqualCandidatesWins) {
  const FrontEndDims d{1, 12, 17, 3, 3, 4};
  Inputs in(d);
  std::fill(in.x.begin(), in.x.end(), 0.0);
  std::fill(in.bias1.begin(), in.bias1.end(), 0.0);
  const Op op = forward_op(in, d);
  for (const Context& context : contexts()) {
    OpRun run(op, context, 0.0f);
    run.call();
    EXPECT_EQ(run.output(2), Vec(3 * 17)) << label(context);
  }
}

// A frame's result hangs on its own samples alone, wherever it stands in the batch.
TEST(FrontEnd, FramesDoNotTouchEachOther) {
  const FrontEndDims both{2, 60, 19, 6, 7, 4}, one{1, 60, 19, 6, 7, 4};
  const Inputs in(both);
  Inputs second = in;
  second.x.erase(second.x.begin(), second.x.begin() + std::ssize(in.x) / 2);
  expect_same_alone(forward_op(in, both), forward_op(second, one), 3);
}

TEST(FrontEnd, RefusesWhatItsContractExcludes) {
  constexpr FrontEndDims kWrong[] = {{0, 4, 1, 1, 1, 4}, {1, 0, 1, 1, 1, 1}, {1, 4, 0, 1, 1, 4}, {1, 4, 1, 0, 1, 4},
                                     {1, 4, 1, 1, 0, 4}, {1, 4, 1, 1, 1, 0}, {1, 10, 1, 1, 1, 4}};
  expect_refused(kWrong, front_end_forward, front_end_backward, front_end_prepare, front_end_packed, front_end_scratch);
}

}  // namespace
}  // namespace cafx
