// host/train/corpus.h -- the recordings of a part of the split, in memory once, and the places in them to train on.
//
//   audio    the dry samples of all notes, one note after the other, and their targets in the same order, each a reel
//            (reels.h), which other runs may read as well. Samples are counted through both: the target of sample i is
//            sample i + half(). A pretraining learns to reproduce its input, and reads both halves as input.
//   places   FrameRef{start, begin, end}: a frame or segment of `length` samples from `start` of the note [begin, end).
//
//   A model of frames learns from a grid: a frame at every `hop` samples, the same in every epoch. A model of streams
//   learns from segments that every epoch draws anew: of each note as many as it is long, each at a random place of its
//   own part of the note.
//
// Bits     the places of an epoch follow from the seed and the epoch alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "host/train/places.h"
#include "host/train/reels.h"
#include "kernels/frames/frames.h"

namespace cafx {

struct Corpus {
  struct Note {
    std::string name;
    std::int64_t begin, end;           // in the dry half
    std::vector<float> controls = {};  // as Pair::controls
  };
  Reel dry_audio, wet_audio;  // as long as each other
  std::vector<Note> notes;

  std::int64_t half() const { return static_cast<std::int64_t>(dry_audio.n); }
  std::size_t samples() const { return dry_audio.n + wet_audio.n; }
  const float* dry(const Note& n) const { return dry_audio.samples.get() + n.begin; }
  const float* target(const Note& n) const { return wet_audio.samples.get() + n.begin; }
};

Signals signals_of(const Corpus&);  // which must stay

// Takes the audio of the pairs `which` out of the data set, onto `reels`; null: reels of its own.
Corpus take_corpus(Dataset&, const std::vector<int>& which, Reels* reels = nullptr);

// Frames at every `hop` samples. The first still holds sample 0 of its note, the last sample n - 1, as in rendering.
// Those in which dry and target both stay below silence_db, in dB of full scale, are left out.
std::vector<FrameRef> grid_of(const Corpus&, int frame, int hop, double silence_db);
// How many that will be, and samples (dry and wet) of the pairs, before they are taken.
struct GridSize {
  std::size_t places = 0, samples = 0;
};
GridSize grid_size(const Dataset&, const std::vector<int>& which, int frame, int hop, double silence_db);

// Segments of `length` samples one after the other, the last one of a note over its end: what a validation goes
// through.
std::vector<FrameRef> segments_in_a_row(const Corpus&, int length);

class Sampler {
 public:
  Sampler() = default;
  // The grid `places`.
  Sampler(std::vector<FrameRef> places, int length);
  // Segments that every epoch draws anew. `seconds` at `sample_rate`, at most as long as the shortest note. Notes that
  // stay below silence_db are left out.
  Sampler(const Corpus&, double seconds, int sample_rate, double silence_db, std::uint64_t seed);

  std::size_t size() const { return places_.size(); }  // of an epoch
  int length() const { return length_; }               // samples of a place
  bool redraws() const { return !notes_.empty(); }
  const std::vector<FrameRef>& places() const { return places_; }  // of the last epoch drawn
  const std::vector<FrameRef>& draw(int epoch);                    // counts from 1

 private:
  struct Note {
    std::int64_t begin, end;
    long segments;
  };
  std::vector<FrameRef> places_;
  std::vector<Note> notes_;  // that segments are drawn from; empty: a grid
  std::uint64_t seed_ = 0;
  int length_ = 0;
};

}  // namespace cafx
