// host/eval/baseline.h -- the baseline that a neural model must beat: filter, static waveshaper, filter.
//
//   y = h2 * f(h1 * x)     h1, h2: 64 taps each, 31 of them before the sample (the taps of Conv1D and its padding)
//                          f: a broken line through 33 points, denser near zero, straight on outside
//
//   Fitted by least squares (Levenberg-Marquardt on all taps and points at once), each note's error over its own energy, so that
//   it is the sum of the notes' ESR that is made small and a quiet note counts as a loud one. From two beginnings: filter first
//   (h2 = 1) and waveshaper first (h1 = 1). Taps are held near their beginning and the curve is held straight, by less and less:
//   what the notes do not tell, frequencies that they lack and levels above theirs, would else be anything, and a note that has
//   them many times too loud. Every third note is put aside and chooses beginning, hold and round. So it contains every
//   linear filter, every static waveshaper, and either before the other. No memory beyond the taps: no attack of a compressor,
//   no bias that shifts.
// Cost     about 161 unknowns; about 8,000 samples, evenly taken from the notes, make the equations.
// Errors   no notes, or notes of unequal lengths: CheckError. Silent notes: the identity.
#pragma once

#include <vector>

namespace cafx {

class Baseline {
 public:
  struct Note {
    const std::vector<float>*dry, *wet;
  };
  explicit Baseline(const std::vector<Note>&);
  std::vector<float> operator()(const std::vector<float>& x) const;  // as long as x

  double curve(double u) const;  // f
  const std::vector<double>& before() const { return h1_; }
  const std::vector<double>& after() const { return h2_; }

 private:
  std::vector<double> h1_, h2_, points_;  // points: f at the knots
  double reach_ = 1.0;                    // the outermost knots are at -reach and reach
};

}  // namespace cafx
