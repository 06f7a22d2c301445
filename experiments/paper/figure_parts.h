// experiments/paper/figure_parts.h -- panels and series that several figures of a study use.
#pragma once

#include <string>
#include <vector>

#include "experiments/paper/study.h"
#include "host/draw/figure.h"

namespace cafx {

// CSS classes of the first, second, third and fourth line of a panel.
inline constexpr const char* kLineClasses[] = {"", "b", "c", "d"};

// Points without lines between them.
Series scatter(const std::string& label, const std::string& css, const std::vector<double>& x,
               const std::vector<double>& y);
std::vector<double> numbers(std::size_t n, double from, double step);
// Output against input: samples of the test notes (target and model) and one period of a sine through the model.
Panel waveshaping(const Experiment&);

}  // namespace cafx
