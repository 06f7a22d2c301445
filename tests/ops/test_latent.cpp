#include "kernels/latent/latent.h"

#include "kernels/dense/dense.h"
#include "kernels/local_dense/local_dense.h"
#include "tests/ops/harness.h"
#include "tests/ops/precision.h"

namespace cafx {
namespace {

using namespace op_test;

// What both layers read, and what the oracle makes of it.
struct Case {
  LatentDims d;
  LocalDenseDims local{d.B, d.I, d.O, d.C, Activation::kSoftplus};
  DenseTimeDims dense{d.B, d.O, d.I, d.C, Activation::kSoftplus};
  double range = std::sqrt(3.0 / d.I);
  Vec z = random(d.B * d.I * d.C, 1), w1 = random(d.C * d.O * d.I, 2, -range, range), bias1 = random(d.C * d.O, 3),
      w2 = random(d.I * d.O, 4, -range, range), bias2 = random(d.I, 5), dzhat = random(d.B * d.I * d.C, 6);

  explicit Case(LatentDims dims) : d(dims) {}
  static Vec as(const Vec& x, Precision p) { return p == Precision::kFp32 ? x : rounded(x, p); }

  // h, zhat
  std::vector<Vec> forward(Precision p) const {
    const Vec h = reference::local_dense_forward(as(z, p), as(w1, p), bias1, local);
    return {h, reference::dense_time_forward(as(h, p), as(w2, p), bias2, dense)};
  }
  // dz, dw1, dbias1, dw2, dbias2; slopes and the biases' gradients are of numbers that are not rounded.
  std::vector<Vec> backward(Precision p, const Vec& h, const Vec& zhat) const {
    Vec dw1(w1.size()), dbias1(bias1.size()), dw2(w2.size()), dbias2(bias2.size()), unused1(w1.size()),
        unused2(w2.size()), none1(bias1.size()), none2(bias2.size());
    const DenseTimeDims plain_dense{d.B, d.O, d.I, d.C, Activation::kIdentity};
    const LocalDenseDims plain_local{d.B, d.I, d.O, d.C, Activation::kIdentity};
    const Vec top = reference::activation_backward(dzhat, zhat, Activation::kSoftplus);
    const Vec dh = reference::dense_time_backward(dw2, none2, as(top, p), zhat, as(h, p), as(w2, p), plain_dense);
    const Vec middle = reference::activation_backward(dh, h, Activation::kSoftplus);
    reference::dense_time_backward(unused2, dbias2, top, zhat, h, w2, plain_dense);
    reference::local_dense_backward(unused1, dbias1, middle, h, z, w1, plain_local);
    const Vec dz = reference::local_dense_backward(dw1, none1, as(middle, p), h, as(z, p), as(w1, p), plain_local);
    return {dz, dw1, dbias1, dw2, dbias2};
  }
};

template <class F>
auto in_precision(Precision p, F f) {
  return [=](Context context, auto&&... rest) {
    context.precision = p;
    return f(context, rest...);
  };
}

// `inner`: of what lies behind a number that is rounded inside, and with the last bits of fp32 to its neighbour.
void check(const Case& of, Precision p, Tolerance inner) {
  const LatentDims d = of.d;
  const std::string sizes = fmt::format("{} B={} C={}", to_string(p), d.B, d.C);
  const auto up = of.forward(p);
  const Vec h = as_floats(up[0]), zhat = as_floats(up[1]);
  const auto down = of.backward(p, h, zhat);
  check_op(sizes, {{"z", of.z}, {"w1", of.w1}, {"bias1", of.bias1}, {"w2", of.w2}, {"bias2", of.bias2}},
           {sets("h", up[0]), sets("zhat", up[1], inner)},
           in_precision(p, by_name(latent_forward, "h", "zhat", "z", "w1", "bias1", "w2", "bias2", d)));
  check_op(sizes, {{"dzhat", of.dzhat}, {"zhat", zhat}, {"h", h}, {"z", of.z}, {"w1", of.w1}, {"w2", of.w2}},
           {sets("dz", down[0], inner), sets("dw1", down[1], inner), sets("dbias1", down[2], inner),
            adds("dw2", down[3], inner), adds("dbias2", down[4])},
           in_precision(p, by_name(latent_backward, "dz", "dw1", "dbias1", "dw2", "dbias2", "dzhat", "zhat", "h", "z",
                                   "w1", "w2", "scratch", d)),
           in_precision(p, bytes_of(latent_scratch, d)));
}

// A batch that does not fill the last four frames; one frame at a time; as many channels as there are, and few.
TEST(Latent, MatchesReference) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  for (const LatentDims d : {LatentDims{34, 64, 64, 128}, {5, 64, 64, 32}, {1, 64, 64, 8}}) {
    check(Case(d), Precision::kFp32, {});
  }
}

// Batches of one block's sums and of several blocks', whose blocks have four channels or, of the last, eight.
TEST(Latent, MatchesReferenceOfRoundedOperands) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  for (const Precision p : kStored) {
    for (const LatentDims d : {LatentDims{34, 64, 64, 64}, {70, 64, 64, 16}, {1, 64, 64, 8}, {20, 64, 64, 544}}) {
      Context context = contexts().front();
      context.precision = p;
      if (!latent_rounds(context, d)) GTEST_SKIP() << "this GPU has no units, or too little shared memory";
      check(Case(d), p, {0.05 * unit_of(p), 1e-5});
    }
  }
}

// From what the op itself rounds, as far as that shows, to the last bits of fp32: zhat from its h; backward from
// gradients a third of the way between two numbers, and of one frame, whose gradient before h's activation is dbias1.
TEST(Latent, RoundsOperandsAndNothingElse) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  for (const Precision p : kStored) {
    Case of({1, 64, 64, 32});
    const LatentDims d = of.d;
    for (Context context : contexts()) {
      context.precision = p;
      if (!latent_rounds(context, d)) GTEST_SKIP() << "this GPU has no units, or too little shared memory";
      SCOPED_TRACE(name_of(context));
      Floats z(of.z), w1(of.w1), bias1(of.bias1), w2(of.w2), bias2(of.bias2), h(of.dzhat.size(), kNan),
          zhat(h.size(), kNan);
      latent_forward(context, h, zhat, z, w1, bias1, w2, bias2, d);
      expect_near(h, of.forward(p)[0], "h");
      expect_near(zhat, reference::dense_time_forward(rounded(h.values(), p), rounded(of.w2, p), of.bias2, of.dense),
                  "zhat, from its h");
      EXPECT_NE(h.values(), rounded(h.values(), p)) << "h was rounded";

      const Vec top = rounded(random(d.I * d.C, 7), p);
      const Vec slopes = reference::activation_backward(Vec(top.size(), 1.0), zhat.values(), Activation::kSoftplus);
      for (std::size_t i = 0; i < top.size(); ++i) of.dzhat[i] = top[i] * (1.0 + 0.3 * unit_of(p)) / slopes[i];
      of.dzhat = as_floats(of.dzhat);
      Floats dzhat(of.dzhat), dz(h.size(), kNan), dw1(of.w1.size(), 0.0f), dbias1(of.bias1.size(), 0.0f),
          dw2(of.w2.size(), 0.0f), dbias2(of.bias2.size(), 0.0f);
      Bytes scratch(latent_scratch(context, d));
      latent_backward(context, dz, dw1, dbias1, dw2, dbias2, dzhat, zhat, h, z, w1, w2, scratch.get(), d);
      const auto want = of.backward(p, h.values(), zhat.values());
      expect_near(dbias1, want[2], "dbias1");
      expect_near(dw2, want[3], "dw2");
      expect_near(dbias2, want[4], "dbias2");
      Vec middle(h.size()), want_dw1(of.w1.size()), unused(of.bias1.size());
      for (int c = 0; c < d.C; ++c) {
        for (int o = 0; o < d.O; ++o) middle[o * d.C + c] = dbias1.data()[c * d.O + o];
      }
      expect_near(dz,
                  reference::local_dense_backward(want_dw1, unused, rounded(middle, p), middle, rounded(of.z, p),
                                                  rounded(of.w1, p), {d.B, d.I, d.O, d.C, Activation::kIdentity}),
                  "dz, from its dbias1");
      expect_near(dw1, want_dw1, "dw1, from its dbias1");
    }
  }
}

// A frame's bits are those it has among others: in forward all of them, in backward of dz.
TEST(Latent, AFramesBitsDoNotDependOnTheBatch) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  const Case many({70, 64, 64, 16}), one({1, 64, 64, 16});
  for (const Precision p : kStored) {
    Context context = contexts().front();
    context.precision = p;
    if (!latent_rounds(context, many.d)) GTEST_SKIP() << "this GPU has no units, or too little shared memory";
    const std::size_t n = one.z.size();
    const int last = many.d.B - 1;
    const auto run = [&](const LatentDims& d, std::size_t from) {
      const auto part = [&](const Vec& x) {
        return Vec(x.begin() + static_cast<long>(from), x.begin() + static_cast<long>(from + n * d.B));
      };
      Floats z(part(many.z)), dzhat(part(many.dzhat)), w1(many.w1), bias1(many.bias1), w2(many.w2), bias2(many.bias2),
          h(n * d.B, kNan), zhat(n * d.B, kNan), dz(n * d.B, kNan), dw1(many.w1.size(), 0.0f),
          dbias1(many.bias1.size(), 0.0f), dw2(many.w2.size(), 0.0f), dbias2(many.bias2.size(), 0.0f);
      Bytes scratch(latent_scratch(context, d));
      latent_forward(context, h, zhat, z, w1, bias1, w2, bias2, d);
      latent_backward(context, dz, dw1, dbias1, dw2, dbias2, dzhat, zhat, h, z, w1, w2, scratch.get(), d);
      return std::array{h.values(), zhat.values(), dz.values()};
    };
    const auto among = run(many.d, 0), alone = run(one.d, n * last);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(std::equal(alone[i].begin(), alone[i].end(), among[i].begin() + static_cast<long>(n) * last)) << i;
    }
  }
}

TEST(Latent, RefusesWhatItIsNotFor) {
  EXPECT_FALSE(latent_is_fused({}, {1, 64, 64, 8})) << "a CPU";
  expect_refused({LatentDims{0, 64, 64, 8}, {1, 63, 64, 8}, {1, 64, 32, 8}, {1, 64, 64, 12}, {1, 64, 64, 8}},
                 latent_forward, latent_backward);
}

}  // namespace
}  // namespace cafx
