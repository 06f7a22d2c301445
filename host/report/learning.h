// host/report/learning.h -- the learning curve of a run, from its metrics.csv.
#pragma once

#include <string>
#include <vector>

namespace cafx {

// What a run's epochs have, of all stages in their order. NaN where a cell is no number.
struct Epochs {
  std::string training_of, validation_of;  // what is measured: "mae", "esr", "loss"
  std::vector<std::string> stage;          // "pretrain", "train", "refine"
  std::vector<double> training, validation;
};
// Empty of a table without stages or training; `validation_of` is empty, and NaN stands below it, without a validation.
Epochs epochs_of(const std::string& metrics_csv);

// The epochs of training and refinement, counted through from 1.
struct SupervisedEpochs {
  std::string training_of, validation_of;
  std::vector<double> epoch, training, validation;
};
// Empty of a table without a validation.
SupervisedEpochs supervised_epochs(const std::string& metrics_csv);

}  // namespace cafx
