#include "kernels/loss/loss.h"

#include "tests/ops/differences.h"
#include "tests/ops/golden.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_loss.h"

namespace cafx {
namespace {

using namespace op_test;

struct Named {
  const char* name;
  LossWeights weights;
};
std::vector<Named> settings() {
  LossWeights linear;
  linear.mr_stft = 1.0f, linear.stft_linear = 0.5f, linear.stft_log = 0.0f;
  LossWeights all{0.5f, 0.25f, 1.0f, 2.0f, 0.75f, 0.3f, 0.95f};
  return {{"mae", {.mae = 0.5f}},
          {"mse", {.mse = 2.0f}},
          {"esr", {.esr = 1.5f}},
          {"filtered esr", {.esr = 1.0f, .pre_emphasis = 0.85f}},
          {"dc", {.dc = 1.0f}},
          {"log_cosh", {.log_cosh = 1.0f}},
          {"mr_stft", {.mr_stft = 1.0f}},
          {"linear mr_stft", linear},
          {"relative mae", {.mae = 0.5f, .relative_mae = true}},
          {"all", all}};
}

// B places of noise; y is half of the target, then twice of it, and some noise of its own: all bins of a spectrum are
// well above the floor, and nearly all magnitudes so far apart that rounding turns no sign.
struct Places {
  Vec y, target, reference;
  explicit Places(LossDims d) {
    target = random(d.B * d.target_stride, 1);
    y = random(static_cast<long>(d.B) * d.T, 2, -0.02, 0.02);
    for (long b = 0; b < d.B; ++b) {
      for (long t = 0; t < d.T; ++t) {
        double& value = y[static_cast<std::size_t>(b * d.T + t)];
        const double like = (2 * t < d.T ? 0.5 : 2.0) * target[static_cast<std::size_t>(b * d.target_stride + t)];
        value = static_cast<float>(value + like);
      }
    }
    reference = random(static_cast<long>(d.B) * kLossReferences, 3, 0.1, 0.5);
  }
};

TEST(Loss, ReferenceGradientMatchesDifferences) {
  for (const int T : {1, 6, 300, 1100}) {
    const LossDims d{T < 300 ? 2 : 1, T, 1, 0, T + 3};
    const Places p(d);
    for (const auto& [name, weights] : settings()) {
      if (weights.mr_stft != 0 && T <= 256) continue;
      for (const Vec& reference : {Vec(), p.reference}) {
        if (weights.relative_mae && reference.empty()) continue;
        SCOPED_TRACE(fmt::format("{} T={} reference={}", name, T, !reference.empty()));
        const Vec dy = reference::loss_backward(p.y, p.target, reference, 0.5 / T, weights, d);
        Vec y = p.y, some, of_some;  // every 61st sample of a long one
        std::vector<std::size_t> at;
        for (std::size_t i = 0; i < y.size(); i += T < 300 ? 1 : 61)
          at.push_back(i), some.push_back(y[i]), of_some.push_back(dy[i]);
        expect_gradient(
            "dy", some, of_some,
            [&, &weights = weights] {
              for (std::size_t i = 0; i < at.size(); ++i) y[at[i]] = some[i];
              double sum = 0;
              for (const double loss : reference::loss_forward(y, p.target, reference, weights, d)) sum += loss;
              return 0.5 / T * sum;
            },
            weights.mr_stft != 0 && weights.stft_log != 0 ? 3e-7 : 1e-5);  // bins near 0 bend the logarithm
      }
    }
  }
}

Op loss_op(const LossWeights& w, const Vec& y, const Vec& target, const Vec& reference, float scale, LossDims d,
           Tolerance tolerance) {
  return {
      fmt::format("B={} T={} K={} pad={} reference={}", d.B, d.T, d.K, d.pad, !reference.empty()),
      {{"y", y}, {"target", target}, {"reference", reference}},
      {sets_doubles("losses", reference::loss_forward(y, target, reference, w, d), {0, 2e-6}),
       optional(sets("dy",
                     reference::pad(reference::loss_backward(y, target, reference, static_cast<double>(scale), w, d),
                                    d.B, d.T, d.K, d.pad),
                     tolerance))},
      [=](const Context& context, const Buffers& b) {
        loss_forward_backward(context, b["losses"], b["dy"], b["y"], b["target"], b["reference"], scale, w,
                              b["scratch"], d);
      },
      [=](const Context& context) { return loss_scratch(context, w, d); }};
}

// Frames around the ends are symmetric, so their spectra are real but for a turn, and some bins lie near 0: the
// logarithm's slope there is a rounded number's inverse. What the other terms hold tightly takes the same way through
// the STFT.
Tolerance tolerance_of(const LossWeights& w) {
  return w.mr_stft != 0 && w.stft_log != 0 ? Tolerance{1e-3, 1e-3} : Tolerance{2e-6, 2e-5};
}

TEST(Loss, MatchesReference) {
  constexpr LossDims kSizes[] = {{2, 17, 5, 2, 17},   {1, 1, 1, 0, 1},         {3, 5, 8, 7, 9},
                                 {2, 300, 1, 0, 301}, {1, 1100, 64, 31, 1100}, {2, 5000, 1, 0, 5000}};
  for (const LossDims d : kSizes) {
    const Places p(d);
    for (const auto& [name, weights] : settings()) {
      if (weights.mr_stft != 0 && d.T <= 256) continue;
      for (const Vec& reference : {Vec(), p.reference}) {
        if (weights.relative_mae && reference.empty()) continue;
        SCOPED_TRACE(name);
        check_op(loss_op(weights, p.y, p.target, reference, 0.37f, d, tolerance_of(weights)));
      }
    }
  }
}

// What CAFx trains on, for which the op has a way of its own, without scratch.
TEST(Loss, MaeAloneIsExact) {
  for (const LossDims d : {LossDims{2, 17, 5, 2, 17}, {1, 1, 1, 0, 1}, {3, 5, 8, 7, 9}, {2, 1024, 64, 31, 1087}}) {
    Places p(d);
    if (d.T > 4) p.target[4] = p.y[4];  // no error: no gradient
    check_op(loss_op({.mae = 1.0f}, p.y, p.target, {}, 0.37f, d, {0, 0}));
    EXPECT_EQ(loss_scratch({}, {.mae = 1.0f}, d), 0u);
  }
}

// The loss of one place, and its gradient.
std::pair<double, Vec> loss_of(const Context& context, const LossWeights& w, const Vec& y, const Vec& target,
                               float scale = 1.0f) {
  const int T = static_cast<int>(y.size());
  const LossDims d{1, T, 1, 0, T};
  Floats fy(y), ftarget(target), one(3, 1.0f), dy(y.size(), kNan);
  Items<double> loss(std::vector<double>{NAN});
  Bytes scratch(loss_scratch(context, w, d));
  loss_forward_backward(context, loss, dy, fy, ftarget, w.relative_mae ? static_cast<float*>(one) : nullptr, scale, w,
                        scratch.get(), d);
  return {loss.data()[0], dy.values()};
}

TEST(Loss, EqualSignalsHaveNoLossAndNoGradient) {
  const Vec y = random(3000, 1);
  for (const auto& [name, weights] : settings()) {
    for (const Context& context : contexts()) {
      const auto [loss, dy] = loss_of(context, weights, y, y);
      EXPECT_EQ(loss, 0.0) << name << ", " << label(context);
      EXPECT_EQ(dy, Vec(y.size())) << name << ", " << label(context);
    }
  }
}

// The caller finds a broken step by its loss.
TEST(Loss, NanShowsInTheLossOfEveryTerm) {
  Vec y(300, 0.25);
  y[299] = NAN;
  std::vector<Named> all = settings();
  all.push_back({"mae alone", {.mae = 1.0f}});
  for (const auto& [name, weights] : all) {
    for (const Context& context : contexts()) {
      EXPECT_TRUE(std::isnan(loss_of(context, weights, y, Vec(300)).first)) << name << ", " << label(context);
    }
  }
}

TEST(LossReference, MatchesReference) {
  for (const LossDims d : {LossDims{2, 17, 1, 0, 17}, {1, 1, 1, 0, 1}, {3, 5000, 1, 0, 5003}}) {
    for (const float a : {0.0f, 0.85f}) {
      const Vec target = random(d.B * d.target_stride, 1), floors = {0.125, 0.25, 0.5};
      check_op(fmt::format("B={} T={} a={}", d.B, d.T, a), {{"target", target}, {"floors", floors}},
               {sets("reference", reference::loss_reference(target, floors, static_cast<double>(a), d))},
               by_name(loss_reference, "reference", "target", "floors", a, d));
    }
  }
}

// Against auraloss: tests/golden/make_losses.py.
TEST(Loss, MatchesAuraloss) {
  const Golden golden("losses.safetensors");
  const struct {
    const char* name;
    LossWeights weights;
  } terms[] = {{"mse", {.mse = 1.0f}},
               {"esr", {.esr = 1.0f}},
               {"esr_pre_emphasis", {.esr = 1.0f, .pre_emphasis = 0.85f}},
               {"dc", {.dc = 1.0f}},
               {"log_cosh", {.log_cosh = 1.0f}},
               {"mr_stft", {.mr_stft = 1.0f}},
               {"mr_stft_pre_emphasis", {.mr_stft = 1.0f, .pre_emphasis = 0.85f}},
               {"mr_stft_linear", {.mr_stft = 1.0f, .stft_convergence = 0.5f, .stft_log = 0.0f, .stft_linear = 2.0f}},
               {"short_mr_stft", {.mr_stft = 1.0f}}};
  for (const auto& [name, weights] : terms) {
    const bool is_short = std::string(name).starts_with("short");
    const Vec y = golden.values(is_short ? "short_y" : "y"),
              target = golden.values(is_short ? "short_target" : "target");
    const int T = static_cast<int>(y.size());
    for (const Context& context : contexts()) {
      SCOPED_TRACE(fmt::format("{}, {}", name, label(context)));
      const auto [loss, dy] = loss_of(context, weights, y, target, 1.0f / static_cast<float>(T));
      const double want = golden.values(std::string(name) + ".loss")[0];
      EXPECT_NEAR(loss / T, want, 1e-5 * want);
      expect_values(dy, golden.values(std::string(name) + ".dy"), "dy", 0, tolerance_of(weights), {});
    }
  }
}

TEST(Loss, RefusesWhatItsContractExcludes) {
  const LossWeights w{.mse = 1.0f}, spectral{.mr_stft = 1.0f};
  constexpr LossDims kWrong[] = {{0, 1, 1, 0, 1}, {1, 0, 1, 0, 1},  {1, 1, 0, 0, 1},
                                 {1, 1, 2, 2, 1}, {1, 1, 2, -1, 1}, {1, 2, 1, 0, 1}};
  expect_refused(
      kWrong,
      [&](LossDims d) {
        loss_forward_backward({}, nowhere(), nowhere(), nowhere(), nowhere(), nullptr, 1.0f, w, nowhere(), d);
      },
      [&](LossDims d) { loss_reference({}, nowhere(), nowhere(), nowhere(), 0.0f, d); },
      [&](LossDims d) { loss_scratch({}, w, d); });
  expect_refused(
      {LossDims{1, 256, 1, 0, 256}},
      [&](LossDims d) {
        loss_forward_backward({}, nowhere(), nowhere(), nowhere(), nowhere(), nullptr, 1.0f, spectral, nowhere(), d);
      },
      [&](LossDims d) { loss_scratch({}, spectral, d); });
  const LossDims d{1, 300, 1, 0, 300};
  expect_refused({LossWeights{.mae = -1.0f},
                  LossWeights{.mse = kNan},
                  LossWeights{.mae = 1.0f, .pre_emphasis = 1.5f},
                  {.mae = 1.0f, .relative_mae = true}},
                 [&](const LossWeights& bad) {
                   loss_forward_backward({}, nowhere(), nowhere(), nowhere(), nowhere(), nullptr, 1.0f, bad, nowhere(),
                                         d);
                 });
}

}  // namespace
}  // namespace cafx
