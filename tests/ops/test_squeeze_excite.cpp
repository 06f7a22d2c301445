#include "kernels/squeeze_excite/squeeze_excite.h"

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;

reference::SqueezeExcite tensors(SqueezeExciteDims d) {
  const double most = 1 / std::sqrt(d.H);
  return {random(static_cast<long>(d.H) * d.C, 11), random(d.H, 12, -0.2, 0.3),
          random(static_cast<long>(d.C) * d.H, 13, -most, most), random(d.C, 14)};
}
reference::SqueezeExcite zeros(SqueezeExciteDims d) {
  const auto n = static_cast<std::size_t>(d.H * d.C);
  return {Vec(n), Vec(static_cast<std::size_t>(d.H)), Vec(n), Vec(static_cast<std::size_t>(d.C))};
}
const auto kWeights = group("w1", "b1", "w2", "b2");

TEST(SqueezeExcite, ReferenceGradientMatchesDifferences) {
  const SqueezeExciteDims d{2, 7, 3, 5};
  Vec x = random(42, 1), saved;
  const Vec dy = random(42, 2);
  reference::SqueezeExcite p = tensors(d), g = zeros(d);
  reference::squeeze_excite_forward(saved, x, p, d);
  const Vec dx = reference::squeeze_excite_backward(g, dy, saved, x, p, d);
  const auto f = [&] {
    Vec unused;
    return dot(reference::squeeze_excite_forward(unused, x, p, d), dy);
  };
  expect_gradients(f,
                   {{"dx", x, dx}, {"dw1", p.w1, g.w1}, {"db1", p.b1, g.b1}, {"dw2", p.w2, g.w2}, {"db2", p.b2, g.b2}});
}

TEST(SqueezeExcite, MatchesReference) {
  for (const SqueezeExciteDims d :
       {SqueezeExciteDims{2, 17, 3, 5}, {1, 1, 1, 1}, {3, 100, 33, 40}, {1, 1024, 32, 512}, {5, 130, 17, 1}}) {
    const long n = static_cast<long>(d.B) * d.T * d.C;
    const Vec x = random(n, 1), before = random(n, 3), dy = random(n, 2);
    const reference::SqueezeExcite p = tensors(d);
    reference::SqueezeExcite g = zeros(d);
    Vec saved, y = reference::squeeze_excite_forward(saved, x, p, d);
    const Vec dx = reference::squeeze_excite_backward(g, dy, saved, x, p, d);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += before[i];
    const std::string sizes = fmt::format("B={} T={} C={} H={}", d.B, d.T, d.C, d.H);
    const Tolerance sums{3e-6, 3e-5};
    check_op(sizes, {{"x", x}, {"w1", p.w1}, {"b1", p.b1}, {"w2", p.w2}, {"b2", p.b2}},
             {updates("y", before, y, sums), sets("saved", saved, sums)},
             by_name(squeeze_excite_forward, "y", "saved", "x", kWeights, "scratch", d),
             bytes_of(squeeze_excite_scratch, d));
    check_op(sizes, {{"dy", dy}, {"x", x}, {"saved", saved}, {"w1", p.w1}, {"b1", p.b1}, {"w2", p.w2}, {"b2", p.b2}},
             {sets("dx", dx, sums), adds("dw1", g.w1, sums), adds("db1", g.b1, sums), adds("dw2", g.w2, sums),
              adds("db2", g.b2, sums)},
             by_name(squeeze_excite_backward, "dx", group("dw1", "db1", "dw2", "db2"), "dy", "x", "saved", kWeights,
                     "scratch", d),
             bytes_of(squeeze_excite_scratch, d));
  }
}

TEST(SqueezeExcite, RefusesSizesBelowOne) {
  expect_refused({SqueezeExciteDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, squeeze_excite_forward,
                 squeeze_excite_backward, squeeze_excite_scratch);
}

}  // namespace
}  // namespace cafx
