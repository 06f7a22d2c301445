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

BilstmTensors<const float*> weights(const Buffers& b) { return {b["w"], b["bias"], b["w'"], b["bias'"]}; }

TEST(Bilstm, ReferenceGradientMatchesDifferences) {
  const LstmDims d{5, 2, 3, 2, false, true};
  Case k(d);
  const auto f = [&] { return dot(reference::bilstm_forward(k.x, k.p, d), k.dy); };
  expect_gradient("dx", k.x, k.dx, f);
  expect_gradient("dw", k.p.w, k.g.w, f);
  expect_gradient("dbias'", k.p.bias_reversed, k.g.bias_reversed, f);
  expect_gradient("dw'", k.p.w_reversed, k.g.w_reversed, f);
}

// Forward and backward in one call: what forward saves is the op's own. The tolerance is lstm's.
TEST(Bilstm, MatchesReference) {
  for (const LstmDims d : {LstmDims{17, 2, 3, 5},
                           {1, 1, 1, 1},
                           {kLstmChunk + 9, 3, 20, 12},
                           {64, 4, 40, 16, false, true},
                           {64, 2, 288, 64}}) {
    const Case k(d);
    const Tolerance forward{2e-6, 1e-5}, backward{1e-5, 1e-4};
    check_op({fmt::format("T={} B={} I={} H={}", d.T, d.B, d.I, d.H),
              {{"x", k.x},
               {"dy", k.dy},
               {"w", k.p.w},
               {"bias", k.p.bias},
               {"w'", k.p.w_reversed},
               {"bias'", k.p.bias_reversed}},
              {sets("y", k.y, forward), optional(sets("dx", k.dx, backward)), adds("dw", k.g.w, backward),
               adds("dbias", k.g.bias, backward), adds("dw'", k.g.w_reversed, backward),
               adds("dbias'", k.g.bias_reversed, backward)},
              [=](const Context& c, const Buffers& b) {
                auto* scratch = static_cast<char*>(b.scratch.at);
                bilstm_forward(c, b["y"], scratch, b["x"], weights(b), scratch + bilstm_saved(c, d), d);
                bilstm_backward(c, b["dx"], {b["dw"], b["dbias"], b["dw'"], b["dbias'"]}, b["dy"], b["x"], scratch,
                                weights(b), scratch + bilstm_saved(c, d), d);
              },
              [=](const Context& c) {
                return bilstm_saved(c, d) + std::max(bilstm_forward_scratch(c, d), bilstm_backward_scratch(c, d));
              }});
  }
}

TEST(Bilstm, RefusesSizesBelowOneAndADirection) {
  const Pointer p = nowhere();
  expect_refused(
      {LstmDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}, {1, 1, 1, 1, true}},
      [&](LstmDims d) {
        bilstm_forward({}, p, p, p, {p, p, p, p}, p, d);
      },
      [&](LstmDims d) {
        bilstm_backward({}, p, {p, p, p, p}, p, p, p, {p, p, p, p}, p, d);
      },
      [&](LstmDims d) { bilstm_saved({}, d); }, [&](LstmDims d) { bilstm_forward_scratch({}, d); },
      [&](LstmDims d) { bilstm_backward_scratch({}, d); });
}

}  // namespace
}  // namespace cafx
