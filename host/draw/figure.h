// host/draw/figure.h -- a figure: in the page as a chart that follows its colours, on disk as TSV, gnuplot script, SVG and PDF.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host/draw/svg.h"

namespace cafx {

// Values on an even grid that fills axes.x and axes.y, in rows from the bottom; drawn as the root of their magnitude, each map to
// its own largest, so that weak parts show; or as they are, where they run from 0 to 1 (`plain`).
struct HeatMap {
  int rows = 0, columns = 0;
  std::vector<double> values;
  bool plain = false;
  std::vector<double> shades() const;  // 0 to 1, as they are drawn, in the same order
};

struct Panel {
  Axes axes;
  std::vector<Series> series;
  HeatMap map;  // without rows: none
};

struct Figure {
  std::string id;  // of its files: "waveshaping-guitar-distortion-2"
  std::string title;
  std::string caption;  // what is drawn, with units
  std::vector<Panel> panels;
};

// Writes FOLDER/ID.tsv and ID.gp for each, and by gnuplot ID.svg and ID.pdf. TSV: x, y and where points have names the name, a
// block for each line, two empty lines between blocks, the line's name in front of each. Returns a line that says what was left
// out and why; empty: nothing.
std::string write_figures(const std::vector<Figure>&, const std::filesystem::path& folder);

}  // namespace cafx
