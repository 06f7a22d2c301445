#include "kernels/pool/pool.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr PoolDims kSizes[] = {{2, 15, 3, 5}, {1, 1, 1, 1},  {2, 7, 3, 7},     {2, 6, 5, 1},
                               {1, 8, 16, 4}, {2, 6, 33, 3}, {1, 130, 67, 13}, {2, 1024, 128, 16}};

// Selections copy: no rounding, so exact.
constexpr Tolerance kExact{0, 0};

TEST(Pool, MatchesReference) {
  for (const PoolDims d : kSizes) {
    Vec x = random(static_cast<long>(d.B) * d.T * d.C, 1);
    for (double& value : x) value = std::round(value * 8) / 8;  // many ties: the first must win
    const Vec dz = random(static_cast<long>(d.B) * (d.T / d.P) * d.C, 2), dy = random(x.size(), 3);
    Positions positions;
    const Vec want = reference::max_pool_forward(positions, x, d);
    const std::string sizes = fmt::format("B={} T={} C={} P={}", d.B, d.T, d.C, d.P);
    check_op(sizes, {{"x", x}}, {sets("z", want, kExact), sets_ints("at", positions)},
             by_name(max_pool_forward, "z", "at", "x", d));
    check_op(sizes, {{"dz", dz}, ints("at", positions)},
             {sets("dx", reference::max_pool_backward(dz, positions, d), kExact)},
             by_name(max_pool_backward, "dx", "dz", "at", d));
    for (const Unpool form : {Unpool::kPositions, Unpool::kHold}) {
      const Input at = ints("at", form == Unpool::kHold ? Positions() : positions);
      check_op(sizes, {{"z", want}, at}, {sets("y", reference::unpool_forward(want, positions, d, form), kExact)},
               by_name(unpool_forward, "y", "z", "at", d, form));
      check_op(sizes, {{"dy", dy}, at},
               {sets("dz", reference::unpool_backward(dy, positions, d, form),
                     form == Unpool::kHold ? Tolerance{} : kExact)},
               by_name(unpool_backward, "dz", "dy", "at", d, form));
    }
  }
}

// The gradients of unpool(z) x added to what other paths gave.
TEST(Pool, UnpoolMultiplyAddsItsGradients) {
  for (const PoolDims d : kSizes) {
    const long n = static_cast<long>(d.B) * d.T * d.C, n_z = n / d.P;
    const Vec x = random(n, 1), z = random(n_z, 2), du = random(n, 3);
    Positions positions;
    reference::max_pool_forward(positions, random(n, 4), d);
    for (const Unpool form : {Unpool::kPositions, Unpool::kHold}) {
      const Vec held = reference::unpool_forward(z, positions, d, form);
      Vec dx(x.size()), of_held(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        dx[i] = held[i] * du[i];
        of_held[i] = x[i] * du[i];
      }
      const auto stored = [](Output out) {
        out.kind = Kind::kStored;
        return out;
      };
      check_op(fmt::format("B={} T={} C={} P={}", d.B, d.T, d.C, d.P),
               {{"du", du, Kind::kStored}, {"z", z}, {"x", x, Kind::kStored}, ints("at", positions)},
               {adds("dz", reference::unpool_backward(of_held, positions, d, form)), stored(adds("dx", dx))},
               by_name(unpool_multiply_backward, "dz", "dx", "du", "z", "x", "at", d, form, true));
    }
  }
}

TEST(Pool, ANanIsAMaximumOnlyWhereItIsFirst) {
  const PoolDims d{1, 8, 17, 4};
  for (const Context& context : contexts()) {
    Floats x(8 * 17, 1.0f), z(2 * 17, 0.0f);
    Ints at(2 * 17);
    x.data()[2 * 17 + 16] = kNan;  // third of its window
    x.data()[4 * 17 + 3] = kNan;   // first of its window
    max_pool_forward(context, z, at, x, d);
    EXPECT_EQ(z.data()[16], 1.0f) << label(context);
    EXPECT_EQ(at.data()[16], 0) << label(context);
    EXPECT_TRUE(std::isnan(z.data()[17 + 3])) << label(context);
    EXPECT_EQ(at.data()[17 + 3], 0) << label(context);
  }
}

TEST(Pool, RefusesAPoolThatDoesNotDivide) {
  const Pointer p = nowhere();
  expect_refused(
      {PoolDims{1, 10, 1, 4}, {0, 4, 1, 4}, {1, 4, 0, 4}, {1, 4, 1, 0}}, max_pool_forward, max_pool_backward,
      [&](PoolDims d) { unpool_forward({}, p, p, p, d, Unpool::kHold); },
      [&](PoolDims d) { unpool_backward({}, p, p, p, d, Unpool::kHold); });
  expect_refused(
      {PoolDims{1, 8, 1, 4}}, [&](PoolDims d) { unpool_forward({}, p, p, nullptr, d, Unpool::kPositions); },
      [&](PoolDims d) { unpool_backward({}, p, p, nullptr, d, Unpool::kPositions); });
}

}  // namespace
}  // namespace cafx
