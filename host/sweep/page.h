// host/sweep/page.h -- a sweep as one self-contained HTML page: every run in a table, parallel coordinates, which
// settings matter, learning curves, what failed and why.
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
  std::string link;  // path from the page to the store; empty: no links
  const std::vector<Row>* rows = nullptr;
  std::vector<LearningCurve> curves;
};
// Readable without its script; with it, columns sort (page.html#sort=test.esr sorts on load) and ranges can be drawn on
// the parallel coordinates. The page loads nothing from elsewhere.
std::string sweep_html(const SweepPage&);

// The script of the page, and its style in addition to draw/page.h.
const char* sweep_script();
const char* sweep_style();

}  // namespace cafx
