#include "kernels/saaf/saaf.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

// Samples in every segment and on both rays, kept off the break points, where order 1 has its corners.
Vec input(SaafDims d, std::uint64_t seed) {
  const double D = (static_cast<double>(d.hi) - d.lo) / d.S;
  Vec x = random(static_cast<long>(d.B) * d.T * d.C, seed, -3.0, d.S + 3.0);
  for (double& value : x) {
    const double segment = std::floor(value);
    value = static_cast<float>(d.lo + D * (segment + 0.01 + 0.98 * (value - segment)));
  }
  return x;
}

struct Setting {
  int S;
  float lo, hi, scale;
  bool every_second, has_v0;
  int order;
};
constexpr Setting kSettings[] = {{5, -0.7f, 0.9f, 1.0f, false, true, 2},   {24, -0.2f, 0.2f, 100.0f, true, false, 2},
                                 {1, -1.0f, 1.0f, 1.0f, false, true, 2},   {6, -1.1f, 1.1f, 0.5f, true, true, 2},
                                 {25, -1.0f, 1.0f, 1.0f, false, false, 2}, {5, -0.7f, 0.9f, 1.0f, false, true, 1},
                                 {24, -1.0f, 1.0f, 2.0f, true, false, 1},  {1, 0.0f, 3.0f, 1.0f, true, true, 1}};

void expect_oracle(SaafDims d) {
  const Vec x = input(d, 1), v = random(n_v(d) * d.C, 2), w = random(n_curved(d) * d.C, 3), dy = random(x.size(), 4);
  const Vec want = reference::saaf_forward(x, v, w, d);
  Vec dv(v.size()), dw(w.size());
  const Vec dx = reference::saaf_backward(dv, dw, dy, x, v, w, d);
  const std::string sizes = fmt::format("B={} T={} C={} S={} [{}, {}] every_second={} has_v0={} order={}", d.B, d.T,
                                        d.C, d.S, d.lo, d.hi, d.every_second, d.has_v0, d.order);
  const auto scratch = bytes_of(saaf_scratch, d);
  check_op(sizes, {{"x", x}, {"v", v}, {"w", w}}, {in_place("x", sets("y", want))},
           by_name(saaf_forward, "y", "x", "v", "w", "scratch", d), scratch);
  check_op(sizes, {{"dy", dy}, {"x", x}, {"v", v}, {"w", w}}, {sets("dx", dx), adds("dv", dv), adds("dw", dw)},
           by_name(saaf_backward, "dx", "dv", "dw", "dy", "x", "v", "w", "scratch", d), scratch);
}

TEST(Saaf, EverySettingMatchesReference) {
  for (const Setting& s : kSettings) {
    for (const auto& [B, T, C] : {std::array{2, 17, 3}, {1, 1, 1}, {2, 9, 1}, {1, 5, 16}, {2, 7, 33}, {1, 40, 67}}) {
      expect_oracle({B, T, C, s.S, s.lo, s.hi, s.scale, s.every_second, s.has_v0, s.order});
    }
  }
}

TEST(Saaf, TheRealSizeMatchesReference) { expect_oracle({2, 1024, 128, 24, -1.0f, 1.0f, 1.0f, false, true, 2}); }

TEST(Saaf, BreakPointsThemselvesBelongToTheCurve) {
  const SaafDims d{1, 9, 1, 4, -1.0f, 1.0f, 1.0f, false, true, 2};
  const Vec x = {-2, -1, -0.75, -0.5, 0, 0.5, 0.75, 1, 2}, v = random(2, 1), w = random(4, 2);
  check_op("break points", {{"x", x}, {"v", v}, {"w", w}}, {sets("y", reference::saaf_forward(x, v, w, d))},
           by_name(saaf_forward, "y", "x", "v", "w", "scratch", d), bytes_of(saaf_scratch, d));
}

TEST(Saaf, NanGivesNanAndHugeInputStaysOnTheRays) {
  const SaafDims d{1, 5, 1, 4, -1.0f, 1.0f, 1.0f, false, true, 2};
  const float far = 1e30f;
  const Vec v = {0.25, 0.5}, w = {0.5, -0.25, 0.125, 1};
  double top = 0.5;
  for (const double weight : w) top += 0.5 * weight;  // every segment is 0.5 wide
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats x(Vec{0, far, -far, 0, 0}), fv(v), fw(w), y(5, 0.0f), dx(5, 0.0f), dv(2, 0.0f), dw(4, 0.0f), ones(5, 1.0f);
    x.data()[0] = kNan;
    Bytes scratch(saaf_scratch(context, d));
    saaf_forward(context, y, x, fv, fw, scratch.get(), d);
    EXPECT_TRUE(std::isnan(y.data()[0]));
    EXPECT_NEAR(y.data()[1], top * far, 1e-5 * far);
    EXPECT_NEAR(y.data()[2], -0.5 * far, 1e-5 * far);
    EXPECT_NEAR(y.data()[4], reference::saaf_forward({0.0}, v, w, d)[0], 1e-6);
    saaf_backward(context, dx, dv, dw, ones, x, fv, fw, scratch.get(), d);
    EXPECT_NEAR(dx.data()[1], top, 1e-5);
    EXPECT_NEAR(dx.data()[2], 0.5, 1e-5);
  }
}

TEST(SaafLipschitz, MatchesReference) {
  for (const Setting& s : kSettings) {
    const SaafDims d{1, 1, 7, s.S, s.lo, s.hi, s.scale, s.every_second, s.has_v0, s.order};
    const Vec v = random(n_v(d) * d.C, 1), w = random(n_curved(d) * d.C, 2);
    Floats fv(v), fw(w), got(d.C, kNan);
    saaf_lipschitz(got, fv, fw, d);
    expect_near(got, reference::saaf_lipschitz(v, w, d), fmt::format("S={} order={}", d.S, d.order));
  }
}

TEST(SaafProject, EverySlopeIsWithinL) {
  for (const Setting& s : kSettings) {
    const SaafDims d{1, 1, 33, s.S, s.lo, s.hi, s.scale, s.every_second, s.has_v0, s.order};
    for (const float L : {0.01f, 0.5f, 1.0f, 3.0f}) {
      for (const double size : {0.1, 1.0, 1000.0}) {
        SCOPED_TRACE(fmt::format("S={} order={} L={} size={}", d.S, d.order, L, size));
        const Vec v = random(n_v(d) * d.C, 1, -size, size), w = random(n_curved(d) * d.C, 2, -size, size);
        Floats fv(v), fw(w), constant(d.C, kNan);
        saaf_project({}, fv, fw, L, d);
        saaf_lipschitz(constant, fv, fw, d);
        const Vec before = reference::saaf_lipschitz(v, w, d),
                  after = reference::saaf_lipschitz(fv.values(), fw.values(), d);
        for (int c = 0; c < d.C; ++c) {
          EXPECT_TRUE(constant.data()[c] <= L) << c << ": " << constant.data()[c];
          EXPECT_TRUE(after[c] <= L * (1 + 1e-7)) << c << ": " << after[c];
          if (before[c] > L * 0.999) continue;
          for (int i = 0; i < n_v(d); ++i) EXPECT_EQ(fv.data()[i * d.C + c], v[i * d.C + c]) << c;
          for (int i = 0; i < n_curved(d); ++i) EXPECT_EQ(fw.data()[i * d.C + c], w[i * d.C + c]) << c;
        }
        if (d.has_v0) {
          for (int c = 0; c < d.C; ++c) EXPECT_EQ(fv.data()[c], v[c]) << "v0 has no slope";
        }
      }
    }
  }
}

// The slopes of the projected curve are those of the given one, clamped: no more is changed than that.
TEST(SaafProject, SlopesAreTheGivenOnesClamped) {
  const SaafDims d{1, 1, 1, 3, 0.0f, 3.0f, 1.0f, false, true, 2};
  Floats v(Vec{0.5, 0.5}), w(Vec{1.0, 0.25, -1.5});  // slopes .5, 1.5, 1.75, .25
  saaf_project({}, v, w, 1.0f, d);
  EXPECT_EQ(v.data()[1], 0.5f);
  EXPECT_NEAR(w.data()[0], 0.5, 1e-4);
  EXPECT_NEAR(w.data()[1], 0.0, 1e-4);
  EXPECT_NEAR(w.data()[2], -0.75, 1e-4);
}

TEST(Saaf, RefusesWhatItsContractExcludes) {
  const Pointer p = nowhere();
  const SaafDims good{1, 1, 1, 1, -1, 1, 1, false, true, 2};
  constexpr SaafDims kWrong[] = {{1, 1, 1, 0, -1, 1, 1, false, true, 2},  {1, 1, 1, 1, -1, -1, 1, false, true, 2},
                                 {1, 1, 1, 1, -1, 1, 1, false, true, 3},  {0, 1, 1, 1, -1, 1, 1, false, true, 2},
                                 {1, 0, 1, 1, -1, 1, 1, false, true, 2},  {1, 1, 0, 1, -1, 1, 1, false, true, 2},
                                 {1, 1, 1, 1, kNan, 1, 1, false, true, 2}};
  expect_refused(
      kWrong, saaf_forward, saaf_backward, saaf_scratch, [&](SaafDims d) { saaf_lipschitz(p, p, p, d); },
      [&](SaafDims d) { saaf_project({}, p, p, 1.0f, d); });
  EXPECT_THROW(saaf_project({}, p, p, 0.0f, good), CheckError);
}

}  // namespace
}  // namespace cafx
