#include "kernels/dnn_saaf/dnn_saaf.h"

#include <cctype>
#include <deque>
#include <iterator>

#include "kernels/dense/dense.h"
#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;
using reference::DnnSaafParams;

DnnSaafDims dims(int B, int T, int C, int P, std::vector<int> width, Activation activation, Unpool unpool) {
  DnnSaafDims d{};
  d.B = B, d.T = T, d.C = C, d.P = P;
  d.unpool = unpool;
  d.L = static_cast<int>(width.size());
  std::copy(width.begin(), width.end(), d.width);
  d.activation = activation;
  d.use_saaf = true;
  d.saaf = {B, T, C, 6, -0.8f, 0.9f, 1.0f, false, true, 2};
  return d;
}
int inputs_of(const DnnSaafDims& d, int l) { return l == 0 ? d.C : d.width[l - 1]; }

struct Inputs {
  Vec r, z, du;
  Positions positions;
  DnnSaafParams p;
};

// Rounding turns a relu, or a corner of an order 1 curve, where a number lies within it; those rows get no gradient.
void drop_doubtful_rows(Inputs& in, const reference::DnnSaaf& f, const DnnSaafDims& d) {
  const auto drop = [&](int n) { std::fill_n(in.du.begin() + static_cast<long>(n) * d.C, d.C, 0.0); };
  for (int l = 0; l < d.L - 1 && d.activation == Activation::kRelu; ++l) {
    const Vec sums =
        reference::dense_forward(f.h[l], in.p.w[l], in.p.bias[l], {d.B * d.T, inputs_of(d, l), d.width[l]});
    for (std::size_t i = 0; i < sums.size(); ++i) {
      if (std::abs(sums[i]) < 2e-6) drop(static_cast<int>(i) / d.width[l]);
    }
  }
  if (!d.use_saaf || d.saaf.order == 2) return;
  for (std::size_t i = 0; i < f.u.size(); ++i) {
    const double k = (f.h.back()[i] - d.saaf.lo) * d.saaf.S / (static_cast<double>(d.saaf.hi) - d.saaf.lo);
    if (std::abs(k - std::round(k)) < 1e-4) drop(static_cast<int>(i) / d.C);
  }
}

Inputs make_inputs(const DnnSaafDims& d, std::uint64_t seed = 0) {
  Inputs in;
  const long n = static_cast<long>(d.B) * d.T * d.C;
  in.r = random(n, seed + 1);
  in.z = random(n / d.P, seed + 2, 0, 1.5);
  in.du = random(n, seed + 3);
  reference::max_pool_forward(in.positions, random(n, seed + 4), {d.B, d.T, d.C, d.P});
  for (int l = 0; l < d.L; ++l) {
    const double range = std::sqrt(6.0 / (inputs_of(d, l) + d.width[l]));  // glorot: numbers keep their size
    const auto layer = static_cast<std::uint64_t>(l);
    in.p.w.push_back(random(static_cast<long>(inputs_of(d, l)) * d.width[l], seed + 10 + layer, -range, range));
    in.p.bias.push_back(random(d.width[l], seed + 20 + layer, -0.3, 0.3));
  }
  in.p.saaf_v = random(n_v(d.saaf) * d.C, 30);
  in.p.saaf_w = random(n_curved(d.saaf) * d.C, 31);
  return in;
}

// unpool, multiply, dense, saaf; then the same upward.
void plain_twin(const Context& c, const Buffers& b, const DnnSaafDims& d) {
  const PoolDims pool{d.B, d.T, d.C, d.P};
  const long rows = static_cast<long>(d.B) * d.T, n = rows * d.C;
  std::deque<Floats> own;
  const auto room = [&](long size) -> float* { return own.emplace_back(static_cast<std::size_t>(size), kNan); };
  const auto of_layer = [&](const char* what, int l) { return b[what + std::to_string(l)]; };
  const auto layer = [&](int l) {
    return DenseDims{d.B * d.T, inputs_of(d, l), d.width[l], l == d.L - 1 ? Activation::kIdentity : d.activation};
  };
  float *unpooled = room(n), *gradient = b["du"];
  std::vector<float*> h{room(n)};
  unpool_forward(c, unpooled, b["z"], b["at"], pool, d.unpool);
  multiply_forward(c, h[0], unpooled, b["r"], n);
  for (int l = 0; l < d.L; ++l) {
    h.push_back(l + 1 < d.L || d.use_saaf ? room(rows * d.width[l]) : static_cast<float*>(b["u"]));
    Bytes scratch(dense_scratch(c, layer(l)));
    dense_forward(c, h[l + 1], h[l], of_layer("w", l), of_layer("bias", l), scratch.get(), layer(l));
  }
  if (d.use_saaf) {
    gradient = room(n);
    Bytes scratch(saaf_scratch(c, d.saaf));
    saaf_forward(c, b["u"], h[d.L], b["v"], b["w"], scratch.get(), d.saaf);
    saaf_backward(c, gradient, b["dv"], b["dw"], b["du"], h[d.L], b["v"], b["w"], scratch.get(), d.saaf);
  }
  for (int l = d.L - 1; l >= 0; --l) {
    float* below = room(rows * inputs_of(d, l));
    Bytes scratch(dense_scratch(c, layer(l)));
    dense_backward(c, below, of_layer("dw", l), of_layer("dbias", l), gradient, h[l + 1], h[l], of_layer("w", l),
                   scratch.get(), layer(l));
    gradient = below;
  }
  float* dunpooled = room(n);
  multiply_backward(c, dunpooled, b["dr"], gradient, unpooled, b["r"], n);
  unpool_backward(c, b["dz"], dunpooled, b["at"], pool, d.unpool);
}

// Weights laid out, forward with nothing saved, forward and backward in one call.
Op training_op(Inputs in, const DnnSaafDims& d) {
  // Layers of a few units each, whose sums over thirty samples all but cancel: three times what one op is allowed. In
  // the oracle itself, inputs and weights moved by half a unit in the last place move these gradients by up to .73 of
  // the usual tolerance (3 layers of 7, 4, 3; .11 where a layer has 16 units or more), and each layer rounds as much
  // once more: up to twice the usual tolerance is seen, on every instruction set.
  const Tolerance chain = d.L > 2 && d.C < 16 ? Tolerance{3e-6, 3e-5} : Tolerance{};
  const reference::DnnSaaf want = reference::dnn_saaf_forward(in.r, in.z, in.positions, in.p, d);
  drop_doubtful_rows(in, want, d);
  DnnSaafParams grads;
  for (int l = 0; l < d.L; ++l) {
    grads.w.emplace_back(in.p.w[l].size());
    grads.bias.emplace_back(in.p.bias[l].size());
  }
  grads.saaf_v.resize(in.p.saaf_v.size());
  grads.saaf_w.resize(in.p.saaf_w.size());
  Vec dr, dz;
  reference::dnn_saaf_backward(dr, dz, grads, in.du, want, in.r, in.z, in.positions, in.p, d);

  const bool hold = d.unpool == Unpool::kHold;
  Op op{"", {{"r", in.r}, {"z", in.z}, {"du", in.du}, ints("at", hold ? Positions() : in.positions)}, {}, {}, {}};
  op.outputs = {sets("u", want.u), sets("unsaved u", want.u), sets("dr", dr, chain), sets("dz", dz, chain)};
  for (int l = 0; l < d.L; ++l) {
    const std::string n = std::to_string(l);
    op.inputs.push_back({"w" + n, in.p.w[l]});
    op.inputs.push_back({"bias" + n, in.p.bias[l]});
    op.outputs.push_back(adds("dw" + n, grads.w[l], chain));
    op.outputs.push_back(adds("dbias" + n, grads.bias[l], chain));
  }
  op.inputs.push_back({"v", d.use_saaf ? in.p.saaf_v : Vec()});
  op.inputs.push_back({"w", d.use_saaf ? in.p.saaf_w : Vec()});
  op.outputs.push_back(adds("dv", d.use_saaf ? grads.saaf_v : Vec()));
  op.outputs.push_back(adds("dw", d.use_saaf ? grads.saaf_w : Vec()));
  op.rooms = {{"packed", bytes_of(dnn_saaf_packed, d)},
              {"saved", bytes_of(dnn_saaf_saved, d)},
              {"scratch", bytes_of(dnn_saaf_scratch, d)}};
  op.call = [=](const Context& c, const Buffers& b) {
    DnnSaafWeights p{};
    DnnSaafGrads g{};
    for (int l = 0; l < d.L; ++l) {
      const std::string n = std::to_string(l);
      p.w[l] = b["w" + n], p.bias[l] = b["bias" + n], g.dw[l] = b["dw" + n], g.dbias[l] = b["dbias" + n];
    }
    p.saaf_v = b["v"], p.saaf_w = b["w"], g.dsaaf_v = b["dv"], g.dsaaf_w = b["dw"];
    const Pointer packed = b["packed"], saved = b["saved"], scratch = b["scratch"];
    dnn_saaf_prepare(c, packed, p, d);
    dnn_saaf_forward(c, b["unsaved u"], nullptr, b["r"], b["z"], b["at"], packed, scratch, d);
    dnn_saaf_forward(c, b["u"], saved, b["r"], b["z"], b["at"], packed, scratch, d);
    dnn_saaf_backward(c, b["dr"], b["dz"], g, b["du"], saved, b["r"], b["z"], b["at"], p, packed, scratch, d);
  };
  return op;
}

void expect_oracle(const DnnSaafDims& d) {
  SCOPED_TRACE(fmt::format("B={} T={} C={} P={} L={} width={},{} {} unpool {} saaf {} order {}", d.B, d.T, d.C, d.P,
                           d.L, d.width[0], d.width[d.L - 1], to_string(d.activation), static_cast<int>(d.unpool),
                           d.use_saaf, d.saaf.order));
  const Op op = training_op(make_inputs(d), d);
  check_op(op);
  expect_twin(op, [=](const Context& c, const Buffers& b) { plain_twin(c, b, d); }, "unsaved u", {2e-6, 2e-5});
  for (const Context& context : contexts()) {
    OpRun run(op, context, 0.0f);
    run.call();
    EXPECT_TRUE(run.bits()[0] == run.bits()[1]) << "u with nothing saved, " << label(context);
  }
}

constexpr Unpool kUnpools[] = {Unpool::kPositions, Unpool::kHold};

TEST(DnnSaaf, EveryActivationUnpoolingAndDepthMatchesReference) {
  const std::vector<std::vector<int>> widths = {{3}, {5, 3}, {7, 4, 3}, {6, 5, 5, 3}, {17, 4, 9, 33, 3}};
  for (const Activation activation : kActivations) {
    for (const Unpool unpool : kUnpools) {
      for (const std::vector<int>& width : widths) {
        for (const bool use_saaf : {true, false}) {
          DnnSaafDims d = dims(2, 15, 3, 5, width, activation, unpool);
          d.use_saaf = use_saaf;
          expect_oracle(d);
        }
      }
    }
  }
}

TEST(DnnSaaf, OddSizesMatchReference) {
  for (const Unpool unpool : kUnpools) {
    expect_oracle(dims(1, 1, 1, 1, {1}, Activation::kSoftplus, unpool));
    expect_oracle(dims(2, 1, 3, 1, {4, 3}, Activation::kTanh, unpool));
    expect_oracle(dims(2, 17, 1, 17, {5, 2, 1}, Activation::kRelu, unpool));
    expect_oracle(dims(2, 18, 3, 6, {6, 1, 3}, Activation::kSoftplus, unpool));
    expect_oracle(dims(1, 12, 16, 4, {16, 8, 16}, Activation::kSoftplus, unpool));
    expect_oracle(dims(2, 9, 33, 3, {40, 19, 33}, Activation::kRelu, unpool));
    expect_oracle(dims(1, 130, 67, 13, {65, 33, 67}, Activation::kTanh, unpool));
    expect_oracle(dims(1, 192, 32, 16, {32, 32, 32, 32}, Activation::kRelu, unpool));
    expect_oracle(dims(2, 200, 20, 8, {48, 17, 20}, Activation::kSoftplus, unpool));
  }
}

TEST(DnnSaaf, EverySettingOfTheCurveMatchesReference) {
  for (const int order : {1, 2}) {
    for (const bool every_second : {false, true}) {
      for (const bool has_v0 : {false, true}) {
        DnnSaafDims d = dims(2, 34, 5, 17, {7, 5}, Activation::kSoftplus, Unpool::kHold);
        d.saaf = {2, 34, 5, 9, -0.3f, 0.5f, 2.0f, every_second, has_v0, order};
        expect_oracle(d);
      }
    }
  }
}

// 30 segments and two rays are what registers hold; beyond that pieces are looked up in memory.
TEST(DnnSaaf, CurvesOfManySegmentsMatchReference) {
  for (const int S : {1, 30, 31, 70}) {
    DnnSaafDims d = dims(1, 36, 19, 4, {17, 19}, Activation::kSoftplus, Unpool::kHold);
    d.saaf = {1, 36, 19, S, -0.7f, 0.6f, 1.0f, false, true, 2};
    expect_oracle(d);
  }
}

TEST(DnnSaaf, ThePapersSizeMatchesReference) {
  DnnSaafDims d = dims(1, 1024, 128, 16, {128, 64, 64, 128}, Activation::kSoftplus, Unpool::kPositions);
  d.saaf = {1, 1024, 128, 25, -1.0f, 1.0f, 1.0f, false, true, 2};
  expect_oracle(d);
}

TEST(DnnSaaf, TheJournalsLayersMatchReference) {
  DnnSaafDims d = dims(1, 512, 128, 64, {128, 64, 64, 64, 128}, Activation::kRelu, Unpool::kHold);
  d.saaf = {1, 512, 128, 24, -0.2f, 0.2f, 100.0f, true, false, 2};
  expect_oracle(d);
}

// More tiles than blocks that a GPU runs at once: each block goes over several and adds up what they give.
TEST(DnnSaaf, ManyTilesOfABlockMatchReference) {
  if (!on_cuda()) GTEST_SKIP() << "of a GPU alone";
  expect_oracle(dims(36, 1024, 3, 4, {5, 3}, Activation::kTanh, Unpool::kPositions));
  expect_oracle(dims(36, 1024, 64, 16, {64}, Activation::kRelu, Unpool::kHold));
}

// Frames of one op each, as one call: what is read or written at `apart` goes where `spread` says, gradients of the
// curve are summed, all else follows the frame before.
Op frames_with_weights_of_their_own(const DnnSaafDims& d) {
  DnnSaafDims one = d;
  one.B = one.saaf.B = 1;
  one.apart = 0;
  std::vector<Op> frames;
  Inputs first;
  for (int b = 0; b < d.B; ++b) {
    Inputs in = make_inputs(one, static_cast<std::uint64_t>(100 * b));
    if (b == 0) first = in;
    in.p.saaf_v = first.p.saaf_v, in.p.saaf_w = first.p.saaf_w;
    frames.push_back(training_op(in, one));
  }
  const auto spread = [&](Vec& to, const Vec& of, int b, double gap) {
    to.resize(static_cast<std::size_t>(b) * static_cast<std::size_t>(d.apart), gap);
    to.insert(to.end(), of.begin(), of.end());
  };
  const auto of_layer = [](const std::string& name) { return std::isdigit(name.back()) != 0; };
  Op all = training_op(make_inputs(d), d);  // for the call
  for (std::size_t i = 0; i < all.inputs.size(); ++i) {
    Vec& values = all.inputs[i].values;
    const std::string& name = all.inputs[i].name;
    values.clear();
    for (int b = 0; b < d.B; ++b) {
      const Vec& of = frames[static_cast<std::size_t>(b)].inputs[i].values;
      if (of_layer(name)) {
        spread(values, of, b, 7.0);
      } else if (b == 0 || (name != "v" && name != "w")) {
        values.insert(values.end(), of.begin(), of.end());
      }
    }
  }
  for (std::size_t i = 0; i < all.outputs.size(); ++i) {
    Vec& want = all.outputs[i].want;
    const std::string& name = all.outputs[i].name;
    want.clear();
    for (int b = 0; b < d.B; ++b) {
      const Vec& of = frames[static_cast<std::size_t>(b)].outputs[i].want;
      if (of_layer(name)) {
        spread(want, of, b, kNan);
      } else if (b == 0 || (name != "dv" && name != "dw")) {
        want.insert(want.end(), of.begin(), of.end());
      } else {
        for (std::size_t k = 0; k < of.size(); ++k) want[k] += of[k];
      }
    }
  }
  return all;
}

TEST(DnnSaaf, FramesWithWeightsOfTheirOwnMatchReference) {
  const DnnSaafDims shapes[] = {
      dims(3, 30, 3, 5, {7, 4, 3}, Activation::kTanh, Unpool::kPositions),
      dims(2, 96, 32, 16, {32, 32, 32, 32}, Activation::kRelu, Unpool::kHold),
      dims(3, 256, 5, 128, {6, 5}, Activation::kSoftplus, Unpool::kPositions),  // windows of several tiles
      dims(2, 64, 128, 64, {128, 64, 64, 128}, Activation::kSoftplus, Unpool::kHold),
      dims(2, 40, 20, 8, {150, 20}, Activation::kTanh, Unpool::kHold)};  // wider than a product of one panel
  for (DnnSaafDims d : shapes) {
    for (const bool use_saaf : {true, false}) {
      SCOPED_TRACE(fmt::format("B={} T={} C={} P={} saaf {}", d.B, d.T, d.C, d.P, use_saaf));
      d.use_saaf = use_saaf;
      d.apart = 3;
      for (int l = 0; l < d.L; ++l) d.apart = std::max(d.apart, 3 + static_cast<long>(inputs_of(d, l)) * d.width[l]);
      check_op(frames_with_weights_of_their_own(d));
    }
  }
}

// A frame's result hangs on its own samples alone, wherever it stands in the batch.
TEST(DnnSaaf, FramesDoNotTouchEachOther) {
  const DnnSaafDims both = dims(2, 100, 19, 4, {21, 19}, Activation::kTanh, Unpool::kHold);
  const DnnSaafDims one = dims(1, 100, 19, 4, {21, 19}, Activation::kTanh, Unpool::kHold);
  const Inputs in = make_inputs(both);
  Inputs second = in;
  const auto drop_first = [](auto& x) { x.erase(x.begin(), x.begin() + std::ssize(x) / 2); };
  drop_first(second.r), drop_first(second.z), drop_first(second.du), drop_first(second.positions);
  expect_same_alone(training_op(in, both), training_op(second, one), 4);
  EXPECT_EQ(dnn_saaf_scratch({}, both), dnn_saaf_scratch({}, one));
}

TEST(DnnSaaf, RefusesWhatItsContractExcludes) {
  const DnnSaafDims good = dims(1, 8, 3, 4, {5, 3}, Activation::kRelu, Unpool::kHold);
  DnnSaafDims bad[7];
  std::fill(std::begin(bad), std::end(bad), good);
  bad[0].L = 0;
  bad[1].L = kMaxDnnLayers + 1;
  bad[2].width[1] = 4;  // not C
  bad[3].P = 3;
  bad[4].width[0] = 0;
  bad[5].B = 0;
  bad[6].C = 0;
  expect_refused({bad[0], bad[1], bad[2], bad[3], bad[4], bad[5], bad[6]}, dnn_saaf_packed, dnn_saaf_saved,
                 dnn_saaf_scratch, dnn_saaf_prepare, dnn_saaf_forward, dnn_saaf_backward);
}

}  // namespace
}  // namespace cafx
