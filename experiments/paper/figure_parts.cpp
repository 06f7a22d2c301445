#include "experiments/paper/figure_parts.h"

#include <cmath>

namespace cafx {

Series scatter(const std::string& label, const std::string& css, const std::vector<double>& x,
               const std::vector<double>& y) {
  Series s{label, css, {}, {}};
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (const double v : {x[i], std::nan("")}) s.x.push_back(v);
    for (const double v : {y[i], std::nan("")}) s.y.push_back(v);
  }
  return s;
}

std::vector<double> numbers(std::size_t n, double from, double step) {
  std::vector<double> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = from + step * static_cast<double>(i);
  return v;
}

Panel waveshaping(const Experiment& x) {
  Panel shape;
  shape.axes.title = "waveshaping";
  shape.axes.x_label = "input amplitude";
  shape.axes.y_label = "output amplitude";
  shape.axes.height = 280;
  shape.series = {scatter("target", "dots", x.target_in, x.target_out),
                  scatter("model", "dots b", x.target_in, x.model_out),
                  {"model, one period of 220 Hz", "c", x.traits.curve_in, x.traits.curve_out}};
  return shape;
}

}  // namespace cafx
