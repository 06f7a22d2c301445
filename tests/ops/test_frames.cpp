#include "kernels/frames/frames.h"

#include "kernels/conv1d/conv1d.h"
#include "tests/ops/harness.h"

namespace cafx {
namespace {

using namespace op_test;

TEST(Frames, GatherMatchesReference) {
  const Vec audio = random(100, 1);
  const std::vector<FrameRef> refs = {{20, 10, 50}, {-5, 0, 30},  {3, 10, 50},  {40, 10, 50}, {60, 10, 50},
                                      {-90, 0, 30}, {95, 0, 100}, {12, 14, 15}, {0, 0, 100}};
  for (const int T : {1, 17}) {
    for (const int K : {1, 5, 40}) {
      for (const long offset : {0L, -30L, 9L}) {
        const GatherDims d{static_cast<int>(refs.size()), T, K, same_left(K), offset};
        check_op(fmt::format("T={} K={} offset={}", T, K, offset), {shared({"audio", audio}), items("refs", refs)},
                 {sets("x", reference::gather_frames(audio, refs, d), {0, 0})},
                 by_name(gather_frames, "x", "audio", "refs", d));
      }
    }
  }
}

TEST(Frames, PaddedFramesStandAmidZeros) {
  for (const GatherDims d : {GatherDims{1, 1, 1, 0}, GatherDims{3, 17, 6, 2}, GatherDims{2, 5, 40, 39}}) {
    const Vec x = random(d.B * d.T, 3);
    check_op(fmt::format("B={} T={} K={}", d.B, d.T, d.K), {{"x", x}},
             {sets("padded", reference::pad(x, d.B, d.T, d.K, d.left), {0, 0})}, by_name(pad_frames, "padded", "x", d));
  }
}

// Of rows that are longer than what is taken of them.
TEST(Frames, PadsThePartOfARow) {
  const GatherDims d{3, 5, 4, 1, 6, 17};
  const Vec x = random(d.B * d.row, 1);
  Vec parts;
  for (long b = 0; b < d.B; ++b) {
    const auto first = x.begin() + b * d.row + d.offset;
    parts.insert(parts.end(), first, first + d.T);
  }
  check_op("rows of 17", {{"x", x}}, {sets("padded", reference::pad(parts, d.B, d.T, d.K, d.left), {0, 0})},
           by_name(pad_frames, "padded", "x", d));
}

// The host's order to the last frame, whatever the device; more frames than one block of a sort takes.
TEST(Frames, ShufflesMatchTheHost) {
  for (const std::uint32_t n : {1u, 2u, 33u, 4097u, 50021u}) {
    for (const Rng rng : {Rng{1, 2}, Rng{77, 1ull << 40}}) {
      const std::vector<std::uint32_t> want = permutation(n, rng);
      check_op(fmt::format("n={}", n), {}, {sets_ints("order", Positions(want.begin(), want.end()))},
               by_name(shuffle, "order", n, rng, "scratch"), bytes_of(shuffle_scratch, n));
    }
  }
}

// Every sample lies in a frame, the first and the last frame are needed, and the starts are hop apart.
TEST(Frames, FramesCoverTheSignalAndNoMore) {
  for (const int frame : {2, 16, 17}) {
    for (int hop = 1; hop <= frame / 2; ++hop) {
      EXPECT_EQ(n_frames(0, frame, hop), 0);
      for (std::int64_t n = 1; n < 60; ++n) {
        const std::int64_t count = n_frames(n, frame, hop);
        EXPECT_EQ(frame_start(0, frame, hop), -(frame - hop));
        EXPECT_EQ(frame_start(7, frame, hop), -(frame - hop) + 7 * hop);
        EXPECT_LT(frame_start(count - 1, frame, hop), n);
        EXPECT_GE(frame_start(count, frame, hop), n);
      }
    }
  }
}

TEST(Frames, IdentityFramesOverlapAddToTheSignal) {
  const int frame = 16;
  const std::vector<float> window = hann_window(frame);
  for (const int hop : {1, 3, 5, 8}) {
    for (std::int64_t n = 1; n < 40; ++n) {
      const Vec audio = random(n, static_cast<std::uint64_t>(n));
      Floats faudio(audio);
      std::vector<FrameRef> refs;
      for (std::int64_t i = 0; i < n_frames(n, frame, hop); ++i) refs.push_back({frame_start(i, frame, hop), 0, n});
      Floats frames(refs.size() * frame, kNan);
      gather_frames({}, frames, faudio, refs.data(), {static_cast<int>(refs.size()), frame, 1, 0});
      Vec weight(n);
      for (const FrameRef& ref : refs) {
        for (int t = 0; t < frame; ++t) {
          if (ref.start + t >= 0 && ref.start + t < n) weight[ref.start + t] += window[t];
        }
      }
      for (std::int64_t i = 0; i < n; ++i)
        EXPECT_GT(weight[i], 1e-3) << "hop " << hop << " sample " << i << " of " << n;
      const Vec out = reference::overlap_add(frames.values(), n, frame, hop);
      for (std::int64_t i = 0; i < n; ++i) ASSERT_NEAR(out[i], audio[i], 1e-6);
    }
  }
}

TEST(Frames, OverlapAddMatchesReference) {
  const std::vector<float> window = hann_window(16);
  for (const int hop : {1, 3, 8, 20}) {
    for (const int B : {1, 2, 7}) {
      const OverlapAddDims d{B, 16, hop};
      const Vec frames = random(B * 16, 3);
      Vec sum(static_cast<std::size_t>(overlap_add_samples(d))), weight(sum.size());
      for (int b = 0; b < B; ++b) {
        for (int t = 0; t < 16; ++t) {
          sum[b * hop + t] += window[t] * frames[b * 16 + t];
          weight[b * hop + t] += window[t];
        }
      }
      const Tolerance tight{1e-13, 1e-12};
      check_op(fmt::format("hop={} B={}", hop, B), {{"frames", frames}, {"window", Vec(window.begin(), window.end())}},
               {{"sum", sum, true, false, tight, {}, Kind::kDoubles},
                {"weight", weight, true, false, tight, {}, Kind::kDoubles}},
               by_name(overlap_add, "sum", "weight", "frames", "window", d));
    }
  }
}

TEST(Frames, TheWindowIsAPeriodicHann) {
  for (const int frame : {1, 2, 17, 1024}) {
    const std::vector<float> window = hann_window(frame);
    ASSERT_EQ(window.size(), static_cast<std::size_t>(frame));
    for (int t = 0; t < frame; ++t) {
      const double s = std::sin(M_PI * t / frame);
      EXPECT_NEAR(window[t], s * s, 1e-7);
    }
  }
}

TEST(Frames, RefusesHopsOverHalfAFrame) {
  EXPECT_THROW(n_frames(10, 16, 9), CheckError);
  EXPECT_THROW(n_frames(10, 16, 0), CheckError);
  EXPECT_THROW(n_frames(-1, 16, 4), CheckError);
  EXPECT_THROW(hann_window(0), CheckError);
  Floats one(8, 0.0f);
  const FrameRef ref{0, 0, 1};
  for (const GatherDims d : {GatherDims{0, 1, 1, 0}, GatherDims{1, 0, 1, 0}, GatherDims{1, 1, 0, 0},
                             GatherDims{1, 1, 2, 2}, GatherDims{1, 1, 2, -1}}) {
    EXPECT_THROW(gather_frames({}, one, one, &ref, d), CheckError);
  }
}

}  // namespace
}  // namespace cafx
