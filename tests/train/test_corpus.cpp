// Where a model learns: audio held once, the grid of frames, segments drawn anew.
#include <gtest/gtest.h>

#include "host/train/corpus.h"
#include "tests/train/synthetic.h"

namespace cafx {
namespace {

using namespace train_test;

TEST(Corpus, TakesTheAudioOutOfTheDataSet) {
  Dataset data = notes(4, 100);
  const Dataset before = data;
  const Corpus c = take_corpus(data, {0, 2});
  ASSERT_EQ(c.notes.size(), 2u);
  EXPECT_EQ(c.half(), static_cast<std::int64_t>(before.pairs[0].dry.size() + before.pairs[2].dry.size()));
  EXPECT_EQ(c.audio.capacity(), c.audio.size());
  for (std::size_t k = 0; k < 2; ++k) {
    const Pair& p = before.pairs[2 * k];
    const Corpus::Note& n = c.notes[k];
    EXPECT_EQ(n.name, p.name);
    EXPECT_EQ(Recording(c.dry(n), c.dry(n) + p.dry.size()), p.dry);
    EXPECT_EQ(Recording(c.target(n), c.target(n) + p.wet.size()), p.wet);
    EXPECT_EQ(data.pairs[2 * k].dry.capacity() + data.pairs[2 * k].wet.capacity(), 0u);
  }
  EXPECT_EQ(data.pairs[1].dry, before.pairs[1].dry);  // the others stay
}

TEST(Corpus, AGridHasItsFirstFrameOnSampleZeroAndItsLastOnTheLastOne) {
  Dataset data = notes(2, 100);
  Pair& p = data.pairs[0];
  std::fill(p.dry.begin(), p.dry.begin() + 40, 0.0f);  // the first frames are silent
  std::fill(p.wet.begin(), p.wet.begin() + 40, 0.0f);
  const GridSize size = grid_size(data, {0, 1}, 16, 8, -200.0);
  const Corpus c = take_corpus(data, {0, 1});
  const std::vector<FrameRef> all = grid_of(c, 16, 8, -200.0);
  EXPECT_EQ(all.size(), size.places);
  EXPECT_EQ(size.samples, c.audio.size());
  EXPECT_EQ(all.front().start, 32 - 8 + 8);  // -8 + 5 hops: [32, 48) is the first that reaches sample 40
  for (const FrameRef& r : all) {
    EXPECT_TRUE(r.start > r.begin - 16 && r.start < r.end);
    EXPECT_EQ((r.start - r.begin + 8) % 8, 0);
  }
  EXPECT_EQ(all.back().start, c.notes[1].begin - 8 + 8 * ((110 + 7) / 8));
}

TEST(Corpus, SegmentsAreDrawnAnewAndCoverEveryNote) {
  Dataset data = notes(3, 1000);
  const Corpus c = take_corpus(data, {0, 1, 2});
  Sampler a(c, 0.0125, kRate, -200.0, 7), b(c, 0.0125, kRate, -200.0, 7), other(c, 0.0125, kRate, -200.0, 8);
  EXPECT_EQ(a.length(), 100);
  EXPECT_EQ(a.size(), 10u + 10u + 10u);
  const std::vector<FrameRef> first = a.draw(1);
  const std::vector<FrameRef> second = a.draw(2);
  const auto starts = [](const std::vector<FrameRef>& refs) {
    std::vector<std::int64_t> all;
    for (const FrameRef& r : refs) all.push_back(r.start);
    return all;
  };
  EXPECT_NE(starts(first), starts(second));
  EXPECT_NE(starts(first), starts(other.draw(1)));
  b.draw(5);
  EXPECT_EQ(starts(b.draw(1)), starts(first)) << "an epoch's places depend on what was drawn before";
  for (std::size_t i = 0; i < first.size(); ++i) {
    const Corpus::Note& note = c.notes[i / 10];
    EXPECT_EQ(first[i].begin, note.begin);
    EXPECT_TRUE(first[i].start >= note.begin && first[i].start + 100 <= note.end) << i;
    const double part = static_cast<double>(note.end - note.begin) / 10;
    const double middle = static_cast<double>(first[i].start + 50 - note.begin);
    EXPECT_TRUE(middle >= static_cast<double>(i % 10) * part - 51 &&
                middle <= static_cast<double>(i % 10 + 1) * part + 51);
  }
  // A segment is never longer than the shortest note.
  EXPECT_EQ(Sampler(c, 10.0, kRate, -200.0, 7).length(), 1000);
}

}  // namespace
}  // namespace cafx
