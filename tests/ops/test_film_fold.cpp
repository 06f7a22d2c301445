#include "kernels/film/film_fold.h"

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_ssm.h"

namespace cafx {
namespace {

using namespace op_test;

struct Case {
  Case(FilmFoldDims d, bool with_bias)
      : d(d),
        w(random(static_cast<long>(d.O) * d.I, 1)),
        bias(with_bias ? random(d.O, 2) : Vec()),
        modulation(random(with_bias ? 2L * d.O : d.O, 3)),
        dfolded{random(static_cast<long>(d.O) * d.I, 4), with_bias ? random(d.O, 5) : Vec(), {}} {}
  std::string sizes() const { return fmt::format("O={} I={}{}", d.O, d.I, bias.empty() ? ", no bias" : ""); }
  FilmFoldDims d;
  Vec w, bias, modulation;
  reference::FilmFold dfolded;
};

// What the folded layer makes of x is what the layer makes, scaled and shifted.
TEST(FilmFold, ReferenceIsTheFormula) {
  const FilmFoldDims d{3, 5};
  const Case k(d, true);
  const Vec x = random(d.I, 6);
  const reference::FilmFold f = reference::film_fold(k.w, k.bias, k.modulation, d);
  for (std::size_t o = 0; o < 3; ++o) {
    double plain = k.bias[o], folded = f.bias[o];
    for (std::size_t i = 0; i < 5; ++i) {
      plain += k.w[o * 5 + i] * x[i];
      folded += f.w[o * 5 + i] * x[i];
    }
    EXPECT_NEAR(folded, (1 + k.modulation[o]) * plain + k.modulation[3 + o], 1e-12);
  }
}

TEST(FilmFold, ReferenceGradientMatchesDifferences) {
  for (const bool with_bias : {true, false}) {
    Case k({3, 5}, with_bias);
    const reference::FilmFold g = reference::film_fold_backward(k.dfolded, k.w, k.bias, k.modulation, k.d);
    const auto f = [&] {
      const reference::FilmFold folded = reference::film_fold(k.w, k.bias, k.modulation, k.d);
      return dot(folded.w, k.dfolded.w) + dot(folded.bias, k.dfolded.bias);
    };
    expect_gradient("dw", k.w, g.w, f);
    if (with_bias) expect_gradient("dbias", k.bias, g.bias, f);
    expect_gradient("dmodulation", k.modulation, g.dmodulation, f);
  }
}

TEST(FilmFold, MatchesReference) {
  for (const FilmFoldDims d : {FilmFoldDims{3, 5}, {1, 1}, {17, 1}, {33, 70}, {32, 48}}) {
    for (const bool with_bias : {true, false}) {
      const Case k(d, with_bias);
      const reference::FilmFold f = reference::film_fold(k.w, k.bias, k.modulation, d);
      const reference::FilmFold g = reference::film_fold_backward(k.dfolded, k.w, k.bias, k.modulation, d);
      check_op(k.sizes(), {{"w", k.w}, {"bias", k.bias}, {"modulation", k.modulation}},
               {sets("folded", f.w), sets("folded_bias", f.bias)},
               by_name(film_fold, group("folded", "folded_bias"), group("w", "bias"), "modulation", d));
      check_op(k.sizes(),
               {{"dfolded", k.dfolded.w},
                {"dfolded_bias", k.dfolded.bias},
                {"w", k.w},
                {"bias", k.bias},
                {"modulation", k.modulation}},
               {adds("dw", g.w), adds("dbias", g.bias), adds("dmodulation", g.dmodulation, {3e-6, 3e-5})},
               by_name(film_fold_backward, group("dw", "dbias"), "dmodulation", group("dfolded", "dfolded_bias"),
                       group("w", "bias"), "modulation", d));
    }
  }
}

// Several positions of one layer: results of each apart, as another layer may lie between, and the layer's gradients of
// all.
TEST(FilmFold, PositionsMatchReference) {
  for (const FilmFoldDims one : {FilmFoldDims{3, 5}, {33, 20}, {32, 48}}) {
    for (const bool with_bias : {true, false}) {
      constexpr int B = 3;
      FilmFoldDims d = one;
      d.B = B;
      d.folded_apart = static_cast<long>(d.O) * d.I + 4;
      d.modulation_apart = (with_bias ? 2L : 1L) * d.O + 3;
      Case k(one, with_bias);
      Vec modulation, folded, folded_bias, dfolded, dfolded_bias, dw(k.w.size(), 0.0), dbias(k.bias.size(), 0.0),
          dmodulation;
      const auto spread = [](Vec& to, long begin, const Vec& of, double gap) {
        if (of.empty()) return;
        to.resize(static_cast<std::size_t>(begin), gap);
        to.insert(to.end(), of.begin(), of.end());
      };
      for (int b = 0; b < B; ++b) {
        const auto seed = static_cast<std::uint64_t>(10 * b);
        k.modulation = random(static_cast<long>(k.modulation.size()), 3 + seed);
        k.dfolded = {
            random(static_cast<long>(k.w.size()), 4 + seed), random(static_cast<long>(k.bias.size()), 5 + seed), {}};
        const reference::FilmFold f = reference::film_fold(k.w, k.bias, k.modulation, one);
        const reference::FilmFold g = reference::film_fold_backward(k.dfolded, k.w, k.bias, k.modulation, one);
        spread(modulation, b * d.modulation_apart, k.modulation, 7.0);
        spread(dmodulation, b * d.modulation_apart, g.dmodulation, kNan);
        spread(folded, b * d.folded_apart, f.w, kNan), spread(folded_bias, b * d.folded_apart, f.bias, kNan);
        spread(dfolded, b * d.folded_apart, k.dfolded.w, 7.0);
        spread(dfolded_bias, b * d.folded_apart, k.dfolded.bias, 7.0);
        for (std::size_t i = 0; i < dw.size(); ++i) dw[i] += g.w[i];
        for (std::size_t i = 0; i < dbias.size(); ++i) dbias[i] += g.bias[i];
      }
      check_op(k.sizes(), {{"w", k.w}, {"bias", k.bias}, {"modulation", modulation}},
               {sets("folded", folded), sets("folded_bias", folded_bias)},
               by_name(film_fold, group("folded", "folded_bias"), group("w", "bias"), "modulation", d));
      check_op(k.sizes(),
               {{"dfolded", dfolded},
                {"dfolded_bias", dfolded_bias},
                {"w", k.w},
                {"bias", k.bias},
                {"modulation", modulation}},
               {adds("dw", dw), adds("dbias", dbias), adds("dmodulation", dmodulation, {3e-6, 3e-5})},
               by_name(film_fold_backward, group("dw", "dbias"), "dmodulation", group("dfolded", "dfolded_bias"),
                       group("w", "bias"), "modulation", d));
    }
  }
}

TEST(FilmFold, RefusesSizesBelowOne) {
  expect_refused({FilmFoldDims{0, 1}, {1, 0}, {1, 1, 0}}, film_fold, film_fold_backward);
}

}  // namespace
}  // namespace cafx
