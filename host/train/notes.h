// host/train/notes.h -- whole notes as a model plays them: what stops training on a metric, the sign of a finished
// model, and what is lost between recording, teacher and student.
//
//   A note is played from silence, as rendering does it. On a CPU notes of a stream are played in parallel.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "host/metrics/metrics.h"
#include "host/train/corpus.h"
#include "models/model.h"

namespace cafx {

struct WholeNote {
  std::string name;
  const float *dry, *target;  // n samples each
  std::size_t n;
  const std::vector<float>* controls;  // of its knobs; empty: there are none
};
std::vector<WholeNote> whole_notes(const Corpus&);

// visit(i, output) for every note, n samples each; calls for different notes may overlap.
void play_notes(Model&, const Context&, const std::vector<WholeNote>&,
                const std::function<void(std::size_t i, const std::vector<float>& output)>& visit);

// The mean over the notes of a metric of kMetricNames. Notes with a silent target are left out, as nothing is relative
// to them; NaN where an output is not finite.
double mean_metric(Model&, const Context&, const std::vector<WholeNote>&, const std::string& key);

// Whether the negative of the output is nearer to the targets, by squared error over all notes.
bool is_inverted(Model&, const Context&, const std::vector<WholeNote>&);

}  // namespace cafx
