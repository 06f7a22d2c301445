#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>

#include "host/render/render.h"
#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/base/rng.h"
#include "models/cafx/cafx.h"
#include "models/play/player.h"

namespace {
// Every allocation of this program goes through here: new in all its forms calls these two, unless aligned.
thread_local long n_allocations = 0;
}  // namespace

#if !defined(__SANITIZE_ADDRESS__)
#define CAFX_COUNTS_ALLOCATIONS
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* __libc_calloc(std::size_t, std::size_t);
extern "C" void* __libc_realloc(void*, std::size_t);
extern "C" void* __libc_memalign(std::size_t, std::size_t);
extern "C" void __libc_free(void*);
extern "C" void* malloc(std::size_t n) {
  ++n_allocations;
  return __libc_malloc(n);
}
extern "C" void* calloc(std::size_t n, std::size_t size) {
  ++n_allocations;
  return __libc_calloc(n, size);
}
extern "C" void* realloc(void* p, std::size_t n) {
  ++n_allocations;
  return __libc_realloc(p, n);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t n) {
  ++n_allocations;
  return __libc_memalign(alignment, n);
}
extern "C" void free(void* p) {
  n_allocations += p != nullptr;
  __libc_free(p);
}
#endif

namespace cafx {
namespace {

CafxConfig small() {
  CafxConfig config;
  config.frame = 256;
  config.hop = 64;
  config.filters = 19;  // no whole number of vectors
  config.taps = 16;
  config.local_taps = 22;
  config.pool = 8;
  config.latent = 13;
  config.dnn = {17, 9, 19};
  return config;
}

struct SmallModel : CafxModel {
  explicit SmallModel(const CafxConfig& config) : CafxModel(config) {
    initialize(4);
    for (long i = 0; i < n_floats(); ++i) {  // biases too: what is silent must not be zero
      if (data()[i] == 0.0f) data()[i] = 0.01f;
    }
  }
};

std::vector<float> noise(std::size_t n) {
  const Rng rng{3, 5};
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.1 * rng.normal(i));
  return x;
}

std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const char* name : {"portable", "avx2", "avx512"}) {
    try {
      all.push_back(parse_isa(name));
    } catch (const Error&) {
      continue;  // not in this build or not on this processor
    }
  }
  return all;
}

void expect_sequence_is_forward(const CafxConfig& config, int hop, int n_frames, Isa isa) {
  SmallModel model(config);
  Context context;
  context.isa = isa;
  const auto T = static_cast<std::size_t>(config.frame);
  const auto x = noise(T + static_cast<std::size_t>(n_frames) * hop + 1000);
  const auto sequence = model.sequence(context, hop);
  const auto other = sequence->twin();
  std::vector<float> whole(T), shared(T), late(T);
  long at = 0;
  for (int i = 0; i < n_frames; ++i, at += hop) {
    if (i == n_frames / 2) at += 37;  // a jump: it begins anew
    model.forward(context, whole.data(), x.data() + at, 1);
    sequence->next(shared.data(), x.data() + at, at);
    for (std::size_t t = 0; t < T; ++t) {
      ASSERT_EQ(shared[t], whole[t]) << to_string(isa) << ", hop " << hop << ", frame " << i << ", sample " << t;
    }
    if (i % 3 == 0) {  // a twin has a state of its own
      other->next(late.data(), x.data() + at, at);
      for (std::size_t t = 0; t < T; ++t) ASSERT_EQ(late[t], whole[t]) << "twin, frame " << i << ", sample " << t;
    }
  }
}

TEST(Sequence, SharedFramesHaveTheBitsOfWholeOnes) {
  for (const Isa isa : isas()) {
    for (const int hop : {8, 16, 24, 64, 128}) expect_sequence_is_forward(small(), hop, 40, isa);
    for (const int hop : {1, 7, 61}) expect_sequence_is_forward(small(), hop, 6, isa);  // do not fit the windows
    CafxConfig positions = small();
    positions.unpool = "positions";
    positions.deconv = "correlate";
    positions.activation = "softplus";
    expect_sequence_is_forward(positions, 32, 20, isa);
    CafxConfig linear = small();
    linear.saaf = false;
    expect_sequence_is_forward(linear, 32, 12, isa);
    CafxConfig dense = small();
    dense.latent_layer = "dense";
    expect_sequence_is_forward(dense, 32, 12, isa);
    CafxConfig narrow = small();  // no inner windows: nothing to share
    narrow.local_taps = 300;
    expect_sequence_is_forward(narrow, 64, 5, isa);
  }
}

TEST(Sequence, PresetsHaveTheBitsOfWholeFrames) {
  for (const std::string& name : cafx_presets()) {
    const CafxConfig config = cafx_preset(name);
    for (const int hop : {64, config.frame / 2}) expect_sequence_is_forward(config, hop, 5, best_isa());
  }
}

TEST(Sequence, SharingSavesWhatItCounts) {
  CafxModel model(cafx_preset("paper"));
  const Context context;
  // Conv1D: 64 + 63 rows of 8192; Conv1D-Local: 64 + 192 rows of 16384; the rest is 1.05 + 37.75 + 8.39 M.
  const double rest = 128 * 64 * 64 * 2 + 1024.0 * (128 * 128 + 128 * 64 + 64 * 64 + 64 * 128) + 1024.0 * 128 * 64;
  EXPECT_EQ(model.sequence(context, 64)->multiply_adds(), rest + 127.0 * 8192 + 256.0 * 16384);
  EXPECT_EQ(model.sequence(context, 63)->multiply_adds(), rest + 1024.0 * 8192 + 1024.0 * 16384);
}

// The stream's output against the offline one, `latency` samples later.
void expect_stream_is_render(const CafxConfig& config, const PlayOptions& options,
                             const std::vector<std::size_t>& blocks) {
  SmallModel model(config);
  const Context context = [&] {
    Context c;
    c.isa = options.isa;
    return c;
  }();
  const auto stream = make_player(model, options);
  const int hop = player_hop(model, options);
  const auto n = static_cast<std::size_t>(6 * config.frame + 5 * options.multiple);
  auto x = noise(n);
  const auto whole = render_signal(model, context, x.data(), n, hop);
  const auto latency = static_cast<std::size_t>(stream->latency());
  x.resize(n + latency + 4096, 0.0f);
  for (int pass = 0; pass < 2; ++pass) {  // the second after a reset
    std::vector<float> y(x);              // in place
    std::size_t at = 0;
    for (std::size_t i = 0; at < n + latency; ++i) {
      const std::size_t m = blocks[i % blocks.size()];
      stream->process(y.data() + at, y.data() + at, m);
      at += m;
    }
    for (std::size_t i = 0; i < latency; ++i) ASSERT_EQ(y[i], 0.0f) << i;
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(y[latency + i], whole[i]) << "hop " << hop << ", pass " << pass << ", sample " << i;
    }
    stream->reset();
  }
}

TEST(Stream, HasTheBitsOfTheOfflineRender) {
  for (const Isa isa : isas()) {
    for (const int hop : {8, 64, 61, 128}) {
      expect_stream_is_render(small(), {hop, 1, isa}, {1});
      expect_stream_is_render(small(), {hop, 1, isa}, {64, 1, 0, 700, 13, 128, 5});
    }
    expect_stream_is_render(small(), {64, 64, isa}, {64});
    expect_stream_is_render(small(), {64, 96, isa}, {96, 192, 480});
    expect_stream_is_render(small(), {128, 48, isa}, {48});
  }
}

TEST(Stream, LatencyIsTheLeastThereIs) {
  SmallModel model(small());
  EXPECT_EQ(make_player(model, {64, 1, best_isa()})->latency(), 255);
  EXPECT_EQ(make_player(model, {64, 64, best_isa()})->latency(), 192);
  EXPECT_EQ(make_player(model, {64, 128, best_isa()})->latency(), 192);
  EXPECT_EQ(make_player(model, {64, 48, best_isa()})->latency(), 240);
  EXPECT_EQ(player_hop(model), 64);
  const auto stream = make_player(model, {64, 48, best_isa()});
  std::vector<float> block(64, 1.0f);
  stream->process(block.data(), block.data(), 64);  // no multiple
  for (const float v : block) EXPECT_EQ(v, 0.0f);
}

TEST(Stream, Refuses) {
  SmallModel model(small());
  EXPECT_THROW(make_player(model, {129, 1, best_isa()}), Error);
  EXPECT_THROW(make_player(model, {-1, 1, best_isa()}), Error);
  EXPECT_THROW(make_player(model, {64, 0, best_isa()}), Error);
  CafxModel pretrained(small(), CafxForm::kPretrain);
  EXPECT_THROW(make_player(pretrained), Error);
}

TEST(Stream, ProcessNeitherAllocatesNorFrees) {
#ifndef CAFX_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "the sanitizer's own malloc cannot be counted";
#endif
  const auto count = [](const CafxConfig& config, const PlayOptions& options) {
    SmallModel model(config);
    const auto stream = make_player(model, options), second = stream->twin();
    std::vector<float> x = noise(4096);
    const long before = n_allocations;
    for (int i = 0; i < 3; ++i) {
      stream->process(x.data(), x.data(), 4096);
      for (std::size_t at = 0, n = 0; at + n <= x.size(); at += n++) second->process(x.data() + at, x.data() + at, n);
      stream->reset();
    }
    return n_allocations - before;
  };
  std::vector<float> probe(10);  // the counter counts
  const long before = n_allocations;
  probe.reserve(1000);
  EXPECT_EQ(n_allocations - before, 2);
  for (const int hop : {8, 61, 64, 128}) EXPECT_EQ(count(small(), {hop, 1, best_isa()}), 0) << hop;
  EXPECT_EQ(count(cafx_preset("paper"), {256, 1, best_isa()}), 0);
}

TEST(Stream, DenormalsCountAsZeroInsideAndTheCallersModeComesBack) {
  SmallModel model(small());
  const auto a = make_player(model), b = make_player(model);
  std::vector<float> x(1024, 0.0f), denormal(1024, 1e-40f), y(1024), z(1024);
  a->process(y.data(), x.data(), x.size());
  b->process(z.data(), denormal.data(), x.size());
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], z[i]) << i;
  volatile float tiny = 1e-38f;
  EXPECT_GT(tiny * 0.1f, 0.0f);
}

TEST(Stream, WhatIsNotFinitePasses) {
  SmallModel model(small());
  const auto stream = make_player(model, {64, 64, best_isa()}), clean = make_player(model, {64, 64, best_isa()});
  std::vector<float> x = noise(4096), broken = x, y(4096), z(4096);
  broken[1000] = std::numeric_limits<float>::quiet_NaN();
  stream->process(y.data(), broken.data(), x.size());
  clean->process(z.data(), x.data(), x.size());
  // Frames that hold it begin from 744 to 960 and end before 1216; the output is `latency` later.
  for (std::size_t i = 1216 + 192; i < x.size(); ++i) ASSERT_EQ(y[i], z[i]) << i;
}

}  // namespace
}  // namespace cafx
