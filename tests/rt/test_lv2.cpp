// The plugin in a host.
#include <cafx_rt.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <numbers>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "host/export/lv2_bundle.h"
#include "host/render/render.h"
#include "kernels/base/rng.h"
#include "models/cafx/cafx.h"
#include "models/play/weights_file.h"
#include "tests/models/tiny.h"
#include "tests/rt/count_calls.h"
#include "tests/rt/lv2_host.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

using namespace lv2_test;

class Lv2 : public ::testing::Test {
 protected:
  Lv2() : a_(config()), b_(config()) {
    a_.initialize(4);
    b_.initialize(9);
    save_model(folder_ / "a.safetensors", a_, {});
    save_model(folder_ / "b.safetensors", b_, {});
    EXPECT_NE(world_.plugin, nullptr);
  }
  static CafxConfig config() {
    CafxConfig c;
    c.frame = 256;
    c.hop = 64;
    c.filters = 19;
    c.taps = 16;
    c.local_taps = 22;
    c.pool = 8;
    c.latent = 13;
    c.dnn = {17, 9, 19};
    return c;
  }
  // As a session starts: the model comes with the state, before the first block.
  std::unique_ptr<Host> with_model(double rate, const std::string& name) { return with_model(world_, rate, name); }
  std::unique_ptr<Host> with_model(World& world, double rate, const std::string& name) {
    auto h = std::make_unique<Host>(world, rate);
    restore(*h, world, name);
    h->activate();
    return h;
  }
  void restore(Host& h, World& world, const std::string& name) {
    std::ostringstream ttl;
    ttl << "@prefix pset: <http://lv2plug.in/ns/ext/presets#> .\n@prefix lv2: <http://lv2plug.in/ns/lv2core#> .\n"
        << "@prefix state: <http://lv2plug.in/ns/ext/state#> .\n<urn:s> a pset:Preset ; lv2:appliesTo <" << kUri
        << "> ; state:state [ <urn:cafx:player#model> \"" << (folder_ / name).string()
        << "\"^^<http://lv2plug.in/ns/ext/atom#Path> ] .\n";
    LilvState* s = lilv_state_new_from_string(world.world, &world.map, ttl.str().c_str());
    EXPECT_NE(s, nullptr);
    lilv_state_restore(s, h.instance(), nullptr, nullptr, 0, h.features());
    lilv_state_free(s);
  }

  TemporaryFolder folder_;
  CafxModel a_, b_;
  World world_;
};

std::vector<float> noise(std::size_t n) {
  const Rng rng{3, 5};
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.1 * rng.normal(i));
  return x;
}

std::vector<float> sine(std::size_t n, double hz, double rate) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(0.1 * std::sin(2.0 * std::numbers::pi * hz * static_cast<double>(i) / rate));
  }
  return x;
}

TEST_F(Lv2, PlaysWhatRenderWrites) {
  Context context;
  context.isa = best_isa();
  for (const auto& x : {noise(9000), sine(9000, 440.0, 16000.0), std::vector<float>(9000)}) {
    const auto whole = render_signal(a_, context, x.data(), x.size(), 64);
    for (const std::size_t block : {1, 7, 64, 441, 1024, 4096}) {
      const auto h = with_model(16000, "a.safetensors");
      auto padded = x;
      padded.resize(x.size() + 255);
      const auto y = h->run(padded, block);
      EXPECT_EQ(h->value[9], 255.0f);
      EXPECT_GT(h->value[10], 0.0f);
      EXPECT_EQ(std::vector<float>(y.begin() + 255, y.end()), whole) << block;
    }
  }
}

// Every other type of models/registry.h; what plays sample by sample reports no latency and no hop that would fit
// better.
TEST_F(Lv2, PlaysEveryTypeOfModel) {
  Context context;
  context.isa = best_isa();
  const auto x = noise(4000);
  for (const std::string& type : model_type_names()) {
    SCOPED_TRACE(type);
    auto config = tiny::config(type);
    config->sample_rate = 16000;
    const auto model = make_model(*config);
    model->initialize(3);
    save_model(folder_ / "type.safetensors", *model, {});
    const auto whole = render_signal(*model, context, x.data(), x.size(), 0);
    const auto h = with_model(16000, "type.safetensors");
    const int frame = model->geometry().frame;
    const auto latency = static_cast<std::size_t>(std::max(0, frame - 1) + model->geometry().after);
    auto padded = x;
    padded.resize(x.size() + latency);
    const auto y = h->run(padded, 64);
    EXPECT_EQ(h->value[9], static_cast<float>(latency));
    EXPECT_GT(h->value[10], 0.0f);
    if (frame == 0) {
      EXPECT_EQ(h->value[11], 0.0f);
      EXPECT_EQ(std::vector<float>(y.begin() + static_cast<long>(latency), y.end()), whole);
    }
  }
}

// A model with knobs as a plugin of its own, as a host sees it and as it plays.
TEST_F(Lv2, AModelsOwnBundleHasAPortForEachKnob) {
  auto config = tiny::config("lstm+knobs");
  config->sample_rate = 16000;
  ModelFile file{make_model(*config), {}};
  file.model->initialize(3);
  const auto bundle = folder_ / "own.lv2";
  save_lv2(bundle, file, "My \"amp\" \\ 2");
  World own((bundle.string() + "/").c_str(), lv2_uri(*file.model).c_str());
  ASSERT_NE(own.plugin, nullptr);
  const auto text = [](LilvNode* node) {
    const std::string s = node ? lilv_node_as_string(node) : "";
    lilv_node_free(node);
    return s;
  };
  EXPECT_EQ(text(lilv_plugin_get_name(own.plugin)), "My \"amp\" \\ 2");
  ASSERT_EQ(lilv_plugin_get_num_ports(own.plugin), 14u);
  const LilvPort *gain = lilv_plugin_get_port_by_index(own.plugin, 12),
                 *mode = lilv_plugin_get_port_by_index(own.plugin, 13);
  EXPECT_EQ(text(lilv_port_get_name(own.plugin, gain)), "gain");
  EXPECT_STREQ(lilv_node_as_string(lilv_port_get_symbol(own.plugin, mode)), "knob_mode");
  LilvNode *start = nullptr, *least = nullptr, *most = nullptr;
  lilv_port_get_range(own.plugin, gain, &start, &least, &most);
  EXPECT_EQ(text(start) + " " + text(least) + " " + text(most), "5 0 10");
  LilvScalePoints* points = lilv_port_get_scale_points(own.plugin, mode);
  EXPECT_EQ(lilv_scale_points_size(points), 3u);
  lilv_scale_points_free(points);

  const auto player_beside = with_model(16000, "a.safetensors");
  const auto x = noise(6000);
  for (const auto& [gain_at, mode_at] : {std::pair{9.0f, 2.0f}, std::pair{1.5f, 0.0f}}) {
    Host h(own, 16000);
    h.value[12] = gain_at;
    h.value[13] = mode_at;
    h.activate();
    const auto player = file.model->stream({});
    player->set(0, gain_at);
    player->set(1, mode_at);
    std::vector<float> y(x.size());
    player->process(y.data(), x.data(), x.size());
    const auto got = h.run(x, 97);
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(got[i], y[i], 1e-6) << i;
    EXPECT_EQ(h.allocated, 0);
    EXPECT_EQ(h.locked, 0);
  }
  World again(CAFX_LV2_BUNDLE "/");  // the player is what it was
  EXPECT_EQ(lilv_plugin_get_num_ports(again.plugin), 12u);
}

// As lv2.h says of a sample_count of 0: hosts learn the latency so before they play.
TEST_F(Lv2, ARunOfNoSamplesTellsTheLatency) {
  ModelFile file{make_model(config()), {}};
  file.model->initialize(4);
  save_lv2(folder_ / "own.lv2", file, "own");
  World own((folder_ / "own.lv2/").c_str(), lv2_uri(*file.model).c_str());
  ASSERT_NE(own.plugin, nullptr);
  Host h(own, 16000);
  h.activate();
  lilv_instance_run(h.instance(), 0);
  EXPECT_EQ(h.value[9], 255.0f);
  EXPECT_GT(h.value[10], 0.0f);
  auto x = noise(3000);
  Context context;
  context.isa = best_isa();
  const auto whole = render_signal(*file.model, context, x.data(), x.size(), 0);
  x.resize(x.size() + 255);
  const auto y = h.run(x, 64);
  EXPECT_EQ(std::vector<float>(y.begin() + 255, y.end()), whole);
}

// A host's automation reaches the ends of a port's range, which are floats, and may overstep them.
TEST_F(Lv2, APortAtOrBeyondTheEndOfItsRangeTurnsTheKnobToTheEnd) {
  auto config = tiny::config("lstm+knobs");
  config->sample_rate = 16000;
  config->knobs = {"drive: 0.7..1.1"};
  ModelFile file{make_model(*config), {}};
  file.model->initialize(3);
  const auto bundle = folder_ / "ends.lv2";
  save_lv2(bundle, file, "ends");
  World own((bundle.string() + "/").c_str(), lv2_uri(*file.model).c_str());
  ASSERT_NE(own.plugin, nullptr);
  const auto x = noise(3000);
  for (const auto& [port, end] : {std::pair{1.1f, 1.1f}, {0.7f, 0.7f}, {2.0f, 1.1f}, {-1.0f, 0.7f}}) {
    Host h(own, 16000);
    h.value[12] = port;
    h.activate();
    const auto player = file.model->stream({});
    player->set(0, end);
    std::vector<float> y(x.size());
    player->process(y.data(), x.data(), x.size());
    const auto got = h.run(x, 97);
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(got[i], y[i], 1e-6) << port << ", " << i;
  }
}

TEST_F(Lv2, ABundleIsWrittenOnceAndAgainButOverNothingElse) {
  ModelFile file{make_model(config()), {}};
  file.model->initialize(4);
  save_lv2(folder_ / "own.lv2", file, "first");
  const std::string uri = lv2_uri(*file.model);
  save_lv2(folder_ / "own.lv2", file, "second");
  World own((folder_ / "own.lv2/").c_str(), uri.c_str());
  ASSERT_NE(own.plugin, nullptr);
  LilvNode* name = lilv_plugin_get_name(own.plugin);
  EXPECT_STREQ(lilv_node_as_string(name), "second");
  lilv_node_free(name);
  std::filesystem::create_directory(folder_ / "others");
  EXPECT_THROW(save_lv2(folder_ / "others", file, "no"), Error);
  EXPECT_THROW(save_lv2(folder_ / "a.safetensors", file, "no"), Error);
  // A bundle that lost its model is refused, with the reason in the log.
  std::filesystem::remove(folder_ / "own.lv2/model.safetensors");
  EXPECT_THROW(Host(own, 16000), std::runtime_error);
}

TEST_F(Lv2, BypassAndDryAreTheInputAtTheSameDelay) {
  const auto x = noise(5000);
  for (const int port : {6, 7}) {
    for (const double rate : {16000.0, 48000.0}) {
      const auto h = with_model(rate, "a.safetensors");
      h->value[port] = 0.0f;
      const auto y = h->run(x, 128);
      const auto latency = static_cast<std::size_t>(h->value[9]);
      ASSERT_GT(latency, 0u);
      for (std::size_t i = latency; i < x.size(); ++i) ASSERT_EQ(y[i], x[i - latency]) << port << ", " << i;
    }
  }
  Host none(world_, 48000.0);  // no model: as it came
  none.activate();
  EXPECT_EQ(none.run(x, 64), x);
  EXPECT_EQ(none.value[9], 0.0f);
}

TEST_F(Lv2, DenormalsAreSilenceAndWhatIsNotFiniteIsKeptOut) {
  const auto h = with_model(48000, "a.safetensors"), silent = with_model(48000, "a.safetensors");
  const auto y = h->run(std::vector<float>(8000, 1e-40f), 64), z = silent->run(std::vector<float>(8000), 64);
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], z[i], 1e-37f);
  auto x = noise(8000);
  x[100] = std::numeric_limits<float>::quiet_NaN();
  x[200] = std::numeric_limits<float>::infinity();
  for (const float v : h->run(x, 64)) ASSERT_TRUE(std::isfinite(v));
}

TEST_F(Lv2, ChangesModelWhilePlayingWithoutClickLockOrAllocation) {
  const double rate = 48000.0;
  const auto step_of = [](const std::vector<float>& y) {
    float step = 0.0f;
    for (std::size_t i = 1; i < y.size(); ++i) step = std::max(step, std::abs(y[i] - y[i - 1]));
    return step;
  };
  const auto tone = sine(48000, 220.0, rate);
  const auto settled = [&](const std::string& name) {
    auto y = with_model(rate, name)->run(tone, 256);
    return std::vector<float>(y.begin() + 4000, y.end());
  };
  const auto ya = settled("a.safetensors"), yb = settled("b.safetensors");
  float peak = 0.0f;
  for (const auto* y : {&ya, &yb}) {
    for (const float v : *y) peak = std::max(peak, std::abs(v));
  }
  // No step is larger than the models' own, and what a fade of 480 samples adds.
  const float most = std::max(step_of(ya), step_of(yb)) + peak / 400.0f;
  const auto h = with_model(rate, "a.safetensors");
  auto y = h->run(tone, 256);
  h->set_model((folder_ / "b.safetensors").string());
  const auto started = std::chrono::steady_clock::now();
  std::vector<float> all(y.end() - 256, y.end());
  for (std::size_t k = 0, after = 0; after < 40; ++k) {
    ASSERT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(60));
    std::vector<float> x(256);
    for (std::size_t i = 0; i < 256; ++i) {
      x[i] = static_cast<float>(
          0.1 * std::sin(2.0 * std::numbers::pi * 220.0 * static_cast<double>(48000 + k * 256 + i) / rate));
    }
    const auto out = h->run(x, 64);
    all.insert(all.end(), out.begin(), out.end());
    after += h->n_jobs_done >= 2;  // loaded, and the former one freed
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LE(step_of(all), most);
  // It is b that plays: another instance with b from the start has the same curve up to its phase; here, that a's is
  // gone.
  float peak_b = 0.0f, peak_all = 0.0f;
  for (const float v : yb) peak_b = std::max(peak_b, std::abs(v));
  for (auto i = all.end() - 2000; i != all.end(); ++i) peak_all = std::max(peak_all, std::abs(*i));
  EXPECT_NEAR(peak_all, peak_b, 0.1f * peak_b);
#ifdef CAFX_COUNTS
  EXPECT_EQ(h->allocated, 0);
  EXPECT_EQ(h->locked, 0);
#endif
  h->set_model("/nowhere/model.safetensors");  // refused: b goes on
  const int jobs = h->n_jobs_done;
  while (h->n_jobs_done == jobs) h->run(std::vector<float>(64), 64);
  EXPECT_GT(h->value[9], 0.0f);
}

TEST_F(Lv2, SavesItsModelWithTheSession) {
  const auto h = with_model(16000, "a.safetensors");
  const auto x = noise(2000);
  const auto y = h->run(x, 64);
  const auto session = (folder_ / "session").string();
  LilvState* s = lilv_state_new_from_instance(world_.plugin, h->instance(), &world_.map, folder_.path().c_str(),
                                              session.c_str(), session.c_str(), session.c_str(), nullptr, nullptr,
                                              LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE, h->features());
  ASSERT_NE(s, nullptr);
  ASSERT_EQ(lilv_state_save(world_.world, &world_.map, &world_.unmap, s, nullptr, session.c_str(), "state.ttl"), 0);
  lilv_state_free(s);
  std::ifstream file(session + "/state.ttl");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(text.find("a.safetensors"), std::string::npos) << text;
  EXPECT_EQ(text.find(folder_.path().string()), std::string::npos) << "an absolute path: " << text;
  LilvState* read = lilv_state_new_from_file(world_.world, &world_.map, nullptr, (session + "/state.ttl").c_str());
  ASSERT_NE(read, nullptr);
  Host other(world_, 16000);
  lilv_state_restore(read, other.instance(), nullptr, nullptr, 0, other.features());
  lilv_state_free(read);
  other.activate();
  EXPECT_EQ(other.run(x, 64), y);
}

TEST_F(Lv2, WithoutAWorkerEveryRestoredModelIsPlayed) {
  const auto x = noise(8192);
  const auto tail_of = [](const std::vector<float>& y) { return std::vector<float>(y.end() - 2048, y.end()); };
  const auto ya = tail_of(with_model(16000, "a.safetensors")->run(x, 64));
  const auto yb = tail_of(with_model(16000, "b.safetensors")->run(x, 64));
  ASSERT_NE(ya, yb);
  Host h(world_, 16000, false);
  h.activate();
  for (const char* name : {"a", "b", "a", "b", "b", "a"}) {
    restore(h, world_, std::string(name) + ".safetensors");
    EXPECT_EQ(tail_of(h.run(x, 64)), *name == 'a' ? ya : yb) << name;
  }
  EXPECT_EQ(h.allocated, 0);
}

TEST_F(Lv2, WritesNoControlCharactersOfAFileToTheLog) {
  const std::string name = "x\x1b[2J\xc2\x9b.safetensors";
  std::ofstream(folder_ / name) << "no model";
  Host h(world_, 16000);
  restore(h, world_, "missing\x1b[31m.safetensors");
  h.activate();
  h.set_model((folder_ / name).string());
  h.run(noise(64), 64);
  while (h.n_jobs_done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::string said = h.said();
  EXPECT_NE(said.find("x\\x1b[2J\\xc2\\x9b.safetensors"), std::string::npos) << said;
  EXPECT_EQ(said.find('\x1b'), std::string::npos);
}

// What is too dear and what fits, with a frame's time that the test sets: `paper` is 1024 samples at 16 kHz, so a frame
// of 3.2 ms is 80 % of hop 64, 40 % of hop 128 and 10 % of hop 512.
TEST_F(Lv2, SaysThatAHopIsTooDearAndWhichFits) {
  save_model(folder_ / "paper.safetensors", CafxModel(cafx_preset("paper")), {});
  World slow(CAFX_SLOW_BUNDLE "/");
  ASSERT_NE(slow.plugin, nullptr);
  const auto plays = [&](const char* seconds) {
    setenv("CAFX_TEST_FRAME_SECONDS", seconds, 1);
    auto h = with_model(slow, 16000, "paper.safetensors");
    h->run(std::vector<float>(64), 64);
    return h;
  };
  const auto h = plays("0.0032");
  EXPECT_EQ(h->said(), "cafx: hop 64 takes 80 % of this processor's time; hop 128 fits, set Hop to it\n");
  EXPECT_FLOAT_EQ(h->value[10], 80.0f);
  EXPECT_EQ(h->value[11], 128.0f);
  h->value[8] = 128.0f;  // as it says
  const auto started = std::chrono::steady_clock::now();
  while (h->value[10] != 40.0f) {
    ASSERT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(60)) << h->value[10];
    h->run(std::vector<float>(64), 64);
  }
  EXPECT_EQ(h->said(), "");
  EXPECT_EQ(h->value[11], 128.0f);

  const auto fast = plays("0.0027");  // 67.5 %
  EXPECT_EQ(fast->said(), "");
  EXPECT_FLOAT_EQ(fast->value[10], 67.5f);
  EXPECT_EQ(fast->value[11], 64.0f);
  const auto half = plays("0.02");  // 62.5 % of the largest hop
  EXPECT_EQ(half->said(), "cafx: hop 64 takes 500 % of this processor's time; hop 512 fits, set Hop to it\n");
  EXPECT_EQ(half->value[11], 512.0f);
  const auto none = plays("0.03");
  EXPECT_EQ(none->said(), "cafx: hop 64 takes 750 % of this processor's time, and no hop up to 512 fits\n");
  EXPECT_FLOAT_EQ(none->value[10], 750.0f);
  EXPECT_EQ(none->value[11], 0.0f);
}

}  // namespace
}  // namespace cafx
