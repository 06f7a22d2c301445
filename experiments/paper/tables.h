// experiments/paper/tables.h -- what experiments say beside each other, as rows of text: for the page and for Markdown alike.
#pragma once

#include <string>
#include <vector>

#include "experiments/paper/study.h"

namespace cafx {

struct Table {
  std::string id, title;  // id: of its place in the page
  std::string caption;    // what is beside what, and in which unit
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;  // the first column names the row
};

// Those that the experiments can fill: presets side by side, guitar against bass, one model for both against one for each,
// random split against split by instrument, instruments never heard, and the settings that were varied, each beside what most runs have.
std::vector<Table> comparison_tables(const std::vector<Experiment>&);

std::string to_html(const Table&);
std::string to_markdown(const Table&);

// A metric's value: five places below 0.01, fewer above; a dash for NaN.
std::string number_text(double);
// How far an error lies below its signal, in dB, from its ESR.
double below_db(double esr);

}  // namespace cafx
