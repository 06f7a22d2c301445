#include "host/train/corpus.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace cafx {

namespace {

double amplitude(double db) { return std::pow(10.0, db / 20.0); }

bool is_loud(const float* x, std::int64_t from, std::int64_t to, double quiet) {
  return std::any_of(x + from, x + to, [&](float v) { return std::abs(v) >= quiet; });
}

// visit(start) for each frame of a note of n samples that is loud.
template <class Visit>
void over_grid(const float* dry, const float* wet, std::int64_t n, int frame, int hop, double quiet, Visit visit) {
  for (std::int64_t start = -static_cast<std::int64_t>(frame - hop); start < n; start += hop) {
    const std::int64_t from = std::max<std::int64_t>(start, 0), to = std::min<std::int64_t>(start + frame, n);
    if (is_loud(dry, from, to, quiet) || is_loud(wet, from, to, quiet)) visit(start);
  }
}

}  // namespace

Signals signals_of(const Corpus& c) {
  Signals signals{c.dry_audio.samples.get(), c.samples(), c.half()};
  signals.wet = c.wet_audio.samples.get();
  for (const Corpus::Note& n : c.notes) {
    if (n.controls.empty()) continue;
    signals.controls[n.begin] = n.controls;
    signals.controls[n.begin + c.half()] = n.controls;  // wet audio as input, where a model learns to reproduce it
  }
  return signals;
}

Corpus take_corpus(Dataset& data, const std::vector<int>& which, Reels* reels) {
  Corpus c;
  Reels own;
  std::int64_t half = 0;
  std::vector<SharedRecording*> dry, wet;
  for (const int i : which) {
    Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    CAFX_CHECK(pair.wet.size() == pair.dry.size(), pair.dry.size(), pair.wet.size());
    const std::int64_t begin = half;
    half += static_cast<std::int64_t>(pair.dry.size());
    c.notes.push_back({pair.name, begin, half, pair.controls});
    dry.push_back(&pair.dry);
    wet.push_back(&pair.wet);
  }
  c.dry_audio = (reels ? *reels : own).of(dry);
  c.wet_audio = (reels ? *reels : own).of(wet);
  for (const auto* side : {&dry, &wet}) {
    for (SharedRecording* x : *side) *x = {};
  }
  return c;
}

std::vector<FrameRef> grid_of(const Corpus& corpus, int frame, int hop, double silence_db) {
  std::vector<FrameRef> places;
  const double quiet = amplitude(silence_db);
  for (const Corpus::Note& note : corpus.notes) {
    over_grid(corpus.dry(note), corpus.target(note), note.end - note.begin, frame, hop, quiet, [&](std::int64_t start) {
      places.push_back({note.begin + start, note.begin, note.end});
    });
  }
  return places;
}

GridSize grid_size(const Dataset& data, const std::vector<int>& which, int frame, int hop, double silence_db) {
  GridSize size;
  for (const int i : which) {
    const Pair& pair = data.pairs[static_cast<std::size_t>(i)];
    size.samples += pair.dry.size() + pair.wet.size();
    over_grid(pair.dry.data(), pair.wet.data(), static_cast<std::int64_t>(pair.dry.size()), frame, hop,
              amplitude(silence_db), [&](std::int64_t) { ++size.places; });
  }
  return size;
}

std::vector<FrameRef> segments_in_a_row(const Corpus& corpus, int length) {
  std::vector<FrameRef> places;
  for (const Corpus::Note& note : corpus.notes) {
    for (std::int64_t start = note.begin; start < note.end; start += length) {
      places.push_back({start, note.begin, note.end});
    }
  }
  return places;
}

Sampler::Sampler(std::vector<FrameRef> places, int length) : places_(std::move(places)), length_(length) {}

Sampler::Sampler(const Corpus& corpus, double seconds, int sample_rate, double silence_db, std::uint64_t seed)
    : seed_(seed) {
  const double quiet = amplitude(silence_db);
  std::int64_t shortest = 0;
  for (const Corpus::Note& note : corpus.notes) {
    const std::int64_t n = note.end - note.begin;
    if (!is_loud(corpus.dry(note), 0, n, quiet) && !is_loud(corpus.target(note), 0, n, quiet)) continue;
    shortest = notes_.empty() ? n : std::min(shortest, n);
    notes_.push_back({note.begin, note.end, 0});
  }
  if (notes_.empty()) return;
  length_ = static_cast<int>(std::clamp<double>(seconds * sample_rate, 1.0, static_cast<double>(shortest)));
  std::size_t n_places = 0;
  for (Note& note : notes_) {
    note.segments = std::max<long>(1, static_cast<long>(note.end - note.begin) / length_);
    n_places += static_cast<std::size_t>(note.segments);
  }
  places_.resize(n_places);
}

const std::vector<FrameRef>& Sampler::draw(int epoch) {
  if (!redraws()) return places_;
  const Rng rng{seed_, 2000003u + static_cast<std::uint64_t>(epoch)};
  std::size_t at = 0;
  for (const Note& note : notes_) {
    const std::int64_t n = note.end - note.begin;
    for (long i = 0; i < note.segments; ++i, ++at) {
      const double middle =
          (static_cast<double>(i) + rng.uniform(at)) * static_cast<double>(n) / static_cast<double>(note.segments);
      const std::int64_t start =
          std::clamp<std::int64_t>(static_cast<std::int64_t>(middle) - length_ / 2, 0, n - length_);
      places_[at] = {note.begin + start, note.begin, note.end};
    }
  }
  return places_;
}

}  // namespace cafx
