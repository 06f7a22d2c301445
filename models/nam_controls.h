// models/nam_controls.h -- weights of controls as the parametric fork of NeuralAmpModeler (NAM) reads them.
//
//   It has -1 to 1 for a continuous knob, as cafx, and for a switch one number for each position, 1 where it stands and
//   0 elsewhere. cafx has that of three positions or more; one number, -1 or 1, of two.
#pragma once

#include <vector>

#include "kernels/base/knobs.h"

namespace cafx {

inline int nam_controls(const std::vector<Knob>& knobs) {
  int n = 0;
  for (const Knob& k : knobs) n += k.positions.size() == 2 ? 2 : k.controls();
  return n;
}

// Adds to `to` a row of weights on its controls, from one on cafx's.
inline void add_nam_row(std::vector<float>& to, const float* row, const std::vector<Knob>& knobs) {
  for (const Knob& k : knobs) {
    if (k.positions.size() == 2) to.push_back(-*row);
    to.insert(to.end(), row, row + k.controls());
    row += k.controls();
  }
}

}  // namespace cafx
