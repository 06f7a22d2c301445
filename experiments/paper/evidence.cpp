#include "experiments/paper/evidence.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>

#include "host/metrics/error.h"

namespace cafx {

double frames_heard(const std::string& metrics_csv, int batch) {
  std::istringstream lines(metrics_csv);
  double pretrained = 0.0, last = 0.0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line);  // stage, epoch, steps of all stages so far, ...
    std::string stage, epoch, steps;
    if (!std::getline(cells, stage, ',') || !std::getline(cells, epoch, ',') || !std::getline(cells, steps, ','))
      continue;
    const double n = std::strtod(steps.c_str(), nullptr);
    if (stage == "pretrain") pretrained = n;
    last = std::max(last, n);
  }
  return (last - pretrained) * batch;
}

double esr_of_noise(const Dataset& first, const std::vector<int>& which, const Dataset& second) {
  std::map<std::string, const Pair*> takes;
  for (const Pair& p : second.pairs) takes.emplace(p.name, &p);
  double sum = 0.0;
  int n = 0;
  for (const int i : which) {
    const Pair& p = first.pairs[static_cast<std::size_t>(i)];
    const auto found = takes.find(p.name);
    if (found == takes.end() || p.wet.empty()) continue;
    SharedRecording take = found->second->wet;
    take.resize(p.wet.size());
    sum += 0.5 * error_metrics(p.wet.data(), take.data(), take.size()).esr;
    ++n;
  }
  return n > 0 ? sum / n : std::nan("");
}

}  // namespace cafx
