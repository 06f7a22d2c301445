// host/report/svg.h -- small charts as inline SVG, coloured by the page's CSS classes.
#pragma once

#include <string>
#include <vector>

namespace cafx {

struct Series {
  std::string label, css;  // css: class of the line
  std::vector<double> x, y;
};

struct Axes {
  std::string x_label, y_label;
  bool log_y = false;
  int width = 640, height = 240;
  std::vector<double> marks;  // vertical lines at these x
};

std::string escape(const std::string& text);  // for HTML
// Points that are not finite (or, on a log axis, not positive) are left out.
std::string line_chart(const std::vector<Series>&, const Axes&);
// Minimum and maximum of each pixel's samples.
std::string waveform(const std::vector<float>& x, double full_scale, const std::string& css, int width, int height);
// Magnitude in dB below the loudest, as a PNG in an <img>.
std::string spectrogram(const std::vector<float>& x, int sample_rate, double reference, const std::string& alt);
double loudest_bin(const std::vector<float>& x);  // magnitude that `reference` takes, so that pictures compare

}  // namespace cafx
