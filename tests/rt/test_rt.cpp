#include <cafx_rt.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <new>
#include <numbers>

#include "datasets/audio_file.h"
#include "host/render/render.h"
#include "kernels/base/rng.h"
#include "models/cafx/cafx.h"
#include "models/play/weights_file.h"
#include "rt/resampler.h"
#include "tests/models/tiny.h"
#include "tests/rt/count_calls.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

CafxConfig small() {
  CafxConfig config;
  config.frame = 256;
  config.hop = 64;
  config.filters = 19;
  config.taps = 16;
  config.local_taps = 22;
  config.pool = 8;
  config.latent = 13;
  config.dnn = {17, 9, 19};
  return config;
}

struct FreeModel {
  void operator()(cafx_rt_model* m) const { cafx_rt_free_model(m); }
};
struct FreeStream {
  void operator()(cafx_rt_stream* s) const { cafx_rt_free(s); }
};
using RtModel = std::unique_ptr<cafx_rt_model, FreeModel>;
using RtStream = std::unique_ptr<cafx_rt_stream, FreeStream>;

// A model on disk, and the same through the C API.
class Rt : public ::testing::Test {
 protected:
  Rt() : own_(small()) {
    own_.initialize(4);
    for (long i = 0; i < own_.n_floats(); ++i) {
      if (own_.data()[i] == 0.0f) own_.data()[i] = 0.01f;
    }
    path_ = (folder_ / "model.safetensors").string();
    save_model(path_, own_, {});
    model_.reset(cafx_rt_load(path_.c_str(), why_, sizeof why_));
    EXPECT_TRUE(model_) << why_;
  }

  RtStream prepare(double host_rate, int hop = 64, int block_length = 0) {
    cafx_rt_options o = CAFX_RT_OPTIONS_INIT;
    o.host_rate = host_rate;
    o.hop = hop;
    o.block_length = block_length;
    RtStream s(cafx_rt_prepare(model_.get(), &o, why_, sizeof why_));
    EXPECT_TRUE(s) << why_;
    return s;
  }

  // x through a stream in these blocks, its latency taken off.
  static std::vector<float> through(cafx_rt_stream* s, std::vector<float> x, const std::vector<std::size_t>& blocks) {
    const std::size_t n = x.size(), latency = cafx_rt_latency(s);
    x.resize(n + latency + 20000, 0.0f);
    for (std::size_t at = 0, i = 0; at < n + latency; ++i) {
      const std::size_t m = blocks[i % blocks.size()];
      EXPECT_EQ(cafx_rt_process(s, x.data() + at, x.data() + at, m), CAFX_RT_OK);
      at += m;
    }
    return {x.begin() + static_cast<long>(latency), x.begin() + static_cast<long>(latency + n)};
  }

  TemporaryFolder folder_;
  CafxModel own_;
  std::string path_;
  char why_[256] = "";
  RtModel model_;
};

std::vector<float> noise(std::size_t n) {
  const Rng rng{3, 5};
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.1 * rng.normal(i));
  return x;
}

Context context() {
  Context c;
  c.isa = best_isa();
  return c;
}

// Three tones below 0.8 of 8 kHz, which begin and end softly.
std::vector<float> tones(double rate_hz, double seconds) {
  std::vector<float> x(static_cast<std::size_t>(rate_hz * seconds));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = static_cast<double>(i) / rate_hz, w = 2.0 * std::numbers::pi * t;
    const double fade = std::pow(std::sin(std::numbers::pi * t / seconds), 2);
    x[i] = static_cast<float>(0.1 * fade * (std::sin(220.0 * w) + std::sin(1700.0 * w) + std::sin(6100.0 * w)));
  }
  return x;
}

double relative_error(std::span<const float> y, std::span<const float> ref) {
  double e = 0.0, r = 0.0;
  EXPECT_EQ(y.size(), ref.size());
  for (std::size_t i = 0; i < ref.size(); ++i) {
    e += std::pow(static_cast<double>(y[i]) - ref[i], 2);
    r += std::pow(static_cast<double>(ref[i]), 2);
  }
  return std::sqrt(e / r);
}

TEST_F(Rt, AtTheModelsRateItHasTheBitsOfRender) {
  const auto x = noise(3000);
  for (const int hop : {8, 61, 64, 128}) {
    const auto whole = render_signal(own_, context(), x.data(), x.size(), hop);
    for (const std::vector<std::size_t>& blocks : std::vector<std::vector<std::size_t>>{{1}, {4096}, {64, 0, 3, 700}}) {
      const RtStream s = prepare(16000, hop);
      EXPECT_EQ(cafx_rt_hop(s.get()), hop);
      EXPECT_EQ(through(s.get(), x, blocks), whole) << hop << ", " << why_;
    }
  }
  const RtStream fixed = prepare(0, 64, 64);
  EXPECT_EQ(cafx_rt_latency(fixed.get()), 192u);
  EXPECT_EQ(through(fixed.get(), x, {64, 128}), render_signal(own_, context(), x.data(), x.size(), 64));
}

TEST_F(Rt, AtOtherRatesItIsRenderBetweenSoxrsResamplers) {
  for (const double rate : {8000.0, 22050.0, 44100.0, 44101.0, 48000.0, 96000.0, 192000.0}) {
    auto x = tones(rate, 0.5);
    if (rate == 8000.0) {
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(0.1 * std::sin(0.3 * static_cast<double>(i)));
    }
    const auto at_model = resample(x, rate, 16000.0);
    const auto y = render_signal(own_, context(), at_model.data(), at_model.size(), 64);
    auto ref = resample(y, 16000.0, rate);
    const RtStream s = prepare(rate);
    auto got = through(s.get(), x, {480});
    // Not the ends, where each filter sees its own silence.
    const auto edge = static_cast<long>(rate * 0.05);
    ref.resize(x.size());
    const std::vector<float> a(got.begin() + edge, got.end() - edge), b(ref.begin() + edge, ref.end() - edge);
    // Below 6.4 kHz they agree; above, up to 8 kHz, the two filters fall off differently, and this model makes noise
    // there.
    const double limit = rate == 8000.0 ? 7000.0 : 14000.0;
    EXPECT_LT(relative_error(resample(a, rate, limit), resample(b, rate, limit)), 1e-4) << rate;
    EXPECT_LT(relative_error(a, b), 1e-2) << rate;
    for (const std::vector<std::size_t>& blocks : std::vector<std::vector<std::size_t>>{{1}, {4096, 3}, {64, 0, 700}}) {
      const RtStream other = prepare(rate);
      EXPECT_EQ(through(other.get(), x, blocks), got) << rate;
    }
    cafx_rt_reset(s.get());
    EXPECT_EQ(through(s.get(), x, {333}), got) << rate;
  }
}

TEST_F(Rt, LatencyIsWhatAnImpulseShows) {
  // The first output sample that differs from that of silence is not earlier than the impulse's frame allows, and the
  // whole lies where through() puts it; here: the number itself, from its parts.
  EXPECT_EQ(cafx_rt_latency(prepare(16000).get()), 255u);
  const int in = RtResampler::reach(48000, 16000), out = RtResampler::reach(16000, 48000);
  EXPECT_EQ(cafx_rt_latency(prepare(48000).get()), static_cast<std::size_t>(in + (255 + out + 1) * 3));
}

TEST(RtResampler, IsFlatAndRejects) {
  const auto gain_db = [](int from, int to, double hz) {
    RtResampler r(from, to, 512, 0);
    std::vector<float> x(512), y(8192);
    double peak = 0.0;
    long at = 0;
    for (int block = 0; block < 64; ++block) {
      for (float& v : x)
        v = static_cast<float>(std::sin(2.0 * std::numbers::pi * hz * static_cast<double>(at++) / from));
      r.feed(x.data(), x.size());
      const std::size_t n = r.make(y.data(), y.size());
      if (block < 32) continue;
      for (std::size_t i = 0; i < n; ++i) peak = std::max(peak, std::abs(static_cast<double>(y[i])));
    }
    return 20.0 * std::log10(peak + 1e-12);
  };
  for (const int rate : {44100, 48000, 44101, 96000}) {
    for (const double hz : {50.0, 1000.0, 7150.0})
      EXPECT_NEAR(gain_db(rate, 16000, hz), 0.0, 0.02) << rate << ", " << hz;
    for (const double hz : {8010.0, 9000.0, 20000.0}) EXPECT_LT(gain_db(rate, 16000, hz), -100.0) << rate << ", " << hz;
    // Up: a tone in band passes; what is left of its images is in the error of the test above.
    EXPECT_NEAR(gain_db(16000, rate, 997.0), 0.0, 0.02) << rate;
  }
}

TEST_F(Rt, AfterPrepareNothingIsAllocatedAndNothingLocked) {
#ifndef CAFX_COUNTS
  GTEST_SKIP() << "the sanitizer's own malloc cannot be counted";
#else
  {
    const long allocations = n_allocations, locks = n_locks;
    std::vector<float> probe(10);
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&m);
    pthread_mutex_unlock(&m);
    EXPECT_EQ(n_allocations - allocations, 1);
    EXPECT_EQ(n_locks - locks, 1);
  }
  for (const double rate : {16000.0, 44100.0, 44101.0, 48000.0, 96000.0}) {
    const RtStream s = prepare(rate);
    const RtStream twin(cafx_rt_twin(s.get()));
    auto x = noise(1 << 16);
    const long allocations = n_allocations, locks = n_locks;
    for (std::size_t at = 0, n = 0; at + n <= x.size() && n < 400; at += n++)
      cafx_rt_process(s.get(), &x[at], &x[at], n);
    cafx_rt_reset(s.get());
    cafx_rt_process(s.get(), x.data(), x.data(), x.size());  // longer than any buffer
    cafx_rt_process(twin.get(), x.data(), x.data(), 4096);
    cafx_rt_latency(s.get());
    EXPECT_EQ(n_allocations - allocations, 0) << rate;
    EXPECT_EQ(n_locks - locks, 0) << rate;
  }
#endif
}

TEST_F(Rt, TwinsAreIndependentAndOutliveTheModel) {
  const auto x = noise(2000);
  const RtStream a = prepare(48000);
  const auto first = through(a.get(), x, {100});
  const RtStream b(cafx_rt_twin(a.get()));
  model_.reset();
  std::filesystem::remove(path_);
  EXPECT_EQ(through(b.get(), x, {77}), first);
}

TEST_F(Rt, DenormalsCountAsZeroAndTheCallersModeComesBack) {
  for (const double rate : {16000.0, 48000.0}) {
    const RtStream a = prepare(rate), b = prepare(rate);
    EXPECT_EQ(through(a.get(), std::vector<float>(3000, 1e-40f), {64}),
              through(b.get(), std::vector<float>(3000), {64}));
    volatile float tiny = 1e-38f;
    EXPECT_GT(tiny * 0.1f, 0.0f);
  }
}

// Knobs by the C API: names and ranges, what is out of them, and the bits of a player whose knobs are turned.
TEST_F(Rt, TurnsTheKnobsOfAModelThatHasSome) {
  EXPECT_EQ(cafx_rt_knobs(model_.get()), 0);
  EXPECT_EQ(cafx_rt_knobs(nullptr), 0);
  EXPECT_EQ(cafx_rt_set_knob(prepare(0).get(), 0, 0.5), CAFX_RT_ERROR_ARGUMENT);
  for (const std::string& type : tiny::variants()) {
    SCOPED_TRACE(type);
    const auto model = tiny::model(type);
    if (model->geometry().knobs == 0) continue;
    const auto path = (folder_ / "knobs.safetensors").string();
    save_model(path, *model, {});
    model_.reset(cafx_rt_load(path.c_str(), why_, sizeof why_));
    ASSERT_TRUE(model_) << why_;
    ASSERT_EQ(cafx_rt_knobs(model_.get()), 2);
    cafx_rt_knob_info info{};
    EXPECT_EQ(cafx_rt_knob(model_.get(), 0, &info), CAFX_RT_ERROR_ARGUMENT) << "size";
    info.size = sizeof info;
    EXPECT_EQ(cafx_rt_knob(model_.get(), 2, &info), CAFX_RT_ERROR_ARGUMENT);
    ASSERT_EQ(cafx_rt_knob(model_.get(), 0, &info), CAFX_RT_OK);
    EXPECT_STREQ(info.name, "gain");
    EXPECT_STREQ(info.unit, "dB");
    EXPECT_EQ(info.min, 0.0);
    EXPECT_EQ(info.max, 10.0);
    EXPECT_EQ(info.positions, 0);
    ASSERT_EQ(cafx_rt_knob(model_.get(), 1, &info), CAFX_RT_OK);
    EXPECT_EQ(info.positions, 3);
    EXPECT_STREQ(cafx_rt_knob_position(model_.get(), 1, 2), "c");
    EXPECT_EQ(cafx_rt_knob_position(model_.get(), 1, 3), nullptr);
    EXPECT_EQ(cafx_rt_knob_position(model_.get(), 0, 0), nullptr);
    const RtStream s = prepare(0, 0);
    const auto player = make_player(*model);
    const std::vector<float> x = noise(2000);
    std::vector<float> y(x.size()), want(x.size());
    for (const double bad : {-0.1, 10.1, std::nan("")}) {
      EXPECT_EQ(cafx_rt_set_knob(s.get(), 0, bad), CAFX_RT_ERROR_ARGUMENT) << bad;
    }
    EXPECT_EQ(cafx_rt_set_knob(s.get(), 2, 0.0), CAFX_RT_ERROR_ARGUMENT);
    EXPECT_EQ(cafx_rt_set_knob(nullptr, 0, 0.0), CAFX_RT_ERROR_ARGUMENT);
    for (const std::size_t at : {std::size_t{0}, std::size_t{1000}}) {
      ASSERT_EQ(cafx_rt_process(s.get(), x.data() + at, y.data() + at, 1000), CAFX_RT_OK);
      player->process(want.data() + at, x.data() + at, 1000);
      ASSERT_EQ(cafx_rt_set_knob(s.get(), 0, 9.0), CAFX_RT_OK);
      ASSERT_EQ(cafx_rt_set_knob(s.get(), 1, 2.0), CAFX_RT_OK);
      player->set(0, 9.0f);
      player->set(1, 2.0f);
    }
    EXPECT_EQ(y, want);
  }
}

// Neither takes gigabytes, nor is a number of samples more than an int holds.
TEST_F(Rt, LongBlocksAreTimedInBoundedMemoryOrRefused) {
  cafx_rt_options o = CAFX_RT_OPTIONS_INIT;
  for (const int bad : {-1, (1 << 20) + 1, std::numeric_limits<int>::max()}) {
    o.block_length = bad;
    EXPECT_EQ(cafx_rt_prepare(model_.get(), &o, why_, sizeof why_), nullptr);
    EXPECT_NE(std::string(why_).find("expected 0 to 1048576"), std::string::npos) << why_;
  }
  const RtStream longest = prepare(0, 64, (1 << 20) - 1);
  EXPECT_GT(cafx_rt_frame_seconds(longest.get(), 0.0), 0.0);  // the least common multiple would be 67 million samples
}

// A host's parameters are floats, and 1.1f is more than 1.1.
TEST_F(Rt, AKnobTakesTheEndsOfItsRangeAsFloats) {
  auto config = tiny::config("lstm+knobs");
  config->knobs = {"drive: 0.7..1.1"};
  const auto model = make_model(*config);
  model->initialize(3);
  const auto path = (folder_ / "ends.safetensors").string();
  save_model(path, *model, {});
  model_.reset(cafx_rt_load(path.c_str(), why_, sizeof why_));
  ASSERT_TRUE(model_) << why_;
  const auto x = noise(2000);
  for (const float end : {0.7f, 1.1f}) {
    const RtStream s = prepare(0, 0);
    ASSERT_EQ(cafx_rt_set_knob(s.get(), 0, static_cast<double>(end)), CAFX_RT_OK) << end;
    const auto player = make_player(*model);
    player->set(0, end);
    std::vector<float> want(x.size());
    player->process(want.data(), x.data(), x.size());
    EXPECT_EQ(through(s.get(), x, {100}), want) << end;
  }
}

// Every type of models/registry.h: the bits of its rendering at its own rate, without allocation or lock; what plays
// sample by sample has no delay but its own look-ahead and that of the resampling; what plays frames waits for a frame
// and the context after it.
TEST_F(Rt, PlaysEveryTypeOfModel) {
  double resamplers = 0.0;
  for (const std::string& type : model_type_names()) {
    SCOPED_TRACE(type);
    const auto model = tiny::model(type);
    const auto path = (folder_ / (type + ".safetensors")).string();
    save_model(path, *model, {});
    model_.reset(cafx_rt_load(path.c_str(), why_, sizeof why_));
    ASSERT_TRUE(model_) << why_;
    cafx_rt_info info{};
    info.size = sizeof info;
    ASSERT_EQ(cafx_rt_describe(model_.get(), &info), CAFX_RT_OK);
    const Geometry g = model->geometry();
    const bool stream = g.frame == 0;
    EXPECT_EQ(info.frame, stream ? 1 : g.frame);
    const RtStream own = prepare(0, 0), other = prepare(48000, 0);
    EXPECT_EQ(cafx_rt_latency(own.get()), static_cast<std::size_t>(info.frame - 1 + g.after));
    EXPECT_EQ(cafx_rt_hop(own.get()), info.hop);
    EXPECT_GT(cafx_rt_frame_seconds(own.get(), 0.01), 0.0);
    EXPECT_GT(cafx_rt_frame_seconds(other.get(), 0.01), 0.0);
    std::vector<float> x = noise(3000);
    const auto whole = render_signal(*model, context(), x.data(), x.size(), 0);
    EXPECT_EQ(through(own.get(), x, {64, 1, 700, 13}), whole);
    cafx_rt_reset(own.get());
    EXPECT_EQ(through(own.get(), x, {128}), whole);
    // At another rate the resamplers' delay, the same for all, is what comes on top.
    const double seconds = static_cast<double>(cafx_rt_latency(other.get())) / 48000.0 -
                           static_cast<double>(cafx_rt_latency(own.get())) / 8000.0;
    if (resamplers == 0.0) resamplers = seconds;
    EXPECT_NEAR(seconds, resamplers, 1.0 / 48000.0);
#ifdef CAFX_COUNTS
    const long allocations = n_allocations, locks = n_locks;
    cafx_rt_process(own.get(), x.data(), x.data(), x.size());
    cafx_rt_process(other.get(), x.data(), x.data(), x.size());
    EXPECT_EQ(n_allocations, allocations);
    EXPECT_EQ(n_locks, locks);
#endif
  }
}

TEST_F(Rt, SaysWhatIsWrong) {
  const auto refuses = [&](const std::string& path, const std::string& words) {
    EXPECT_EQ(cafx_rt_load(path.c_str(), why_, sizeof why_), nullptr);
    EXPECT_NE(std::string(why_).find(words), std::string::npos) << why_;
  };
  refuses("/nowhere/model.safetensors", "there is no such file");
  const auto junk = (folder_ / "junk.safetensors").string();
  std::ofstream(junk) << "no safetensors at all, but long enough to look";
  refuses(junk, junk);
  const auto pretrained = (folder_ / "pretrained.safetensors").string();
  save_model(pretrained, CafxModel(small(), CafxForm::kPretrain), {});
  refuses(pretrained, "pretrained");
  const auto with = [&](auto change, const std::string& words) {
    cafx_rt_options o = CAFX_RT_OPTIONS_INIT;
    change(o);
    EXPECT_EQ(cafx_rt_prepare(model_.get(), &o, why_, sizeof why_), nullptr);
    EXPECT_NE(std::string(why_).find(words), std::string::npos) << why_;
  };
  with([](cafx_rt_options& o) { o.hop = 129; }, "hop = 129");
  with([](cafx_rt_options& o) { o.host_rate = 100.0; }, "host_rate = 100");
  with([](cafx_rt_options& o) { o.host_rate = std::nan(""); }, "host_rate = nan");
  with([](cafx_rt_options& o) { o.block_length = -1; }, "block_length = -1");
  with([](cafx_rt_options& o) { o.size = 3; }, "options.size");
  EXPECT_EQ(cafx_rt_load(nullptr, nullptr, 0), nullptr);
  char short_text[5] = "xxxx";
  EXPECT_EQ(cafx_rt_load("/nowhere", short_text, sizeof short_text), nullptr);
  EXPECT_STREQ(short_text, "/now");
  EXPECT_EQ(cafx_rt_prepare(nullptr, nullptr, why_, sizeof why_), nullptr);
  EXPECT_EQ(cafx_rt_twin(nullptr), nullptr);
  cafx_rt_free(nullptr);
  cafx_rt_free_model(nullptr);
  std::vector<float> block(100, 1.0f);
  EXPECT_EQ(cafx_rt_process(nullptr, block.data(), block.data(), 100), CAFX_RT_ERROR_ARGUMENT);
  EXPECT_EQ(block, std::vector<float>(100));
  block.assign(100, 1.0f);
  const RtStream s = prepare(48000, 64, 64);
  EXPECT_EQ(cafx_rt_process(s.get(), block.data(), block.data(), 100), CAFX_RT_ERROR_ARGUMENT);
  EXPECT_EQ(block, std::vector<float>(100));
  cafx_rt_info info{};
  EXPECT_EQ(cafx_rt_describe(model_.get(), &info), CAFX_RT_ERROR_ARGUMENT);
  info.size = sizeof info;
  EXPECT_EQ(cafx_rt_describe(model_.get(), &info), CAFX_RT_OK);
  EXPECT_EQ(info.sample_rate, 16000);
  EXPECT_EQ(info.frame, 256);
  EXPECT_EQ(info.parameters, own_.n_parameters());
  EXPECT_EQ(cafx_rt_version(), static_cast<uint32_t>(CAFX_RT_VERSION));
  EXPECT_GT(cafx_rt_frame_seconds(s.get(), 0.01), 0.0);
  EXPECT_LT(cafx_rt_frame_seconds(nullptr, 0.01), 0.0);
}

}  // namespace
}  // namespace cafx
