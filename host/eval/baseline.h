// host/eval/baseline.h -- the baseline that a neural model must beat: filter, static waveshaper, filter.
//
//   y = h2 * f(h1 * x)     h1, h2: 64 taps each, 31 of them before the sample (the taps of Conv1D and its padding)
//                          f: a broken line through 33 points, denser near zero, straight on outside
//
//   Fitted by least squares (Levenberg-Marquardt on all taps and points at once). Each note's error is divided by its
//   energy, so the fit minimises the sum of the notes' ESR. Two starts: filter first (h2 = 1), waveshaper first (h1 =
//   1). A penalty keeps taps near their start and the curve straight, with less and less weight: without it,
//   frequencies and levels that the notes lack would be arbitrary, and many times too loud in a note that has them.
//   Every third note is held out and chooses start, weight and round. The model contains every linear filter, every
//   static waveshaper, and either before the other. It has no memory beyond the taps: it can learn neither a
//   compressor's attack nor a bias that shifts.
// Cost     about 161 unknowns; about 8,000 equations, from samples evenly spread over the notes.
// Errors   no notes, or notes of unequal lengths: CheckError. Silent notes: the identity.
#pragma once

#include <span>
#include <vector>

namespace cafx {

class Baseline {
 public:
  struct Note {
    std::span<const float> dry, wet;
  };
  explicit Baseline(const std::vector<Note>&);
  std::vector<float> operator()(std::span<const float> x) const;  // as long as x

  double curve(double u) const;  // f
  const std::vector<double>& before() const { return h1_; }
  const std::vector<double>& after() const { return h2_; }

 private:
  std::vector<double> h1_, h2_, points_;  // points: f at the knots
  double reach_ = 1.0;                    // the outermost knots are at -reach and reach
};

}  // namespace cafx
