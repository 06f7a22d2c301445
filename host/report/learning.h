// host/report/learning.h -- the learning curve of a run, from its metrics.csv.
#pragma once

#include <string>
#include <vector>

namespace cafx {

// The epochs of training and refinement, counted through from 1. NaN where a cell is no number.
struct SupervisedEpochs {
  std::string training_of, validation_of;  // what is measured: "mae", "esr", "loss"
  std::vector<double> epoch, training, validation;
};
// Empty of a table without stages or without a validation.
SupervisedEpochs supervised_epochs(const std::string& metrics_csv);

}  // namespace cafx
