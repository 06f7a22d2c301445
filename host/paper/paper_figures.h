// host/paper/paper_figures.h -- the figures of a study, those of the paper's result pages among them.
#pragma once

#include <vector>

#include "host/paper/figure.h"
#include "host/paper/study.h"

namespace cafx {

// As a device: waveshaping, harmonics, THD, frequency response, aliasing.
std::vector<Figure> device_figures(const Experiment&);
// Input, target and output of the note that is shown, as waveforms and spectrograms: for disk, the page draws its own.
std::vector<Figure> note_figures(const Experiment&);
// Waveshaping of all distortions and overdrives side by side, filters, an unsupervised model at work (`pretrained` and one frame of `note`; null: left out), SAAF curves, learning
// curves, error against pitch.
std::vector<Figure> learned_figures(const std::vector<Experiment>&, const std::vector<std::unique_ptr<CafxModel>>&,
                                    CafxModel* pretrained, const std::vector<float>& note, const Context&);

}  // namespace cafx
