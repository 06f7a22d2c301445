#include "kernels/pool/pool.h"

#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr PoolDims kSizes[] = {{2, 15, 3, 5}, {1, 1, 1, 1},  {2, 7, 3, 7},     {2, 6, 5, 1},
                               {1, 8, 16, 4}, {2, 6, 33, 3}, {1, 130, 67, 13}, {2, 1024, 128, 16}};

// Selections copy: no rounding, so exact.
constexpr Tolerance kExact{0, 0};

TEST(Pool, IsTheOracles) {
  for (const PoolDims d : kSizes) {
    Vec x = random(static_cast<long>(d.B) * d.T * d.C, 1);
    for (double& value : x) value = std::round(value * 8) / 8;  // many ties: the first must win
    const Vec dz = random(static_cast<long>(d.B) * (d.T / d.P) * d.C, 2), dy = random(x.size(), 3);
    Positions positions;
    const Vec want = reference::max_pool_forward(positions, x, d);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(fmt::format("{} B={} T={} C={} P={}", label(context), d.B, d.T, d.C, d.P));
      Floats fx(x), z(want.size(), kNan), fdz(dz), fdy(dy), dx(x.size(), kNan);
      Ints at(want.size());
      max_pool_forward(context, z, at, fx, d);
      expect_near(z, want, "z", 0, kExact);
      EXPECT_EQ(at.values(), positions);
      max_pool_backward(context, dx, fdz, at, d);
      expect_near(dx, reference::max_pool_backward(dz, positions, d), "dx", 0, kExact);
      for (const Unpool form : {Unpool::kPositions, Unpool::kHold}) {
        Floats y(x.size(), kNan), got(dz.size(), kNan);
        unpool_forward(context, y, z, form == Unpool::kHold ? nullptr : at.data(), d, form);
        expect_near(y, reference::unpool_forward(want, positions, d, form), "unpool y", 0, kExact);
        unpool_backward(context, got, fdy, form == Unpool::kHold ? nullptr : at.data(), d, form);
        expect_near(got, reference::unpool_backward(dy, positions, d, form), "unpool dz", 0,
                    form == Unpool::kHold ? Tolerance{} : kExact);
      }
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
  Floats one(64, 0.0f);
  Ints at(64);
  for (const PoolDims d : {PoolDims{1, 10, 1, 4}, PoolDims{0, 4, 1, 4}, PoolDims{1, 4, 0, 4}, PoolDims{1, 4, 1, 0}}) {
    EXPECT_THROW(max_pool_forward({}, one, at, one, d), CheckError);
    EXPECT_THROW(max_pool_backward({}, one, one, at, d), CheckError);
    EXPECT_THROW(unpool_forward({}, one, one, at, d, Unpool::kHold), CheckError);
    EXPECT_THROW(unpool_backward({}, one, one, at, d, Unpool::kHold), CheckError);
  }
  const PoolDims good{1, 8, 1, 4};
  EXPECT_THROW(unpool_forward({}, one, one, nullptr, good, Unpool::kPositions), CheckError);
  EXPECT_THROW(unpool_backward({}, one, one, nullptr, good, Unpool::kPositions), CheckError);
}

}  // namespace
}  // namespace cafx
