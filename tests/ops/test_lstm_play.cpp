// The LSTM laid out for playing, beside the one that learns.
#include "kernels/lstm/lstm.h"
#include "tests/ops/op_test.h"

namespace cafx {
namespace {

using namespace op_test;

std::vector<float> floats(const Vec& v) { return {v.begin(), v.end()}; }

// Sizes below, at and above a vector's; a state that is not zero.
TEST(LstmPlay, IsTheLearningOneWithinRoundingHoweverDivided) {
  for (const Context& context : contexts()) {
    for (const LstmDims d : {LstmDims{1, 1, 1, 1}, LstmDims{17, 1, 1, 5}, LstmDims{40, 1, 3, 12},
                             LstmDims{33, 1, 24, 24}, LstmDims{9, 1, 1, 37}}) {
      SCOPED_TRACE(fmt::format("{}, T {} I {} H {}", label(context), d.T, d.I, d.H));
      const long H = d.H, in = d.I + d.H;
      const auto w = floats(random(4 * H * in, 1, -0.6, 0.6)), bias = floats(random(4 * H, 2)),
                 x = floats(random(d.T * d.I, 3)), start = floats(random(2 * H, 4));
      std::vector<float> h(static_cast<std::size_t>((d.T + 1) * H)), c(h.size());
      std::copy_n(start.begin(), H, h.begin());
      std::copy_n(start.begin() + H, H, c.begin());
      Bytes scratch(lstm_forward_scratch(context, d)), packed(lstm_packed(context, d));
      lstm_forward(context, h.data(), c.data(), nullptr, x.data(), w.data(), bias.data(), scratch.get(), d);
      lstm_prepare(context, packed.get(), w.data(), bias.data(), d);
      const auto play = [&](int at_a_time) {
        std::vector<float> got(static_cast<std::size_t>(d.T * H), kNan), state = start;
        for (int t = 0; t < d.T; t += at_a_time) {
          LstmDims part = d;
          part.T = std::min(at_a_time, d.T - t);
          Bytes own(lstm_play_scratch(context, part));
          lstm_play(context, got.data() + t * H, state.data(), x.data() + static_cast<long>(t) * d.I, packed.get(),
                    own.get(), part);
        }
        got.insert(got.end(), state.begin(), state.end());
        return got;
      };
      const std::vector<float> got = play(d.T);
      for (long i = 0; i < d.T * H; ++i)
        ASSERT_NEAR(got[static_cast<std::size_t>(i)], h[static_cast<std::size_t>(H + i)], 2e-5) << i;
      for (long j = 0; j < H; ++j) {
        ASSERT_EQ(got[static_cast<std::size_t>(d.T * H + j)], got[static_cast<std::size_t>((d.T - 1) * H + j)]);
        ASSERT_NEAR(got[static_cast<std::size_t>(d.T * H + H + j)], c[static_cast<std::size_t>(d.T * H + j)], 4e-5);
      }
      for (const int pieces : {1, 4})
        expect_same_bits(play(pieces).data(), got.data(), got.size(), fmt::format("{} at a time", pieces));
    }
  }
}

TEST(LstmPlay, RefusesMoreThanOneStream) { EXPECT_THROW(lstm_packed({}, {1, 2, 1, 4}), CheckError); }

}  // namespace
}  // namespace cafx
