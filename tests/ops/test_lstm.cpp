#include <iterator>

#include "kernels/lstm/lstm.h"

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;

struct Case {
  explicit Case(LstmDims d)
      : d(d),
        x(random(static_cast<long>(d.T) * d.B * d.I, 1)),
        h0(random(static_cast<long>(d.B) * d.H, 2)),
        c0(random(static_cast<long>(d.B) * d.H, 3)),
        w(random(4L * d.H * (d.I + d.H), 4, -1 / std::sqrt(d.H), 1 / std::sqrt(d.H))),
        bias(random(4L * d.H, 5)),
        dh(random(static_cast<long>(d.T) * d.B * d.H, 6)) {}
  // Room for all rows, with the state in the first, or in the last where time is reversed.
  Vec rows(const Vec& state) const {
    Vec all(state.size() * static_cast<std::size_t>(d.T + 1), NAN);
    std::copy(state.begin(), state.end(), d.reversed ? all.end() - std::ssize(state) : all.begin());
    return all;
  }
  LstmDims d;
  Vec x, h0, c0, w, bias, dh;
};

TEST(Lstm, ReferenceGradientMatchesDifferences) {
  for (const LstmDims d : {LstmDims{7, 2, 3, 2}, {1, 1, 1, 1}, {5, 2, 3, 2, true}, {4, 1, 2, 3, true, true}}) {
    Case k(d);
    Vec dw(k.w.size()), dbias(k.bias.size());
    const Vec dx = reference::lstm_backward(dw, dbias, k.dh, reference::lstm_forward(k.x, k.h0, k.c0, k.w, k.bias, d),
                                            k.x, k.w, d);
    const auto f = [&] {
      const Vec h = reference::lstm_forward(k.x, k.h0, k.c0, k.w, k.bias, d).h;
      const long row = static_cast<long>(d.B) * d.H;
      return dot(d.reversed ? Vec(h.begin(), h.end() - row) : Vec(h.begin() + row, h.end()), k.dh);
    };
    expect_gradients(f, {{"dx", k.x, dx}, {"dw", k.w, dw}, {"dbias", k.bias, dbias}});
  }
}

// Sums over a long past are as steep as a chain of products: the tolerance is ten times that of other ops.
TEST(Lstm, MatchesReference) {
  constexpr LstmDims kSizes[] = {{17, 2, 3, 5},
                                 {1, 1, 1, 1},
                                 {1, 3, 2, 4},
                                 {kLstmChunk + 1, 5, 1, 12},
                                 {3 * kLstmChunk, 1, 9, 17},
                                 {150, 8, 24, 24},
                                 {256, 8, 1, 40},
                                 {5, 2, 3, 70},
                                 {3, 1, 2, 260},
                                 {17, 2, 9, 5, true},
                                 {2 * kLstmChunk + 3, 2, 3, 18, true},
                                 {17, 2, 3, 5, false, true},
                                 {20, 1, 33, 16, true, true}};
  for (const LstmDims d : kSizes) {
    const Case k(d);
    const reference::Lstm want = reference::lstm_forward(k.x, k.h0, k.c0, k.w, k.bias, d);
    Vec dw(k.w.size()), dbias(k.bias.size());
    const Vec dx = reference::lstm_backward(dw, dbias, k.dh, want, k.x, k.w, d);
    const std::string sizes = fmt::format("T={} B={} I={} H={}{}{}", d.T, d.B, d.I, d.H, d.reversed ? " reversed" : "",
                                          d.linear ? " linear" : "");
    const Tolerance forward{2e-6, 1e-5}, backward{1e-5, 1e-4};
    check_op(sizes, {{"x", k.x}, {"w", k.w}, {"bias", k.bias}},
             {updates("h", k.rows(k.h0), want.h, forward), updates("c", k.rows(k.c0), want.c, forward),
              optional(sets("gates", want.gates, forward))},
             by_name(lstm_forward, "h", "c", "gates", "x", "w", "bias", "scratch", d),
             bytes_of(lstm_forward_scratch, d));
    check_op(sizes, {{"dh", k.dh}, {"x", k.x}, {"h", want.h}, {"c", want.c}, {"gates", want.gates}, {"w", k.w}},
             {optional(sets("dx", dx, backward)), adds("dw", dw, backward), adds("dbias", dbias, backward)},
             by_name(lstm_backward, "dx", "dw", "dbias", "dh", "x", "h", "c", "gates", "w", "scratch", d),
             bytes_of(lstm_backward_scratch, d));
  }
}

// A block in two calls, the second from where the first one ended, has the bits of one call.
TEST(Lstm, SameBitsHoweverABlockIsDivided) {
  const LstmDims d{23, 3, 2, 7};
  const Case k(d);
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats x(k.x), w(k.w), bias(k.bias), h(k.rows(k.h0)), c(k.rows(k.c0));
    Floats again(k.rows(k.h0)), c_again(k.rows(k.c0));
    Bytes scratch(lstm_forward_scratch(context, d));
    lstm_forward(context, h, c, nullptr, x, w, bias, scratch.get(), d);
    const int first = 9, row = d.B * d.H;
    lstm_forward(context, again, c_again, nullptr, x, w, bias, scratch.get(), {first, d.B, d.I, d.H});
    lstm_forward(context, again + first * row, c_again + first * row, nullptr, x + first * d.B * d.I, w, bias,
                 scratch.get(), {d.T - first, d.B, d.I, d.H});
    expect_same_bits(again, h, h.size(), "h");
    expect_same_bits(c_again, c, c.size(), "c");
  }
}

TEST(Lstm, RefusesSizesBelowOne) {
  expect_refused({LstmDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, lstm_forward, lstm_backward,
                 lstm_forward_scratch, lstm_backward_scratch);
}

}  // namespace
}  // namespace cafx
