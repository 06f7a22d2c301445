#include "kernels/wavenet_layer/wavenet_layer.h"

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_student.h"

namespace cafx {
namespace {

using namespace op_test;
using reference::WavenetLayer;

long past(WavenetLayerDims d) { return static_cast<long>(d.K - 1) * d.dilation; }

// Rows that are further apart than they are long hold NaN between, which nobody reads or writes.
Vec spread(const Vec& values, int rows, long length, long stride) {
  Vec all(static_cast<std::size_t>(rows * stride), NAN);
  for (long r = 0; r < rows; ++r) std::copy_n(values.begin() + r * length, length, all.begin() + r * stride);
  return all;
}

WavenetLayer empty_layer(WavenetLayerDims d) {
  const auto Z = static_cast<std::size_t>(n_z(d)), C = static_cast<std::size_t>(d.C);
  return {Vec(Z * C * static_cast<std::size_t>(d.K)), Vec(Z), Vec(Z), Vec(C * C), Vec(C)};
}

struct Case {
  explicit Case(WavenetLayerDims d)
      : d(d),
        x(spread(random(d.B * d.C * (d.T + past(d)), 1), d.B * d.C, d.T + past(d), d.x_stride)),
        condition(d.B == 1 ? random(d.T, 2)
                           : spread(random(static_cast<long>(d.B) * d.T, 2), d.B, d.T, d.condition_stride)),
        dy(spread(random(static_cast<long>(d.B) * d.C * d.T, 3), d.B * d.C, d.T, d.y_stride)),
        head(spread(random(static_cast<long>(d.B) * d.C * d.H, 4), d.B * d.C, d.H, d.head_stride)),
        dhead(spread(random(static_cast<long>(d.B) * d.C * d.H, 5), d.B * d.C, d.H, d.head_stride)),
        p(empty_layer(d)) {
    const double range = std::sqrt(3.0 / (d.C * d.K));
    std::uint64_t seed = 6;
    for (Vec* v : {&p.w, &p.bias, &p.mixer, &p.w1, &p.bias1}) {
      *v = random(static_cast<long>(v->size()), seed++, -range, range);
    }
  }
  std::vector<Input> inputs(std::vector<Input> all = {}) const {
    all.insert(all.end(), {{"x", x}, {"condition", condition}, {"w", p.w}, {"bias", p.bias}, {"mixer", p.mixer}});
    all.insert(all.end(), {{"w1", p.w1}, {"bias1", p.bias1}});
    return all;
  }
  WavenetLayerDims d;
  Vec x, condition, dy, head, dhead;
  WavenetLayer p;
};

TEST(WavenetLayer, ReferenceGradientMatchesDifferences) {
  for (const WavenetLayerDims d :
       {WavenetLayerDims{2, 3, 2, 5, 4, false, 9, 5, 4}, {2, 2, 3, 4, 4, true, 7, 4, 4, 2, 4}}) {
    Case k(d);
    for (const bool has_dy : {true, false}) {
      WavenetLayer g = empty_layer(d);
      Vec head = k.head, saved;
      reference::wavenet_layer_forward(head, saved, k.x, k.condition, k.p, d);
      const Vec dx =
          reference::wavenet_layer_backward(g, has_dy ? k.dy : Vec(), k.dhead, saved, k.x, k.condition, k.p, d);
      const auto f = [&] {
        Vec sum = k.head, ignored;
        const Vec y = reference::wavenet_layer_forward(sum, ignored, k.x, k.condition, k.p, d);
        return dot(sum, k.dhead) + (has_dy ? dot(y, k.dy) : 0.0);
      };
      expect_gradients(f, {{"dx", k.x, dx},
                           {"dw", k.p.w, g.w},
                           {"dbias", k.p.bias, g.bias},
                           {"dmixer", k.p.mixer, g.mixer},
                           {"dw1", k.p.w1, g.w1},
                           {"dbias1", k.p.bias1, g.bias1}});
    }
  }
}

constexpr Tolerance kForward{2e-6, 1e-5}, kSums{3e-6, 3e-5};

const auto kWeights = group("w", "bias", "mixer", "w1", "bias1");

Op forward_op(const Case& k, const Vec& head, const Vec& saved, const Vec& y, WavenetLayerDims d) {
  return {"forward",
          k.inputs(),
          {optional(sets("y", y, kForward)), updates("head", k.head, head, kForward),
           optional(sets("saved", saved, kForward))},
          by_name(wavenet_layer_forward, "y", "head", "saved", "x", "condition", kWeights, "scratch", d),
          bytes_of(wavenet_layer_forward_scratch, d)};
}

Op backward_op(const Case& k, const Vec& saved, const Vec& dy, WavenetLayerDims d) {
  WavenetLayer g = empty_layer(d);
  const Vec dx = reference::wavenet_layer_backward(g, dy, k.dhead, saved, k.x, k.condition, k.p, d);
  return {dy.empty() ? "backward without dy" : "backward",
          k.inputs({{"dy", dy}, {"dhead", k.dhead}, {"saved", saved}}),
          {sets("dx", dx, kSums), adds("dw", g.w, kSums), adds("dbias", g.bias, kSums), adds("dmixer", g.mixer, kSums),
           adds("dw1", g.w1, kSums), adds("dbias1", g.bias1, kSums)},
          by_name(wavenet_layer_backward, "dx", group("dw", "dbias", "dmixer", "dw1", "dbias1"), "dy", "dhead", "x",
                  "condition", "saved", kWeights, "scratch", d),
          bytes_of(wavenet_layer_backward_scratch, d)};
}

TEST(WavenetLayer, MatchesReference) {
  for (const bool gated : {false, true}) {
    constexpr WavenetLayerDims kSizes[] = {
        {3, 5, 2, 17, 11, false, 29, 20, 12, 2, 19},
        {1, 1, 1, 1, 1, false, 1, 1, 1},
        {2, 2, 40, 3, 0, false, 50, 3, 1},
        {6, 3, 7, kWavenetTile + 3, 100, false, kWavenetTile + 20, kWavenetTile + 3, 100},
        {8, 3, 300, 2 * kWavenetTile, 2 * kWavenetTile, false, 1112, 512, 512},
        {16, 3, 16, 1000, 700, false, 1032, 1000, 700}};
    for (WavenetLayerDims d : kSizes) {
      d.gated = gated;
      SCOPED_TRACE(
          fmt::format("B={} C={} K={} dilation={} T={} H={} gated={}", d.B, d.C, d.K, d.dilation, d.T, d.H, d.gated));
      const Case k(d);
      Vec head = k.head, saved;
      const Vec y = reference::wavenet_layer_forward(head, saved, k.x, k.condition, k.p, d);
      check_op(forward_op(k, head, saved, y, d));
      for (const Vec& dy : {k.dy, Vec()}) check_op(backward_op(k, saved, dy, d));
    }
  }
}

// A layer's output and its head, made in two calls, have the bits of one call.
TEST(WavenetLayer, SameBitsHoweverTimeIsDivided) {
  const WavenetLayerDims d{6, 3, 7, 300, 300, true, 314, 300, 300};
  const Case k(d);
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats x(k.x), condition(k.condition), w(k.p.w), bias(k.p.bias), mixer(k.p.mixer), w1(k.p.w1), bias1(k.p.bias1);
    Floats y(k.dy.size(), kNan), again(k.dy.size(), kNan), head(k.head), head_again(k.head);
    const WavenetLayerTensors<const float*> p{w, bias, mixer, w1, bias1};
    Bytes scratch(wavenet_layer_forward_scratch(context, d));
    wavenet_layer_forward(context, y, head, nullptr, x, condition, p, scratch.get(), d);
    for (const auto& [t0, n] : {std::pair{0, 77}, {77, 223}}) {
      WavenetLayerDims part = d;
      part.T = part.H = n;
      wavenet_layer_forward(context, again + t0, head_again + t0, nullptr, x + t0, condition + t0, p, scratch.get(),
                            part);
    }
    expect_same_bits(again, y, y.size(), "y");
    expect_same_bits(head_again, head, head.size(), "head");
  }
}

TEST(WavenetLayer, RefusesWrongSizes) {
  constexpr WavenetLayerDims kWrong[] = {{0, 1, 1, 1, 1, false, 1, 1, 1},    {1, 0, 1, 1, 1, false, 1, 1, 1},
                                         {1, 1, 0, 1, 1, false, 1, 1, 1},    {1, 1, 1, 0, 0, false, 1, 1, 1},
                                         {1, 1, 1, 1, 2, false, 1, 1, 2},    {1, 3, 1, 1, 1, false, 2, 1, 1},
                                         {1, 1, 1, 1, 1, false, 1, 1, 1, 0}, {1, 1, 1, 2, 1, false, 2, 2, 1, 2, 1}};
  expect_refused(kWrong, wavenet_layer_forward, wavenet_layer_backward, wavenet_layer_forward_scratch,
                 wavenet_layer_backward_scratch);
}

}  // namespace
}  // namespace cafx
