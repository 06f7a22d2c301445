// Every type of the registry as it plays. A program of its own: it counts every call of malloc and every lock.
#include <gtest/gtest.h>

#include <iterator>
#include <limits>

#include "host/render/render.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/base/rng.h"
#include "models/play/player.h"
#include "tests/models/tiny.h"
#include "tests/rt/count_calls.h"

namespace cafx {
namespace {

std::vector<float> noise(std::size_t n, std::uint64_t seed = 3) {
  std::vector<float> x(n);
  const Rng rng{seed, 5};
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.3 * rng.normal(i));
  return x;
}

class Players : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Model> model_ = tiny::model(GetParam());
  static Context context() {
    Context c;
    c.isa = best_isa();
    return c;
  }
  void a_frame_is_what_it_was_trained_as() {
    const int T = model_->geometry().frame;
    const std::vector<float> x = noise(static_cast<std::size_t>(T));
    std::vector<float> y(x.size()), controls(static_cast<std::size_t>(model_->geometry().knobs), 0.4f);
    model_->turn_to(controls);
    model_->forward(context(), y.data(), x.data(), 1);
    const FrameRef ref{0, 0, T};
    const auto loss_at = [&](float place) {
      std::fill(controls.begin(), controls.end(), place);
      const Batch batch{x.data(), y.data(), &ref, 1, T, 0, 0, controls.data()};
      model_->gradient(context(), nullptr, batch, Loss());
      return model_->mean_loss(context(), batch);
    };
    EXPECT_LT(loss_at(0.4f), 1e-6);
    EXPECT_GT(loss_at(-0.4f), 1e-3);
  }
};

std::vector<float> played(Player& player, const std::vector<float>& x, const std::vector<std::size_t>& blocks) {
  std::vector<float> y(x.size());
  for (std::size_t at = 0, k = 0; at < x.size(); ++k) {
    const std::size_t n = std::min(blocks[k % blocks.size()], x.size() - at);
    player.process(y.data() + at, x.data() + at, n);
    at += n;
  }
  return y;
}

// Whatever the blocks are: the bits of the whole signal's rendering, `latency` samples later. After reset it begins
// anew, and a twin hears nothing of the other.
TEST_P(Players, BlocksOfEveryLengthGiveTheBitsOfTheWhole) {
  const std::vector<float> x = noise(3000);
  const std::vector<float> whole = render_signal(*model_, context(), x.data(), x.size(), 0);
  const auto player = make_player(*model_);
  const auto latency = static_cast<std::size_t>(player->latency());
  const auto expect = [&](const std::vector<float>& y, const char* what) {
    for (std::size_t i = 0; i < latency; ++i) ASSERT_EQ(y[i], 0.0f) << what << " sample " << i;
    for (std::size_t i = latency; i < y.size(); ++i) ASSERT_EQ(y[i], whole[i - latency]) << what << " sample " << i;
  };
  EXPECT_NE(whole[2000], whole[2001]);
  expect(played(*player, x, {3000}), "at once");
  const auto twin = player->twin();
  player->reset();
  expect(played(*player, x, {1, 64, 3, 700, 17, 1025, 512}), "in pieces");
  player->reset();
  expect(played(*player, x, {64}), "in blocks of 64");
  expect(played(*twin, x, {1}), "a twin, sample by sample");
  std::vector<float> y = x;
  player->reset();
  player->process(y.data(), y.data(), y.size());
  expect(y, "in place");
}

// Of neighbouring frames, of some that are apart, and of another signal at the same places.
TEST_P(Players, ASequenceGivesTheBitsOfForward) {
  const Geometry g = model_->geometry();
  if (g.frame == 0) GTEST_SKIP() << "a stream has no frames";
  const auto n = static_cast<std::size_t>(g.frame);
  for (const int hop : {g.hop, g.hop / 2, g.frame / 2 - 1}) {
    const auto sequence = model_->sequence(context(), hop);
    for (const std::uint64_t seed : {3, 4}) {
      const std::vector<float> x = noise(3000, seed);
      for (const int number : {0, 1, 2, 3, 4, 11, 12, 3}) {
        const float* frame = x.data() + number * hop;
        std::vector<float> y(n), want(n);
        sequence->next(y.data(), frame, number * hop);
        model_->forward(context(), want.data(), frame, 1);
        ASSERT_EQ(y, want) << "hop " << hop << ", frame " << number;
      }
    }
  }
}

// A host that promises its blocks' length hears the output earlier, and the same bits.
TEST_P(Players, BlocksOfAPromisedLengthGiveTheSameBits) {
  const Geometry g = model_->geometry();
  if (g.frame == 0) GTEST_SKIP() << "a stream has no latency of frames";
  const std::vector<float> x = noise(3000);
  for (const int hop : {g.hop, g.hop / 2, g.frame / 2 - 1}) {
    const std::vector<float> whole = render_signal(*model_, context(), x.data(), x.size(), hop);
    for (const int block : {g.hop, 3 * g.hop, 8, 30}) {
      const auto player = make_player(*model_, {hop, block});
      const auto latency = static_cast<std::size_t>(player->latency());
      const auto n = static_cast<std::size_t>(block);
      const std::vector<float> y = played(*player, {x.begin(), x.end() - std::ssize(x) % block}, {n});
      for (std::size_t i = latency; i < y.size(); ++i) {
        ASSERT_EQ(y[i], whole[i - latency]) << "hop " << hop << ", blocks of " << block << ", sample " << i;
      }
    }
  }
}

TEST_P(Players, LatencyIsThatOfTheGeometry) {
  const Geometry g = model_->geometry();
  const auto player = make_player(*model_);
  if (g.frame == 0) {
    EXPECT_EQ(player->latency(), g.after);
    EXPECT_EQ(player_hop(*model_), 1);
    EXPECT_THROW(make_player(*model_, {64}), Error);
  } else {
    EXPECT_EQ(player->latency(), g.frame + g.after - 1);
    const int blocks_of_context = (g.after + g.hop - 1) / g.hop;
    EXPECT_EQ(make_player(*model_, {g.hop, g.hop})->latency(), g.frame + (blocks_of_context - 1) * g.hop);
    EXPECT_EQ(player_hop(*model_), g.hop);
    EXPECT_THROW(make_player(*model_, {g.frame}), Error);
  }
  EXPECT_THROW(make_player(*model_, {0, 0}), Error);
  EXPECT_GT(player->multiply_adds(), 0.0);
}

// The weights are copied: the model may change and go.
TEST_P(Players, KeepsTheWeightsThatItWasMadeWith) {
  const std::vector<float> x = noise(500);
  const auto player = make_player(*model_);
  const std::vector<float> y = played(*player, x, {500});
  player->reset();
  std::fill_n(model_->data(), model_->n_floats(), 0.0f);
  model_.reset();
  EXPECT_EQ(played(*player, x, {500}), y);
}

TEST_P(Players, ProcessTakesNoMemoryAndNoLock) {
#if !defined(CAFX_COUNTS)
  GTEST_SKIP() << "the sanitizer has the allocator";
#endif
  const auto player = make_player(*model_);
  const std::vector<float> x = noise(4096);
  std::vector<float> y(x.size());
  const auto twin = player->twin();
  const long allocations = n_allocations, locks = n_locks;
  for (Player* p : {player.get(), twin.get()}) {
    p->process(y.data(), x.data(), 1);
    p->process(y.data(), x.data(), 4096);
    p->process(y.data(), x.data(), 64);
    p->set(0, 0.5f);
    p->reset();
    p->process(y.data(), x.data(), 777);
  }
  EXPECT_EQ(n_allocations, allocations);
  EXPECT_EQ(n_locks, locks);
}

// Turned to the bit, or left alone.
TEST_P(Players, NegatedWeightsNegateTheOutput) {
  const std::vector<float> x = noise(1000);
  const std::vector<float> y = render_signal(*model_, context(), x.data(), x.size(), 0);
  const bool turned = model_->negate_output();
  const std::vector<float> now = render_signal(*model_, context(), x.data(), x.size(), 0);
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(now[i], turned ? -y[i] : y[i]) << i;
}

// A knob that is turned arrives where a player begins that was made there; on the way there is no jump, and no bit
// depends on how the samples are divided.
TEST_P(Players, KnobsAreTurnedWhilePlaying) {
  if (model_->geometry().knobs == 0) GTEST_SKIP() << "no knobs";
  const std::vector<Knob> knobs = parse_knobs(model_->config().knobs, "test");
  const std::vector<float> x = noise(8000);
  const auto turned = [&](const std::vector<std::size_t>& blocks) {
    const auto player = make_player(*model_);
    std::vector<float> y = played(*player, {x.begin(), x.begin() + 1000}, blocks);
    player->set(0, 9.0f);
    player->set(1, 2.0f);
    const std::vector<float> rest = played(*player, {x.begin() + 1000, x.end()}, blocks);
    y.insert(y.end(), rest.begin(), rest.end());
    return y;
  };
  const std::vector<float> y = turned({8000});
  EXPECT_EQ(turned({1}), y);
  EXPECT_EQ(turned({64, 3, 17, 600}), y);
  const std::vector<float> before = played(*make_player(*model_), x, {8000});
  model_->turn_to(controls_at(knobs, {9.0, 2.0}));
  const auto there = make_player(*model_);
  const std::vector<float> after = played(*there, x, {8000});
  const auto late = static_cast<std::size_t>(model_->geometry().after);
  double moved = 0.0;
  for (std::size_t i = 0; i < 1000; ++i) ASSERT_EQ(y[i], before[i]) << i;
  for (std::size_t i = 7000; i < x.size(); ++i)
    moved = std::max(moved, std::abs(static_cast<double>(after[i]) - before[i]));
  EXPECT_GT(moved, 2e-3) << "the position is not heard";
  for (std::size_t i = 7000; i < x.size(); ++i) ASSERT_NEAR(y[i], after[i], 0.1 * moved) << i;
  EXPECT_LT(std::abs(y[1001 + late] - before[1001 + late]), 0.2 * moved) << "it jumps";
  // A twin begins where the other's knobs stand.
  EXPECT_EQ(played(*there->twin(), x, {8000}), after);
  // Out of range is the end of the range; what is none is left alone.
  const auto a = make_player(*model_), b = make_player(*model_);
  a->set(0, 10.0f);
  b->set(0, 1e9f);
  b->set(7, 1.0f);
  b->set(-1, 1.0f);
  b->set(1, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(played(*a, x, {8000}), played(*b, x, {8000}));
}

// What training hears of a place is what a player makes of it, of frames what forward makes.
TEST_P(Players, PlaysWhatItWasTrainedAs) {
  const int K = model_->geometry().knobs;
  if (K == 0) GTEST_SKIP() << "no knobs";
  if (model_->geometry().frame > 0) return a_frame_is_what_it_was_trained_as();
  constexpr int kSilence = 42000;  // longer than any memory, and a whole number of FiLM's blocks
  const std::vector<float> x = noise(700), controls(static_cast<std::size_t>(K), 0.4f);
  model_->turn_to(controls);
  const std::vector<float> silence(kSilence, 0.0f);
  const auto player = make_player(*model_);
  played(*player, silence, {kSilence});
  std::vector<float> y = played(*player, x, {700});
  const std::size_t late = static_cast<std::size_t>(model_->geometry().after);
  const std::vector<float> rest = played(*player, std::vector<float>(late + 1, 0.0f), {late + 1});
  y.insert(y.end(), rest.begin(), rest.end());
  y.erase(y.begin(), y.begin() + static_cast<long>(late));
  y.resize(x.size());
  const FrameRef ref{0, 0, 700};
  Batch batch{x.data(), y.data(), &ref, 1, 700, 0, kSilence, controls.data()};
  model_->begin(context(), batch, Loss());
  model_->gradient(context(), nullptr, batch, Loss());
  EXPECT_LT(model_->mean_loss(context(), batch), 1e-5);
  const std::vector<float> others(static_cast<std::size_t>(K), -0.4f);
  batch.knobs = others.data();
  model_->begin(context(), batch, Loss());
  model_->gradient(context(), nullptr, batch, Loss());
  EXPECT_GT(model_->mean_loss(context(), batch), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Registry, Players, ::testing::ValuesIn(tiny::names()),
                         [](const auto& type) { return tiny::Case::letters(type.param); });

TEST(Players, AFormThatIsNoEffectIsRefused) {
  const auto pretrained = tiny::model("cafx", kPretrain);
  EXPECT_THROW(make_player(*pretrained), Error);
}

}  // namespace
}  // namespace cafx
