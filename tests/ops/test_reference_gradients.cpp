// The oracle's own gradients against central differences, in double: 1e-7 + 1e-6 |ref|, for every element.
#include "tests/ops/differences.h"
#include "tests/reference/reference_cafx.h"

namespace cafx::reference {
namespace {

using op_test::dot;
using op_test::expect_gradient;
using op_test::expect_gradients;
using op_test::kActivations;
using op_test::random;

// No number within 0.1 of 0, where abs and relu have their corner.
Vec random_off_zero(long n, std::uint64_t seed) {
  Vec x = random(n, seed);
  for (double& value : x) value += value < 0 ? -0.1 : 0.1;
  return x;
}

TEST(ReferenceGradients, Pointwise) {
  Vec x = random_off_zero(31, 1);
  const Vec dy = random(31, 2);
  for (const Activation a : kActivations) {
    const Vec y = activation_forward(x, a);
    expect_gradient(to_string(a), x, activation_backward(dy, y, a), [&] { return dot(activation_forward(x, a), dy); });
  }
  expect_gradient("abs", x, abs_backward(dy, x), [&] { return dot(abs_forward(x), dy); });
}

TEST(ReferenceGradients, Conv1d) {
  for (const Conv1dDims d : {Conv1dDims{2, 17, 3, 5}, Conv1dDims{2, 3, 2, 8}}) {
    const Vec x = random(d.B * (d.T + d.K - 1), 1), dy = random(d.B * d.T * d.C, 2);
    Vec w = random(d.C * d.K, 3), bias = random(d.C, 4), dw(w.size()), dbias(bias.size());
    conv1d_backward(dw, dbias, dy, x, d);
    const auto f = [&] { return dot(conv1d_forward(x, w, bias, d), dy); };
    expect_gradients(f, {{"dw", w, dw}, {"dbias", bias, dbias}});
  }
}

TEST(ReferenceGradients, LocalConv) {
  for (const LocalConvDims d : {LocalConvDims{2, 17, 3, 5}, LocalConvDims{2, 3, 2, 8}}) {
    const Vec dy = random(d.B * d.T * d.C, 2);
    Vec x = random(d.B * d.T * d.C, 1), w = random(d.C * d.K, 3), bias = random(d.C, 4), dw(w.size()), dbias(d.C);
    const Vec dx = local_conv_backward(dw, dbias, dy, x, w, d);
    const auto f = [&] { return dot(local_conv_forward(x, w, bias, d), dy); };
    expect_gradients(f, {{"dx", x, dx}, {"dw", w, dw}, {"dbias", bias, dbias}});
  }
}

TEST(ReferenceGradients, Deconv1d) {
  for (const Deconv form : {Deconv::kAdjoint, Deconv::kCorrelate}) {
    for (const Deconv1dDims d : {Deconv1dDims{2, 17, 3, 4, form}, Deconv1dDims{2, 3, 2, 8, form}}) {
      const Vec dy = random(d.B * d.T, 2);
      Vec u = random(d.B * d.T * d.C, 1), w = random(d.C * d.K, 3), bias = random(1, 4), dw(w.size()), dbias(1);
      const Vec du = deconv1d_backward(dw, dbias, dy, u, w, d);
      const auto f = [&] { return dot(deconv1d_forward(u, w, bias, d), dy); };
      expect_gradients(f, {{"du", u, du}, {"dw", w, dw}, {"dbias", bias, dbias}});
    }
  }
}

// The adjoint form is the transpose of the convolution: dot(conv(x), u) = dot(x, deconv(u)).
TEST(ReferenceGradients, DeconvIsTheAdjointOfConv) {
  for (const int K : {1, 4, 5, 30}) {
    const int B = 2, T = 17, C = 3;
    const Vec x = random(B * T, 1), u = random(B * T * C, 2), w = random(C * K, 3);
    const Vec y = conv1d_forward(pad(x, B, T, K, same_left(K)), w, Vec(C, 0.0), {B, T, C, K});
    EXPECT_NEAR(dot(y, u), dot(x, deconv1d_forward(u, w, {0.0}, {B, T, C, K, Deconv::kAdjoint})), 1e-12);
  }
}

// A layer of so many inputs, weights and biases, with each activation.
template <class Dims, class Forward, class Backward>
void expect_layer(Forward forward, Backward backward, Dims d, long n_x, long n_w, long n_bias) {
  for (const Activation a : kActivations) {
    d.activation = a;
    Vec x = random(n_x, 1), w = random(n_w, 3), bias = random(n_bias, 4), dw(w.size()), dbias(bias.size());
    const Vec y = forward(x, w, bias, d), dy = random(static_cast<long>(y.size()), 2);
    const Vec dx = backward(dw, dbias, dy, y, x, w, d);
    const auto f = [&] { return dot(forward(x, w, bias, d), dy); };
    expect_gradients(f, {{"dx", x, dx}, {"dw", w, dw}, {"dbias", bias, dbias}});
  }
}

TEST(ReferenceGradients, Dense) { expect_layer(dense_forward, dense_backward, DenseDims{6, 5, 3}, 30, 15, 3); }

TEST(ReferenceGradients, DenseTime) {
  expect_layer(dense_time_forward, dense_time_backward, DenseTimeDims{2, 5, 4, 3}, 30, 20, 4);
}

TEST(ReferenceGradients, LocalDense) {
  expect_layer(local_dense_forward, local_dense_backward, LocalDenseDims{2, 5, 4, 3}, 30, 60, 12);
}

TEST(ReferenceGradients, Pool) {
  const PoolDims d{2, 12, 3, 4};
  Vec x = random(d.B * d.T * d.C, 1);
  const Vec dz = random(d.B * d.T / d.P * d.C, 2), dy = random(d.B * d.T * d.C, 3);
  Positions positions;
  Vec z = max_pool_forward(positions, x, d);
  expect_gradient("max_pool", x, max_pool_backward(dz, positions, d), [&] {
    Positions ignored;
    return dot(max_pool_forward(ignored, x, d), dz);
  });
  for (const Unpool form : {Unpool::kPositions, Unpool::kHold}) {
    expect_gradient("unpool", z, unpool_backward(dy, positions, d, form),
                    [&] { return dot(unpool_forward(z, positions, d, form), dy); });
  }
}

// Samples inside every segment and on both rays, none near a break point.
Vec saaf_input(long n, std::uint64_t seed, SaafDims d) {
  const double D = (static_cast<double>(d.hi) - d.lo) / d.S;
  Vec x = random(n, seed, -1.0, d.S + 1.0);
  for (double& value : x) {
    const double segment = std::floor(value), inside = value - segment;
    value = d.lo + D * (segment + 0.1 + 0.8 * inside);
  }
  return x;
}

TEST(ReferenceGradients, Saaf) {
  for (const int order : {1, 2}) {
    for (const bool every_second : {false, true}) {
      for (const bool has_v0 : {false, true}) {
        const SaafDims d{2, 17, 3, 5, -0.7f, 0.9f, has_v0 ? 1.0f : 3.0f, every_second, has_v0, order};
        Vec x = saaf_input(d.B * d.T * d.C, 1, d), v = random(n_v(d) * d.C, 2), w = random(n_curved(d) * d.C, 3);
        const Vec dy = random(d.B * d.T * d.C, 4);
        Vec dv(v.size()), dw(w.size());
        const Vec dx = saaf_backward(dv, dw, dy, x, v, w, d);
        const auto f = [&] { return dot(saaf_forward(x, v, w, d), dy); };
        expect_gradients(f, {{"dx", x, dx}, {"dv", v, dv}, {"dw", w, dw}});
      }
    }
  }
}

// The constant found at the break points bounds the slope everywhere, and is reached.
TEST(ReferenceGradients, SaafLipschitz) {
  for (const int order : {1, 2}) {
    const SaafDims d{1, 4001, 2, 6, -0.7f, 0.9f, 2.0f, true, true, order};
    const Vec v = random(2 * d.C, 2), w = random(n_curved(d) * d.C, 3);
    Vec x;
    for (int t = 0; t < d.T; ++t) x.insert(x.end(), d.C, -1.0 + 2.0 * t / (d.T - 1));
    Vec dv(v.size()), dw(w.size()), largest(d.C);
    const Vec dx = saaf_backward(dv, dw, Vec(x.size(), 1.0), x, v, w, d);
    for (std::size_t i = 0; i < dx.size(); ++i) largest[i % d.C] = std::max(largest[i % d.C], std::abs(dx[i]));
    const Vec constant = saaf_lipschitz(v, w, d);
    for (int c = 0; c < d.C; ++c) {
      EXPECT_LE(largest[c], constant[c] * (1 + 1e-6));
      EXPECT_GE(largest[c], constant[c] * 0.99);
    }
  }
}

TEST(ReferenceGradients, FrontEnd) {
  for (const FrontEndDims d : {FrontEndDims{2, 12, 3, 4, 5, 4}, FrontEndDims{1, 4, 2, 9, 6, 2}}) {
    const Vec x = random(d.B * (d.T + d.K1 - 1), 1), dz = random(d.B * d.T / d.P * d.C, 2);
    const Vec residual = random(d.B * d.T * d.C, 3);
    Vec w1 = random(d.C * d.K1, 4), bias1 = random(d.C, 5), w2 = random(d.C * d.K2, 6), bias2 = random(d.C, 7);
    Vec dx1 = residual, dw1(w1.size()), dbias1(d.C), dw2(w2.size()), dbias2(d.C);
    front_end_backward(dx1, dw1, dbias1, dw2, dbias2, dz, front_end_forward(x, w1, bias1, w2, bias2, d), x, w2, d);
    const auto f = [&] {
      const FrontEnd forward = front_end_forward(x, w1, bias1, w2, bias2, d);
      return dot(forward.x1, residual) + dot(forward.z, dz);
    };
    expect_gradients(f, {{"dw1", w1, dw1}, {"dbias1", bias1, dbias1}, {"dw2", w2, dw2}, {"dbias2", bias2, dbias2}});
  }
}

TEST(ReferenceGradients, DnnSaaf) {
  for (const Unpool unpool : {Unpool::kPositions, Unpool::kHold}) {
    for (const bool use_saaf : {true, false}) {
      DnnSaafDims d{
          2, 8, 3, 4, unpool, 3, {5, 4, 3}, Activation::kSoftplus, use_saaf, {2, 8, 3, 4, -1, 1, 1, false, true}};
      Vec r = random(d.B * d.T * d.C, 1), z = random(d.B * d.T / d.P * d.C, 2);
      Positions positions;
      max_pool_forward(positions, random(d.B * d.T * d.C, 3), {d.B, d.T, d.C, d.P});
      DnnSaafParams p{{random(15, 4), random(20, 5), random(12, 6)},
                      {random(5, 7), random(4, 8), random(3, 9)},
                      random(6, 10),
                      random(12, 11)};
      DnnSaafParams g{{Vec(15), Vec(20), Vec(12)}, {Vec(5), Vec(4), Vec(3)}, Vec(6), Vec(12)};
      const Vec du = random(r.size(), 12);
      Vec dr, dz;
      dnn_saaf_backward(dr, dz, g, du, dnn_saaf_forward(r, z, positions, p, d), r, z, positions, p, d);
      const auto f = [&] { return dot(dnn_saaf_forward(r, z, positions, p, d).u, du); };
      expect_gradients(f, {{"dr", r, dr}, {"dz", z, dz}});
      for (int l = 0; l < d.L; ++l) {
        expect_gradients(f, {{"dw", p.w[l], g.w[l]}, {"dbias", p.bias[l], g.bias[l]}});
      }
      expect_gradients(f, {{"dv", p.saaf_v, g.saaf_v}, {"dw_saaf", p.saaf_w, g.saaf_w}});
    }
  }
}

TEST(ReferenceGradients, Mae) {
  Vec y = random(34, 1);
  const Vec target = random(34, 2);
  expect_gradient("dy", y, mae_backward(y, target, 0.25), [&] {
    const Vec loss = mae_forward(y, target, 2, 17);
    return 0.25 * (loss[0] + loss[1]);
  });
}

CafxConfig small_config() {
  CafxConfig c;
  c.frame = 24;
  c.hop = 12;
  c.filters = 3;
  c.taps = 6;
  c.local_taps = 7;
  c.pool = 4;
  c.latent = 5;
  c.dnn = {4, 5, 3};
  c.saaf_segments = 5;
  c.saaf_l2 = 0.01;
  return c;
}

void expect_model_gradient(const CafxConfig& config, bool supervised) {
  const int B = 2;
  Tensors params;
  std::uint64_t seed = 100;
  for (const auto& [name, shape] : cafx_shapes(config, supervised)) {
    long n = 1;
    for (const long s : shape) n *= s;
    params[name] = random(n, ++seed, -0.6, 0.6);
  }
  const Vec x = random(B * config.frame, 1), target = random(B * config.frame, 2);
  const Tensors gradient = cafx_gradient(config, supervised, params, x, target, B);
  ASSERT_EQ(gradient.size(), params.size());
  for (auto& [name, tensor] : params) {
    expect_gradient(name, tensor, gradient.at(name), [&] {
      const CafxLoss loss =
          cafx_loss(config, supervised, params, cafx_forward(config, supervised, params, x, B).y, target);
      return loss.mae + loss.l2;
    });
  }
}

TEST(ReferenceGradients, CafxPretraining) { expect_model_gradient(small_config(), false); }

TEST(ReferenceGradients, CafxSupervised) {
  for (const char* unpool : {"positions", "hold"}) {
    for (const char* activation : {"softplus", "relu"}) {
      CafxConfig config = small_config();
      config.unpool = unpool;
      config.activation = activation;
      expect_model_gradient(config, true);
      config.deconv = "correlate";
      config.saaf_every_second = true;
      config.saaf_has_v0 = false;
      config.saaf_scale = 3;
      expect_model_gradient(config, true);
    }
  }
}

TEST(ReferenceGradients, CafxWithOneLatentLayerForAllChannels) {
  CafxConfig config = small_config();
  config.latent_layer = "dense";
  expect_model_gradient(config, true);
}

TEST(ReferenceGradients, CafxWithoutSaaf) {
  CafxConfig config = small_config();
  config.saaf = false;
  expect_model_gradient(config, true);
}

// Identity frames come back as the signal, whatever the length; and every window sum is positive.
TEST(ReferenceGradients, OverlapAddOfTheSignalsOwnFramesIsTheSignal) {
  const int frame = 16;
  for (const int hop : {1, 3, 5, 8}) {
    for (long n = 1; n < 40; ++n) {
      const Vec audio = random(n, static_cast<std::uint64_t>(n));
      std::vector<FrameRef> refs;
      for (std::int64_t start = -(frame - hop); start < n; start += hop) refs.push_back({start, 0, n});
      const Vec out =
          overlap_add(gather_frames(audio, refs, {static_cast<int>(refs.size()), frame, 1, 0}), n, frame, hop);
      for (long i = 0; i < n; ++i)
        ASSERT_NEAR(out[i], audio[i], 1e-12) << "hop " << hop << ", sample " << i << " of " << n;
    }
  }
}

}  // namespace
}  // namespace cafx::reference
