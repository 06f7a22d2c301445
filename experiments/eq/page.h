// experiments/eq/page.h -- learned filters on one HTML page, as a Markdown table and as figures for disk.
#pragma once

#include <string>
#include <vector>

#include "experiments/eq/filters.h"
#include "host/draw/figure.h"

namespace cafx {

// Magnitude and group delay of each filter, true (dashed) and learned by each loss.
std::vector<Figure> filter_figures(const std::vector<LearnedFilter>&);

struct EqPage {
  std::string model;     // "eq_net, 123,456 parameters at 16000 Hz"
  std::string commands;  // that make it again, a line each
  std::string spec;      // the sweep file
};
std::string eq_page_html(const EqPage&, const std::vector<LearnedFilter>&);
std::string eq_table_markdown(const EqPage&, const std::vector<LearnedFilter>&);

}  // namespace cafx
