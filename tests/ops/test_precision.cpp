// DNN-SAAF in tf32, bf16 and fp16 against the oracle on rounded operands.
#include <array>
#include <bit>

#include "kernels/deconv1d/deconv1d.h"
#include "kernels/device/members.h"
#include "kernels/dnn_saaf/dnn_saaf.h"
#include "kernels/loss/loss.h"
#include "tests/ops/precision.h"

namespace cafx {
namespace {

using namespace op_test;

// DNN-SAAF in double, the operands of its products rounded.
struct Dnn {
  DnnSaafDims d;
  Vec r, z, du;
  Positions positions;
  reference::DnnSaafParams p;

  explicit Dnn(DnnSaafDims dims, int seed = 0) : d(dims) {
    const auto random = [seed](long n, int of, double lo = -1.0, double hi = 1.0) {
      return op_test::random(n, static_cast<std::uint64_t>(seed + of), lo, hi);
    };
    const long n = static_cast<long>(d.B) * d.T * d.C;
    // Numbers of bf16, as what these tensors are stored in makes them.
    // Numbers that both formats have.
    const auto stored = [&](int seed) { return rounded(rounded(random(n, seed), Precision::kBf16), Precision::kFp16); };
    r = stored(1), z = random(n / d.P, 2, 0, 1.5);
    du = stored(3);
    for (long i = 0; i < n / d.P; ++i) positions.push_back(static_cast<std::int32_t>(7 * i % d.P));
    for (int l = 0; l < d.L; ++l) {
      const double range = std::sqrt(6.0 / (inputs(l) + d.width[l]));
      p.w.push_back(random(static_cast<long>(inputs(l)) * d.width[l], 10 + l, -range, range));
      p.bias.push_back(random(d.width[l], 20 + l, -0.3, 0.3));
    }
    p.saaf_v = random(n_v(d.saaf) * d.C, 30);
    p.saaf_w = random(n_curved(d.saaf) * d.C, 31);
  }
  int inputs(int l) const { return l == 0 ? d.C : d.width[l - 1]; }
  DenseDims layer(int l) const { return {d.B * d.T, inputs(l), d.width[l]}; }

  // The curve's inputs as its gradient's sums see them: in bf16 and fp16 their distance from the region's left end is
  // rounded.
  Vec on_curve(Vec x, Precision precision) const {
    if (!is_16_bit(precision)) return x;
    const double width = (static_cast<double>(d.saaf.hi) - d.saaf.lo) / d.saaf.S;
    for (double& v : x) {
      const double segment = std::clamp(std::floor((v - d.saaf.lo) / width), 0.0, static_cast<double>(d.saaf.S));
      const double left = d.saaf.lo + segment * width;
      v = left + round_to(static_cast<float>(v - left), precision);
    }
    return x;
  }

  // u, dr, dz, then dw and dbias of each layer, dv and dw of the SAAF.
  std::vector<Vec> run(Precision precision) const {
    const auto as = [&](const Vec& x) { return precision == Precision::kFp32 ? x : rounded(x, precision); };
    const PoolDims pool{d.B, d.T, d.C, d.P};
    std::vector<Vec> h{reference::multiply(reference::unpool_forward(z, positions, pool, d.unpool), r)};
    for (int l = 0; l < d.L; ++l) {
      h.push_back(reference::dense_forward(as(h[l]), as(p.w[l]), p.bias[l], layer(l)));
      if (l + 1 < d.L) h.back() = reference::activation_forward(h.back(), d.activation);
    }
    std::vector<Vec> out{h.back(), {}, {}};
    Vec dv(p.saaf_v.size()), dw_saaf(p.saaf_w.size()), g = du;
    if (d.use_saaf) {
      out[0] = reference::saaf_forward(h.back(), p.saaf_v, p.saaf_w, d.saaf);
      Vec unused_v = dv, unused_w = dw_saaf;
      g = reference::saaf_backward(unused_v, unused_w, du, h.back(), p.saaf_v, p.saaf_w, d.saaf);
      reference::saaf_backward(dv, dw_saaf, du, on_curve(h.back(), precision), p.saaf_v, p.saaf_w, d.saaf);
    }
    std::vector<Vec> dw(d.L), dbias(d.L);
    for (int l = d.L - 1; l >= 0; --l) {
      if (l + 1 < d.L) g = reference::activation_backward(g, as(h[l + 1]), d.activation);
      Vec unused(p.w[l].size()), unused_bias(p.bias[l].size());
      dw[l].resize(p.w[l].size());
      dbias[l].resize(p.bias[l].size());
      reference::dense_backward(unused, dbias[l], is_16_bit(precision) ? as(g) : g, h[l + 1], h[l], p.w[l], layer(l));
      g = reference::dense_backward(dw[l], unused_bias, as(g), h[l + 1], as(h[l]), as(p.w[l]), layer(l));
    }
    out[1] = reference::multiply(g, reference::unpool_forward(z, positions, pool, d.unpool));
    out[2] = reference::unpool_backward(reference::multiply(g, r), positions, pool, d.unpool);
    for (int i = 0; i < 2 && is_16_bit(precision); ++i) out[i] = rounded(out[i], precision);  // u, dr: stored
    for (int l = 0; l < d.L; ++l) out.push_back(dw[l]), out.push_back(dbias[l]);
    if (d.use_saaf) out.push_back(dv), out.push_back(dw_saaf);
    return out;
  }
  // Its weights where the context's device reads them.
  struct OnDevice {
    Floats v, w;
    std::vector<std::unique_ptr<Floats>> keep;
    DnnSaafWeights weights{};
    explicit OnDevice(const Dnn& of) : v(of.p.saaf_v), w(of.p.saaf_w) {
      weights.saaf_v = v, weights.saaf_w = w;
      for (int l = 0; l < of.d.L; ++l) {
        weights.w[l] = *keep.emplace_back(std::make_unique<Floats>(of.p.w[l]));
        weights.bias[l] = *keep.emplace_back(std::make_unique<Floats>(of.p.bias[l]));
      }
    }
  };
  // u, or nothing where none is asked for; its rows where they are.
  Vec run_forward(const Context& context, const DnnSaafRows& rows, bool with_u) const {
    StoredNumbers fr(context, r), u(context, r.size());
    Floats fz(z);
    const OnDevice own(*this);
    Ints at(positions);
    Bytes packed(dnn_saaf_packed(context, d)), scratch(dnn_saaf_scratch(context, d));
    dnn_saaf_prepare(context, packed.get(), own.weights, d);
    Stored* to = u;
    dnn_saaf_forward_to(context, with_u ? to : nullptr, rows, nullptr, fr, fz, at, packed.get(), scratch.get(), d);
    return with_u ? u.values() : Vec();
  }
  // du as it is, or as backward computes it from there.
  std::vector<Vec> run_op(const Context& context, const DnnSaafDu* from = nullptr) const {
    StoredNumbers fr(context, r), fdu(context, du), u(context, r.size()), dr(context, r.size());
    Floats fz(z), dz(z.size(), kNan), dv(p.saaf_v.size(), 0.0f), dw_saaf(p.saaf_w.size(), 0.0f);
    std::vector<std::unique_ptr<Floats>> grads;
    const OnDevice own(*this);
    const DnnSaafWeights& weights = own.weights;
    Ints at(positions);
    DnnSaafGrads gradients{};
    gradients.dsaaf_v = dv, gradients.dsaaf_w = dw_saaf;
    for (int l = 0; l < d.L; ++l) {
      gradients.dw[l] = *grads.emplace_back(std::make_unique<Floats>(p.w[l].size(), 0.0f));
      gradients.dbias[l] = *grads.emplace_back(std::make_unique<Floats>(p.bias[l].size(), 0.0f));
    }
    Bytes packed(dnn_saaf_packed(context, d)), saved(dnn_saaf_saved(context, d)), scratch(dnn_saaf_scratch(context, d));
    dnn_saaf_prepare(context, packed.get(), weights, d);
    dnn_saaf_forward(context, u, saved.get(), fr, fz, at, packed.get(), scratch.get(), d);
    const DnnSaafDu given{fdu};
    dnn_saaf_backward_from(context, dr, dz, gradients, from ? *from : given, saved.get(), fr, fz, at, weights,
                           packed.get(), scratch.get(), d);
    std::vector<Vec> out{u.values(), dr.values(), dz.values()};
    for (const auto& g : grads) out.push_back(g->values());
    if (d.use_saaf) out.push_back(dv.values()), out.push_back(dw_saaf.values());
    return out;
  }
};

// Frames of one Dnn each, whose curves are the same, in one call; results as those of run.
std::vector<Vec> run_with_weights_of_their_own(const std::vector<Dnn>& frames, const Context& context) {
  DnnSaafDims d = frames[0].d;
  const auto B = static_cast<long>(frames.size());
  d.B = d.saaf.B = static_cast<int>(B);
  Vec r, z, du, w;
  Positions positions;
  std::vector<long> at;  // of each layer's w and bias in a frame's weights
  const auto add = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (const Dnn& frame : frames) {
    add(r, frame.r), add(z, frame.z), add(du, frame.du), add(positions, frame.positions);
    at.clear();
    const auto begin = static_cast<long>(w.size());
    for (int l = 0; l < d.L; ++l) {
      for (const Vec& of : {frame.p.w[static_cast<std::size_t>(l)], frame.p.bias[static_cast<std::size_t>(l)]}) {
        at.push_back(static_cast<long>(w.size()) - begin);
        add(w, of);
      }
    }
    d.apart = static_cast<long>(w.size()) - begin;
  }
  StoredNumbers fr(context, r), fdu(context, du), u(context, r.size()), dr(context, r.size());
  Floats fz(z), fw(w), v(frames[0].p.saaf_v), saaf_w(frames[0].p.saaf_w), dz(z.size(), kNan), dw(w.size(), 0.0f),
      dv(frames[0].p.saaf_v.size(), 0.0f), dw_saaf(frames[0].p.saaf_w.size(), 0.0f);
  Ints fat(positions);
  DnnSaafWeights weights{};
  DnnSaafGrads gradients{};
  weights.saaf_v = v, weights.saaf_w = saaf_w, gradients.dsaaf_v = dv, gradients.dsaaf_w = dw_saaf;
  for (int l = 0; l < d.L; ++l) {
    const auto i = static_cast<std::size_t>(2 * l);
    weights.w[l] = fw + at[i], weights.bias[l] = fw + at[i + 1];
    gradients.dw[l] = dw + at[i], gradients.dbias[l] = dw + at[i + 1];
  }
  Bytes packed(dnn_saaf_packed(context, d)), saved(dnn_saaf_saved(context, d)), scratch(dnn_saaf_scratch(context, d));
  dnn_saaf_prepare(context, packed.get(), weights, d);
  dnn_saaf_forward(context, u, saved.get(), fr, fz, fat, packed.get(), scratch.get(), d);
  dnn_saaf_backward(context, dr, dz, gradients, fdu, saved.get(), fr, fz, fat, weights, packed.get(), scratch.get(), d);
  std::vector<Vec> out{u.values(), dr.values(), dz.values()};
  const Vec all = dw.values();
  for (std::size_t i = 0; i < at.size(); ++i) {
    const long size = (i + 1 < at.size() ? at[i + 1] : d.apart) - at[i];
    Vec& of_all = out.emplace_back();
    for (long b = 0; b < B; ++b) {
      const auto from = all.begin() + b * d.apart + at[i];
      of_all.insert(of_all.end(), from, from + size);
    }
  }
  if (d.use_saaf) out.push_back(dv.values()), out.push_back(dw_saaf.values());
  return out;
}

DnnSaafDims dnn_dims(int B, int T, int C, int P, std::vector<int> width, Activation activation,
                     Unpool unpool = Unpool::kHold, bool use_saaf = true) {
  DnnSaafDims d{B, T, C, P, unpool, static_cast<int>(width.size()), {}, activation, use_saaf, {}};
  std::copy(width.begin(), width.end(), d.width);
  d.saaf = {B, T, C, 6, -0.8f, 0.9f, 1.0f, false, true, 2};
  return d;
}
const Dnn kDnns[] = {Dnn(dnn_dims(2, 48, 24, 8, {40, 17, 24}, Activation::kTanh)),
                     Dnn(dnn_dims(1, 80, 20, 16, {9, 20}, Activation::kSoftplus)),
                     Dnn(dnn_dims(1, 128, 72, 64, {64, 8, 72}, Activation::kTanh)),
                     // The paper's layers; rows that are not of four; one layer; windows longer than a block's samples.
                     Dnn(dnn_dims(1, 320, 128, 16, {128, 64, 64, 128}, Activation::kTanh, Unpool::kPositions)),
                     Dnn(dnn_dims(2, 45, 33, 5, {100, 7, 33}, Activation::kSoftplus, Unpool::kPositions)),
                     Dnn(dnn_dims(1, 30, 21, 3, {21}, Activation::kTanh, Unpool::kHold)),
                     Dnn(dnn_dims(1, 50, 12, 10, {30, 90, 12}, Activation::kIdentity, Unpool::kHold, false)),
                     Dnn(dnn_dims(1, 2048, 8, 1024, {8, 8}, Activation::kTanh, Unpool::kPositions)),
                     // Shapes that a GPU has kernels of their own for: windows of one, two and four rows of products.
                     Dnn(dnn_dims(1, 320, 128, 16, {128, 64, 64, 128}, Activation::kSoftplus, Unpool::kPositions)),
                     Dnn(dnn_dims(1, 256, 128, 64, {128, 64, 64, 128}, Activation::kSoftplus)),
                     Dnn(dnn_dims(1, 128, 128, 32, {128, 64, 64, 128}, Activation::kSoftplus, Unpool::kHold, false)),
                     Dnn(dnn_dims(2, 192, 32, 16, {32, 32, 32, 32}, Activation::kRelu)),
                     Dnn(dnn_dims(1, 192, 32, 32, {32, 32, 32, 32}, Activation::kRelu, Unpool::kHold, false)),
                     Dnn(dnn_dims(1, 64, 32, 64, {32, 32, 32, 32}, Activation::kRelu, Unpool::kPositions)),
                     // More samples than all blocks of a GPU take at once: each adds up several tiles.
                     Dnn(dnn_dims(6, 8192, 6, 64, {5, 6}, Activation::kTanh))};

// Inside, a number that fp32 makes a little different may be rounded to the neighbour: a few elements are off by what
// one rounding is, none by more, and all of them together by far less than the rounding itself makes.
void expect_rounded(const std::vector<Vec>& got, const std::vector<Vec>& want, const std::vector<Vec>& exact,
                    Precision p, Activation activation) {
  // A GPU's softplus of 1.3e-6 turns eight times as many roundings of fp16 as of bf16: 0.38 was seen.
  const double share = on_cuda() && p == Precision::kFp16 ? 0.5 : 0.25;
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    SCOPED_TRACE(fmt::format("result {}", i));
    double largest = 0.0;
    for (const double x : want[i]) largest = std::max(largest, std::abs(x));
    for (std::size_t k = 0; k < want[i].size(); ++k) {
      ASSERT_TRUE(std::abs(got[i][k] - want[i][k]) <= 2 * unit_of(p) * largest)
          << k << ": " << got[i][k] << ", expected " << want[i][k];
    }
    EXPECT_LT(rms(got[i], want[i]), share * rms(want[i], exact[i]) + 1e-6 * largest);
    // A rounding that turns a relu moves what lies behind it by more than roundings do.
    if (activation != Activation::kRelu) {
      EXPECT_LT(rms(want[i], exact[i]), 8 * unit_of(p) * largest);
    }
  }
}

TEST(Precision, DnnSaafMatchesReferenceOfRoundedOperands) {
  for (const Dnn& dnn : kDnns) {
    const auto exact = dnn.run(Precision::kFp32);
    for (const Precision p : kRounded) {
      const auto want = dnn.run(p);
      for (Context context : contexts_with_emulation()) {
        if (on_cuda() && !context.fuse_dnn) continue;  // cuBLAS rounds in its own way, and the virtual one not at all
        context.precision = p;
        SCOPED_TRACE(fmt::format("{} C={}", name_of(context), dnn.d.C));
        const auto got = dnn.run_op(context);
        expect_rounded(got, want, exact, p, dnn.d.activation);
        const auto again = dnn.run_op(context);
        EXPECT_EQ(got, again) << "two runs";
      }
    }
  }
}

// Of each frame what it is alone, of the curves' gradients the sum.
std::vector<Vec> side_by_side(const std::vector<std::vector<Vec>>& frames, const DnnSaafDims& d) {
  std::vector<Vec> all = frames[0];
  for (std::size_t b = 1; b < frames.size(); ++b) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i < 3u + 2u * static_cast<std::size_t>(d.L)) {
        all[i].insert(all[i].end(), frames[b][i].begin(), frames[b][i].end());
      } else {
        for (std::size_t k = 0; k < all[i].size(); ++k) all[i][k] += frames[b][i][k];
      }
    }
  }
  return all;
}

TEST(Precision, FramesWithWeightsOfTheirOwnMatchReferenceOfRoundedOperands) {
  for (const DnnSaafDims& d : {dnn_dims(1, 48, 24, 8, {40, 17, 24}, Activation::kTanh),
                               dnn_dims(1, 192, 32, 16, {32, 32, 32, 32}, Activation::kRelu),
                               dnn_dims(1, 128, 128, 16, {128, 64, 64, 128}, Activation::kSoftplus, Unpool::kPositions),
                               dnn_dims(1, 30, 21, 3, {21}, Activation::kTanh, Unpool::kHold, false),
                               dnn_dims(1, 1024, 8, 512, {8, 8}, Activation::kTanh, Unpool::kPositions)}) {
    std::vector<Dnn> frames;
    for (int b = 0; b < 3; ++b) {
      frames.emplace_back(d, 100 * b);
      frames.back().p.saaf_v = frames[0].p.saaf_v, frames.back().p.saaf_w = frames[0].p.saaf_w;
    }
    const auto run = [&](Precision p) {
      std::vector<std::vector<Vec>> all;
      for (const Dnn& frame : frames) all.push_back(frame.run(p));
      return side_by_side(all, d);
    };
    const auto exact = run(Precision::kFp32);
    for (const Precision p : kRounded) {
      const auto want = run(p);
      for (Context context : contexts_with_emulation()) {
        if (on_cuda() && !context.fuse_dnn) continue;
        context.precision = p;
        SCOPED_TRACE(fmt::format("{} C={}", name_of(context), d.C));
        const auto got = run_with_weights_of_their_own(frames, context);
        expect_rounded(got, want, exact, p, d.activation);
        EXPECT_EQ(got, run_with_weights_of_their_own(frames, context)) << "two runs";
      }
    }
  }
}

// Where a GPU's blocks take several tiles each: what a third of the frames gives alone, and the thirds' gradients added
// up.
TEST(Precision, DnnSaafOfManyFramesIsThatOfTheirParts) {
  if (!on_cuda()) GTEST_SKIP() << "a CPU takes frame after frame";
  for (const DnnSaafDims& dims : {dnn_dims(9, 1024, 128, 16, {128, 64, 64, 128}, Activation::kSoftplus),
                                  dnn_dims(9, 1024, 32, 32, {32, 32, 32, 32}, Activation::kRelu, Unpool::kPositions)}) {
    const Dnn all(dims);
    for (Context context : contexts()) {
      if (!context.fuse_dnn || context.use_cudnn.value_or(false)) continue;
      for (const Precision p : kStored) {
        context.precision = p;
        const auto got = all.run_op(context);
        EXPECT_EQ(got, all.run_op(context)) << "two runs";
        std::vector<Vec> want(got.size());
        for (int third = 0; third < 3; ++third) {
          Dnn one = all;
          one.d.B = one.d.saaf.B = dims.B / 3;
          const auto slice = [&](auto& x) {
            const long n = static_cast<long>(x.size()) / 3;
            x = {x.begin() + third * n, x.begin() + (third + 1) * n};
          };
          slice(one.r), slice(one.z), slice(one.du), slice(one.positions);
          const auto part = one.run_op(context);
          for (std::size_t i = 0; i < part.size(); ++i) {
            if (i < 3) want[i].insert(want[i].end(), part[i].begin(), part[i].end());
            if (i >= 3) want[i].resize(part[i].size());
            for (std::size_t k = 0; i >= 3 && k < part[i].size(); ++k) want[i][k] += part[i][k];
          }
        }
        for (std::size_t i = 0; i < got.size(); ++i) {
          SCOPED_TRACE(fmt::format("{} C={} result {}", name_of(context), dims.C, i));
          if (i < 3) {  // u, dr, dz
            EXPECT_EQ(got[i], want[i]);
            continue;
          }
          double largest = 0.0;
          for (const double x : want[i]) largest = std::max(largest, std::abs(x));
          for (std::size_t k = 0; k < want[i].size(); ++k) {
            ASSERT_NEAR(got[i][k], want[i][k], 2e-6 * largest) << k;
          }
        }
      }
    }
  }
}

// body(context, DNN-SAAF, deconvolution behind) where `has`(context, DNN-SAAF, taps) says that a kernel knows both; how
// often.
template <class Has, class Body>
int over_deconvolutions(Has has, Body body) {
  int taken = 0;
  for (const DnnSaafDims& dims :
       {dnn_dims(2, 256, 32, 16, {32, 32, 32, 32}, Activation::kRelu),
        dnn_dims(1, 512, 32, 64, {32, 32, 32, 32}, Activation::kRelu, Unpool::kPositions),
        dnn_dims(3, 256, 128, 16, {128, 64, 64, 128}, Activation::kSoftplus),
        dnn_dims(1, 512, 128, 64, {128, 64, 64, 128}, Activation::kSoftplus, Unpool::kPositions)}) {
    for (const int K : {64, 37}) {
      for (const Deconv form : {Deconv::kAdjoint, Deconv::kCorrelate}) {
        for (Context context : contexts()) {
          for (const Precision p : kStored) {
            context.precision = p;
            if (!has(context, dims, K) || context.use_cudnn.value_or(false)) continue;
            ++taken;
            SCOPED_TRACE(fmt::format("{} K={} form {}", name_of(context), K, static_cast<int>(form)));
            body(context, dims, Deconv1dDims{dims.B, dims.T, dims.C, K, form});
          }
        }
      }
    }
  }
  return taken;
}

// du of the deconvolution behind, once from memory and once computed where it is used: both are rounded sums of the
// same products, in another order.
TEST(Precision, DnnSaafComputesDuOfTheDeconvolution) {
  const auto compare = [](const Context& context, const DnnSaafDims& dims, const Deconv1dDims& deconv) {
    Floats w(random(static_cast<long>(dims.C) * deconv.K, 40, -0.2, 0.2)),
        dy(reference::pad(random(static_cast<long>(dims.B) * dims.T, 41), dims.B, dims.T, deconv.K,
                          deconv1d_pad(deconv)));
    Dnn dnn(dims);
    StoredNumbers du(context, dnn.du.size()), u(context, dnn.r);
    Floats dw(Vec(static_cast<std::size_t>(dims.C) * static_cast<std::size_t>(deconv.K))), dbias(Vec(1));
    Bytes scratch(deconv1d_scratch(context, deconv));
    deconv1d_backward(context, du, dw, dbias, dy, u, w, scratch.get(), deconv);
    dnn.du = du.values();
    const DnnSaafDu from{nullptr, dy, w, deconv.K, deconv.form == Deconv::kCorrelate};
    const auto got = dnn.run_op(context, &from), want = dnn.run_op(context);
    EXPECT_EQ(got, dnn.run_op(context, &from)) << "two runs";
    for (std::size_t i = 0; i < want.size(); ++i) {
      double largest = 0.0;
      for (const double x : want[i]) largest = std::max(largest, std::abs(x));
      for (std::size_t k = 0; k < want[i].size(); ++k) {
        ASSERT_NEAR(got[i][k], want[i][k], 2 * unit_of(context.precision) * largest) << "result " << i << ", " << k;
      }
      EXPECT_LT(rms(got[i], want[i]), 0.02 * unit_of(context.precision) * largest) << "result " << i;
    }
  };
  if (!over_deconvolutions(dnn_saaf_takes_dy, compare)) GTEST_SKIP() << "no kernel of this device computes du";
}

// The deconvolution's rows of u: their sums are its output, and the error of these is that of one which reads u.
TEST(Precision, DnnSaafGivesRowsOfTheDeconvolution) {
  const auto compare = [](const Context& context, const DnnSaafDims& dims, const Deconv1dDims& deconv) {
    const std::size_t n = static_cast<std::size_t>(dims.B * dims.T), n_rows = n / kDeconvRowSamples * kDeconvRow,
                      padded = static_cast<std::size_t>(dims.B * (dims.T + deconv.K - 1));
    Floats w(random(static_cast<long>(dims.C) * deconv.K, 40, -0.2, 0.2)), bias(random(1, 41)),
        target(random(static_cast<long>(n), 42));
    const Dnn dnn(dims);
    const DnnSaafRows to{nullptr, w, deconv.K, deconv.form == Deconv::kCorrelate};
    const auto rows_of = [&](bool with_u) {
      Floats rows(Vec(n_rows, kNan));
      DnnSaafRows there = to;
      there.rows = rows;
      return std::pair{dnn.run_forward(context, there, with_u), rows.values()};
    };
    const Vec want = dnn.run_forward(context, {}, true);
    const auto [u, rows] = rows_of(true);
    EXPECT_EQ(u, want);
    EXPECT_EQ(rows, rows_of(false).second) << "without u";
    StoredNumbers stored(context, want);
    Floats y(Vec(n, kNan));
    Bytes scratch(deconv1d_scratch(context, deconv));
    deconv1d_forward(context, y, stored, w, bias, scratch.get(), deconv);
    const Vec got_y = y.values();
    const double shift = bias.values()[0];
    for (int b = 0; b < dims.B; ++b) {
      for (int t = 0; t < dims.T; ++t) {
        double sum = shift;
        const int j = t + deconv1d_pad(deconv);
        for (int row = std::max(0, (j - kDeconvRow) / kDeconvRowSamples); row * kDeconvRowSamples <= j; ++row) {
          if (row >= dims.T / kDeconvRowSamples || j - row * kDeconvRowSamples >= kDeconvRow) continue;
          sum += rows[static_cast<std::size_t>((b * dims.T / kDeconvRowSamples + row) * kDeconvRow + j -
                                               row * kDeconvRowSamples)];
        }
        ASSERT_NEAR(got_y[static_cast<std::size_t>(b * dims.T + t)], sum, 1e-5) << b << ", " << t;
      }
    }
    Floats given(rows), of_u(Vec(padded, kNan)), of_rows(Vec(padded, kNan)),
        sums_u(Vec(static_cast<std::size_t>(dims.B), kNan)), sums_rows(sums_u.values());
    Items<double> losses_u(std::vector<double>(static_cast<std::size_t>(dims.B), kNan)), losses_rows(losses_u.values());
    const auto mae = [&](double* losses, float* dy, float* sums) {
      return DeconvMae{losses, dy, target, dims.T, 0.25f, {}, sums};
    };
    ASSERT_TRUE(deconv1d_mae(context, mae(losses_u, of_u, sums_u), stored, w, bias, scratch.get(), deconv));
    deconv1d_mae_of_rows(context, mae(losses_rows, of_rows, sums_rows), given, bias, deconv);
    const Vec dy_u = of_u.values(), dy_rows = of_rows.values();
    int other = 0;
    for (std::size_t i = 0; i < padded; ++i) other += dy_u[i] != dy_rows[i];
    EXPECT_LE(other, 1) << "signs of errors next to zero";
    for (int b = 0; b < dims.B; ++b) {
      const auto i = static_cast<std::size_t>(b);
      EXPECT_NEAR(losses_rows.values()[i], losses_u.values()[i], 1e-6 * losses_u.values()[i]);
      if (other == 0) {
        EXPECT_EQ(sums_rows.values()[i], sums_u.values()[i]);
      }
    }
  };
  if (!over_deconvolutions(dnn_saaf_gives_rows, compare)) GTEST_SKIP() << "no kernel of this device gives rows";
}

// Frames of a recording of 3,000 samples, of which some reach beyond the notes that they belong to.
const std::vector<FrameRef> kFrames = {{100, 100, 1500}, {-40, 0, 900}, {1200, 1000, 1400}, {2900, 2000, 3000}};

// A call of DNN-SAAF both ways on a GPU, du computed where the device can: operands of its own, and what it leaves.
class DnnCall {
 public:
  DnnCall(const Context& context, const DnnSaafDims& dims, int seed) : d_(dims) {
    const long n = static_cast<long>(d_.B) * d_.T * d_.C;
    const auto floats = [&](long count, double range) {
      const Vec v = random(count, 100 * seed + static_cast<int>(arrays_.size()), -range, range);
      return std::vector<float>(v.begin(), v.end());
    };
    const auto add = [&](std::size_t bytes, const void* from) {
      arrays_.emplace_back(context, bytes);
      from ? arrays_.back().upload(static_cast<const char*>(from), bytes) : arrays_.back().fill_zero();
      return static_cast<void*>(arrays_.back().data());
    };
    const auto given = [&](long count, double range) {
      return static_cast<float*>(add(sizeof(float) * static_cast<std::size_t>(count), floats(count, range).data()));
    };
    const auto result = [&](std::size_t bytes) {
      results_.push_back(arrays_.size());
      return add(bytes, nullptr);
    };
    const auto gradient = [&](long count) {
      return static_cast<float*>(result(sizeof(float) * static_cast<std::size_t>(count)));
    };
    std::vector<std::uint16_t> numbers;  // of bf16
    for (const float v : floats(n, 0.9)) {
      numbers.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(v) >> 16));
    }
    r_ = add(2 * numbers.size(), numbers.data());
    z_ = given(n / d_.P, 1.5), dy_ = given(static_cast<long>(d_.B) * (d_.T + kTaps - 1), 0.1);
    filters_ = given(static_cast<long>(d_.C) * kTaps, 0.2);
    for (int l = 0, from = d_.C; l < d_.L; from = d_.width[l++]) {
      const long size = static_cast<long>(from) * d_.width[l];
      weights_.w[l] = given(size, std::sqrt(6.0 / (from + d_.width[l]))), grads_.dw[l] = gradient(size);
      weights_.bias[l] = given(d_.width[l], 0.3), grads_.dbias[l] = gradient(d_.width[l]);
    }
    const long n_first = n_v(d_.saaf) * d_.C, n_second = static_cast<long>(n_curved(d_.saaf)) * d_.C;
    weights_.saaf_v = given(n_first, 1.0), grads_.dsaaf_v = gradient(n_first);
    weights_.saaf_w = given(n_second, 1.0), grads_.dsaaf_w = gradient(n_second);
    u_ = result(2 * numbers.size()), dr_ = result(2 * numbers.size()), dz_ = gradient(n / d_.P);
    const long of_rows = static_cast<long>(d_.B) * d_.T / kDeconvRowSamples * kDeconvRow;
    rows_ = gradient(of_rows), of_rows_ = gradient(static_cast<long>(d_.B) * (d_.T + kTaps - 1));
    losses_ = static_cast<double*>(result(sizeof(double) * static_cast<std::size_t>(d_.B)));
    target_ = given(static_cast<long>(d_.B) * d_.T, 1.0), bias_ = given(1, 0.5);
    packed_ = add(dnn_saaf_packed(context, d_), nullptr), scratch_ = add(dnn_saaf_scratch(context, d_), nullptr);
  }
  void run(const Context& context) {
    dnn_saaf_prepare(context, packed_, weights_, d_);
    dnn_saaf_forward_to(context, u_, {rows_, filters_, kTaps, false}, nullptr, r_, z_, nullptr, packed_, scratch_, d_);
    deconv1d_mae_of_rows(context, {losses_, of_rows_, target_, d_.T, 0.25f}, rows_, bias_, {d_.B, d_.T, d_.C, kTaps});
    dnn_saaf_backward_from(context, dr_, dz_, grads_, {nullptr, dy_, filters_, kTaps, false}, nullptr, r_, z_, nullptr,
                           weights_, packed_, scratch_, d_);
  }
  std::vector<std::string> bits() const {
    std::vector<std::string> all;
    for (const std::size_t i : results_) {
      all.emplace_back(arrays_[i].size(), '\0');
      arrays_[i].download(all.back().data(), arrays_[i].size());
    }
    return all;
  }
  static constexpr int kTaps = 64;

 private:
  DnnSaafDims d_;
  std::vector<DeviceArray<char>> arrays_;
  std::vector<std::size_t> results_;
  Stored *r_, *u_, *dr_;
  float *z_, *dy_, *filters_, *dz_, *rows_, *of_rows_, *target_, *bias_;
  double* losses_;
  DnnSaafWeights weights_{};
  DnnSaafGrads grads_{};
  void *packed_, *scratch_;
};

TEST(Precision, DnnSaafOfMembersSideBySideIsThatOfEach) {
  int taken = 0;
  struct Case {
    DnnSaafDims dims;
    int members;
  };
  // Of the last one a block has several of a member's 13 parts, the last block fewer, on a card of 132 multiprocessors.
  const int parts = 13, samples = (4 * parts - 2) * 64;
  for (const Case& of : {Case{dnn_dims(2, 128, 32, 16, {32, 32, 32, 32}, Activation::kRelu), 3},
                         Case{dnn_dims(2, 128, 128, 16, {128, 64, 64, 128}, Activation::kSoftplus), 3},
                         Case{dnn_dims(1, samples, 32, 16, {32, 32, 32, 32}, Activation::kRelu), 40}}) {
    const DnnSaafDims& dims = of.dims;
    for (Context context : contexts()) {
      context.precision = Precision::kBf16;
      if (context.device == Device::kCpu || !dnn_saaf_takes_dy(context, dims, DnnCall::kTaps)) continue;
      ++taken;
      std::vector<std::vector<std::string>> want;
      for (int k = 0; k < of.members; ++k) {
        DnnCall alone(context, dims, k);
        alone.run(context);
        want.push_back(alone.bits());
      }
      EXPECT_NE(want[0], want[1]);
      MemberMemory memory(context, of.members,
                          measure_member(context, [&] { DnnCall(context, dims, 0).run(context); }));
      std::vector<std::unique_ptr<DnnCall>> members(of.members);
      for (int k = 0; k < of.members; ++k) {
        memory.allocate_in(k, [&] { members[k] = std::make_unique<DnnCall>(context, dims, k); });
      }
      memory.for_members(0, of.members, [&] { members[0]->run(context); });
      for (int k = 0; k < of.members; ++k) EXPECT_TRUE(members[k]->bits() == want[k]) << name_of(context) << " " << k;
    }
  }
  if (!taken) GTEST_SKIP() << "no kernel of this device computes du";
}

// A deconvolution that ends in the mean absolute error leaves what the loss makes of its output.
TEST(Precision, DeconvolutionWithItsErrorIsBothInTurn) {
  int taken = 0;
  // 270 frames are more than a GPU has blocks; for 256 channels some GPUs have room for fewer rows ahead.
  for (const auto& [B, C] : {std::array{2, 32}, {2, 128}, {2, 256}, {270, 32}}) {
    for (const Deconv form : {Deconv::kAdjoint, Deconv::kCorrelate}) {
      const Deconv1dDims d{B, 256, C, 64, form};
      const long stride = d.T + 5;
      Floats w(random(static_cast<long>(C) * d.K, 1, -0.2, 0.2)), bias(random(1, 2)), target(random(d.B * stride, 3));
      for (Context context : contexts()) {
        for (const Precision p : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
          context.precision = p;
          const Vec values = random(static_cast<long>(d.B) * d.T * C, 4),
                    numbers = p == Precision::kFp32 ? values : rounded(values, p);
          StoredNumbers u(context, numbers);
          const std::size_t n = static_cast<std::size_t>(d.B * (d.T + d.K - 1));
          Floats y(Vec(static_cast<std::size_t>(d.B * d.T))), got(Vec(n, kNan)), want(Vec(n, kNan));
          Items<double> losses(std::vector<double>(B, kNan)), expected(std::vector<double>(B, kNan));
          const float scale = 0.25f;
          Bytes scratch(deconv1d_scratch(context, d));
          if (!deconv1d_mae(context, {losses, got, target, stride, scale}, u, w, bias, scratch.get(), d)) continue;
          ++taken;
          deconv1d_forward(context, y, u, w, bias, scratch.get(), d);
          StoredNumbers last(context, Vec(numbers.end() - d.T * C, numbers.end()));
          Floats alone(Vec(static_cast<std::size_t>(d.T)));
          deconv1d_forward(context, alone, last, w, bias, scratch.get(), {1, d.T, C, d.K, form});
          const Vec of_all = y.values();
          EXPECT_EQ(alone.values(), Vec(of_all.end() - d.T, of_all.end()));
          LossWeights mae;
          mae.mae = 1.0f;
          loss_forward_backward(context, expected, want, y, target, nullptr, scale, mae, nullptr,
                                {d.B, d.T, d.K, deconv1d_pad(d), stride});
          // In fp32 a frame's sums meet in another order: the sign of an error next to zero may be another one.
          const Vec got_dy = got.values(), want_dy = want.values();
          long other = 0;
          for (std::size_t i = 0; i < n; ++i) other += got_dy[i] != want_dy[i];
          EXPECT_LE(other, p == Precision::kFp32 ? d.B / 64 : 0);
          // Of targets that lie in a recording the same.
          Floats audio(random(3000, 6)), gathered(Vec(static_cast<std::size_t>(d.B * d.T))), by_refs(Vec(n, kNan));
          std::vector<FrameRef> frames;
          for (int b = 0; b < B; ++b) frames.push_back(kFrames[static_cast<std::size_t>(b % 2 + 1)]);
          Items<FrameRef> refs(frames);
          Items<double> of_gathered(std::vector<double>(B, kNan)), of_refs(std::vector<double>(B, kNan));
          gather_frames(context, gathered, audio, refs, {d.B, d.T, 1, 0});
          deconv1d_mae(context, {of_gathered, got, gathered, d.T, scale}, u, w, bias, scratch.get(), d);
          deconv1d_mae(context, {.losses = of_refs, .dy_padded = by_refs, .scale = scale, .frames = {audio, refs}}, u,
                       w, bias, scratch.get(), d);
          EXPECT_EQ(by_refs.values(), got.values());
          EXPECT_EQ(of_refs.values(), of_gathered.values());
          for (int b = 0; b < d.B; ++b) {
            EXPECT_NEAR(losses.values()[b], expected.values()[b],
                        (p == Precision::kFp32 ? 1e-6 : 1e-12) * expected.values()[b]);
          }
        }
      }
    }
  }
  if (!taken) GTEST_SKIP() << "no kernel of this device does both";
}

// A front end that takes its frames from the recording leaves what gathering and then running it does, to the bit, the
// padded frames too; more tiles than a GPU has blocks among them.
TEST(Precision, TheFrontEndGathersItsFrames) {
  int taken = 0;
  for (const auto& [B, T, C, K1] :
       {std::array{4, 512, 32, 64}, {3, 256, 128, 64}, {4, 1024, 32, 51}, {150, 512, 128, 64}}) {
    const FrontEndDims d{B, T, C, K1, 128, 16};
    const int left = (K1 - 1) / 2, width = T + K1 - 1;
    std::vector<FrameRef> frames;
    for (int b = 0; b < B; ++b) frames.push_back(kFrames[static_cast<std::size_t>(b % 4)]);
    Floats audio(random(3000, 1)), w1(random(static_cast<long>(C) * K1, 2, -0.2, 0.2)), bias1(random(C, 3)),
        w2(random(static_cast<long>(C) * d.K2, 4, -0.2, 0.2)), bias2(random(C, 5));
    Items<FrameRef> refs(frames);
    for (Context context : contexts()) {
      for (const Precision p : kStored) {
        context.precision = p;
        if (!front_end_gathers(context, d)) continue;
        ++taken;
        SCOPED_TRACE(fmt::format("{} B={} T={} C={} K1={}", name_of(context), B, T, C, K1));
        struct Result {
          StoredNumbers x1;
          Floats z, x_padded;
          Items<std::int32_t> positions;
          Result(const Context& context, FrontEndDims d, int width)
              : x1(context, Vec(static_cast<std::size_t>(d.B * d.T * d.C))),
                z(Vec(static_cast<std::size_t>(d.B * d.T / d.P * d.C), kNan)),
                x_padded(Vec(static_cast<std::size_t>(d.B * width), kNan)),
                positions(std::vector<std::int32_t>(static_cast<std::size_t>(d.B * d.T / d.P * d.C), -1)) {}
        } got(context, d, width), want(context, d, width);
        Bytes packed(front_end_packed(context, d)), scratch(front_end_scratch(context, d));
        gather_frames(context, want.x_padded, audio, refs, {B, T, K1, left});
        front_end_prepare(context, packed.get(), w1, bias1, w2, bias2, d);
        front_end_forward(context, want.x1, want.z, want.positions, want.x_padded, packed.get(), scratch.get(), d);
        ASSERT_TRUE(front_end_forward_from(context, got.x1, got.z, got.positions, got.x_padded, {audio, refs}, left,
                                           {w1, bias1, w2, bias2}, d));
        EXPECT_EQ(got.x_padded.values(), want.x_padded.values());
        EXPECT_EQ(got.x1.values(), want.x1.values());
        EXPECT_EQ(got.z.values(), want.z.values());
        EXPECT_EQ(got.positions.values(), want.positions.values());
      }
    }
  }
  if (!taken) GTEST_SKIP() << "no kernel of this device gathers frames";
}

// One layer, whose operands are rounded from the same numbers: only the order of the sums is another. The SAAF is y =
// x.
TEST(Precision, Bf16UnitsMatchTheirEmulation) {
  bool any = false;
  for (const auto& [T, P, C] : {std::array{48, 8, 24}, {15, 5, 3}, {80, 16, 64}, {67, 1, 33}}) {
    Dnn dnn(dnn_dims(2, T, C, P, {C}, Activation::kSoftplus));
    std::fill(dnn.p.saaf_w.begin(), dnn.p.saaf_w.end(), 0.0);
    std::fill_n(dnn.p.saaf_v.begin(), C, 0.0);
    std::fill_n(dnn.p.saaf_v.begin() + C, C, 1.0);
    Dnn sizes = dnn;
    for (Vec* x : {&sizes.r, &sizes.du, &sizes.p.w[0], &sizes.p.bias[0]}) *x = absolute(*x);
    const auto size = sizes.run(Precision::kFp32);
    for (Context units : contexts()) {
      units.precision = Precision::kBf16;
      if (!bf16_units(units)) continue;
      any = true;
      Context emulated = units;
      emulated.use_bf16_units = false;
      const auto got = dnn.run_op(units), want = dnn.run_op(emulated);
      for (std::size_t i = 0; i < 2; ++i) expect_stored(got[i], want[i], i == 0 ? "u" : "dr", Precision::kBf16);
      for (std::size_t i = 2; i < 4; ++i) {  // dz, dw
        for (std::size_t k = 0; k < want[i].size(); ++k) {
          ASSERT_TRUE(std::abs(got[i][k] - want[i][k]) <= 1e-6 * size[i][k])
              << "C=" << C << " result " << i << "[" << k << "]: " << got[i][k] << ", emulated " << want[i][k];
        }
      }
      if (C == 64) {
        EXPECT_NE(got[3], want[3]) << "the units were not used";
      }
    }
  }
  if (!any) GTEST_SKIP() << "no processor of ours multiplies bf16 here";
}

}  // namespace
}  // namespace cafx
