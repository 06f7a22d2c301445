#include "kernels/lstm/bilstm.h"

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;

struct Case {
  explicit Case(LstmDims d)
      : x(random(static_cast<long>(d.T) * d.B * d.I, 1)), dy(random(2L * d.T * d.B * d.H, 2)), p(tensors(d)) {
    g = {Vec(p.w.size()), Vec(p.bias.size()), Vec(p.w.size()), Vec(p.bias.size())};
    y = reference::bilstm_forward(x, p, d);
    dx = reference::bilstm_backward(g, dy, x, p, d);
  }
  static reference::Bilstm tensors(LstmDims d) {
    const double most = 1 / std::sqrt(d.H);
    const long n = 4L * d.H * (d.I + d.H);
    return {random(n, 4, -most, most), random(4L * d.H, 5), random(n, 6, -most, most), random(4L * d.H, 7)};
  }
  Vec x, dy, y, dx;
  reference::Bilstm p, g;
};

TEST(Bilstm, ReferenceGradientMatchesDifferences) {
  const LstmDims d{5, 2, 3, 2, false, true};
  Case k(d);
  const auto f = [&] { return dot(reference::bilstm_forward(k.x, k.p, d), k.dy); };
  expect_gradients(f, {{"dx", k.x, k.dx},
                       {"dw", k.p.w, k.g.w},
                       {"dbias'", k.p.bias_reversed, k.g.bias_reversed},
                       {"dw'", k.p.w_reversed, k.g.w_reversed}});
}

// Forward and backward in one call: what forward saves is the op's own. The tolerance is lstm's.
TEST(Bilstm, MatchesReference) {
  constexpr LstmDims kSizes[] = {
      {17, 2, 3, 5}, {1, 1, 1, 1}, {kLstmChunk + 9, 3, 20, 12}, {64, 4, 40, 16, false, true}, {64, 2, 288, 64}};
  for (const LstmDims d : kSizes) {
    const Case k(d);
    const Tolerance forward{2e-6, 1e-5}, backward{1e-5, 1e-4};
    const auto weights = group("w", "bias", "w'", "bias'");
    check_op(fmt::format("T={} B={} I={} H={}", d.T, d.B, d.I, d.H),
             {{"x", k.x},
              {"dy", k.dy},
              {"w", k.p.w},
              {"bias", k.p.bias},
              {"w'", k.p.w_reversed},
              {"bias'", k.p.bias_reversed}},
             {sets("y", k.y, forward), optional(sets("dx", k.dx, backward)), adds("dw", k.g.w, backward),
              adds("dbias", k.g.bias, backward), adds("dw'", k.g.w_reversed, backward),
              adds("dbias'", k.g.bias_reversed, backward)},
             in_turn(by_name(bilstm_forward, "y", "saved", "x", weights, "scratch", d),
                     by_name(bilstm_backward, "dx", group("dw", "dbias", "dw'", "dbias'"), "dy", "x", "saved", weights,
                             "more", d)),
             {{"saved", bytes_of(bilstm_saved, d)},
              {"scratch", bytes_of(bilstm_forward_scratch, d)},
              {"more", bytes_of(bilstm_backward_scratch, d)}});
  }
}

TEST(Bilstm, RefusesSizesBelowOneAndADirection) {
  expect_refused({LstmDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}, {1, 1, 1, 1, true}}, bilstm_forward,
                 bilstm_backward, bilstm_saved, bilstm_forward_scratch, bilstm_backward_scratch);
}

}  // namespace
}  // namespace cafx
