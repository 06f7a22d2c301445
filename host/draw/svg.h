// host/draw/svg.h -- small charts as inline SVG, coloured by the page's CSS classes.
//
//   A chart fills the width of the page: its lines are in an inner <svg> that is stretched, its tick labels outside of
//   it at percentages, so that text and strokes keep their size from phone to desktop.
#pragma once

#include <string>
#include <vector>

namespace cafx {

struct Series {
  std::string label, css;  // css: class of the line
  std::vector<double> x, y;
  bool filled = false;                  // a closed outline, for envelopes
  std::vector<std::string> names = {};  // of the points, written to the data on disk only; empty: none
};

struct Mark {
  double x;
  std::string label;  // may be empty
};

struct Range {
  double lo = 0.0, hi = 0.0;  // equal: taken from the data
};

struct Axes {
  std::string title;  // for screen readers
  std::string x_label, y_label;
  bool log_x = false, log_y = false;
  int height = 240;  // in CSS pixels
  Range x, y;
  std::vector<Mark> marks;  // vertical lines
  std::string picture;      // data URI that fills the plot, under the lines
};

std::string escape(const std::string& text);  // for HTML, between tags and inside quotes
// Points that are not finite (or, on a log axis, not positive) become gaps.
std::string chart(const std::vector<Series>&, const Axes&);
// Names of the lines with their colours.
std::string legend(const std::vector<Series>&);
// Outline of minimum and maximum in n_columns columns of equal length, over seconds.
Series envelope(const std::vector<float>& x, int sample_rate, const std::string& css, int n_columns);
// A few lines without axes, as in a sheet of small pictures; y within -1..1.
std::string sparkline(const std::vector<double>& y, const std::string& title);

// Magnitudes of a 512-point Hann STFT, centred: column i is centred at sample i * hop.
struct Spectrum {
  int hop = 0, bins = 0;
  std::vector<std::vector<float>> columns;
  double loudest() const;  // 0 for silence
};
Spectrum spectrum(const std::vector<float>& x);
constexpr double kSpectrumRange = 80.0;  // dB shown below the reference
// With axes in seconds and kHz; `reference` is the magnitude of the brightest colour, so that pictures compare.
std::string spectrogram(const Spectrum&, int sample_rate, double reference, const std::string& title);
std::string colour_bar();
std::vector<std::string> heat_colours();  // "#080a23", ... from dark to bright, evenly spaced
// Data URI for Axes::picture: values of 0 (background) to 1 (brightest) in rows from the top, width * height of them.
std::string heat_picture(int width, int height, const std::vector<double>& values);

}  // namespace cafx
