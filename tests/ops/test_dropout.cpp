// Dropout's masks: what is left out follows from seed, update, layer and element, however the elements are cut.
#include "kernels/dropout/dropout.h"

#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

const DropoutDraw kDraw{{7, 11}};

std::vector<float> masked(const std::vector<float>& x, double rate, const DropoutDraw& draw, std::uint32_t layer = 3,
                          std::int64_t first = 0) {
  std::vector<float> y(x.size(), kNan);
  const auto n = static_cast<long>(x.size());
  dropout({}, y.data(), x.data(), rate, draw, layer, first, {1, n, n});
  return y;
}

// To the bit on every device, whether the update is told or stands in memory; what lies between rows is not written.
TEST(Dropout, LeavesOutWhatTheGeneratorSays) {
  const std::vector<DropoutKey> key{kDraw.key};
  const Rng rng{7, (std::uint64_t{3} << 48) | 11};
  for (const DropoutDims d : {DropoutDims{1, 10007, 10007}, {5, 3, 7}, {4, 8, 8}, {1, 1, 1}, {20, 5, 9}}) {
    for (const double rate : {0.0, 0.1, 0.5}) {
      for (const long first : {0L, 1L, 3L, 1L << 40}) {
        const Vec x = random(d.rows * d.stride, 1);
        Vec want(x.size(), static_cast<double>(kNan));
        long element = first, n_left_out = 0;
        for (long r = 0; r < d.rows; ++r) {
          for (long i = r * d.stride; i < r * d.stride + d.width; ++i, ++element) {
            const auto at = static_cast<std::uint64_t>(element);
            const bool out = rng.bits(at / 4)[at % 4] * 0x1p-32 < rate;
            const auto in = static_cast<float>(x[static_cast<std::size_t>(i)]);
            want[static_cast<std::size_t>(i)] = out ? 0.0f : static_cast<float>(1.0 / (1.0 - rate)) * in;
            n_left_out += out ? 1 : 0;
          }
        }
        const double n = static_cast<double>(d.rows * d.width);
        EXPECT_NEAR(static_cast<double>(n_left_out), rate * n, 5 * std::sqrt(n * rate * (1 - rate)));
        const std::string sizes =
            fmt::format("{} x {} of {}, rate {}, from {}", d.rows, d.width, d.stride, rate, first);
        check_op(sizes, {{"x", x}}, {sets("y", want, {0, 0})},
                 by_name(dropout, "y", "x", rate, kDraw, std::uint32_t{3}, first, d));
        const auto in_memory = [=](const Context& c, const Buffers& b) {
          dropout(c, b["y"], b["x"], rate, {.from = b["key"]}, 3, first, d);
        };
        Output y = sets("y", want, {0, 0});
        if (d.width == d.stride) y = in_place("x", y);
        check_op(sizes + ", update in memory", {{"x", x}, items("key", key)}, {y}, in_memory);
      }
    }
  }
}

TEST(Dropout, IsTheSameInPartsAndInPlace) {
  std::vector<float> x;
  for (int i = 0; i < 103; ++i) x.push_back(0.1f * static_cast<float>(i - 50));
  const std::vector<float> whole = masked(x, 0.3, kDraw, 3, 5);
  for (const std::size_t at : {0u, 1u, 2u, 3u, 4u, 50u, 102u, 103u}) {
    std::vector<float> parts = x;
    float* p = parts.data();
    const auto n = static_cast<long>(at), rest = static_cast<long>(x.size() - at);
    dropout({}, p, p, 0.3, kDraw, 3, 5, {1, n, n});
    dropout({}, p + at, p + at, 0.3, kDraw, 3, 5 + n, {1, rest, rest});
    EXPECT_EQ(parts, whole) << at;
  }
}

TEST(Dropout, DiffersByEveryKey) {
  const std::vector<float> ones(64, 1.0f);
  const std::vector<float> one = masked(ones, 0.5, kDraw);
  EXPECT_EQ(masked(ones, 0.5, kDraw), one);
  EXPECT_NE(masked(ones, 0.5, {{8, 11}}), one);
  EXPECT_NE(masked(ones, 0.5, {{7, 12}}), one);
  EXPECT_NE(masked(ones, 0.5, kDraw, 4), one);
  EXPECT_NE(masked(ones, 0.5, kDraw, 3, 4), one);
}

TEST(Dropout, RefusesWhatItsContractExcludes) {
  float one = 1.0f;
  const auto refused = [&](double rate, std::uint32_t layer, std::int64_t first, DropoutDims d) {
    EXPECT_THROW(dropout({}, &one, &one, rate, kDraw, layer, first, d), CheckError);
  };
  refused(0.1, 0, 0, {-1, 1, 1});
  refused(0.1, 0, 0, {1, -1, 1});
  refused(0.1, 0, 0, {1, 2, 1});
  refused(1.0, 0, 0, {1, 1, 1});
  refused(-0.1, 0, 0, {1, 1, 1});
  refused(0.1, 1u << 16, 0, {1, 1, 1});
  refused(0.1, 0, -1, {1, 1, 1});
}

}  // namespace
}  // namespace cafx
