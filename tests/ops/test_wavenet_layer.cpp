#include "kernels/wavenet_layer/wavenet_layer.h"

#include "tests/ops/differences.h"
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
Vec gathered(const Vec& all, int rows, long length, long stride) {
  Vec values;
  for (long r = 0; r < rows; ++r)
    values.insert(values.end(), all.begin() + r * stride, all.begin() + r * stride + length);
  return values;
}

WavenetLayer empty_layer(WavenetLayerDims d) {
  const auto Z = static_cast<std::size_t>(n_z(d)), C = static_cast<std::size_t>(d.C);
  return {Vec(Z * C * static_cast<std::size_t>(d.K)), Vec(Z), Vec(Z), Vec(C * C), Vec(C)};
}

struct Case {
  explicit Case(WavenetLayerDims d)
      : d(d),
        x(spread(random(d.C * (d.T + past(d)), 1), d.C, d.T + past(d), d.x_stride)),
        condition(random(d.T, 2)),
        dy(spread(random(static_cast<long>(d.C) * d.T, 3), d.C, d.T, d.y_stride)),
        head(spread(random(static_cast<long>(d.C) * d.H, 4), d.C, d.H, d.head_stride)),
        dhead(spread(random(static_cast<long>(d.C) * d.H, 5), d.C, d.H, d.head_stride)),
        p(empty_layer(d)) {
    const double range = std::sqrt(3.0 / (d.C * d.K));
    std::uint64_t seed = 6;
    for (Vec* v : {&p.w, &p.bias, &p.mixer, &p.w1, &p.bias1}) {
      *v = random(static_cast<long>(v->size()), seed++, -range, range);
    }
  }
  WavenetLayerDims d;
  Vec x, condition, dy, head, dhead;
  WavenetLayer p;
};

TEST(WavenetLayer, OraclesGradientIsThatOfDifferences) {
  for (const WavenetLayerDims d : {WavenetLayerDims{2, 3, 2, 5, 4, false, 9, 5, 4}, {2, 2, 3, 4, 4, true, 7, 4, 4}}) {
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
      expect_gradient("dx", k.x, dx, f);
      expect_gradient("dw", k.p.w, g.w, f);
      expect_gradient("dbias", k.p.bias, g.bias, f);
      expect_gradient("dmixer", k.p.mixer, g.mixer, f);
      expect_gradient("dw1", k.p.w1, g.w1, f);
      expect_gradient("dbias1", k.p.bias1, g.bias1, f);
    }
  }
}

// The layer's tensors as floats.
struct Tensors {
  explicit Tensors(const WavenetLayer& p) : w(p.w), bias(p.bias), mixer(p.mixer), w1(p.w1), bias1(p.bias1) {}
  Tensors(const WavenetLayer& p, float fill)
      : w(p.w.size(), fill),
        bias(p.bias.size(), fill),
        mixer(p.mixer.size(), fill),
        w1(p.w1.size(), fill),
        bias1(p.bias1.size(), fill) {}
  WavenetLayerTensors<const float*> get() { return {w, bias, mixer, w1, bias1}; }
  WavenetLayerTensors<float*> gradients() { return {w, bias, mixer, w1, bias1}; }
  Floats w, bias, mixer, w1, bias1;
};

TEST(WavenetLayer, IsTheOracles) {
  for (const bool gated : {false, true}) {
    for (WavenetLayerDims d : {WavenetLayerDims{3, 5, 2, 17, 11, false, 29, 20, 12},
                               {1, 1, 1, 1, 1, false, 1, 1, 1},
                               {2, 2, 40, 3, 0, false, 50, 3, 1},
                               {6, 3, 7, kWavenetTile + 3, 100, false, kWavenetTile + 20, kWavenetTile + 3, 100},
                               {8, 3, 300, 2 * kWavenetTile, 2 * kWavenetTile, false, 1112, 512, 512},
                               {16, 3, 16, 1000, 700, false, 1032, 1000, 700}}) {
      d.gated = gated;
      const Case k(d);
      Vec head = k.head, saved;
      const Vec y = reference::wavenet_layer_forward(head, saved, k.x, k.condition, k.p, d);
      for (const bool has_dy : {true, false}) {
        WavenetLayer want = empty_layer(d);
        const Vec dx =
            reference::wavenet_layer_backward(want, has_dy ? k.dy : Vec(), k.dhead, saved, k.x, k.condition, k.p, d);
        for (const Context& context : contexts()) {
          SCOPED_TRACE(fmt::format("{} C={} K={} dilation={} T={} H={} gated={} dy={}", label(context), d.C, d.K,
                                   d.dilation, d.T, d.H, d.gated, has_dy));
          Floats x(k.x), condition(k.condition), dy(k.dy), dhead(k.dhead), got_head(k.head);
          Floats got_y(y.size(), kNan), got_saved(saved.size(), kNan);
          Tensors p(k.p);
          const auto rows = [&](Floats& values, long length, long stride) {
            return Floats(gathered(values.values(), d.C, length, stride));
          };
          {
            Bytes scratch(wavenet_layer_forward_scratch(context, d));
            wavenet_layer_forward(context, has_dy ? static_cast<float*>(got_y) : nullptr, got_head, got_saved, x,
                                  condition, p.get(), scratch.get(), d);
          }
          Floats tight_head = rows(got_head, d.H, d.head_stride), tight_y = rows(got_y, d.T, d.y_stride);
          if (d.H > 0) expect_near(tight_head, gathered(head, d.C, d.H, d.head_stride), "head", 0, {2e-6, 1e-5});
          if (has_dy) expect_near(tight_y, gathered(y, d.C, d.T, d.y_stride), "y", 0, {2e-6, 1e-5});
          expect_near(got_saved, saved, "saved", 0, {2e-6, 1e-5});
          Floats again(k.head), again_y(y.size(), kNan);
          {
            Bytes scratch(wavenet_layer_forward_scratch(context, d));
            wavenet_layer_forward(context, again_y, again, nullptr, x, condition, p.get(), scratch.get(), d);
          }
          expect_same_bits(again, got_head, again.size(), "head without saved");
          for (const float start : kStarts) {
            Floats got_x(k.x.size(), kNan);
            Tensors g(k.p, start);
            Bytes scratch(wavenet_layer_backward_scratch(context, d));
            wavenet_layer_backward(context, got_x, g.gradients(), has_dy ? static_cast<float*>(dy) : nullptr, dhead, x,
                                   condition, got_saved, p.get(), scratch.get(), d);
            Floats tight_x = rows(got_x, d.T + past(d), d.x_stride);
            expect_near(tight_x, gathered(dx, d.C, d.T + past(d), d.x_stride), "dx", 0, {3e-6, 3e-5});
            expect_near(g.w, want.w, "dw", start, {3e-6, 3e-5});
            expect_near(g.bias, want.bias, "dbias", start, {3e-6, 3e-5});
            expect_near(g.mixer, want.mixer, "dmixer", start, {3e-6, 3e-5});
            expect_near(g.w1, want.w1, "dw1", start, {3e-6, 3e-5});
            expect_near(g.bias1, want.bias1, "dbias1", start, {3e-6, 3e-5});
          }
        }
      }
    }
  }
}

TEST(WavenetLayer, RefusesWrongSizes) {
  Floats one(64, 0.0f);
  const WavenetLayerTensors<const float*> p{one, one, one, one, one};
  for (const WavenetLayerDims d : {WavenetLayerDims{0, 1, 1, 1, 1, false, 1, 1, 1},
                                   {1, 0, 1, 1, 1, false, 1, 1, 1},
                                   {1, 1, 0, 1, 1, false, 1, 1, 1},
                                   {1, 1, 1, 0, 0, false, 1, 1, 1},
                                   {1, 1, 1, 1, 2, false, 1, 1, 2},
                                   {1, 3, 1, 1, 1, false, 2, 1, 1}}) {
    EXPECT_THROW(wavenet_layer_forward({}, one, one, one, one, one, p, one.data(), d), CheckError);
    EXPECT_THROW(wavenet_layer_forward_scratch({}, d), CheckError);
    EXPECT_THROW(wavenet_layer_backward_scratch({}, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
