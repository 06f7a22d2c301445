#include "kernels/ssm/ssm.h"

#include <iterator>
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
  std::string sizes() const { return fmt::format("B={} C={} N={} T={}", d.B, d.C, d.N, d.T); }

  SsmDims d;
  reference::Ssm p;
  Vec u, state, dy;
};

const auto kTensors = group("log_dt", "c", "log_a_real", "a_imag", "d");

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
    expect_gradients(f, {{"du", k.u, du},
                         {"dlog_dt", k.p.log_dt, g.log_dt},
                         {"dc", k.p.c, g.c},
                         {"dlog_a_real", k.p.log_a_real, g.log_a_real},
                         {"da_imag", k.p.a_imag, g.a_imag},
                         {"dd", k.p.d, g.d}});
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
    const Rooms rooms{{"packed", bytes_of(ssm_packed, d)}, {"scratch", bytes_of(ssm_scratch, d)}};
    const auto prepare = by_name(ssm_prepare, "packed", kTensors, d);
    check_op(
        k.sizes(), inputs,
        {sets("y", y, forward), updates("state", k.state, state, forward), optional(sets("saved", saved, forward))},
        in_turn(prepare, by_name(ssm_forward, "y", "state", "saved", "u", "packed", "scratch", d)), rooms);
    reference::Ssm g = k.zeros();
    const Vec du = reference::ssm_backward(g, k.dy, k.u, k.state, k.p, d);
    inputs.push_back({"dy", k.dy});
    inputs.push_back({"saved", saved});
    check_op(
        k.sizes(), inputs,
        {sets("du", du, backward), adds("dlog_dt", g.log_dt, backward), adds("dc", g.c, backward),
         adds("dlog_a_real", g.log_a_real, backward), adds("da_imag", g.a_imag, backward), adds("dd", g.d, backward)},
        in_turn(prepare, by_name(ssm_backward, "du", group("dlog_dt", "dc", "dlog_a_real", "da_imag", "dd"), "dy", "u",
                                 "saved", "packed", "scratch", d)),
        rooms);
  }
}

// Samples t0 to t0 + T of every row, and back to where they were.
Vec part_of(const Vec& rows, SsmDims d, int t0, int T) {
  Vec part;
  for (long at = t0; at < std::ssize(rows); at += d.T)
    part.insert(part.end(), rows.begin() + at, rows.begin() + at + T);
  return part;
}
void put_part(Vec& rows, const Vec& part, SsmDims d, int t0, int T) {
  for (long row = 0; row < std::ssize(rows) / d.T; ++row) {
    std::copy_n(part.begin() + row * T, T, rows.begin() + row * d.T + t0);
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
    const auto play = [&](int t0, int T, Vec& y, Floats& state) {
      Floats in(part_of(k.u, d, t0, T)), out(in.size(), kNan);
      ssm_forward(context, out, state, nullptr, in, packed.get(), scratch.get(), {d.B, d.C, d.N, T});
      put_part(y, out.values(), d, t0, T);
    };
    Vec whole(k.u.size(), NAN), parts(k.u.size(), NAN);
    Floats state(k.state), again(k.state);
    play(0, d.T, whole, state);
    play(0, 2 * kSsmChunk, parts, again);
    play(2 * kSsmChunk, d.T - 2 * kSsmChunk, parts, again);
    expect_same_bits(Floats(parts), Floats(whole), k.u.size(), "y");
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
          Floats in(part_of(k.u, d, t0, T));
          ssm_play(context, in, memory, in, packed.get(), scratch.get(), {1, d.C, d.N, T});
          put_part(y, in.values(), d, t0, T);
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
  expect_refused({SsmDims{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}}, ssm_forward, ssm_backward,
                 ssm_prepare, ssm_scratch, ssm_play);
  EXPECT_THROW(ssm_play({}, p, p, p, p, p, {2, 1, 1, 1}), CheckError);
}

}  // namespace
}  // namespace cafx
