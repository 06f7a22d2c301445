#include "host/report/learning.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace cafx {

namespace {

std::vector<std::string> csv_cells(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

double csv_number(const std::string& text) {
  char* end = nullptr;
  const double v = std::strtod(text.c_str(), &end);
  return end == text.c_str() ? std::nan("") : v;
}

}  // namespace

Epochs epochs_of(const std::string& metrics_csv) {
  Epochs e;
  std::istringstream in(metrics_csv);
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> header = csv_cells(line);
  const auto column = [&](const std::string& beginning) {
    return static_cast<std::size_t>(
        std::find_if(header.begin(), header.end(), [&](const std::string& h) { return h.rfind(beginning, 0) == 0; }) -
        header.begin());
  };
  const std::size_t stage = column("stage"), training = column("training_"), validation = column("validation_");
  if (std::max(stage, training) >= header.size()) return e;
  const auto quantity = [&](std::size_t at) {
    return at < header.size() ? header[at].substr(header[at].find('_') + 1) : std::string();
  };
  e.training_of = quantity(training);
  e.validation_of = quantity(validation);
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = csv_cells(line);
    if (cells.size() <= std::max(stage, training)) continue;
    e.stage.push_back(cells[stage]);
    e.training.push_back(csv_number(cells[training]));
    e.validation.push_back(validation < cells.size() ? csv_number(cells[validation]) : std::nan(""));
  }
  return e;
}

SupervisedEpochs supervised_epochs(const std::string& metrics_csv) {
  const Epochs all = epochs_of(metrics_csv);
  SupervisedEpochs e{all.training_of, all.validation_of, {}, {}, {}};
  if (e.validation_of.empty()) return e;
  for (std::size_t i = 0; i < all.stage.size(); ++i) {
    if (all.stage[i] == "pretrain") continue;
    e.epoch.push_back(static_cast<double>(e.epoch.size() + 1));
    e.training.push_back(all.training[i]);
    e.validation.push_back(all.validation[i]);
  }
  return e;
}

}  // namespace cafx
