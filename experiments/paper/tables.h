// experiments/paper/tables.h -- comparisons of experiments as rows of text, for the page and for Markdown.
#pragma once

#include <string>
#include <vector>

#include "experiments/paper/study.h"

namespace cafx {

struct Table {
  std::string id, title;  // id: of its place in the page
  std::string caption;    // what is compared, with units
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;  // the first column names the row
};

// All tables that the experiments can fill: presets side by side, guitar against bass, one model for both against one
// for each, random split against split by instrument, instruments outside the training, varied settings beside the
// usual ones.
std::vector<Table> comparison_tables(const std::vector<Experiment>&);

std::string to_html(const Table&);
std::string to_markdown(const Table&);

// A metric's value: five places below 0.01, fewer above; a dash for NaN.
std::string number_text(double);
// Level of the error below the signal, in dB, from its ESR.
double below_db(double esr);

}  // namespace cafx
