#include "kernels/deconv1d/deconv1d.h"

#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

constexpr Deconv1dDims kSizes[] = {{2, 17, 3, 5},      {1, 1, 1, 1},      {2, 1, 3, 4},  {2, 3, 5, 11},
                                   {1, 9, 16, 8},      {2, 7, 33, 6},     {1, 64, 5, 4}, {2, 130, 67, 7},
                                   {2, 1024, 128, 64}, {2, 300, 132, 150}};

TEST(Deconv1d, MatchesReference) {
  for (Deconv1dDims d : kSizes) {
    for (const Deconv form : {Deconv::kAdjoint, Deconv::kCorrelate}) {
      d.form = form;
      const Vec u = random(static_cast<long>(d.B) * d.T * d.C, 1), w = random(d.C * d.K, 2), bias = random(1, 3),
                dy = random(d.B * d.T, 4);
      Vec dw(w.size()), dbias(1);
      const Vec du = reference::deconv1d_backward(dw, dbias, dy, u, w, d);
      const std::string sizes = fmt::format("B={} T={} C={} K={} form {}", d.B, d.T, d.C, d.K, static_cast<int>(form));
      const auto scratch = bytes_of(deconv1d_scratch, d);
      check_op(sizes, {{"u", u}, {"w", w}, {"bias", bias}}, {sets("y", reference::deconv1d_forward(u, w, bias, d))},
               by_name(deconv1d_forward, "y", "u", "w", "bias", "scratch", d), scratch);
      check_op(sizes, {{"dy", reference::pad(dy, d.B, d.T, d.K, deconv1d_pad(d))}, {"u", u}, {"w", w}},
               {sets("du", du), adds("dw", dw), adds("dbias", dbias)},
               by_name(deconv1d_backward, "du", "dw", "dbias", "dy", "u", "w", "scratch", d), scratch);
    }
  }
}

TEST(Deconv1d, RefusesSizesBelowOne) {
  expect_refused({Deconv1dDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, deconv1d_forward,
                 deconv1d_backward, deconv1d_scratch);
}

}  // namespace
}  // namespace cafx
