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
  for (std::size_t k = 0; k < 2; ++k) {
    const Pair& p = before.pairs[2 * k];
    const Corpus::Note& n = c.notes[k];
    EXPECT_EQ(n.name, p.name);
    EXPECT_EQ(Recording(c.dry(n), c.dry(n) + p.dry.size()), p.dry.copy());
    EXPECT_EQ(Recording(c.target(n), c.target(n) + p.wet.size()), p.wet.copy());
    EXPECT_TRUE(data.pairs[2 * k].dry.empty() && data.pairs[2 * k].wet.empty());
  }
  EXPECT_EQ(data.pairs[1].dry, before.pairs[1].dry);  // the others stay
}

// As of two effects on the same dry notes, one of which has a note of its own.
TEST(Corpus, NotesThatDataSetsHaveInCommonAreHeldOnce) {
  Dataset a = notes(4, 100), b = notes(4, 100, -1.0f), c = notes(5, 100, -1.0f);
  for (std::size_t i = 0; i < 4; ++i) b.pairs[i].dry = a.pairs[i].dry;  // as a shelf leaves them
  const Dataset before = notes(4, 100);
  Reels reels;
  const Corpus of_a = take_corpus(a, {0, 2}, &reels);
  for (const int i : {0, 2}) {  // b reads them where they are now
    const auto k = static_cast<std::size_t>(i);
    EXPECT_EQ(b.pairs[k].dry.data(), of_a.dry(of_a.notes[k / 2]));
    EXPECT_EQ(b.pairs[k].dry, before.pairs[k].dry);
  }
  const Corpus of_b = take_corpus(b, {0, 2}, &reels), of_c = take_corpus(c, {0, 2}, &reels),
               in_order = take_corpus(c, {1, 3}, &reels);
  EXPECT_EQ(of_b.dry_audio.samples, of_a.dry_audio.samples);
  EXPECT_EQ(of_c.dry_audio.samples, of_a.dry_audio.samples);  // equal, though they were read apart
  EXPECT_EQ(of_c.wet_audio.samples, of_b.wet_audio.samples);
  EXPECT_NE(of_b.wet_audio.samples, of_a.wet_audio.samples);
  EXPECT_NE(in_order.dry_audio.samples, of_a.dry_audio.samples);
  for (std::size_t k = 0; k < 2; ++k) {
    const Pair& p = before.pairs[2 * k];
    EXPECT_EQ(Recording(of_b.dry(of_b.notes[k]), of_b.dry(of_b.notes[k]) + p.dry.size()), p.dry.copy());
    EXPECT_EQ(of_b.target(of_b.notes[k])[50], -of_a.target(of_a.notes[k])[50]);
  }
  // Who writes gets samples of its own.
  a.pairs[1].dry.edit()[7] = 9.0f;
  EXPECT_EQ(b.pairs[1].dry, before.pairs[1].dry);
  EXPECT_NE(a.pairs[1].dry, before.pairs[1].dry);
}

// The wet half of a corpus lies anywhere, on either side of the dry one; places are counted as if it followed.
TEST(Places, ReadTheHalvesWhereTheyLie) {
  std::vector<float> memory(40);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i);
  for (const auto& [dry, wet] : {std::pair(0, 25), {25, 0}, {0, 10}}) {
    Signals signals{memory.data() + dry, 20, 10};
    signals.wet = memory.data() + wet;
    const std::vector<FrameRef> refs = {{-2, 0, 4}, {4, 4, 10}, {9, 10, 14}, {15, 14, 20}};
    const auto reads = [&](const Places& places) {
      for (std::size_t k = 0; k < refs.size(); ++k) {
        const FrameRef& r = places.refs()[k];
        const int first = static_cast<int>(refs[k].begin), half = first < 10 ? dry : wet - 10;
        EXPECT_EQ(places.input()[r.begin], static_cast<float>(half + first));
        EXPECT_EQ(r.end - r.begin, refs[k].end - refs[k].begin);
        EXPECT_EQ(r.start - r.begin, refs[k].start - refs[k].begin);
      }
      EXPECT_EQ(places.target()[3], static_cast<float>(wet + 3));
    };
    const Context context;
    Places places(context, signals, refs);
    reads(places);
    reads(places.share(context, refs));
    reads(places.on(context));
    places.set(refs);
    reads(places);
    EXPECT_EQ(places.share(context, refs, 0).target(), places.input());
  }
}

TEST(Corpus, AGridHasItsFirstFrameOnSampleZeroAndItsLastOnTheLastOne) {
  Dataset data = notes(2, 100);
  Pair& p = data.pairs[0];
  std::fill_n(p.dry.edit().begin(), 40, 0.0f);  // the first frames are silent
  std::fill_n(p.wet.edit().begin(), 40, 0.0f);
  const GridSize size = grid_size(data, {0, 1}, 16, 8, -200.0);
  const Corpus c = take_corpus(data, {0, 1});
  const std::vector<FrameRef> all = grid_of(c, 16, 8, -200.0);
  EXPECT_EQ(all.size(), size.places);
  EXPECT_EQ(size.samples, c.samples());
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
