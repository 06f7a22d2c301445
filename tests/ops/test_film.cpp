#include "kernels/film/film.h"

#include "kernels/lstm/lstm_tensors.h"
#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_ssm.h"

namespace cafx {
namespace {

using namespace op_test;

struct Case {
  explicit Case(FilmDims d, bool modulated = true)
      : d(d),
        z(random(static_cast<long>(d.B) * d.C * d.T, 1)),
        x(random(static_cast<long>(d.B) * d.C * d.T, 2)),
        residual(random(d.C, 3)),
        modulation(modulated ? random(2L * film_blocks(d) * d.B * d.C, 4) : Vec()),
        dy(random(static_cast<long>(d.B) * d.C * d.T, 5)),
        dpooled(random(static_cast<long>(film_blocks(d)) * d.B * (d.C + d.beside), 6)),
        constants(random(static_cast<long>(d.B) * d.beside, 7)) {}
  std::string sizes() const {
    return fmt::format("B={} C={} T={} block={} beside={}{}{}", d.B, d.C, d.T, d.block, d.beside,
                       d.around_one ? " around one" : "", modulation.empty() ? ", none" : "");
  }
  FilmDims d;
  Vec z, x, residual, modulation, dy, dpooled, constants;
};

const std::vector<FilmDims> kSizes{{2, 3, 17, 5},      {1, 1, 1, 1},     {1, 2, 3, 8},         {2, 5, 128, 16},
                                   {1, 16, 1000, 128}, {3, 5, 17, 7, 2}, {2, 3, 9, 9, 0, true}};

TEST(Film, ReferenceGradientMatchesDifferences) {
  for (const bool modulated : {true, false}) {
    Case k({2, 3, 7, 3, 0, modulated}, modulated);
    const reference::Film g = reference::film_backward(k.dy, k.z, k.x, k.residual, k.modulation, k.d);
    const auto f = [&] { return dot(reference::film_forward(k.z, k.x, k.residual, k.modulation, k.d), k.dy); };
    expect_gradients(f, {{"dz", k.z, g.dz},
                         {"dx", k.x, g.dx},
                         {"dresidual", k.residual, g.dresidual},
                         {"dmodulation", k.modulation, g.dmodulation}});
    expect_gradient("dx of the pool", k.x, reference::film_pool_backward(k.dpooled, k.x, k.d),
                    [&] { return dot(reference::film_pool_forward(k.x, k.constants, k.d), k.dpooled); });
  }
}

TEST(Film, MatchesReference) {
  const Tolerance sums{3e-6, 3e-5};
  for (const FilmDims d : kSizes) {
    for (const bool modulated : {true, false}) {
      const Case k(d, modulated);
      const reference::Film g = reference::film_backward(k.dy, k.z, k.x, k.residual, k.modulation, d);
      check_op(k.sizes(), {{"z", k.z}, {"x", k.x}, {"residual", k.residual}, {"modulation", k.modulation}},
               {in_place("x", sets("y", reference::film_forward(k.z, k.x, k.residual, k.modulation, d)))},
               by_name(film_forward, "y", "z", "x", "residual", "modulation", d));
      check_op(k.sizes(), {{"dy", k.dy}, {"z", k.z}, {"modulation", k.modulation}},
               {in_place("dy", sets("dz", g.dz)), sets("dmodulation", g.dmodulation, sums)},
               by_name(film_backward, "dz", "dmodulation", "dy", "z", "modulation", d));
      check_op(k.sizes(), {{"dy", k.dy}, {"x", k.x}, {"residual", k.residual}},
               {adds("dx", g.dx), adds("dresidual", g.dresidual, sums)},
               by_name(film_residual_backward, "dx", "dresidual", "dy", "x", "residual", d));
    }
  }
}

// All below zero too, where the zeros behind an incomplete block are its maximum.
TEST(Film, PoolMatchesReference) {
  for (const FilmDims d : kSizes) {
    Case k(d);
    for (const bool below : {false, true}) {
      if (below) {
        for (double& v : k.x) v = -std::abs(v) - 0.5;
      }
      for (const Vec& constants : {k.constants, Vec()}) {
        check_op(k.sizes(), {{"x", k.x}, {"constants", constants}},
                 {sets("pooled", reference::film_pool_forward(k.x, constants, d))},
                 by_name(film_pool_forward, "pooled", "x", "constants", d));
      }
      check_op(k.sizes(), {{"x", k.x}, {"dpooled", k.dpooled}},
               {adds("dx", reference::film_pool_backward(k.dpooled, k.x, d))},
               by_name(film_pool_backward, "dx", "dpooled", "x", d));
    }
  }
}

TEST(Film, RefusesSizesBelowOne) {
  expect_refused({FilmDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}, {1, 1, 1, 1, -1}}, film_forward,
                 film_backward, film_residual_backward, film_pool_forward, film_pool_backward);
}

TEST(LstmTensors, JoinAndPart) {
  for (const LstmDims d : {LstmDims{1, 1, 3, 5}, {1, 1, 1, 1}, {1, 1, 16, 32}}) {
    const long G = 4L * d.H;
    const Vec w_input = random(G * d.I, 1), w_hidden = random(G * d.H, 2), bias_input = random(G, 3),
              bias_hidden = random(G, 4), dw = random(G * (d.I + d.H), 5), dbias = random(G, 6);
    Vec w, bias, dw_input, dw_hidden;
    for (long g = 0; g < G; ++g) {
      w.insert(w.end(), w_input.begin() + g * d.I, w_input.begin() + (g + 1) * d.I);
      w.insert(w.end(), w_hidden.begin() + g * d.H, w_hidden.begin() + (g + 1) * d.H);
      bias.push_back(bias_input[g] + bias_hidden[g]);
      const auto row = dw.begin() + g * (d.I + d.H);
      dw_input.insert(dw_input.end(), row, row + d.I);
      dw_hidden.insert(dw_hidden.end(), row + d.I, row + d.I + d.H);
    }
    const std::string sizes = fmt::format("I={} H={}", d.I, d.H);
    check_op(sizes,
             {{"w_input", w_input}, {"w_hidden", w_hidden}, {"bias_input", bias_input}, {"bias_hidden", bias_hidden}},
             {sets("w", w), sets("bias", bias)},
             by_name(lstm_join, "w", "bias", group("w_input", "w_hidden", "bias_input", "bias_hidden"), d));
    check_op(sizes, {{"dw", dw}, {"dbias", dbias}},
             {adds("dw_input", dw_input), adds("dw_hidden", dw_hidden), adds("dbias_input", dbias),
              adds("dbias_hidden", dbias)},
             by_name(lstm_part, group("dw_input", "dw_hidden", "dbias_input", "dbias_hidden"), "dw", "dbias", d));
  }
}

}  // namespace
}  // namespace cafx
