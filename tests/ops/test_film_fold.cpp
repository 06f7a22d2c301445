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

TEST(FilmFold, RefusesSizesBelowOne) { expect_refused({FilmFoldDims{0, 1}, {1, 0}}, film_fold, film_fold_backward); }

}  // namespace
}  // namespace cafx
