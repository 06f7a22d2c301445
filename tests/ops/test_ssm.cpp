#include "kernels/ssm/ssm.h"

#include <numbers>

#include "tests/ops/differences.h"
#include "tests/ops/harness.h"
#include "tests/reference/reference_ssm.h"

namespace cafx {
namespace {

using namespace op_test;

// Time constants and frequencies as a layer starts with.
struct Case {
  explicit Case(SsmDims d)
      : d(d),
        p{random(d.C, 1, std::log(0.001), std::log(0.1)), random(2L * d.C * d.N, 2),
          random(static_cast<long>(d.C) * d.N, 3, -1.2, -0.2), random(static_cast<long>(d.C) * d.N, 4, 0.0, 1.0),
          random(d.C, 5)},
        u(random(static_cast<long>(d.B) * d.C * d.T, 6)),
        state(random(2L * d.B * d.C * d.N, 7)),
        dy(random(static_cast<long>(d.B) * d.C * d.T, 8)) {
    for (std::size_t i = 0; i < p.a_imag.size(); ++i) {
      p.a_imag[i] = static_cast<float>(std::numbers::pi *
                                       (static_cast<double>(i % static_cast<std::size_t>(d.N)) + 0.1 * p.a_imag[i]));
    }
  }
  reference::Ssm zeros() const {
    return {Vec(p.log_dt.size()), Vec(p.c.size()), Vec(p.log_a_real.size()), Vec(p.a_imag.size()), Vec(p.d.size())};
  }
  std::vector<Input> tensors() const {
    return {{"log_dt", p.log_dt}, {"c", p.c}, {"log_a_real", p.log_a_real}, {"a_imag", p.a_imag}, {"d", p.d}};
  }
  static SsmTensors<const float*> of(const Buffers& b) {
    return {b["log_dt"], b["c"], b["log_a_real"], b["a_imag"], b["d"]};
  }
  std::string sizes() const { return fmt::format("B={} C={} N={} T={}", d.B, d.C, d.N, d.T); }

  SsmDims d;
  reference::Ssm p;
  Vec u, state, dy;
};

// The packed tensors stand before the scratch.
std::size_t packed_bytes(SsmDims d) { return (ssm_packed(d) + 63) / 64 * 64; }
void* packed_in(const Buffers& b) { return b.scratch; }
void* scratch_in(const Buffers& b, SsmDims d) {
  return static_cast<char*>(static_cast<void*>(b.scratch)) + packed_bytes(d);
}
std::size_t room(const Context& c, SsmDims d) { return packed_bytes(d) + ssm_scratch(c, d); }

const std::vector<SsmDims> kSizes{{2, 3, 5, 17},           {1, 1, 1, 1},
                                  {1, 2, 4, kSsmChunk},    {2, 16, 4, kSsmTile},
                                  {1, 3, 9, kSsmTile + 1}, {1, 16, 32, 2 * kSsmTile + 45},
                                  {3, 2, 7, kSsmTile + 64}};

TEST(Ssm, ReferenceGradientMatchesDifferences) {
  for (const SsmDims d : {SsmDims{2, 3, 2, 9}, SsmDims{1, 1, 1, 1}}) {
    Case k(d);
    reference::Ssm g = k.zeros();
    const Vec du = reference::ssm_backward(g, k.dy, k.u, k.state, k.p, d);
    const auto f = [&] {
      Vec state = k.state, saved;
      return dot(reference::ssm_forward(state, saved, k.u, k.p, d), k.dy);
    };
    expect_gradient("du", k.u, du, f);
    expect_gradient("dlog_dt", k.p.log_dt, g.log_dt, f);
    expect_gradient("dc", k.p.c, g.c, f);
    expect_gradient("dlog_a_real", k.p.log_a_real, g.log_a_real, f);
    expect_gradient("da_imag", k.p.a_imag, g.a_imag, f);
    expect_gradient("dd", k.p.d, g.d, f);
  }
}

// An oscillator sums over its past: tolerances as for the LSTM.
TEST(Ssm, MatchesReference) {
  const Tolerance forward{2e-6, 1e-5}, backward{1e-5, 1e-4};
  for (const SsmDims d : kSizes) {
    const Case k(d);
    Vec state = k.state, saved;
    const Vec y = reference::ssm_forward(state, saved, k.u, k.p, d);
    std::vector<Input> inputs = k.tensors();
    inputs.push_back({"u", k.u});
    check_op(
        {k.sizes(),
         inputs,
         {sets("y", y, forward), updates("state", k.state, state, forward), optional(sets("saved", saved, forward))},
         [=](const Context& c, const Buffers& b) {
           ssm_prepare(c, packed_in(b), Case::of(b), d);
           ssm_forward(c, b["y"], b["state"], b["saved"], b["u"], packed_in(b), scratch_in(b, d), d);
         },
         [=](const Context& c) { return room(c, d); }});
    reference::Ssm g = k.zeros();
    const Vec du = reference::ssm_backward(g, k.dy, k.u, k.state, k.p, d);
    inputs.push_back({"dy", k.dy});
    inputs.push_back({"saved", saved});
    check_op(
        {k.sizes(),
         inputs,
         {sets("du", du, backward), adds("dlog_dt", g.log_dt, backward), adds("dc", g.c, backward),
          adds("dlog_a_real", g.log_a_real, backward), adds("da_imag", g.a_imag, backward), adds("dd", g.d, backward)},
         [=](const Context& c, const Buffers& b) {
           ssm_prepare(c, packed_in(b), Case::of(b), d);
           ssm_backward(c, b["du"], {b["dlog_dt"], b["dc"], b["dlog_a_real"], b["da_imag"], b["dd"]}, b["dy"], b["u"],
                        b["saved"], packed_in(b), scratch_in(b, d), d);
         },
         [=](const Context& c) { return room(c, d); }});
  }
}

// A block in two calls has the bits of one call, where the first ends at a chunk.
TEST(Ssm, SameBitsHoweverABlockIsDividedAtChunks) {
  const SsmDims d{2, 3, 5, 5 * kSsmChunk + 7};
  const Case k(d);
  for (const Context& context : contexts()) {
    SCOPED_TRACE(label(context));
    Floats log_dt(k.p.log_dt), c(k.p.c), log_a(k.p.log_a_real), a_imag(k.p.a_imag), skip(k.p.d);
    Bytes packed(ssm_packed(d)), scratch(ssm_scratch(context, d));
    ssm_prepare(context, packed.get(), {log_dt, c, log_a, a_imag, skip}, d);
    const auto play = [&](int c0, int T, Floats& y, Floats& state, const Vec& u) {
      Vec part;
      for (int row = 0; row < d.B * d.C; ++row)
        part.insert(part.end(), u.begin() + row * d.T + c0, u.begin() + row * d.T + c0 + T);
      Floats in(part), out(Vec(part.size(), NAN));
      ssm_forward(context, out, state, nullptr, in, packed.get(), scratch.get(), {d.B, d.C, d.N, T});
      wait();
      for (int row = 0; row < d.B * d.C; ++row) {
        for (int t = 0; t < T; ++t)
          y[static_cast<std::size_t>(row * d.T + c0 + t)] = out[static_cast<std::size_t>(row * T + t)];
      }
    };
    Floats whole(Vec(k.u.size(), NAN)), parts(Vec(k.u.size(), NAN)), state(k.state), again(k.state);
    play(0, d.T, whole, state, k.u);
    play(0, 2 * kSsmChunk, parts, again, k.u);
    play(2 * kSsmChunk, d.T - 2 * kSsmChunk, parts, again, k.u);
    expect_same_bits(parts, whole, k.u.size(), "y");
    expect_same_bits(again, state, k.state.size(), "state");
  }
}

// Sample by sample, eight at a time or in pieces: the same bits, and what forward gives.
TEST(Ssm, PlaysWhatForwardGives) {
  if (on_cuda()) GTEST_SKIP() << "playing is on the CPU alone";
  for (const SsmDims d : {SsmDims{1, 16, 4, 100}, {1, 5, 3, 41}, {1, 17, 32, 333}}) {
    const Case k(d);
    Vec state(k.state.size()), saved;
    const Vec want = reference::ssm_forward(state, saved, k.u, k.p, d);
    for (const Context& context : contexts()) {
      SCOPED_TRACE(k.sizes() + " " + label(context));
      Floats log_dt(k.p.log_dt), c(k.p.c), log_a(k.p.log_a_real), a_imag(k.p.a_imag), skip(k.p.d);
      Bytes packed(ssm_play_packed(d)), scratch(ssm_play_scratch(d));
      ssm_play_prepare(context, packed.get(), {log_dt, c, log_a, a_imag, skip}, d);
      const auto play = [&](const std::vector<int>& pieces) {
        Floats memory(Vec(ssm_play_state(d), 0.0));
        Vec y(k.u.size(), NAN);
        for (int t0 = 0, i = 0; t0 < d.T; ++i) {
          const int T = std::min(pieces[static_cast<std::size_t>(i) % pieces.size()], d.T - t0);
          Vec part;
          for (int row = 0; row < d.C; ++row) {
            part.insert(part.end(), k.u.begin() + row * d.T + t0, k.u.begin() + row * d.T + t0 + T);
          }
          Floats in(part);
          ssm_play(context, in, memory, in, packed.get(), scratch.get(), {1, d.C, d.N, T});
          for (int row = 0; row < d.C; ++row) {
            for (int t = 0; t < T; ++t) {
              y[static_cast<std::size_t>(row * d.T + t0 + t)] = in[static_cast<std::size_t>(row * T + t)];
            }
          }
          t0 += T;
        }
        return y;
      };
      Floats whole(play({d.T})), pieces(play({1, 13, 8, 3})), single(play({1}));
      expect_near(whole, want, "y", 0, {2e-6, 1e-5});
      expect_same_bits(pieces, whole, want.size(), "in pieces");
      expect_same_bits(single, whole, want.size(), "sample by sample");
    }
  }
}

TEST(Ssm, RefusesSizesBelowOne) {
  const Pointer p = nowhere();
  const SsmTensors<const float*> tensors{p, p, p, p, p};
  expect_refused(
      {SsmDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}},
      [&](SsmDims d) { ssm_forward({}, p, p, p, p, p, p, d); },
      [&](SsmDims d) {
        ssm_backward({}, p, {p, p, p, p, p}, p, p, p, p, p, d);
      },
      [&](SsmDims d) { ssm_prepare({}, p, tensors, d); }, [&](SsmDims d) { ssm_scratch({}, d); },
      [&](SsmDims d) { ssm_play({}, p, p, p, p, p, d); });
  EXPECT_THROW(ssm_play({}, p, p, p, p, p, {2, 1, 1, 1}), CheckError);
}

}  // namespace
}  // namespace cafx
