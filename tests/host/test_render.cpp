#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "datasets/audio_file.h"
#include "host/render/render.h"
#include "host/render/render_file.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"
#include "models/cafx/cafx.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

class Identity : public Model {
 public:
  Identity(int frame, int rate) {
    config_.frame = frame;
    config_.hop = frame / 2;
    config_.sample_rate = rate;
  }
  const ModelConfig& config() const override { return config_; }
  void forward(const Context&, float* y, const float* x, int B) override {
    std::transform(x, x + static_cast<long>(B) * config_.frame, y, [this](float v) { return gain * v; });
    largest_batch = std::max(largest_batch, B);
  }
  std::size_t training_bytes(const Context&, int, int, const Loss&) const override { return 0; }
  void reserve(const Context&, int, int, const Loss&) override {}
  void gradient(const Context&, float*, const Batch&, const Loss&) override {}
  const double* losses() const override { return nullptr; }
  std::vector<LayerRow> layers() const override { return {}; }
  int largest_batch = 0;
  float gain = 1.0f;

 private:
  CafxConfig config_;
};

std::vector<float> noise(std::size_t n) {
  const Rng rng{3, 5};
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.1 * rng.normal(i));
  return x;
}

TEST(Render, IdentityIsIdentityForEveryLengthAndHop) {
  Identity model(64, 16000);
  const Context context;
  for (const int hop : {1, 7, 16, 31, 32}) {
    for (std::size_t n = 1; n <= 200; n += n < 80 ? 1 : 13) {
      const auto x = noise(n);
      const auto y = render_signal(model, context, x.data(), n, hop);
      ASSERT_EQ(y.size(), n);
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_TRUE(std::abs(y[i] - x[i]) <= 1e-6) << "hop " << hop << " n " << n << " sample " << i;
      }
    }
  }
}

TEST(Render, PiecesGiveTheBitsOfTheWhole) {
  CafxConfig config;
  config.frame = 64;
  config.hop = 16;
  config.filters = 5;
  config.taps = 8;
  config.local_taps = 10;
  config.pool = 8;
  config.latent = 6;
  config.dnn = {5, 4, 5};
  CafxModel model(config);
  model.initialize(4);
  const Context context;
  const auto x = noise(5000);
  const auto whole = render_signal(model, context, x.data(), x.size(), 24);
  Renderer renderer(model, context, 24);
  std::vector<float> pieces;
  std::size_t at = 0;
  for (const std::size_t n : {1u, 700u, 3u, 2048u, 0u, 1500u}) {
    renderer.push(x.data() + at, n, pieces);
    EXPECT_LE(pieces.size(), at + n);
    at += n;
  }
  renderer.push(x.data() + at, x.size() - at, pieces);
  renderer.finish(pieces);
  ASSERT_EQ(pieces.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_EQ(pieces[i], whole[i]) << i;
}

TEST(Render, RefusesHopsOverHalfAFrame) {
  Identity model(64, 16000);
  const Context context;
  EXPECT_THROW(render_signal(model, context, nullptr, 0, 33), Error);
  EXPECT_THROW(render_signal(model, context, nullptr, 0, -1), Error);
}

TEST(Render, FileKeepsRateLengthAndTime) {
  const TemporaryFolder folder;
  const Context context;
  for (const int rate : {16000, 22050, 44100, 48000}) {
    for (const int extra : {0, 1, 511}) {
      Identity model(1024, 16000);
      const auto n = static_cast<std::size_t>(rate + extra);
      std::vector<float> x(n);
      for (std::size_t i = 0; i < n; ++i) {  // well inside the model's band, faded at the ends
        const double t = static_cast<double>(i) / rate;
        const double fade = std::sin(3.141592653589793 * static_cast<double>(i) / static_cast<double>(n));
        x[i] = static_cast<float>(0.3 * fade * fade * std::sin(6.283185307179586 * 440.0 * t));
      }
      write_audio(folder / "in.wav", x, rate, SampleFormat::kFloat);
      const RenderStats stats = render_file(model, context, folder / "in.wav", folder / "out.wav", {512}, nullptr);
      EXPECT_EQ(stats.channels_in, 1);
      EXPECT_LE(model.largest_batch, 64);
      const Audio y = read_audio(folder / "out.wav", 0);
      ASSERT_EQ(y.sample_rate, rate);
      ASSERT_EQ(y.samples.size(), n);
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_TRUE(std::abs(y.samples[i] - x[i]) <= 1e-4) << rate << " Hz, sample " << i;
      }
    }
  }
}

TEST(Render, FloatHoldsWhatIsOverFullScale) {
  const TemporaryFolder folder;
  const Context context;
  Identity model(1024, 16000);
  write_audio(folder / "in.wav", std::vector<float>(4000, 0.9f), 16000, SampleFormat::kPcm24);
  model.gain = 2.0f;
  RenderStats stats = render_file(model, context, folder / "in.wav", folder / "cut.wav", {512}, nullptr);
  EXPECT_GT(stats.clipped, 1000);
  EXPECT_NEAR(read_audio(folder / "cut.wav", 0).samples[2000], 1.0f, 1e-4f);
  RenderOptions as_float{512};
  as_float.as_float = true;
  stats = render_file(model, context, folder / "in.wav", folder / "out.wav", as_float, nullptr);
  EXPECT_EQ(stats.clipped, 0);
  EXPECT_NEAR(read_audio(folder / "out.wav", 0).samples[2000], 1.8f, 1e-3f);
  EXPECT_THROW(render_file(model, context, folder / "in.wav", folder / "out.flac", as_float, nullptr), Error);
}

}  // namespace
}  // namespace cafx
