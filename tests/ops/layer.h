// tests/ops/layer.h -- what tests of the dense layers share.
#pragma once

#include "tests/ops/harness.h"

namespace cafx::op_test {

// A layer with `d.I` inputs for each output against its oracle. Backward gets y as floats: relu's slope hangs on the
// sign of a number that rounding may turn.
template <class Dims, class Forward, class Backward, class Scratch, class ForwardOracle, class BackwardOracle>
void check_layer(Forward forward, Backward backward, Scratch scratch, ForwardOracle forward_oracle,
                 BackwardOracle backward_oracle, Dims d, long n_x, long n_w, long n_bias, const std::string& sizes) {
  const double range = std::sqrt(3.0 / d.I);  // sums of about 1, so that tanh is not flat
  const Vec x = random(n_x, 1), w = random(n_w, 2, -range, range), bias = random(n_bias, 3),
            want = forward_oracle(x, w, bias, d), dy = random(static_cast<long>(want.size()), 4), y = as_floats(want);
  Vec dw(w.size()), dbias(bias.size());
  const Vec dx = backward_oracle(dw, dbias, dy, y, x, w, d);
  const std::string label = sizes + " " + to_string(d.activation);
  check_op(label, {{"x", x}, {"w", w}, {"bias", bias}}, {sets("y", want)},
           by_name(forward, "y", "x", "w", "bias", "scratch", d), bytes_of(scratch, d));
  Output of_x = sets("dx", dx);  // Dense leaves it out where nobody needs it
  of_x.optional = std::is_same_v<Dims, DenseDims>;
  check_op(label, {{"dy", dy}, {"y", y}, {"x", x}, {"w", w}}, {of_x, adds("dw", dw), adds("dbias", dbias)},
           by_name(backward, "dx", "dw", "dbias", "dy", "y", "x", "w", "scratch", d), bytes_of(scratch, d));
}

}  // namespace cafx::op_test
