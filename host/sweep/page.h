// host/sweep/page.h -- a sweep as one self-contained HTML page: every run in a table, parallel coordinates, which settings
// matter, learning curves, what failed and why.
#pragma once

#include <string>
#include <vector>

#include "host/sweep/results.h"

namespace cafx {

// The supervised epochs of one run, from its metrics.csv.
struct LearningCurve {
  std::size_t row = 0;  // in the rows of the page
  std::vector<double> epoch, validation;
};
// Of the best finished runs and of those that failed, at most `most`.
std::vector<LearningCurve> read_learning_curves(const std::vector<Row>&, const Store&, const std::string& objective,
                                                std::size_t most);

struct SweepPage {
  std::string name, objective;
  std::string spec;  // the TOML file
  std::string link;  // from the page to the store, in front of a run's folder; empty: no links
  const std::vector<Row>* rows = nullptr;
  std::vector<LearningCurve> curves;
};
// Reads without a script; with one, columns sort (page.html#sort=test.esr does it at once) and ranges are drawn on the
// parallel coordinates. Nothing is loaded from elsewhere.
std::string sweep_html(const SweepPage&);

// The script of the page, and the style that it needs beside draw/style.h.
const char* sweep_script();
const char* sweep_style();

}  // namespace cafx
