// Every op against PyTorch: forward and every gradient.
#include "tests/ops/golden.h"

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
  void expect(Floats& got, const std::string& name) const {
    expect_near(got, golden.values(prefix + name), prefix + name, 0, kTolerance);
  }
  static std::size_t size(const Vec& x) { return x.size(); }

  const Golden golden{"ops.safetensors"};
  std::string prefix;
};

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu, Activation::kTanh,
                                       Activation::kSoftplus};

TEST_F(GoldenOps, Conv1d) {
  prefix = "conv1d.";
  const std::vector<int> y_shape = shape("y");
  const int K = shape("w")[2];
  const Conv1dDims d{y_shape[0], y_shape[1], y_shape[2], K};
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats x(reference::pad(in("x"), d.B, d.T, K, same_left(K))), w(in("w")), bias(in("bias")), dy(in("dy"));
    Floats y(dy.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
    Bytes scratch(conv1d_forward_scratch(context, d));
    conv1d_forward(context, y, x, w, bias, scratch.get(), d);
    Bytes back(conv1d_backward_scratch(context, d));
    conv1d_backward(context, dw, dbias, dy, x, back.get(), d);
    expect(y, "y");
    expect(dw, "dw");
    expect(dbias, "dbias");
  }
}

TEST_F(GoldenOps, LocalConv) {
  prefix = "local_conv.";
  const std::vector<int> s = shape("x");
  const LocalConvDims d{s[0], s[1], s[2], shape("w")[2]};
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats x(in("x")), w(in("w")), bias(in("bias")), dy(in("dy"));
    Floats y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
    local_conv_forward(context, y, x, w, bias, d);
    local_conv_backward(context, dx, dw, dbias, dy, x, w, d);
    expect(y, "y");
    expect(dx, "dx");
    expect(dw, "dw");
    expect(dbias, "dbias");
  }
}

TEST_F(GoldenOps, Deconv1d) {
  for (const auto& [name, form, K] : {std::tuple{"adjoint5", Deconv::kAdjoint, 5},
                                      {"adjoint6", Deconv::kAdjoint, 6},
                                      {"correlate5", Deconv::kCorrelate, 5},
                                      {"correlate6", Deconv::kCorrelate, 6}}) {
    prefix = std::string("deconv1d.") + name + ".";
    const std::vector<int> s = shape("u");
    const Deconv1dDims d{s[0], s[1], s[2], K, form};
    for (const Context& context : contexts()) {
      SCOPED_TRACE(label(context));
      Floats u(in("u")), w(in("w")), bias(in("bias")), dy(reference::pad(in("dy"), d.B, d.T, K, deconv1d_pad(d)));
      Floats y(in("y").size(), kNan), du(u.size(), kNan), dw(w.size(), 0.0f), dbias(1, 0.0f);
      Bytes scratch(deconv1d_scratch(context, d));
      deconv1d_forward(context, y, u, w, bias, scratch.get(), d);
      deconv1d_backward(context, du, dw, dbias, dy, u, w, scratch.get(), d);
      expect(y, "y");
      expect(du, "du");
      expect(dw, "dw");
      expect(dbias, "dbias");
    }
  }
}

TEST_F(GoldenOps, Activations) {
  for (const Activation a : kActivations) {
    prefix = std::string("activation.") + to_string(a) + ".";
    for (const Context& context : contexts()) {
      SCOPED_TRACE(label(context));
      Floats x(in("x")), dy(in("dy")), y(x.size(), kNan), dx(x.size(), kNan);
      const long n = static_cast<long>(x.size());
      activation_forward(context, y, x, n, a);
      activation_backward(context, dx, dy, y, n, a);
      expect(y, "y");
      expect(dx, "dx");
    }
  }
}

TEST_F(GoldenOps, AbsAndMultiply) {
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    prefix = "abs.";
    Floats x(in("x")), dy(in("dy")), y(x.size(), kNan), dx(x.size(), kNan);
    abs_forward(context, y, x, static_cast<long>(x.size()));
    abs_backward(context, dx, dy, x, static_cast<long>(x.size()));
    expect(y, "y");
    expect(dx, "dx");
    prefix = "multiply.";
    Floats a(in("a")), b(in("b")), dp(in("dy")), p(a.size(), kNan), da(a.size(), kNan), db(a.size(), kNan);
    multiply_forward(context, p, a, b, static_cast<long>(a.size()));
    multiply_backward(context, da, db, dp, a, b, static_cast<long>(a.size()));
    expect(p, "y");
    expect(da, "da");
    expect(db, "db");
  }
}

TEST_F(GoldenOps, Dense) {
  for (const Activation a : kActivations) {
    prefix = std::string("dense.") + to_string(a) + ".";
    const DenseDims d{shape("x")[0], shape("x")[1], shape("w")[0], a};
    for (const Context& context : contexts()) {
      SCOPED_TRACE(label(context));
      Floats x(in("x")), w(in("w")), bias(in("bias")), dy(in("dy"));
      Floats y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
      Bytes scratch(dense_scratch(context, d));
      dense_forward(context, y, x, w, bias, scratch.get(), d);
      dense_backward(context, dx, dw, dbias, dy, y, x, w, scratch.get(), d);
      expect(y, "y");
      expect(dx, "dx");
      expect(dw, "dw");
      expect(dbias, "dbias");
    }
  }
}

TEST_F(GoldenOps, DenseTime) {
  for (const Activation a : kActivations) {
    prefix = std::string("dense_time.") + to_string(a) + ".";
    const std::vector<int> s = shape("x");
    const DenseTimeDims d{s[0], s[1], shape("w")[0], s[2], a};
    for (const Context& context : contexts()) {
      SCOPED_TRACE(label(context));
      Floats x(in("x")), w(in("w")), bias(in("bias")), dy(in("dy"));
      Floats y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
      Bytes scratch(dense_time_scratch(context, d));
      dense_time_forward(context, y, x, w, bias, scratch.get(), d);
      dense_time_backward(context, dx, dw, dbias, dy, y, x, w, scratch.get(), d);
      expect(y, "y");
      expect(dx, "dx");
      expect(dw, "dw");
      expect(dbias, "dbias");
    }
  }
}

TEST_F(GoldenOps, LocalDense) {
  for (const Activation a : kActivations) {
    prefix = std::string("local_dense.") + to_string(a) + ".";
    const std::vector<int> s = shape("x");
    const LocalDenseDims d{s[0], s[1], shape("w")[1], s[2], a};
    for (const Context& context : contexts()) {
      SCOPED_TRACE(label(context));
      Floats x(in("x")), w(in("w")), bias(in("bias")), dy(in("dy"));
      Floats y(dy.size(), kNan), dx(x.size(), kNan), dw(w.size(), 0.0f), dbias(bias.size(), 0.0f);
      Bytes scratch(local_dense_scratch(context, d));
      local_dense_forward(context, y, x, w, bias, scratch.get(), d);
      local_dense_backward(context, dx, dw, dbias, dy, y, x, w, scratch.get(), d);
      expect(y, "y");
      expect(dx, "dx");
      expect(dw, "dw");
      expect(dbias, "dbias");
    }
  }
}

TEST_F(GoldenOps, Pool) {
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    prefix = "max_pool.";
    const std::vector<int> s = shape("x");
    const PoolDims d{s[0], s[1], s[2], s[1] / shape("y")[1]};
    Floats x(in("x")), dz(in("dy")), z(dz.size(), kNan), dx(x.size(), kNan);
    Ints positions(dz.size());
    max_pool_forward(context, z, positions, x, d);
    max_pool_backward(context, dx, dz, positions, d);
    expect(z, "y");
    expect(dx, "dx");
    const Vec want = in("positions");
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(positions.data()[i], want[i]);
    for (const auto& [name, form] : {std::pair{"positions", Unpool::kPositions}, {"hold", Unpool::kHold}}) {
      prefix = std::string("unpool.") + name + ".";
      Floats given(in("z")), dy(in("dy")), y(dy.size(), kNan), got(given.size(), kNan);
      unpool_forward(context, y, given, positions, d, form);
      unpool_backward(context, got, dy, positions, d, form);
      expect(y, "y");
      expect(got, "dz");
    }
  }
}

TEST_F(GoldenOps, Saaf) {
  for (const int order : {1, 2}) {
    for (const bool every_second : {false, true}) {
      for (const int rows : {1, 2}) {
        prefix = fmt::format("saaf.{}.{}.{}.", order, static_cast<int>(every_second), rows);
        const std::vector<int> s = shape("x");
        const SaafDims d{s[0], s[1], s[2], 5, -0.7f, 0.6f, 1.5f, every_second, rows == 2, order};
        for (const Context& context : contexts()) {
          SCOPED_TRACE(label(context));
          Floats x(in("x")), v(in("v")), w(in("w")), dy(in("dy"));
          Floats y(x.size(), kNan), dx(x.size(), kNan), dv(v.size(), 0.0f), dw(w.size(), 0.0f);
          Bytes scratch(saaf_scratch(context, d));
          saaf_forward(context, y, x, v, w, scratch.get(), d);
          saaf_backward(context, dx, dv, dw, dy, x, v, w, scratch.get(), d);
          expect(y, "y");
          expect(dx, "dx");
          expect(dv, "dv");
          expect(dw, "dw");
        }
      }
    }
  }
}

TEST_F(GoldenOps, Mae) {
  prefix = "mae.";
  const std::vector<int> s = shape("y");
  const int B = s[0], T = s[1];
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats y(in("y")), target(in("target")), dy(y.size(), kNan);
    Items<double> loss(std::vector<double>(static_cast<std::size_t>(B)));
    mae_forward_backward(context, loss.data(), dy, y, target, 1.0f / static_cast<float>(B * T), {B, T, 1, 0, T});
    double sum = 0;
    for (const double l : loss) sum += l;
    EXPECT_NEAR(sum / (B * T), in("loss")[0], 1e-6);
    expect(dy, "dy");
  }
}

TEST_F(GoldenOps, TenAdamSteps) {
  for (const auto& [name, decay] : {std::pair{"adam.", 0.0f}, {"adamw.", 0.1f}}) {
    prefix = name;
    for (const Context& context : contexts()) {
      SCOPED_TRACE(label(context));
      Floats params(in("params")), m(params.size(), 0.0f), v(params.size(), 0.0f), grads(in("grads"));
      const long n = static_cast<long>(params.size());
      for (long step = 1; step <= 10; ++step) {
        adam_step(context, params, m, v, grads.data() + (step - 1) * n, nullptr, n,
                  {1e-2f, 0.9f, 0.999f, 1e-8f, decay, 1.0f, step});
      }
      expect(params, "after");
    }
  }
}

}  // namespace
}  // namespace cafx
