// host/draw/figure.h -- a figure: in a page as a chart in the page's colours, on disk as TSV, gnuplot script, SVG, PDF.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host/draw/svg.h"

namespace cafx {

// Values on an even grid that fills axes.x and axes.y, in rows from the bottom. Drawn as the root of the magnitude over
// the map's largest, so that weak parts show; with `plain` as they are, from 0 to 1.
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

// Writes FOLDER/ID.tsv and ID.gp for each figure, and runs gnuplot for ID.svg (compact_svg.h) and ID.pdf. TSV: x, y,
// and the points' names if any; a block per line with its name as a comment, two empty lines between blocks. Returns
// what was skipped and why; empty: nothing was.
std::string write_figures(const std::vector<Figure>&, const std::filesystem::path& folder);

}  // namespace cafx
