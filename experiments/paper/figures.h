// experiments/paper/figures.h -- the figures of a study, including those of the talk's result pages.
#pragma once

#include <vector>

#include "experiments/paper/study.h"
#include "host/draw/figure.h"

namespace cafx {

// As a device: waveshaping, harmonics, THD, frequency response, aliasing.
std::vector<Figure> device_figures(const Experiment&);
// Input, target and output of the shown note, as waveforms and spectrograms; for disk only, the page draws its own.
std::vector<Figure> note_figures(const Experiment&);
// ESR of each test note, in the order of the error: one figure for each preset and instrument, a panel for each kind of
// effect, a line for each of its settings.
std::vector<Figure> note_error_figures(const std::vector<Experiment>&);
// Waveshaping of all distortions and overdrives side by side, filters, one frame of `note` through the `pretrained`
// model (null: skipped), SAAF curves, learning curves, error against note and against pitch.
std::vector<Figure> learned_figures(const std::vector<Experiment>&, const std::vector<std::unique_ptr<CafxModel>>&,
                                    CafxModel* pretrained, const std::vector<float>& note, const Context&);

}  // namespace cafx
