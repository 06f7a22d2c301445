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
    check_op(fmt::format("B={} R={} C={}", d.B, d.R, d.C), {{"x", x}}, {sets("y", y, {0, 0})},
             by_name(transpose, "y", "x", d));
  }
}

TEST(Transpose, OuterAxesAreExchanged) {
  for (const ExchangeDims d : {ExchangeDims{9, 3, 5, 7}, {1, 1, 1, 1}, {2, 1, 64, 32}, {64, 4, 1, 33}}) {
    const Vec x = random(static_cast<long>(d.I) * d.J * d.K * d.C, 1);
    Vec y(x.size());
    std::size_t at = 0;
    for (long i = 0; i < d.I; ++i) {
      for (long j = 0; j < d.J; ++j) {
        for (long k = 0; k < d.K; ++k) {
          for (long c = 0; c < d.C; ++c) y[static_cast<std::size_t>(((k * d.J + j) * d.I + i) * d.C + c)] = x[at++];
        }
      }
    }
    check_op(fmt::format("I={} J={} K={} C={}", d.I, d.J, d.K, d.C), {{"x", x}}, {sets("y", y, {0, 0})},
             by_name(exchange_outer, "y", "x", d));
  }
}

TEST(Transpose, ConstantsStandBesideEverySample) {
  for (const ConstantsDims d : {ConstantsDims{3, 17, 2}, {1, 1, 1}, {8, 70, 4}, {5, 1, 9}}) {
    const Vec x = random(static_cast<long>(d.B) * d.T, 1), c = random(static_cast<long>(d.B) * d.K, 2);
    for (const bool given : {true, false}) {
      Vec y;
      for (int t = 0; t < d.T; ++t) {
        for (int b = 0; b < d.B; ++b) {
          y.push_back(x[static_cast<std::size_t>(b * d.T + t)]);
          for (int k = 0; k < d.K; ++k) y.push_back(given ? c[static_cast<std::size_t>(b * d.K + k)] : 0.0);
        }
      }
      check_op(fmt::format("B={} T={} K={}{}", d.B, d.T, d.K, given ? "" : ", none given"),
               {{"x", x}, {"c", given ? c : Vec()}}, {sets("y", y, {0, 0})}, by_name(with_constants, "y", "x", "c", d));
    }
  }
  expect_refused({ConstantsDims{0, 1, 1}, {1, 0, 1}, {1, 1, 0}}, with_constants);
}

TEST(Transpose, RefusesSizesBelowOne) {
  expect_refused({TransposeDims{0, 1, 1}, {1, 0, 1}, {1, 1, 0}}, transpose);
  expect_refused({ExchangeDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, exchange_outer);
}

}  // namespace
}  // namespace cafx
