#include "kernels/transpose/transpose.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(Transpose, RowsBecomeColumns) {
  for (const TransposeDims d :
       {TransposeDims{2, 17, 3}, {1, 1, 1}, {3, 1, 5}, {3, 5, 1}, {1, 8, 1024}, {2, 100, 67}, {300, 2, 2}}) {
    const Vec x = random(static_cast<long>(d.B) * d.R * d.C, 1);
    Vec y(x.size());
    for (long b = 0; b < d.B; ++b) {
      for (long r = 0; r < d.R; ++r) {
        for (long c = 0; c < d.C; ++c) {
          y[static_cast<std::size_t>((b * d.C + c) * d.R + r)] = x[static_cast<std::size_t>((b * d.R + r) * d.C + c)];
        }
      }
    }
    check_op({fmt::format("B={} R={} C={}", d.B, d.R, d.C),
              {{"x", x}},
              {sets("y", y, {0, 0})},
              [=](const Context& c, const Buffers& b) { transpose(c, b["y"], b["x"], d); }});
  }
}

TEST(Transpose, RefusesSizesBelowOne) {
  expect_refused({TransposeDims{0, 1, 1}, {1, 0, 1}, {1, 1, 0}},
                 [&](TransposeDims d) { transpose({}, nowhere(), nowhere(), d); });
}

}  // namespace
}  // namespace cafx
