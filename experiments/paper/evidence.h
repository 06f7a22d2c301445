// experiments/paper/evidence.h -- what a number of a study is worth: how long a model learned, how far seeds differ,
// how near to the device any model could come.
#pragma once

#include <string>
#include <vector>

#include "datasets/dataset.h"

namespace cafx {

// Frames of supervised training. A model that heard fewer and does not show a claim was not given the time to: it is
// not judged.
inline constexpr double kEnoughFrames = 1e6;

// Frames of supervised training, from the run's metrics.csv and its batch; 0 where it does not tell.
double frames_heard(const std::string& metrics_csv, int batch);

// The least mean ESR that a model of a device with noise can have on the notes `which` of `first`: half of what a
// second take has against the first, since both hold the noise and a model can only meet their mean. NaN where no note
// has a second take. Data sets at the same rate, each aligned by itself; notes go by their names.
double esr_of_noise(const Dataset& first, const std::vector<int>& which, const Dataset& second);

}  // namespace cafx
