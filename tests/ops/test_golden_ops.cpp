// Every op against PyTorch: forward and every gradient.
#include <iterator>
#include <tuple>

#include "tests/ops/golden.h"
#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

// Stored as float32, so its rounding comes on top of the op's.
constexpr Tolerance kTolerance{2e-6, 1e-5};

class GoldenOps : public ::testing::Test {
 protected:
  // The tensor `prefix` + `name`.
  Vec in(const std::string& name) const { return golden.values(prefix + name); }
  std::vector<int> shape(const std::string& name) const { return golden.shape(prefix + name); }
  // An op and its gradient on the file's tensors: `reads` as they are and `more`; `writes` are set, `sums` added to.
  void check(const std::vector<std::string>& reads, const std::vector<std::string>& writes,
             const std::vector<std::string>& sums, std::function<void(const Context&, const Buffers&)> call,
             const Rooms& rooms = {}, const std::vector<Input>& more = {}) const {
    Op op{prefix, more, {}, std::move(call), rooms};
    for (const std::string& name : reads) op.inputs.push_back({name, in(name)});
    for (const std::string& name : writes) op.outputs.push_back(sets(name, in(name), kTolerance));
    for (const std::string& name : sums) op.outputs.push_back(adds(name, in(name), kTolerance));
    check_op(op);
  }

  template <class Forward, class Backward, class Scratch, class Dims>
  void check_layer(Forward forward, Backward backward, Scratch scratch, Dims d) const {
    check({"x", "w", "bias", "dy"}, {"y", "dx"}, {"dw", "dbias"},
          in_turn(by_name(forward, "y", "x", "w", "bias", "scratch", d),
                  by_name(backward, "dx", "dw", "dbias", "dy", "y", "x", "w", "scratch", d)),
          bytes_of(scratch, d));
  }

  const Golden golden{"ops.safetensors"};
  std::string prefix;
};

TEST_F(GoldenOps, Conv1d) {
  prefix = "conv1d.";
  const std::vector<int> y_shape = shape("y");
  const int K = shape("w")[2];
  const Conv1dDims d{y_shape[0], y_shape[1], y_shape[2], K};
  check({"w", "bias", "dy"}, {"y"}, {"dw", "dbias"},
        in_turn(by_name(conv1d_forward, "y", "x", "w", "bias", "scratch", d),
                by_name(conv1d_backward, "dw", "dbias", "dy", "x", "more", d)),
        {{"scratch", bytes_of(conv1d_forward_scratch, d)}, {"more", bytes_of(conv1d_backward_scratch, d)}},
        {{"x", reference::pad(in("x"), d.B, d.T, K, same_left(K))}});
}

TEST_F(GoldenOps, LocalConv) {
  prefix = "local_conv.";
  const std::vector<int> s = shape("x");
  const LocalConvDims d{s[0], s[1], s[2], shape("w")[2]};
  check({"x", "w", "bias", "dy"}, {"y", "dx"}, {"dw", "dbias"},
        in_turn(by_name(local_conv_forward, "y", "x", "w", "bias", d),
                by_name(local_conv_backward, "dx", "dw", "dbias", "dy", "x", "w", d)));
}

TEST_F(GoldenOps, Deconv1d) {
  for (const auto& [name, form, K] : {std::tuple{"adjoint5", Deconv::kAdjoint, 5},
                                      {"adjoint6", Deconv::kAdjoint, 6},
                                      {"correlate5", Deconv::kCorrelate, 5},
                                      {"correlate6", Deconv::kCorrelate, 6}}) {
    prefix = std::string("deconv1d.") + name + ".";
    const std::vector<int> s = shape("u");
    const Deconv1dDims d{s[0], s[1], s[2], K, form};
    check({"u", "w", "bias"}, {"y", "du"}, {"dw", "dbias"},
          in_turn(by_name(deconv1d_forward, "y", "u", "w", "bias", "scratch", d),
                  by_name(deconv1d_backward, "du", "dw", "dbias", "dy", "u", "w", "scratch", d)),
          bytes_of(deconv1d_scratch, d), {{"dy", reference::pad(in("dy"), d.B, d.T, K, deconv1d_pad(d))}});
  }
}

TEST_F(GoldenOps, Pointwise) {
  for (const Activation a : kActivations) {
    prefix = std::string("activation.") + to_string(a) + ".";
    const auto n = static_cast<long>(in("x").size());
    check({"x", "dy"}, {"y", "dx"}, {},
          in_turn(by_name(activation_forward, "y", "x", n, a), by_name(activation_backward, "dx", "dy", "y", n, a)));
  }
  prefix = "abs.";
  long n = std::ssize(in("x"));
  check({"x", "dy"}, {"y", "dx"}, {},
        in_turn(by_name(abs_forward, "y", "x", n), by_name(abs_backward, "dx", "dy", "x", n)));
  prefix = "multiply.";
  n = std::ssize(in("a"));
  check(
      {"a", "b", "dy"}, {"y", "da", "db"}, {},
      in_turn(by_name(multiply_forward, "y", "a", "b", n), by_name(multiply_backward, "da", "db", "dy", "a", "b", n)));
}

TEST_F(GoldenOps, Dense) {
  for (const Activation a : kActivations) {
    prefix = std::string("dense.") + to_string(a) + ".";
    check_layer(dense_forward, dense_backward, dense_scratch,
                DenseDims{shape("x")[0], shape("x")[1], shape("w")[0], a});
  }
}

TEST_F(GoldenOps, DenseTime) {
  for (const Activation a : kActivations) {
    prefix = std::string("dense_time.") + to_string(a) + ".";
    const std::vector<int> s = shape("x");
    check_layer(dense_time_forward, dense_time_backward, dense_time_scratch,
                DenseTimeDims{s[0], s[1], shape("w")[0], s[2], a});
  }
}

TEST_F(GoldenOps, LocalDense) {
  for (const Activation a : kActivations) {
    prefix = std::string("local_dense.") + to_string(a) + ".";
    const std::vector<int> s = shape("x");
    check_layer(local_dense_forward, local_dense_backward, local_dense_scratch,
                LocalDenseDims{s[0], s[1], shape("w")[1], s[2], a});
  }
}

TEST_F(GoldenOps, Pool) {
  prefix = "max_pool.";
  const std::vector<int> s = shape("x");
  const PoolDims d{s[0], s[1], s[2], s[1] / shape("y")[1]};
  const Vec positions = in("positions");
  const Positions at(positions.begin(), positions.end());
  check_op(prefix, {{"x", in("x")}, {"dy", in("dy")}},
           {sets("y", in("y"), kTolerance), sets_ints("positions", at), sets("dx", in("dx"), kTolerance)},
           in_turn(by_name(max_pool_forward, "y", "positions", "x", d),
                   by_name(max_pool_backward, "dx", "dy", "positions", d)));
  for (const auto& [name, form] : {std::pair{"positions", Unpool::kPositions}, {"hold", Unpool::kHold}}) {
    prefix = std::string("unpool.") + name + ".";
    check(
        {"z", "dy"}, {"y", "dz"}, {},
        in_turn(by_name(unpool_forward, "y", "z", "at", d, form), by_name(unpool_backward, "dz", "dy", "at", d, form)),
        {}, {ints("at", at)});
  }
}

TEST_F(GoldenOps, Saaf) {
  for (const int order : {1, 2}) {
    for (const bool every_second : {false, true}) {
      for (const int rows : {1, 2}) {
        prefix = fmt::format("saaf.{}.{}.{}.", order, static_cast<int>(every_second), rows);
        const std::vector<int> s = shape("x");
        const SaafDims d{s[0], s[1], s[2], 5, -0.7f, 0.6f, 1.5f, every_second, rows == 2, order};
        check({"x", "v", "w", "dy"}, {"y", "dx"}, {"dv", "dw"},
              in_turn(by_name(saaf_forward, "y", "x", "v", "w", "scratch", d),
                      by_name(saaf_backward, "dx", "dv", "dw", "dy", "x", "v", "w", "scratch", d)),
              bytes_of(saaf_scratch, d));
      }
    }
  }
}

TEST_F(GoldenOps, Mae) {
  prefix = "mae.";
  const int B = shape("y")[0], T = shape("y")[1];
  const double loss = in("loss")[0];
  const Vec y = in("y"), target = in("target");
  Vec losses(static_cast<std::size_t>(B));
  for (std::size_t i = 0; i < y.size(); ++i) losses[i / static_cast<std::size_t>(T)] += std::abs(y[i] - target[i]);
  double sum = 0;
  for (const double l : losses) sum += l;
  EXPECT_NEAR(sum / (B * T), loss, 1e-6);  // the mean, of which the op makes the sum of each row
  check_op(prefix, {{"y", y}, {"target", target}}, {sets_doubles("losses", losses), sets("dy", in("dy"), kTolerance)},
           [=](const Context& c, const Buffers& b) {
             loss_forward_backward(c, b["losses"], b["dy"], b["y"], b["target"], nullptr,
                                   1.0f / static_cast<float>(B * T), {.mae = 1.0f}, nullptr, {B, T, 1, 0, T});
           });
}

TEST_F(GoldenOps, TenAdamSteps) {
  for (const auto& [name, decay] : {std::pair{"adam.", 0.0f}, {"adamw.", 0.1f}}) {
    prefix = name;
    const Vec start = in("params");
    const auto n = static_cast<long>(start.size());
    check_op({prefix,
              {{"grads", in("grads")}},
              {updates("params", start, in("after"), kTolerance)},
              [=, decay = decay](const Context& c, const Buffers& b) {
                float* m = b["scratch"];  // and v behind it
                fill_zero(c, m, sizeof(float) * static_cast<std::size_t>(2 * n));
                for (long step = 1; step <= 10; ++step) {
                  adam_step(c, b["params"], m, m + n, static_cast<const float*>(b["grads"]) + (step - 1) * n, nullptr,
                            n, {1e-2f, 0.9f, 0.999f, 1e-8f, decay, 1.0f, step});
                }
              },
              [=](const Context&) { return sizeof(float) * static_cast<std::size_t>(2 * n); }});
  }
}

}  // namespace
}  // namespace cafx
